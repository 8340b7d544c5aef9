//! What a tick changed: each row once, compared with what stands in the views.

use std::sync::Arc;

use openinfra_schemas::{
    alert::{BUILTIN_THRESHOLDS, alert_id},
    time::Millis,
};

use crate::{
    change::{
        AlertChange, AlertKey, Change, EpisodeChange, HourlyRow, IndexChange, IndexColumns,
        LatestRow, SeenChange, StatusRow,
    },
    views::{
        alert::{Episode, Evaluated},
        facts::{Class, Connectivity, Fact},
        hourly_aggregate::{Aggregate, is_final},
        sensor_status::{next_deadline, status_at},
    },
};

use super::{
    Engine,
    state::{IndexShown, SensorState},
};

impl Engine {
    /// Says what the hours come to that the tick changed.
    pub(super) fn emit_hours(&mut self, tick: Millis) {
        let mut hours = std::mem::take(&mut self.hours);
        // An hour may stand here several times. One that any reading entered out of order is computed from
        // its block: those entries come first. Of the others the last is the most complete.
        hours.sort_by_key(|(place, hour, open)| (*place, *hour, open.is_some()));
        hours.dedup_by(|later, kept| {
            let same = (later.0, later.1) == (kept.0, kept.1);
            if same && kept.2.is_some() {
                kept.2 = later.2;
            }
            same
        });
        for (place, hour, folded) in hours.drain(..) {
            self.emit_hour(place, hour, folded.map(|open| open.aggregate), tick);
        }
        self.hours = hours;
    }

    fn emit_hour(&mut self, place: u32, hour: Millis, folded: Option<Aggregate>, tick: Millis) {
        let open = self.sensors[place as usize]
            .open
            .as_mut()
            .filter(|open| open.hour == hour);
        let (from_block, created_at) = self
            .blocks
            .with(&(place, hour), |block| {
                (
                    folded.is_none().then(|| block.aggregate(hour)),
                    block.created_at,
                )
            })
            .unwrap_or((None, None));
        let aggregate = match (from_block, open) {
            (Some(aggregate), Some(open)) => {
                open.aggregate = aggregate;
                aggregate
            }
            (Some(aggregate), None) => aggregate,
            (None, Some(open)) => open.aggregate,
            (None, None) => folded.expect("an hour without a block was folded on the way"),
        };
        let sensor = &self.sensors[place as usize];
        let horizon_ms = self
            .tenants
            .find(&sensor.tenant)
            .map_or(0, |tenant| tenant.guards().0);
        self.changes.push(Change::Hourly(HourlyRow {
            tenant: sensor.tenant.clone(),
            bucket: sensor.bucket,
            sensor_id: sensor.sensor_id.clone(),
            hour,
            count: aggregate.count,
            sum: aggregate.some(aggregate.sum),
            min: aggregate.some(aggregate.min),
            max: aggregate.some(aggregate.max),
            mean: aggregate.mean(),
            stddev: aggregate.stddev(),
            first: aggregate.some(aggregate.first),
            last: aggregate.some(aggregate.last),
            bad_count: aggregate.bad_count,
            late_count: aggregate.late_count,
            revised_at: is_final(hour, horizon_ms, tick).then_some(tick),
            is_new: created_at == Some(tick),
        }));
    }

    /// Takes what an evaluation did; an episode that ended is said at once, as another may open.
    pub(super) fn alert_evaluated(&mut self, place: u32, evaluated: Evaluated) {
        let sensor = &mut self.sensors[place as usize];
        match evaluated {
            Evaluated::Quiet => {}
            Evaluated::Open => sensor.dirty.alert = true,
            Evaluated::Ended(episode) => {
                sensor.dirty.alert = true;
                let before = sensor.shown.open_alert.take().map(|_| true);
                let change = alert_change(sensor, &episode, before);
                self.changes.push(Change::Alert(Box::new(change)));
            }
        }
    }

    /// Says what else changed of a sensor that the tick touched, and when it has to be looked at again.
    pub(super) fn emit_sensor(&mut self, place: u32, tick: Millis) {
        let sensor = &mut self.sensors[place as usize];
        let dirty = std::mem::take(&mut sensor.dirty);
        let changes = &mut self.changes;
        if dirty.latest {
            changes.extend(latest(sensor));
        }
        changes.extend(open_episode(sensor, tick));
        if dirty.seen {
            changes.extend(seen(sensor));
        }
        changes.extend(status(sensor, tick));
        changes.extend(index(sensor));
        changes.extend(open_alert(sensor, dirty.alert));
        facts(sensor, &mut self.facts);
        if let Some(due) = next_deadline(&sensor.status_input(), tick) {
            self.deadlines.schedule(place, due);
        }
    }
}

fn latest(sensor: &mut SensorState) -> Option<Change> {
    let newest = sensor.newest.as_ref()?;
    let is_new = !std::mem::replace(&mut sensor.shown.latest, true);
    Some(Change::Latest(LatestRow {
        tenant: sensor.tenant.clone(),
        bucket: sensor.bucket,
        sensor_id: sensor.sensor_id.clone(),
        event_ts: newest.event_ts,
        offset: newest.offset,
        value: (newest.quality != openinfra_schemas::Quality::Bad).then_some(newest.value),
        quality: newest.quality,
        unit: newest.unit.clone(),
        recv_ts: newest.recv_ts,
        device_ts: newest.device_ts,
        battery_pct: newest.battery_pct,
        signal_dbm: newest.signal_dbm,
        last_recv_ts: sensor
            .contact
            .map_or(newest.recv_ts, |contact| contact.last_recv),
        is_new,
    }))
}

/// The open episode's row: there from the deadline on, gone when the deadline moved.
fn open_episode(sensor: &mut SensorState, tick: Millis) -> Vec<Change> {
    let timeout_ms = sensor.timeout_ms();
    let open = sensor
        .contact
        .map(|contact| contact.deadline(timeout_ms))
        .filter(|due| tick >= *due);
    let shown = std::mem::replace(&mut sensor.shown.open_episode, open);
    if shown == open {
        return Vec::new();
    }
    let change = |offline_since, recovered_at, is_new| {
        Change::Episode(EpisodeChange {
            tenant: sensor.tenant.clone(),
            bucket: sensor.bucket,
            sensor_id: sensor.sensor_id.clone(),
            offline_since,
            recovered_at,
            is_new,
        })
    };
    let gone = shown.map(|since| change(since, None, false));
    let come = open.map(|since| change(since, Some(None), true));
    gone.into_iter().chain(come).collect()
}

fn seen(sensor: &mut SensorState) -> Option<Change> {
    let row = sensor
        .seen
        .map(|seen| (seen.first_recv_ts, seen.last_recv_ts));
    let stood = std::mem::replace(&mut sensor.shown.seen, row.is_some());
    if row.is_none() && !stood {
        return None;
    }
    Some(Change::Seen(SeenChange {
        tenant: sensor.tenant.clone(),
        bucket: sensor.bucket,
        sensor_id: sensor.sensor_id.clone(),
        seen: row,
        is_new: !stood,
    }))
}

fn status(sensor: &mut SensorState, tick: Millis) -> Option<Change> {
    let status = if sensor.is_listed() {
        status_at(&sensor.status_input(), tick)
    } else {
        None
    };
    if sensor.shown.status == status {
        return None;
    }
    let is_new = sensor.shown.status.is_none();
    sensor.shown.status.clone_from(&status);
    Some(Change::Status(StatusRow {
        tenant: sensor.tenant.clone(),
        bucket: sensor.bucket,
        sensor_id: sensor.sensor_id.clone(),
        status,
        is_new,
    }))
}

/// The row that lists filter on; after the status, which it repeats.
fn index(sensor: &mut SensorState) -> Option<Change> {
    let shown = sensor.shown.status.as_ref().map(|status| IndexShown {
        registered: sensor.registered_at.is_some(),
        version: sensor.version,
        status: status.status,
        stale: status.stale_since.is_some(),
    });
    if sensor.shown.index == shown {
        return None;
    }
    sensor.shown.index = shown;
    let row = shown.map(|shown| IndexColumns {
        registered: shown.registered,
        version: if shown.registered { shown.version } else { 0 },
        entity: sensor.entity.clone(),
        status: shown.status,
        stale: shown.stale,
        updated_at: match (&sensor.entity, sensor.seen) {
            (Some(entity), _) => entity.updated_at,
            (None, Some(seen)) => seen.first_recv_ts,
            (None, None) => 0,
        },
    });
    Some(Change::Index(IndexChange {
        tenant: sensor.tenant.clone(),
        bucket: sensor.bucket,
        sensor_id: sensor.sensor_id.clone(),
        row,
    }))
}

/// The open alert's row: when it was evaluated, or stands on another asset now.
fn open_alert(sensor: &mut SensorState, evaluated: bool) -> Option<Change> {
    let episode = sensor.rule.open()?.clone();
    let moved = sensor
        .shown
        .alert_fact
        .as_ref()
        .map(|fact| fact.asset_id.as_deref())
        != Some(sensor.asset_id());
    if !evaluated && !moved {
        return None;
    }
    let before = sensor
        .shown
        .open_alert
        .replace(episode.start_ts)
        .map(|_| true);
    Some(Change::Alert(Box::new(alert_change(
        sensor, &episode, before,
    ))))
}

fn alert_change(sensor: &SensorState, episode: &Episode, before: Option<bool>) -> AlertChange {
    let start_ts = episode.start_ts;
    AlertChange {
        tenant: sensor.tenant.clone(),
        key: AlertKey {
            open: episode.end_ts.is_none(),
            start_ts,
            alert_id: alert_id(
                &sensor.tenant,
                BUILTIN_THRESHOLDS,
                &sensor.sensor_id,
                start_ts,
            ),
        },
        before,
        rule_id: BUILTIN_THRESHOLDS,
        rule_version: episode.rule_version,
        sensor_id: sensor.sensor_id.clone(),
        asset_id: sensor.asset_id().map(str::to_owned),
        severity: episode.severity.as_str(),
        max_severity: episode.max_severity.as_str(),
        raised_at: episode.raised_at,
        end_ts: episode.end_ts,
        trigger_value: episode.trigger.value,
        threshold: episode.threshold,
        trigger_partition: openinfra_schemas::key::partition_of_bucket(sensor.bucket),
        trigger_offset: episode.trigger.offset,
        last_value: episode.last_value,
        count: episode.count,
        detected_at: episode.detected_at,
    }
}

/// Retracts the sensor's facts that hold no longer, and states those that do.
fn facts(sensor: &mut SensorState, out: &mut Vec<(Fact, isize)>) {
    let fact = |class| Fact {
        tenant: sensor.tenant.clone(),
        asset_id: sensor.asset_id().map(Arc::from),
        class,
    };
    let sensor_fact = sensor.shown.status.as_ref().map(|status| {
        let stale = status.stale_since.is_some();
        fact(Class::Sensor {
            status: Connectivity::of(status.status),
            stale,
        })
    });
    let alert_fact = sensor
        .rule
        .open()
        .map(|episode| fact(Class::alert(episode.severity)));
    replace(&mut sensor.shown.sensor_fact, sensor_fact, out);
    replace(&mut sensor.shown.alert_fact, alert_fact, out);
}

fn replace(shown: &mut Option<Fact>, now: Option<Fact>, out: &mut Vec<(Fact, isize)>) {
    if *shown != now {
        out.extend(shown.take().map(|fact| (fact, -1)));
        out.extend(now.clone().map(|fact| (fact, 1)));
        *shown = now;
    }
}
