//! A reading: one value of one sensor at one time, as it stands in the log.

use serde::{Deserialize, Serialize};

use crate::{ids::SensorId, ids::TenantId, time::Millis};

/// The one bit pattern that stands for "no value": readings of quality BAD carry it.
pub const NO_VALUE: f64 = f64::NAN;

/// What the device, or the codec, says of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Quality {
    Good,
    Uncertain,
    Bad,
}

impl Quality {
    /// As it is written in JSON, in the log and in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Good => "GOOD",
            Self::Uncertain => "UNCERTAIN",
            Self::Bad => "BAD",
        }
    }

    /// Reads what [`Quality::as_str`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Good, Self::Uncertain, Self::Bad]
            .into_iter()
            .find(|q| q.as_str() == text)
    }
}

/// Whose clock `event_ts` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TsSource {
    /// The device sent a time.
    Device,
    /// It did not: `event_ts` is `recv_ts`, and a resend cannot be told apart.
    Server,
}

/// Where a record stands in the log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
}

/// One value of one sensor at one time: the value of a record of the topic `readings`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    pub tenant: TenantId,
    pub sensor_id: SensorId,
    /// The device's clock.
    pub event_ts: Millis,
    /// Ours, when a connector took the message; written once.
    pub recv_ts: Millis,
    pub ts_source: TsSource,
    /// [`NO_VALUE`] iff the quality is BAD.
    pub value: f64,
    #[serde(default)]
    pub unit: Option<String>,
    pub quality: Quality,
    /// The sender's own id of the message, carried for tracing.
    #[serde(default)]
    pub event_id: Option<String>,
    #[serde(default)]
    pub sequence: Option<i64>,
    #[serde(default)]
    pub battery_pct: Option<f64>,
    #[serde(default)]
    pub signal_dbm: Option<f64>,
    /// The connector that took it: `mqtt`, `http`, `file`.
    pub source: String,
    /// An operator's re-admission of the refused record at this position: waives the horizon.
    #[serde(default)]
    pub readmits: Option<Position>,
}

impl Reading {
    /// The value, or none when the quality is BAD.
    pub fn good_value(&self) -> Option<f64> {
        (self.quality != Quality::Bad).then_some(self.value)
    }
}
