//! What becomes of one record: accepted, duplicate, correction, or a reason of the ledger.

use openinfra_schemas::{
    LedgerEntry, Quality, Reading, Reason, TenantId, TsSource,
    alert::DEFAULT_CORRECTION_WINDOW_MS,
    reading::NO_VALUE,
    time::{Millis, format_ts, hour_of},
};

use crate::{
    change::{Change, EpisodeChange, HistoryRow, LedgerChange, Outcome},
    views::{
        alert::Standing, hourly_aggregate::Aggregate, latest_reading::Newest,
        offline_episode::Contact, readings::refusal, sensor_seen::Seen,
    },
};

use super::{
    Engine,
    block::{Entry, Taken},
    state::OpenWindow,
};

/// The source under which records stand whose bytes name none.
const UNREADABLE: &str = "unreadable";

/// Where a reading stands.
#[derive(Debug, Clone, Copy)]
pub struct At {
    pub offset: i64,
    pub bucket: i32,
    pub tick: Millis,
}

impl Engine {
    /// Takes a reading of one of this worker's partitions.
    pub(super) fn reading(&mut self, index: usize, mut reading: Reading, at: At) {
        if reading.quality == Quality::Bad {
            // A writer may leave anything beside BAD. History keeps no value, so neither may a block.
            reading.value = NO_VALUE;
        }
        let tenant = self.tenants.entry(&reading.tenant);
        let (horizon_ms, future_guard_ms) = tenant.guards();
        let auto_registers = tenant.auto_registers();
        tenant.counts(&reading.tenant, &reading.source).log_records += 1;

        let known = tenant.sensors.get(&reading.sensor_id).copied();
        let registered =
            known.is_some_and(|place| self.sensors[place as usize].registered_at.is_some());
        if !registered && !auto_registers {
            let detail = format!("sensor {} is not registered", reading.sensor_id);
            return self.refuse(index, &reading, Reason::UnknownSensor, detail);
        }
        let place = match known {
            Some(place) => place,
            None => self.place_or_new(&reading.tenant, &reading.sensor_id, at.bucket),
        };
        self.heard(place, reading.recv_ts);
        if let Some(reason) = refusal(&reading, horizon_ms, future_guard_ms) {
            let detail = format!(
                "event time {} against receive time {}: at most {horizon_ms} ms before and \
                 {future_guard_ms} ms after are accepted",
                format_ts(reading.event_ts),
                format_ts(reading.recv_ts),
            );
            return self.refuse(index, &reading, reason, detail);
        }
        let taken = self.take(place, &reading, at);
        let outcome = match taken {
            Taken::New => Outcome::Accepted,
            Taken::Duplicate => Outcome::Duplicate,
            Taken::Correction => Outcome::Correction,
        };
        let counts = self
            .tenants
            .entry(&reading.tenant)
            .counts(&reading.tenant, &reading.source);
        counts.decide(outcome);
        if taken == Taken::New && reading.ts_source == TsSource::Server {
            counts.server_ts += 1;
        }
        if taken != Taken::Duplicate {
            self.evaluate(place, &reading, at);
            self.keep(place, reading, taken, at);
        }
    }

    /// A message of the sensor reached us, whatever becomes of it.
    fn heard(&mut self, place: u32, recv_ts: Millis) {
        let sensor = &mut self.sensors[place as usize];
        let timeout_ms = sensor.timeout_ms();
        let before = sensor.contact.map(|contact| contact.last_recv);
        let closed = match &mut sensor.contact {
            Some(contact) => contact.message(recv_ts, timeout_ms),
            none => {
                *none = Some(Contact::first(recv_ts));
                None
            }
        };
        sensor.dirty.latest |= sensor.contact.map(|contact| contact.last_recv) != before;
        if sensor.registered_at.is_none() {
            let seen = Seen::message(sensor.seen, recv_ts);
            sensor.dirty.seen |= sensor.seen != Some(seen);
            sensor.seen = Some(seen);
        }
        if let Some(closed) = closed {
            let was_open = sensor.shown.open_episode == Some(closed.offline_since);
            if was_open {
                sensor.shown.open_episode = None;
            }
            self.changes.push(Change::Episode(EpisodeChange {
                tenant: sensor.tenant.clone(),
                bucket: sensor.bucket,
                sensor_id: sensor.sensor_id.clone(),
                offline_since: closed.offline_since,
                recovered_at: Some(Some(closed.recovered_at)),
                is_new: !was_open,
            }));
        }
        self.touch(place);
    }

    /// Finds out what a reading is to those taken before it, and puts it among them.
    fn take(&mut self, place: u32, reading: &Reading, at: At) -> Taken {
        let sensor = &mut self.sensors[place as usize];
        let hour = hour_of(reading.event_ts);
        let entry = Entry {
            event_ts: reading.event_ts,
            offset: at.offset,
            value: reading.value,
            quality: reading.quality,
            recv_ts: reading.recv_ts,
        };
        let newest = sensor.newest.as_ref();
        if newest.is_some_and(|newest| newest.is_repeated_by(reading)) {
            return Taken::Duplicate;
        }
        let is_newest = newest.is_none_or(|newest| reading.event_ts > newest.event_ts);
        if !sensor.hours.contains(hour) {
            let first_of_day = sensor.hours.insert(hour);
            self.blocks.start((place, hour), at.tick);
            if first_of_day {
                let (month, days) = sensor.hours.days_of_month(hour);
                self.changes.push(Change::Day {
                    tenant: sensor.tenant.clone(),
                    bucket: sensor.bucket,
                    sensor_id: sensor.sensor_id.clone(),
                    month,
                    days,
                });
            }
        }
        if is_newest {
            self.append(place, hour, entry, at.tick);
            return Taken::New;
        }
        let taken = self
            .blocks
            .with(&(place, hour), |block| {
                let taken = block.take(entry);
                if taken != Taken::Duplicate {
                    block.changed_at = at.tick;
                }
                taken
            })
            .expect("the host supplies each block that blocks_needed asks for");
        if taken != Taken::Duplicate {
            self.hours.push((place, hour, None));
        }
        taken
    }

    /// The fast path: a reading newer than all before it.
    fn append(&mut self, place: u32, hour: Millis, entry: Entry, tick: Millis) {
        let in_block = self.blocks.with(&(place, hour), |block| {
            block.take(entry);
            block.changed_at = tick;
        });
        if in_block.is_none() {
            self.blocks.keep_loose((place, hour), tick, entry);
        }
        let sensor = &mut self.sensors[place as usize];
        match &mut sensor.open {
            Some(open) if open.hour == hour => {
                if open.changed_at != tick {
                    self.hours.push((place, hour, Some(*open)));
                }
            }
            open => {
                // What the tick added to the window before stays to be said.
                if let Some(left) = open.filter(|open| open.changed_at == tick) {
                    self.hours.push((place, left.hour, Some(left)));
                }
                *open = Some(OpenWindow {
                    hour,
                    aggregate: Aggregate::default(),
                    changed_at: tick,
                });
                self.hours.push((place, hour, *open));
            }
        }
        let open = sensor
            .open
            .as_mut()
            .expect("it was there, or was just made");
        open.aggregate
            .add(hour, entry.value, entry.quality, entry.recv_ts);
        open.changed_at = tick;
    }

    /// Evaluates the built-in rule, if the reading takes part in it.
    fn evaluate(&mut self, place: u32, reading: &Reading, at: At) {
        let age = reading.recv_ts.saturating_sub(reading.event_ts);
        if reading.quality == Quality::Bad || age > DEFAULT_CORRECTION_WINDOW_MS {
            return;
        }
        let sensor = &mut self.sensors[place as usize];
        if !sensor.rule.takes(reading.event_ts) {
            return;
        }
        let standing = Standing {
            event_ts: reading.event_ts,
            offset: at.offset,
            value: reading.value,
        };
        let (in_force, rule) = sensor.rule();
        let evaluated = rule.reading(standing, in_force, at.tick);
        self.alert_evaluated(place, evaluated);
    }

    /// Writes the history row, and moves the newest reading on.
    fn keep(&mut self, place: u32, reading: Reading, taken: Taken, at: At) {
        let sensor = &mut self.sensors[place as usize];
        if sensor
            .newest
            .as_ref()
            .is_none_or(|newest| reading.event_ts >= newest.event_ts)
        {
            sensor.newest = Some(Newest::of(&reading, at.offset));
            sensor.dirty.latest = true;
        }
        self.changes.push(Change::Reading(HistoryRow {
            tenant: sensor.tenant.clone(),
            bucket: sensor.bucket,
            sensor_id: sensor.sensor_id.clone(),
            event_ts: reading.event_ts,
            offset: at.offset,
            value: reading.good_value(),
            quality: reading.quality,
            recv_ts: reading.recv_ts,
            device_ts: reading.ts_source == TsSource::Device,
            unit: reading.unit,
            battery_pct: reading.battery_pct,
            signal_dbm: reading.signal_dbm,
            is_new: taken == Taken::New,
        }));
    }

    fn refuse(&mut self, index: usize, reading: &Reading, reason: Reason, detail: String) {
        let tenant = self.tenants.entry(&reading.tenant);
        tenant
            .counts(&reading.tenant, &reading.source)
            .decide(Outcome::Refused(reason));
        self.changes.push(Change::Ledger(LedgerChange {
            record: index,
            tenant: reading.tenant.clone(),
            reason,
            detail,
            source: reading.source.clone(),
            sensor_id: Some(reading.sensor_id.to_string()),
            event_ts: Some(reading.event_ts),
            recv_ts: Some(reading.recv_ts),
        }));
    }

    /// Counts what a connector refused. A reason that we do not know stands as `invalid`.
    pub(super) fn refused(&mut self, index: usize, entry: LedgerEntry) {
        let reason = Reason::parse(&entry.reason).unwrap_or(Reason::Invalid);
        self.count_refused(&entry.tenant, &entry.source, reason);
        self.changes.push(Change::Ledger(LedgerChange {
            record: index,
            tenant: entry.tenant,
            reason,
            detail: entry.detail,
            source: entry.source,
            sensor_id: entry.sensor_id,
            event_ts: entry.event_ts,
            recv_ts: Some(entry.recv_ts),
        }));
    }

    /// Counts bytes in the log that are no record.
    pub(super) fn rejected(
        &mut self,
        index: usize,
        tenant: TenantId,
        reason: Reason,
        detail: String,
    ) {
        self.count_refused(&tenant, UNREADABLE, reason);
        self.changes.push(Change::Ledger(LedgerChange {
            record: index,
            tenant,
            reason,
            detail,
            source: UNREADABLE.to_owned(),
            sensor_id: None,
            event_ts: None,
            recv_ts: None,
        }));
    }

    fn count_refused(&mut self, tenant: &TenantId, source: &str, reason: Reason) {
        let counts = self.tenants.entry(tenant).counts(tenant, source);
        counts.log_records += 1;
        counts.decide(Outcome::Refused(reason));
    }
}
