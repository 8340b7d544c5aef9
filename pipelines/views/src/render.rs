//! Changes of views to rows of the store.
//!
//! A newcomer would look for increments. Every row is absolute; the only thing that moves is an alert,
//! whose row leaves the open ones when it clears.

use openinfra_operators::{
    AlertChange, AssetHealth, Change, EpisodeChange, HistoryRow, HourlyRow, IndexChange,
    IndicatorChange, LatestRow, LedgerChange, SeenChange, StatusRow,
};
use openinfra_schemas::{
    SensorId, TenantId,
    key::{murmur2, partition_of_bucket},
    time::{HOUR_MS, Millis},
};
use openinfra_store::{
    Batch, KeyBuf, Row, RowKey, Table,
    tables::views::{
        ALL_TENANTS, ASSET_SHARDS, AlertByIdRow, AlertMonthRow, AlertRow, AssetHealthRow,
        HourlyAggregateRow, IndicatorRow, LatestReadingRow, LedgerRow, OfflineEpisodeRow,
        ReadingRow, SENSOR_INDEX_SHARDS, SensorDaysRow, SensorIndexRow, SensorSeenRow,
        SensorStatusRow, TenantRow, month_of,
    },
};

/// A record that the ledger keeps: where it stands, and its bytes.
#[derive(Debug)]
pub(crate) struct LedgerSource {
    pub(crate) topic: &'static str,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) payload: Vec<u8>,
}

/// Adds the rows of one change at `tick`. Tenants are left to [`tenant`], as all workers may see one
/// first; `source` finds the record behind a change of the ledger.
pub(crate) fn render(
    change: Change,
    tick: Millis,
    source: impl FnOnce(usize) -> LedgerSource,
    out: &mut Batch,
) {
    match change {
        Change::Reading(row) => out.put(&reading(row, tick)),
        Change::Latest(row) => out.put(&latest(row, tick)),
        Change::Hourly(row) => out.put(&hourly(row, tick)),
        Change::Status(row) => status(row, tick, out),
        Change::Episode(row) => episode(row, tick, out),
        Change::Seen(row) => seen(row, tick, out),
        Change::Index(row) => index(row, tick, out),
        Change::Day {
            tenant,
            bucket,
            sensor_id,
            month,
            days,
        } => out.put(&SensorDaysRow {
            tenant,
            bucket,
            sensor_id,
            month,
            days,
        }),
        Change::Alert(row) => alert(*row, tick, out),
        Change::Ledger(row) => {
            let source = source(row.record);
            out.put(&ledger(row, source, tick));
        }
        Change::AssetHealth(row) => asset_health(row, tick, out),
        Change::Indicator(row) => indicator(row, tick, out),
        Change::Tenant(_) => {}
    }
}

/// The row of a tenant first seen at `tick`.
pub(crate) fn tenant(tenant: TenantId, tick: Millis) -> TenantRow {
    TenantRow {
        scope: ALL_TENANTS.to_owned(),
        tenant,
        tick,
    }
}

fn reading(row: HistoryRow, tick: Millis) -> ReadingRow {
    ReadingRow {
        tenant: row.tenant,
        bucket: row.bucket,
        hour: row.event_ts.div_euclid(HOUR_MS) * HOUR_MS,
        sensor_id: row.sensor_id,
        event_ts: row.event_ts,
        offset: row.offset,
        value: row.value,
        quality: row.quality,
        recv_ts: row.recv_ts,
        device_ts: row.device_ts,
        unit: row.unit,
        battery_pct: row.battery_pct,
        signal_dbm: row.signal_dbm,
        tick,
    }
}

fn latest(row: LatestRow, tick: Millis) -> LatestReadingRow {
    LatestReadingRow {
        tenant: row.tenant,
        log_partition: partition_of_bucket(row.bucket),
        sensor_id: row.sensor_id,
        event_ts: row.event_ts,
        offset: row.offset,
        value: row.value,
        quality: row.quality,
        unit: row.unit,
        recv_ts: row.recv_ts,
        device_ts: row.device_ts,
        battery_pct: row.battery_pct,
        signal_dbm: row.signal_dbm,
        last_recv_ts: row.last_recv_ts,
        tick,
    }
}

fn hourly(row: HourlyRow, tick: Millis) -> HourlyAggregateRow {
    const DAY_MS: Millis = 24 * HOUR_MS;
    HourlyAggregateRow {
        tenant: row.tenant,
        bucket: row.bucket,
        day: row.hour.div_euclid(DAY_MS) * DAY_MS,
        sensor_id: row.sensor_id,
        hour: row.hour,
        count: row.count,
        sum: row.sum,
        min: row.min,
        max: row.max,
        mean: row.mean,
        stddev: row.stddev,
        first: row.first,
        last: row.last,
        bad_count: row.bad_count,
        late_count: row.late_count,
        revised_at: row.revised_at,
        tick,
    }
}

/// The key of a sensor's row in a table that is partitioned by a number: bucket, log partition or shard.
fn sensor_key(
    table: &'static Table,
    tenant: &TenantId,
    number: i32,
    clustering: &KeyBuf,
) -> RowKey {
    let partition = KeyBuf::new().text(tenant.as_str()).int(number);
    RowKey::new(table, &partition, clustering)
}

fn sensor(id: &SensorId) -> KeyBuf {
    KeyBuf::new().text(id.as_str())
}

fn status(row: StatusRow, tick: Millis, out: &mut Batch) {
    let log_partition = partition_of_bucket(row.bucket);
    let Some(columns) = row.status else {
        let key = sensor(&row.sensor_id);
        return out.remove(&sensor_key(
            SensorStatusRow::TABLE,
            &row.tenant,
            log_partition,
            &key,
        ));
    };
    out.put(&SensorStatusRow {
        tenant: row.tenant,
        log_partition,
        sensor_id: row.sensor_id,
        status: columns.status.to_owned(),
        since: columns.since,
        offline_since: columns.offline_since,
        timeout_ms: columns.timeout_ms,
        reason: columns.reason.map(str::to_owned),
        stale_since: columns.stale_since,
        tick,
        last_recv_ts: columns.last_recv_ts,
    });
}

fn episode(row: EpisodeChange, tick: Millis, out: &mut Batch) {
    let Some(recovered_at) = row.recovered_at else {
        let key = sensor(&row.sensor_id).bigint(row.offline_since);
        return out.remove(&sensor_key(
            OfflineEpisodeRow::TABLE,
            &row.tenant,
            row.bucket,
            &key,
        ));
    };
    out.put(&OfflineEpisodeRow {
        tenant: row.tenant,
        bucket: row.bucket,
        sensor_id: row.sensor_id,
        offline_since: row.offline_since,
        recovered_at,
        gap_ms: recovered_at.map(|at| at - row.offline_since),
        tick,
    });
}

fn seen(row: SeenChange, tick: Millis, out: &mut Batch) {
    let log_partition = partition_of_bucket(row.bucket);
    let Some((first_recv_ts, last_recv_ts)) = row.seen else {
        let key = sensor(&row.sensor_id);
        return out.remove(&sensor_key(
            SensorSeenRow::TABLE,
            &row.tenant,
            log_partition,
            &key,
        ));
    };
    out.put(&SensorSeenRow {
        tenant: row.tenant,
        log_partition,
        sensor_id: row.sensor_id,
        first_recv_ts,
        last_recv_ts,
        tick,
    });
}

fn index(change: IndexChange, tick: Millis, out: &mut Batch) {
    let shard = change.bucket % SENSOR_INDEX_SHARDS;
    let Some(row) = change.row else {
        let key = sensor(&change.sensor_id);
        return out.remove(&sensor_key(
            SensorIndexRow::TABLE,
            &change.tenant,
            shard,
            &key,
        ));
    };
    let entity = row.entity.as_deref();
    out.put(&SensorIndexRow {
        tenant: change.tenant,
        shard,
        sensor_id: change.sensor_id,
        bucket: change.bucket,
        registered: row.registered,
        version: row.version,
        sensor_type: entity.and_then(|e| e.sensor_type.clone()),
        asset_id: entity.and_then(|e| e.asset_id.clone()),
        status: row.status.to_owned(),
        stale: row.stale,
        updated_at: row.updated_at,
        body: entity.map(|e| serde_json::to_string(e).expect("a sensor's keys are text")),
        tick,
    });
}

/// The partition of an alert's row: state and month.
fn alert_place(open: bool, start_ts: Millis) -> (&'static str, i32) {
    if open {
        ("open", -1)
    } else {
        ("cleared", month_of(start_ts))
    }
}

fn alert(change: AlertChange, tick: Millis, out: &mut Batch) {
    let key = change.key;
    let (state, month) = alert_place(key.open, key.start_ts);
    if change.before.is_some_and(|was_open| was_open != key.open) {
        let (state, month) = alert_place(!key.open, key.start_ts);
        let partition = KeyBuf::new()
            .text(change.tenant.as_str())
            .text(state)
            .int(month);
        let clustering = KeyBuf::new().bigint(key.start_ts).text(&key.alert_id);
        out.remove(&RowKey::new(AlertRow::TABLE, &partition, &clustering));
    }
    if !key.open {
        out.put(&AlertMonthRow {
            tenant: change.tenant.clone(),
            month,
            tick,
        });
    }
    out.put(&AlertByIdRow {
        tenant: change.tenant.clone(),
        alert_id: key.alert_id.clone(),
        state: state.to_owned(),
        month,
        start_ts: key.start_ts,
        tick,
    });
    out.put(&AlertRow {
        tenant: change.tenant,
        state: state.to_owned(),
        month,
        start_ts: key.start_ts,
        alert_id: key.alert_id,
        rule_id: change.rule_id.to_owned(),
        rule_version: change.rule_version,
        sensor_id: change.sensor_id,
        asset_id: change.asset_id,
        severity: change.severity.to_owned(),
        max_severity: change.max_severity.to_owned(),
        raised_at: change.raised_at,
        end_ts: change.end_ts,
        trigger_value: Some(change.trigger_value),
        threshold: Some(change.threshold),
        trigger_partition: change.trigger_partition,
        trigger_offset: change.trigger_offset,
        last_value: Some(change.last_value),
        count: change.count,
        detected_at: change.detected_at,
        tick,
    });
}

fn ledger(row: LedgerChange, source: LedgerSource, tick: Millis) -> LedgerRow {
    LedgerRow {
        tenant: row.tenant,
        reason: row.reason.as_str().to_owned(),
        topic: source.topic.to_owned(),
        log_partition: source.partition,
        offset: source.offset,
        detail: row.detail,
        source: row.source,
        sensor_id: row.sensor_id,
        event_ts: row.event_ts,
        recv_ts: row.recv_ts,
        payload: source.payload,
        tick,
    }
    .bounded()
}

fn asset_health(row: AssetHealth, tick: Millis, out: &mut Batch) {
    let shard = (murmur2(row.asset_id.as_bytes()) % ASSET_SHARDS as u32) as i32;
    let Some(columns) = row.columns else {
        let key = KeyBuf::new().text(&row.asset_id);
        return out.remove(&sensor_key(AssetHealthRow::TABLE, &row.tenant, shard, &key));
    };
    let [info, low, medium, high, critical] = columns.open_alerts;
    out.put(&AssetHealthRow {
        tenant: row.tenant,
        shard,
        asset_id: row.asset_id,
        worst_severity: columns.worst_severity.map(str::to_owned),
        alerts_info: info,
        alerts_low: low,
        alerts_medium: medium,
        alerts_high: high,
        alerts_critical: critical,
        sensors_total: columns.sensors_total,
        sensors_online: columns.sensors_online,
        sensors_offline: columns.sensors_offline,
        sensors_stale: columns.sensors_stale,
        sensors_never_seen: columns.sensors_never_seen,
        tick,
    });
}

fn indicator(row: IndicatorChange, tick: Millis, out: &mut Batch) {
    let Some(value) = row.value else {
        let partition = KeyBuf::new().text(row.tenant.as_str());
        let name = KeyBuf::new().text(&row.name);
        return out.remove(&RowKey::new(IndicatorRow::TABLE, &partition, &name));
    };
    out.put(&IndicatorRow {
        tenant: row.tenant,
        name: row.name,
        value,
        tick,
    });
}

#[cfg(test)]
mod tests;
