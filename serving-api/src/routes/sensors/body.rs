//! What may be written of a sensor, as the document describes it; the write path reads it itself.

use serde::Deserialize;

/// What a sensor is registered with.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[expect(dead_code, reason = "it only describes")]
pub struct CreateSensorBody {
    /// The device's own id: 1 to 256 bytes, no control characters, no `+` or `#`.
    sensor_id: String,
    #[serde(flatten)]
    fields: SensorBody,
}

/// What may be written of a sensor.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[expect(dead_code, reason = "it only describes")]
pub struct SensorBody {
    /// At most 64 characters.
    sensor_type: Option<String>,
    /// At most 32 characters; `measurement_unit` is read too.
    unit: Option<String>,
    /// Opaque.
    asset_id: Option<String>,
    location: Option<GeoPoint>,
    thresholds: Option<ThresholdsBody>,
    /// At least 60,000; by default 3 reporting intervals, at least a minute, or 15 minutes.
    offline_timeout_ms: Option<i64>,
    /// Age from which its newest reading is stale.
    max_age_ms: Option<i64>,
    /// At least 10.
    reporting_interval_ms: Option<i64>,
}

/// A GeoJSON point; `{longitude, latitude}` is read too.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[expect(dead_code, reason = "it only describes")]
pub struct GeoPoint {
    /// `Point`.
    #[serde(rename = "type")]
    type_: String,
    /// Longitude, latitude, and height where it is known.
    coordinates: Vec<f64>,
}

/// The limits of the built-in rule; 0 is a limit like any other.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[expect(dead_code, reason = "it only describes")]
pub struct ThresholdsBody {
    warning_min: Option<f64>,
    warning_max: Option<f64>,
    critical_min: Option<f64>,
    critical_max: Option<f64>,
    /// How far a value must come back inside before its alert clears.
    deadband: Option<f64>,
}
