//! What a tick changes in the views. Every row is absolute: what stands as of the tick.

use openinfra_schemas::{Quality, Reason, SensorId, TenantId, time::Millis};

/// One change of one view. The sensor's bucket comes with each row of a sensor, as tables are
/// partitioned by it. Where a change carries `is_new`, it says whether the row was not there before.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// View `readings`: an immutable row.
    Reading(HistoryRow),
    /// View `latest_reading`.
    Latest(LatestRow),
    /// View `hourly_aggregate`.
    Hourly(HourlyRow),
    /// View `sensor_status`; none: the sensor is gone.
    Status(StatusRow),
    /// View `offline_episode`.
    Episode(EpisodeChange),
    /// View `sensor_seen`.
    Seen(SeenChange),
    /// The list of sensors, registered or seen.
    Index(IndexChange),
    /// The sensor's first readings in this UTC day: a bit more in its calendar.
    Day {
        tenant: TenantId,
        bucket: i32,
        sensor_id: SensorId,
        month: i32,
        days: i32,
    },
    /// View `alert`.
    Alert(Box<AlertChange>),
    /// View `ledger`.
    Ledger(LedgerChange),
    /// View `asset_health`.
    AssetHealth(AssetHealth),
    /// View `indicators`.
    Indicator(IndicatorChange),
    /// A tenant whose first record this is.
    Tenant(TenantId),
}

/// A value that was taken.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryRow {
    pub tenant: TenantId,
    pub bucket: i32,
    pub sensor_id: SensorId,
    pub event_ts: Millis,
    pub offset: i64,
    /// None when BAD.
    pub value: Option<f64>,
    pub quality: Quality,
    pub recv_ts: Millis,
    pub device_ts: bool,
    pub unit: Option<String>,
    pub battery_pct: Option<f64>,
    pub signal_dbm: Option<f64>,
    /// False for a correction: the event time had a row before.
    pub is_new: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct LatestRow {
    pub tenant: TenantId,
    pub bucket: i32,
    pub sensor_id: SensorId,
    pub event_ts: Millis,
    pub offset: i64,
    pub value: Option<f64>,
    pub quality: Quality,
    pub unit: Option<String>,
    pub recv_ts: Millis,
    pub device_ts: bool,
    pub battery_pct: Option<f64>,
    pub signal_dbm: Option<f64>,
    pub last_recv_ts: Millis,
    pub is_new: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct HourlyRow {
    pub tenant: TenantId,
    pub bucket: i32,
    pub sensor_id: SensorId,
    pub hour: Millis,
    pub count: i64,
    /// None, as the next six, when `count` is 0.
    pub sum: Option<f64>,
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub mean: Option<f64>,
    pub stddev: Option<f64>,
    pub first: Option<f64>,
    pub last: Option<f64>,
    pub bad_count: i64,
    pub late_count: i64,
    pub revised_at: Option<Millis>,
    pub is_new: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct StatusRow {
    pub tenant: TenantId,
    pub bucket: i32,
    pub sensor_id: SensorId,
    /// None removes the row.
    pub status: Option<StatusColumns>,
    pub is_new: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct StatusColumns {
    /// `never_seen`, `online`, `offline`.
    pub status: &'static str,
    pub since: Millis,
    pub offline_since: Option<Millis>,
    pub timeout_ms: i64,
    pub reason: Option<&'static str>,
    pub stale_since: Option<Millis>,
    /// Greatest receive time of any message, until a reading is taken: then [`LatestRow`] has it.
    pub last_recv_ts: Option<Millis>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct EpisodeChange {
    pub tenant: TenantId,
    pub bucket: i32,
    pub sensor_id: SensorId,
    pub offline_since: Millis,
    /// None removes the row; `Some(None)` is an open episode.
    pub recovered_at: Option<Option<Millis>>,
    pub is_new: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct SeenChange {
    pub tenant: TenantId,
    pub bucket: i32,
    pub sensor_id: SensorId,
    /// First and greatest receive time; none removes the row, as the sensor is registered now.
    pub seen: Option<(Millis, Millis)>,
    pub is_new: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct IndexChange {
    pub tenant: TenantId,
    pub bucket: i32,
    pub sensor_id: SensorId,
    /// None removes the row.
    pub row: Option<IndexColumns>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct IndexColumns {
    pub registered: bool,
    pub version: i64,
    /// The entity in force.
    pub entity: Option<Box<openinfra_schemas::Sensor>>,
    pub status: &'static str,
    pub stale: bool,
    pub updated_at: Millis,
}

/// Where the row of an alert stands: it moves from the open ones to a month when it clears.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlertKey {
    pub open: bool,
    pub start_ts: Millis,
    /// UUIDv5 of (tenant, rule, sensor, start_ts).
    pub alert_id: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct AlertChange {
    pub tenant: TenantId,
    pub key: AlertKey,
    /// Whether a row stood under this alert's id before this tick, and if so, whether it was open.
    pub before: Option<bool>,
    pub rule_id: &'static str,
    pub rule_version: i64,
    pub sensor_id: SensorId,
    pub asset_id: Option<String>,
    pub severity: &'static str,
    pub max_severity: &'static str,
    pub raised_at: Millis,
    pub end_ts: Option<Millis>,
    pub trigger_value: f64,
    pub threshold: f64,
    pub trigger_partition: i32,
    pub trigger_offset: i64,
    pub last_value: f64,
    pub count: i64,
    pub detected_at: Millis,
}

/// A record that counts nowhere else. The host has its bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct LedgerChange {
    /// Index of the record in [`TickInput::records`](crate::TickInput).
    pub record: usize,
    pub tenant: TenantId,
    pub reason: Reason,
    pub detail: String,
    pub source: String,
    pub sensor_id: Option<String>,
    pub event_ts: Option<Millis>,
    pub recv_ts: Option<Millis>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct AssetHealth {
    pub tenant: TenantId,
    pub asset_id: String,
    /// None removes the row: no sensor names the asset.
    pub columns: Option<AssetHealthColumns>,
    pub is_new: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct AssetHealthColumns {
    pub worst_severity: Option<&'static str>,
    /// Open alerts: info, low, medium, high, critical.
    pub open_alerts: [i64; 5],
    pub sensors_total: i64,
    pub sensors_online: i64,
    pub sensors_offline: i64,
    pub sensors_stale: i64,
    pub sensors_never_seen: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndicatorChange {
    pub tenant: TenantId,
    /// `sensors_online`, `sensors_offline`, `sensors_never_seen`, `sensors_stale`, `sensors_total`,
    /// `alerts_open`, `alerts_open_<severity>`.
    pub name: String,
    /// None removes the row: nothing is counted under this name.
    pub value: Option<i64>,
    pub is_new: bool,
}

/// What became of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    Accepted,
    Duplicate,
    Correction,
    Refused(Reason),
}

/// What became of the records of one tenant and source at one tick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutcomeCounts {
    pub tenant: TenantId,
    pub source: String,
    /// Records fed, counted before anything is decided about them.
    pub log_records: i64,
    pub accepted: i64,
    pub duplicates: i64,
    pub corrections: i64,
    /// By [`Reason::ALL`]'s order.
    pub refused: [i64; 7],
    /// Of the accepted: those whose time is ours.
    pub server_ts: i64,
}
