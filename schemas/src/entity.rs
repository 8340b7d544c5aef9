//! What people own and change: the records of the topic `entities`.

use serde::{Deserialize, Serialize};

use crate::{
    ids::{SensorId, TenantId},
    time::{HOUR_MS, Millis},
};

/// The kinds of entity, as they stand in keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntityKind {
    Sensor,
    TenantSettings,
}

impl EntityKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sensor => "sensor",
            Self::TenantSettings => "tenant_settings",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Sensor, Self::TenantSettings]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }
}

/// One version of one entity: the value of a record of the topic `entities`.
///
/// A change may stand in the log more than once; readers take each version once, and the highest wins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EntityChange {
    pub tenant: TenantId,
    /// [`EntityKind::as_str`]; a kind that a reader does not know is skipped, not an error.
    pub kind: String,
    pub id: String,
    /// From 1, without holes.
    pub version: i64,
    /// UUIDv7 of the write.
    pub change_id: String,
    /// Who wrote: an opaque id, never a name.
    pub actor: String,
    pub at: Millis,
    pub after: AfterImage,
}

/// What stands after the change.
#[expect(
    clippy::large_enum_variant,
    reason = "changes are rare, and most are of sensors"
)]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum AfterImage {
    /// Null in the log: the entity is deleted.
    Deleted,
    Sensor(Sensor),
    TenantSettings(TenantSettings),
}

/// Longitude and latitude in degrees (WGS84), height in metres.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    pub longitude: f64,
    pub latitude: f64,
    #[serde(default)]
    pub height: Option<f64>,
}

/// The limits of the built-in rule. An absent limit is never crossed; 0 is a limit like any other.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Thresholds {
    #[serde(default)]
    pub warning_min: Option<f64>,
    #[serde(default)]
    pub warning_max: Option<f64>,
    #[serde(default)]
    pub critical_min: Option<f64>,
    #[serde(default)]
    pub critical_max: Option<f64>,
    /// How far a value must come back inside before the alert clears; absent means 0.
    #[serde(default)]
    pub deadband: Option<f64>,
}

/// A registered sensor: one series of one quantity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sensor {
    pub sensor_id: SensorId,
    #[serde(default)]
    pub sensor_type: Option<String>,
    #[serde(default)]
    pub unit: Option<String>,
    #[serde(default)]
    pub asset_id: Option<String>,
    #[serde(default)]
    pub location: Option<Point>,
    #[serde(default)]
    pub thresholds: Option<Thresholds>,
    #[serde(default)]
    pub offline_timeout_ms: Option<i64>,
    #[serde(default)]
    pub max_age_ms: Option<i64>,
    #[serde(default)]
    pub reporting_interval_ms: Option<i64>,
    pub created_at: Millis,
    pub created_by: String,
    pub updated_at: Millis,
    pub updated_by: String,
}

/// What a tenant decides about all its sensors; its id is the tenant's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TenantSettings {
    /// A reading older than this when it was received is `late_beyond_horizon`.
    pub horizon_ms: i64,
    /// A reading further ahead than this when it was received is `clock_future`.
    pub future_guard_ms: i64,
    /// Whether a sensor that nobody registered is accepted.
    pub auto_register: bool,
    pub created_at: Millis,
    pub created_by: String,
    pub updated_at: Millis,
    pub updated_by: String,
}

impl TenantSettings {
    /// 26 hours: a gateway may buffer a day.
    pub const DEFAULT_HORIZON_MS: i64 = 26 * HOUR_MS;
    /// 5 minutes.
    pub const DEFAULT_FUTURE_GUARD_MS: i64 = 300_000;
    /// Sensors come in by themselves until the tenant decides otherwise. No setting of a process may say
    /// so: views follow from the log alone.
    pub const DEFAULT_AUTO_REGISTER: bool = true;
}

/// The timeout of a sensor that says nothing about its pace: 15 minutes.
pub const DEFAULT_OFFLINE_TIMEOUT_MS: i64 = 900_000;
