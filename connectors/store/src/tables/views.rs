//! Tables that the views job writes, and only that. A row is absolute: what stands as of its tick.

use openinfra_schemas::{Quality, SensorId, TenantId, time::Millis};

use crate::table;

/// The generation of view definitions that this version of the product keeps: the partition of
/// [`ProgressRow`] and [`AttemptRow`].
pub const GENERATION: i32 = 1;

/// Months since 1970-01 of a time, by the UTC calendar; negative before it.
pub fn month_of(ts: Millis) -> i32 {
    const DAY_MS: Millis = 86_400_000;
    // Days since 0000-03-01, in eras of 400 years: a year that begins in March ends with the leap day.
    let days = ts.div_euclid(DAY_MS) + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    // March is the third month of its year; January and February belong to the year before.
    let months = (era * 400 + year_of_era) * 12 + month_from_march + 2 - 1_970 * 12;
    months as i32
}

table! {
    /// View `latest_reading`: the newest accepted reading of a sensor by (event time, offset).
    pub struct LatestReadingRow in "latest_reading" {
        partition { tenant: TenantId, log_partition: i32 }
        clustering { sensor_id: SensorId }
        values {
            event_ts: Millis,
            /// Offset in the sensor's partition of `readings`.
            offset: i64,
            /// None when the quality is BAD.
            value: Option<f64>,
            quality: Quality,
            unit: Option<String>,
            /// Receive time of this reading.
            recv_ts: Millis,
            /// Whether the device sent the time.
            device_ts: bool,
            battery_pct: Option<f64>,
            signal_dbm: Option<f64>,
            /// Greatest receive time of any message that the log has of the sensor.
            last_recv_ts: Millis,
            tick: Millis,
        }
    }
}

table! {
    /// View `readings`: one immutable row for each value taken. In force at an event time is the row of
    /// the greatest offset.
    pub struct ReadingRow in "readings" {
        partition { tenant: TenantId, bucket: i32, hour: Millis }
        clustering { sensor_id: SensorId, event_ts: Millis, offset: i64 }
        values {
            value: Option<f64>,
            quality: Quality,
            recv_ts: Millis,
            device_ts: bool,
            unit: Option<String>,
            battery_pct: Option<f64>,
            signal_dbm: Option<f64>,
            tick: Millis,
        }
    }
}

table! {
    /// In which days of a month (UTC) a sensor has rows in `readings`: what a look-up over a long span
    /// need not search.
    pub struct SensorDaysRow in "sensor_days" {
        partition { tenant: TenantId, bucket: i32 }
        clustering {
            sensor_id: SensorId,
            /// Months since 1970-01.
            month: i32,
        }
        values {
            /// Bit d: the month's day d + 1 has rows.
            days: i32,
        }
    }
}

table! {
    /// View `hourly_aggregate`: one row for each hour of a sensor that has readings in force.
    pub struct HourlyAggregateRow in "hourly_aggregate" {
        partition {
            tenant: TenantId,
            bucket: i32,
            /// Start of the day (UTC).
            day: Millis,
        }
        clustering { sensor_id: SensorId, hour: Millis }
        values {
            count: i64,
            /// Sequential sum in event-time order. None, as the next six, when count is 0.
            sum: Option<f64>,
            min: Option<f64>,
            max: Option<f64>,
            mean: Option<f64>,
            /// Of the population, by Welford's recurrence in event-time order.
            stddev: Option<f64>,
            /// Values of the first and the last reading by event time, BAD ones skipped.
            first: Option<f64>,
            last: Option<f64>,
            bad_count: i64,
            late_count: i64,
            /// Tick of the last change, when the window was final before it.
            revised_at: Option<Millis>,
            tick: Millis,
        }
    }
}

table! {
    /// View `sensor_status`: connectivity and freshness; written when either changes.
    pub struct SensorStatusRow in "sensor_status" {
        partition { tenant: TenantId, log_partition: i32 }
        clustering { sensor_id: SensorId }
        values {
            /// `never_seen`, `online` or `offline`.
            status: String,
            /// Since when: online since the receive time of the message that brought it back (or the
            /// first), offline since the deadline, never seen since the registration's tick.
            since: Millis,
            offline_since: Option<Millis>,
            timeout_ms: i64,
            /// Why it is offline: `silent` or `never_reported`.
            reason: Option<String>,
            stale_since: Option<Millis>,
            tick: Millis,
            /// Greatest receive time of any message, until a reading is taken: from then on
            /// `latest_reading` has it, so that this row is not written for each message.
            last_recv_ts: Option<Millis>,
        }
    }
}

table! {
    /// View `offline_episode`: a silence longer than the timeout. Open while `recovered_at` is none.
    pub struct OfflineEpisodeRow in "offline_episode" {
        partition { tenant: TenantId, bucket: i32 }
        clustering { sensor_id: SensorId, offline_since: Millis }
        values {
            recovered_at: Option<Millis>,
            /// `recovered_at - offline_since`.
            gap_ms: Option<i64>,
            tick: Millis,
        }
    }
}

table! {
    /// View `sensor_seen`: sensors that sent and that nobody registered.
    pub struct SensorSeenRow in "sensor_seen" {
        partition { tenant: TenantId, log_partition: i32 }
        clustering { sensor_id: SensorId }
        values { first_recv_ts: Millis, last_recv_ts: Millis, tick: Millis }
    }
}

/// Into how many partitions a tenant's `sensor_index` is spread, by bucket modulo this.
pub const SENSOR_INDEX_SHARDS: i32 = 16;

table! {
    /// What lists of sensors filter on: every sensor, registered or only seen.
    pub struct SensorIndexRow in "sensor_index" {
        partition { tenant: TenantId, shard: i32 }
        clustering { sensor_id: SensorId }
        values {
            bucket: i32,
            registered: bool,
            /// Version of the entity; 0 when not registered.
            version: i64,
            sensor_type: Option<String>,
            asset_id: Option<String>,
            status: String,
            stale: bool,
            updated_at: Millis,
            /// The entity as JSON, as the log has it; none when not registered.
            body: Option<String>,
            tick: Millis,
        }
    }
}

table! {
    /// View `alert`, by state: open ones in one partition, cleared ones by the month they were opened in.
    pub struct AlertRow in "alert" {
        partition {
            tenant: TenantId,
            /// `open` or `cleared`.
            state: String,
            /// Months since 1970-01 of `start_ts`; -1 for open ones.
            month: i32,
        }
        clustering { start_ts: Millis, alert_id: String }
        values {
            rule_id: String,
            rule_version: i64,
            sensor_id: SensorId,
            asset_id: Option<String>,
            severity: String,
            max_severity: String,
            /// Event time (or tick, when an edit of thresholds did it) of the raise.
            raised_at: Millis,
            end_ts: Option<Millis>,
            trigger_value: Option<f64>,
            /// The limit that the trigger passed.
            threshold: Option<f64>,
            /// Partition and offset in `readings` of the reading that raised it.
            trigger_partition: i32,
            trigger_offset: i64,
            last_value: Option<f64>,
            /// Readings evaluated while it was open, the one that raised it included.
            count: i64,
            detected_at: Millis,
            tick: Millis,
        }
    }
}

table! {
    /// Where the row of an alert stands in `alert`.
    pub struct AlertByIdRow in "alert_by_id" {
        partition { tenant: TenantId, alert_id: String }
        clustering {}
        values { state: String, month: i32, start_ts: Millis, tick: Millis }
    }
}

table! {
    /// The months in which a tenant has cleared alerts. A month stays once it stood here.
    pub struct AlertMonthRow in "alert_month" {
        partition { tenant: TenantId }
        clustering { month: i32 }
        values { tick: Millis }
    }
}

table! {
    /// View `ledger`: what was refused, by connectors (topic `ledger`) and by the job (topic `readings`).
    pub struct LedgerRow in "ledger" {
        partition { tenant: TenantId, reason: String, topic: String, log_partition: i32 }
        clustering { offset: i64 }
        values {
            detail: String,
            source: String,
            sensor_id: Option<String>,
            event_ts: Option<Millis>,
            recv_ts: Option<Millis>,
            payload: Vec<u8>,
            tick: Millis,
        }
    }
}

table! {
    /// What became of all records, by tenant and source.
    pub struct LedgerSummaryRow in "ledger_summary" {
        partition { tenant: TenantId }
        clustering { source: String }
        values {
            /// Records of `readings` and `ledger`, counted as they were read.
            log_records: i64,
            accepted: i64,
            duplicates: i64,
            corrections: i64,
            undecodable: i64,
            invalid: i64,
            schema_rejected: i64,
            unknown_tenant: i64,
            late_beyond_horizon: i64,
            clock_future: i64,
            unknown_sensor: i64,
            /// Of the accepted: those whose time is ours, so that a resend counts again.
            server_ts: i64,
            tick: Millis,
        }
    }
}

/// Into how many partitions a tenant's `asset_health` is spread: murmur2 of the asset id modulo this.
pub const ASSET_SHARDS: i32 = 16;

table! {
    /// View `asset_health`: an asset that a sensor names.
    pub struct AssetHealthRow in "asset_health" {
        partition { tenant: TenantId, shard: i32 }
        clustering { asset_id: String }
        values {
            worst_severity: Option<String>,
            alerts_info: i64,
            alerts_low: i64,
            alerts_medium: i64,
            alerts_high: i64,
            alerts_critical: i64,
            sensors_total: i64,
            sensors_online: i64,
            sensors_offline: i64,
            sensors_stale: i64,
            sensors_never_seen: i64,
            tick: Millis,
        }
    }
}

table! {
    /// View `indicators`: counts by name; a count that falls to 0 leaves no row.
    pub struct IndicatorRow in "indicators" {
        partition { tenant: TenantId }
        clustering { name: String }
        values { value: i64, tick: Millis }
    }
}

table! {
    /// The tenants of which the log has any record.
    pub struct TenantRow in "tenant" {
        partition { scope: String }
        clustering { tenant: TenantId }
        values { tick: Millis }
    }
}

/// The only value of [`TenantRow::scope`].
pub const ALL_TENANTS: &str = "all";

table! {
    /// How far the views are; the row that makes a tick visible, written after all its others.
    pub struct ProgressRow in "progress" {
        partition { generation: i32 }
        clustering {}
        values {
            /// The tick that all views are as of.
            as_of: Millis,
            attempt: i64,
            /// End (exclusive) of what is in the views, as JSON: `{topic: [end by partition]}`.
            ends: String,
            /// Rows of each view, as JSON: `{view: rows}`.
            rows: String,
            log_id: String,
            /// Offset in `ticks` of the tick's record.
            tick_offset: i64,
            /// By which the last record of each partition is known again, as JSON:
            /// `{topic: {partition: [offset, mark]}}`.
            marks: Option<String>,
            /// The tick that all rows of `hourly_aggregate` are at least as of; some are newer. None: as
            /// [`as_of`](Self::as_of).
            hourly_as_of: Option<Millis>,
        }
    }
}

table! {
    /// Which instance of the job is the newest.
    pub struct AttemptRow in "job_attempt" {
        partition { generation: i32 }
        clustering {}
        values { attempt: i64 }
    }
}

#[cfg(test)]
mod tests {
    use openinfra_schemas::time::parse_ts;

    use super::*;

    #[test]
    fn months_follow_the_calendar() {
        for (text, month) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-31T23:59:59.999Z", 0),
            ("1970-02-01T00:00:00Z", 1),
            ("1969-12-31T23:59:59.999Z", -1),
            ("1999-12-31T23:59:59.999Z", 359),
            ("2000-02-29T12:00:00Z", 361),
            ("2000-03-01T00:00:00Z", 362),
            ("2024-02-29T23:59:59.999Z", 649),
            ("2024-03-01T00:00:00Z", 650),
            ("1600-02-29T00:00:00Z", -4439),
        ] {
            let ts = parse_ts(text).expect("the test's times are right");
            assert_eq!(month_of(ts), month, "{text}");
        }
    }
}
