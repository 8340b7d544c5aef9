//! What definitions of several views begin with: entities in force, and what became of each record.
//!
//! Plain and slow on purpose: everything is searched for in the whole log.

use std::collections::BTreeMap;

use openinfra_schemas::{
    AfterImage, Quality, Reading, Reason, Sensor, TenantId, TenantSettings, Topic, time::Millis,
};

use crate::{
    change::Outcome,
    input::{RecordBody, TickInput},
};

use super::testing::SensorKey;

/// Each change of an entity that takes effect, by tick: the highest version so far.
fn effective<'a>(
    log: &'a [TickInput],
    kind: &str,
) -> Vec<(Millis, TenantId, String, i64, &'a AfterImage)> {
    let mut highest: BTreeMap<(TenantId, String), i64> = BTreeMap::new();
    let mut effective = Vec::new();
    for input in log {
        for change in input.entities.iter().filter(|change| change.kind == kind) {
            let version = highest
                .entry((change.tenant.clone(), change.id.clone()))
                .or_default();
            if change.version > *version {
                *version = change.version;
                let tenant = change.tenant.clone();
                effective.push((
                    input.tick,
                    tenant,
                    change.id.clone(),
                    *version,
                    &change.after,
                ));
            }
        }
    }
    effective
}

/// The effective changes of one sensor: tick, version, entity.
pub fn edits(log: &[TickInput], key: &SensorKey) -> Vec<(Millis, i64, Option<Sensor>)> {
    effective(log, "sensor")
        .into_iter()
        .filter(|(_, tenant, id, _, _)| (tenant, id.as_str()) == (&key.0, key.1.as_str()))
        .map(|(tick, _, _, version, after)| match after {
            AfterImage::Sensor(sensor) => (tick, version, Some(sensor.clone())),
            _ => (tick, version, None),
        })
        .collect()
}

/// The sensor's entity in force at a tick.
pub fn entity_at(log: &[TickInput], key: &SensorKey, tick: Millis) -> Option<Sensor> {
    edits(log, key)
        .into_iter()
        .rfind(|(at, ..)| *at <= tick)
        .and_then(|(_, _, entity)| entity)
}

/// The tick of the registration in force at a tick.
pub fn registered_at(log: &[TickInput], key: &SensorKey, tick: Millis) -> Option<Millis> {
    let mut registered = None;
    for (at, _, entity) in edits(log, key).into_iter().filter(|(at, ..)| *at <= tick) {
        registered = entity.and(registered.or(Some(at)));
    }
    registered
}

/// A tenant's settings in force at a tick.
pub fn settings_at(log: &[TickInput], tenant: &TenantId, tick: Millis) -> Option<TenantSettings> {
    let all = effective(log, "tenant_settings");
    let last = all
        .into_iter()
        .rfind(|(at, of, ..)| *at <= tick && of == tenant);
    match last {
        Some((.., AfterImage::TenantSettings(settings))) => Some(settings.clone()),
        _ => None,
    }
}

/// One record, and what became of it.
#[derive(Debug, Clone)]
pub struct Decided {
    pub tick: Millis,
    pub topic: Topic,
    pub partition: i32,
    pub offset: i64,
    pub tenant: TenantId,
    pub source: String,
    pub outcome: Outcome,
    /// None for what a connector refused or nobody can read.
    pub reading: Option<Reading>,
}

impl Decided {
    pub fn is_of(&self, key: &SensorKey) -> bool {
        self.reading
            .as_ref()
            .is_some_and(|r| (&r.tenant, &r.sensor_id) == (&key.0, &key.1))
    }

    /// Whether the sensor was heard: every message of a sensor that is known, whatever became of it.
    pub fn is_heard(&self) -> bool {
        self.reading.is_some() && self.outcome != Outcome::Refused(Reason::UnknownSensor)
    }

    pub fn is_taken(&self) -> bool {
        matches!(self.outcome, Outcome::Accepted | Outcome::Correction)
    }
}

/// What became of each record, in the order of the log.
pub fn decide(log: &[TickInput]) -> Vec<Decided> {
    let mut in_force: BTreeMap<(SensorKey, Millis), (u64, Quality)> = BTreeMap::new();
    let mut decided = Vec::new();
    for input in log {
        for record in &input.records {
            let (tenant, source, outcome, reading) = match &record.body {
                RecordBody::Refused(entry) => {
                    let reason = Reason::parse(&entry.reason).unwrap();
                    let outcome = Outcome::Refused(reason);
                    (entry.tenant.clone(), entry.source.clone(), outcome, None)
                }
                RecordBody::Rejected { tenant, reason, .. } => {
                    let outcome = Outcome::Refused(*reason);
                    (tenant.clone(), "unreadable".to_owned(), outcome, None)
                }
                RecordBody::Reading { reading, .. } => {
                    let outcome = decide_reading(log, input.tick, reading, &mut in_force);
                    let source = reading.source.clone();
                    (
                        reading.tenant.clone(),
                        source,
                        outcome,
                        Some(reading.clone()),
                    )
                }
            };
            let (topic, partition, offset) = (record.topic, record.partition, record.offset);
            let tick = input.tick;
            decided.push(Decided {
                tick,
                topic,
                partition,
                offset,
                tenant,
                source,
                outcome,
                reading,
            });
        }
    }
    decided
}

fn decide_reading(
    log: &[TickInput],
    tick: Millis,
    reading: &Reading,
    in_force: &mut BTreeMap<(SensorKey, Millis), (u64, Quality)>,
) -> Outcome {
    let key = (reading.tenant.clone(), reading.sensor_id.clone());
    let settings = settings_at(log, &reading.tenant, tick);
    let auto_register = settings.as_ref().is_none_or(|s| s.auto_register);
    let horizon_ms = settings.as_ref().map_or(26 * 3_600_000, |s| s.horizon_ms);
    let guard_ms = settings.as_ref().map_or(300_000, |s| s.future_guard_ms);
    if !auto_register && entity_at(log, &key, tick).is_none() {
        return Outcome::Refused(Reason::UnknownSensor);
    }
    if reading.event_ts < reading.recv_ts - horizon_ms {
        return Outcome::Refused(Reason::LateBeyondHorizon);
    }
    if reading.event_ts > reading.recv_ts + guard_ms {
        return Outcome::Refused(Reason::ClockFuture);
    }
    let value = reading.good_value().unwrap_or(f64::NAN);
    let says = (value.to_bits(), reading.quality);
    match in_force.insert((key, reading.event_ts), says) {
        None => Outcome::Accepted,
        Some(before) if before == says => Outcome::Duplicate,
        Some(_) => Outcome::Correction,
    }
}

/// Every sensor that the log names.
pub fn sensors(log: &[TickInput]) -> Vec<SensorKey> {
    let read = decide(log)
        .into_iter()
        .filter_map(|d| d.reading.map(|r| (r.tenant, r.sensor_id)));
    let written = effective(log, "sensor")
        .into_iter()
        .map(|(_, tenant, id, ..)| (tenant, openinfra_schemas::SensorId::trusted(&id)));
    let mut all: Vec<_> = read.chain(written).collect();
    all.sort();
    all.dedup();
    all
}
