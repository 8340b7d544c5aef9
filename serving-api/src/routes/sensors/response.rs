//! A sensor on the wire.

use openinfra_schemas::Sensor;
use serde::Serialize;
use serde_json::Value;

use crate::{entities::SensorFields, lists::Fields, wire::Ts};

use super::{super::sensor_data::ReadingResponse, body::SensorBody};

/// A sensor.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct SensorResponse {
    /// The device's own id.
    pub sensor_id: String,
    /// What was written of it: absent fields have their default.
    #[serde(flatten)]
    #[schema(value_type = SensorBody)]
    pub fields: Value,
    /// Whether anyone wrote the entity; otherwise it only sent, and has defaults.
    pub registered: bool,
    /// `never_seen`, `online` or `offline`.
    pub status: String,
    /// Whether its newest reading is older than `max_age_ms`.
    pub stale: bool,
    /// Greatest receive time of any of its messages.
    pub last_recv_at: Option<Ts>,
    /// With `include=latest`: its newest reading by event time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest: Option<ReadingResponse>,
    #[serde(flatten)]
    pub stamp: Stamp,
}

/// A sensor as it was written, without what the views say of it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct EntityResponse {
    sensor_id: String,
    #[serde(flatten)]
    fields: Value,
    #[serde(flatten)]
    stamp: Stamp,
}

impl EntityResponse {
    pub(crate) fn new(sensor: &Sensor, version: i64) -> Self {
        Self {
            sensor_id: sensor.sensor_id.to_string(),
            fields: SensorFields::from(sensor).to_json(),
            stamp: Stamp::new(sensor, version),
        }
    }
}

/// Who wrote an entity, when, and how often; absent when nobody did.
#[derive(Debug, Clone, Default, Serialize, utoipa::ToSchema)]
pub struct Stamp {
    /// From 1; the entity tag is `"v<version>"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Ts>,
    /// An opaque id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Ts>,
    /// An opaque id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_by: Option<String>,
}

impl Stamp {
    pub(super) fn new(sensor: &Sensor, version: i64) -> Self {
        Self {
            version: Some(version),
            created_at: Some(Ts(sensor.created_at)),
            created_by: Some(sensor.created_by.clone()),
            updated_at: Some(Ts(sensor.updated_at)),
            updated_by: Some(sensor.updated_by.clone()),
        }
    }
}

pub(super) const FIELDS: Fields = Fields {
    known: &[
        "sensor_id",
        "sensor_type",
        "unit",
        "asset_id",
        "location",
        "thresholds",
        "offline_timeout_ms",
        "max_age_ms",
        "reporting_interval_ms",
        "registered",
        "status",
        "stale",
        "last_recv_at",
        "latest",
        "version",
        "created_at",
        "created_by",
        "updated_at",
        "updated_by",
    ],
    compact: &["sensor_id", "sensor_type", "unit", "asset_id", "status"],
};
