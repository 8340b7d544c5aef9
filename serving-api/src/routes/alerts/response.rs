//! An alert on the wire.

use openinfra_schemas::Topic;
use openinfra_store::tables::views::AlertRow;
use serde::Serialize;

use crate::{lists::Fields, wire::Ts};

/// All alerts are of the built-in rule over readings, and nobody can act on one yet.
pub(super) const SOURCE_TYPE: &str = "sensor";
pub(super) const TYPE: &str = "threshold_exceeded";
pub(super) const STATUS: &str = "active";

/// An alert.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct AlertResponse {
    /// UUIDv5 of tenant, rule, sensor and start.
    pub alert_id: String,
    pub rule_id: String,
    pub rule_version: i64,
    /// `sensor`.
    pub source_type: &'static str,
    /// `threshold_exceeded`.
    #[serde(rename = "type")]
    pub type_: &'static str,
    pub sensor_id: String,
    pub asset_id: Option<String>,
    /// The highest level raised now, or when it cleared.
    pub severity: String,
    pub max_severity: String,
    /// `open` or `cleared`.
    pub state: String,
    /// `active`: nobody has acted on it.
    pub status: &'static str,
    pub title: String,
    pub trigger_value: Option<f64>,
    /// The limit that the trigger passed.
    pub threshold: Option<f64>,
    /// Where the reading that raised it stands in the log.
    pub trigger_pos: PositionResponse,
    pub last_value: Option<f64>,
    /// Readings evaluated while it was open.
    pub count: i64,
    pub start_ts: Ts,
    pub raised_at: Ts,
    pub end_ts: Option<Ts>,
    /// `provisional` while it is open, else `final`.
    pub finality: &'static str,
    /// The tick that found it.
    pub detected_at: Ts,
}

/// A place in the log.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct PositionResponse {
    pub topic: &'static str,
    pub partition: i32,
    pub offset: i64,
}

pub(super) const FIELDS: Fields = Fields {
    known: &[
        "alert_id",
        "rule_id",
        "rule_version",
        "source_type",
        "type",
        "sensor_id",
        "asset_id",
        "severity",
        "max_severity",
        "state",
        "status",
        "title",
        "trigger_value",
        "threshold",
        "trigger_pos",
        "last_value",
        "count",
        "start_ts",
        "raised_at",
        "end_ts",
        "finality",
        "detected_at",
    ],
    compact: &[
        "rule_id",
        "source_type",
        "type",
        "sensor_id",
        "asset_id",
        "severity",
        "state",
        "status",
        "title",
        "start_ts",
    ],
};

impl From<AlertRow> for AlertResponse {
    fn from(row: AlertRow) -> Self {
        let title = title(&row);
        Self {
            source_type: SOURCE_TYPE,
            type_: TYPE,
            status: STATUS,
            title,
            finality: if row.state == "open" {
                "provisional"
            } else {
                "final"
            },
            trigger_pos: PositionResponse {
                topic: Topic::Readings.name(),
                partition: row.trigger_partition,
                offset: row.trigger_offset,
            },
            alert_id: row.alert_id,
            rule_id: row.rule_id,
            rule_version: row.rule_version,
            sensor_id: row.sensor_id.to_string(),
            asset_id: row.asset_id,
            severity: row.severity,
            max_severity: row.max_severity,
            state: row.state,
            trigger_value: row.trigger_value,
            threshold: row.threshold,
            last_value: row.last_value,
            count: row.count,
            start_ts: Ts(row.start_ts),
            raised_at: Ts(row.raised_at),
            end_ts: row.end_ts.map(Ts),
            detected_at: Ts(row.detected_at),
        }
    }
}

/// What the alert says in one line.
pub(super) fn title(row: &AlertRow) -> String {
    match (row.trigger_value, row.threshold) {
        (Some(value), Some(limit)) if value > limit => {
            format!("{} above {limit}: {value}", row.sensor_id)
        }
        (Some(value), Some(limit)) => format!("{} below {limit}: {value}", row.sensor_id),
        _ => format!("{} outside its limits", row.sensor_id),
    }
}
