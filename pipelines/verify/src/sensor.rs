//! One sensor's part of the log: its edits and its messages, from the first on. Every definition of a
//! sensor's view is a function of this and the ticks.

use openinfra_schemas::{Quality, SensorId, TenantId, reading::NO_VALUE, time::Millis};

use crate::entities::{Edit, in_force};

/// A sensor that entities or messages name.
#[derive(Debug)]
pub(crate) struct SensorLog {
    pub(crate) tenant: TenantId,
    pub(crate) id: SensorId,
    pub(crate) bucket: i32,
    /// In the order they took effect.
    pub(crate) edits: Vec<Edit>,
    /// In log order, all that were heard: what is refused as `unknown_sensor` was not.
    pub(crate) messages: Vec<Message>,
}

/// One message. There are as many as a partition has readings, so what few of them differ in stands
/// elsewhere.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message {
    pub(crate) tick: Millis,
    pub(crate) offset: i64,
    pub(crate) event_ts: Millis,
    pub(crate) recv_ts: Millis,
    /// [`NO_VALUE`] when BAD, whatever its writer put there.
    pub(crate) value: f64,
    /// Which of the partition's [`Extras`] it has.
    pub(crate) extras: u32,
    pub(crate) quality: Quality,
    pub(crate) device_ts: bool,
    pub(crate) fate: Fate,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Inside horizon and future guard; the other messages of its event time decide.
    Undecided,
    /// The first of its event time.
    Accepted,
    Duplicate,
    /// Another value for its event time.
    Correction,
    /// Outside horizon or future guard, and so in the ledger; it was heard all the same.
    Refused,
}

/// What a message says besides.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Extras {
    pub(crate) source: String,
    pub(crate) unit: Option<String>,
    /// Bits of doubles, so that messages that say the same share one.
    pub(crate) battery_pct: Option<u64>,
    pub(crate) signal_dbm: Option<u64>,
}

impl SensorLog {
    /// The sensor's entity in force at a tick.
    pub(crate) fn entity_at(&self, tick: Millis) -> Option<&openinfra_schemas::Sensor> {
        in_force(&self.edits, tick)
    }
}

impl Message {
    /// Whether it is a row of `readings`.
    pub(crate) fn is_taken(&self) -> bool {
        matches!(self.fate, Fate::Accepted | Fate::Correction)
    }

    /// The value, unless it is BAD.
    pub(crate) fn good_value(&self) -> Option<f64> {
        (self.quality != Quality::Bad).then_some(self.value)
    }

    /// Whether both say the same of their event time.
    pub(crate) fn agrees(&self, other: &Self) -> bool {
        self.quality == other.quality && self.value.to_bits() == other.value.to_bits()
    }

    pub(crate) fn value_of(quality: Quality, value: f64) -> f64 {
        if quality == Quality::Bad {
            NO_VALUE
        } else {
            value
        }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Sensors' logs for the tests of definitions.

    use std::sync::Arc;

    use openinfra_schemas::{Sensor, Thresholds};

    use super::*;

    /// A message received at its event time, at that tick.
    pub(crate) fn message(event_ts: Millis, value: f64) -> Message {
        Message {
            tick: event_ts,
            offset: event_ts,
            event_ts,
            recv_ts: event_ts,
            value,
            extras: 0,
            quality: Quality::Good,
            device_ts: true,
            fate: Fate::Accepted,
        }
    }

    pub(crate) fn entity() -> Sensor {
        Sensor {
            sensor_id: SensorId::trusted("s"),
            sensor_type: None,
            unit: None,
            asset_id: None,
            location: None,
            thresholds: None,
            offline_timeout_ms: None,
            max_age_ms: None,
            reporting_interval_ms: None,
            created_at: 0,
            created_by: String::new(),
            updated_at: 0,
            updated_by: String::new(),
        }
    }

    pub(crate) fn limits(warning_max: f64, critical_max: f64, deadband: f64) -> Sensor {
        Sensor {
            thresholds: Some(Thresholds {
                warning_max: Some(warning_max),
                critical_max: Some(critical_max),
                deadband: Some(deadband),
                ..Thresholds::default()
            }),
            ..entity()
        }
    }

    /// Edits at the given ticks, versions from 1.
    pub(crate) fn sensor(edits: &[(Millis, Option<Sensor>)], messages: &[Message]) -> SensorLog {
        let edit = |(place, (tick, sensor)): (usize, &(Millis, Option<Sensor>))| Edit {
            tick: *tick,
            version: place as i64 + 1,
            sensor: sensor.clone().map(Arc::new),
        };
        SensorLog {
            tenant: TenantId::trusted("t"),
            id: SensorId::trusted("s"),
            bucket: 0,
            edits: edits.iter().enumerate().map(edit).collect(),
            messages: messages.to_vec(),
        }
    }
}
