//! Rows of views as the job would write them.

use std::collections::BTreeMap;

use openinfra_schemas::{
    Quality, SensorId,
    time::{Millis, hour_of, month_and_day_of, month_of},
};
use openinfra_store::tables::views::{
    AlertByIdRow, AlertMonthRow, AlertRow, HourlyAggregateRow, LatestReadingRow, ReadingRow,
    SENSOR_INDEX_SHARDS, SensorDaysRow, SensorIndexRow, SensorStatusRow,
};

use crate::app::{NOON, TestApp, tenant, ts};

pub fn sensor(id: &str) -> SensorId {
    SensorId::parse(id).unwrap()
}

/// A sensor that nobody registered, online.
pub fn index(app: &TestApp, id: &str) -> SensorIndexRow {
    let bucket = app.bucket(id);
    SensorIndexRow {
        tenant: tenant(),
        shard: bucket % SENSOR_INDEX_SHARDS,
        sensor_id: sensor(id),
        bucket,
        registered: false,
        version: 0,
        sensor_type: None,
        asset_id: None,
        status: "online".to_owned(),
        stale: false,
        updated_at: ts(NOON),
        body: None,
        tick: ts(NOON),
    }
}

pub fn status(app: &TestApp, id: &str) -> SensorStatusRow {
    SensorStatusRow {
        tenant: tenant(),
        log_partition: app.log_partition(id),
        sensor_id: sensor(id),
        status: "online".to_owned(),
        since: ts(NOON),
        offline_since: None,
        timeout_ms: 900_000,
        reason: None,
        stale_since: None,
        tick: ts(NOON),
        last_recv_ts: None,
    }
}

pub fn latest(app: &TestApp, id: &str, event_ts: Millis) -> LatestReadingRow {
    LatestReadingRow {
        tenant: tenant(),
        log_partition: app.log_partition(id),
        sensor_id: sensor(id),
        event_ts,
        offset: 1,
        value: Some(1.5),
        quality: Quality::Good,
        unit: None,
        recv_ts: event_ts + 10,
        device_ts: true,
        battery_pct: Some(80.0),
        signal_dbm: None,
        last_recv_ts: event_ts + 20,
        tick: ts(NOON),
    }
}

pub fn reading(
    app: &TestApp,
    id: &str,
    event_ts: Millis,
    offset: i64,
    value: Option<f64>,
) -> ReadingRow {
    ReadingRow {
        tenant: tenant(),
        bucket: app.bucket(id),
        hour: hour_of(event_ts),
        sensor_id: sensor(id),
        event_ts,
        offset,
        value,
        quality: if value.is_some() {
            Quality::Good
        } else {
            Quality::Bad
        },
        recv_ts: event_ts + 10,
        device_ts: true,
        unit: None,
        battery_pct: None,
        signal_dbm: None,
        tick: ts(NOON),
    }
}

/// The calendar of a sensor with readings at these times.
pub fn days(app: &TestApp, id: &str, times: &[Millis]) -> Vec<SensorDaysRow> {
    let mut months = BTreeMap::new();
    for (month, day) in times.iter().map(|ts| month_and_day_of(*ts)) {
        *months.entry(month).or_insert(0) |= 1 << day;
    }
    let row = |(month, days)| SensorDaysRow {
        tenant: tenant(),
        bucket: app.bucket(id),
        sensor_id: sensor(id),
        month,
        days,
    };
    months.into_iter().map(row).collect()
}

pub fn hourly(app: &TestApp, id: &str, hour: Millis) -> HourlyAggregateRow {
    HourlyAggregateRow {
        tenant: tenant(),
        bucket: app.bucket(id),
        day: openinfra_schemas::time::day_of(hour),
        sensor_id: sensor(id),
        hour,
        count: 2,
        sum: Some(3.0),
        min: Some(1.0),
        max: Some(2.0),
        mean: Some(1.5),
        stddev: Some(0.5),
        first: Some(1.0),
        last: Some(2.0),
        bad_count: 1,
        late_count: 0,
        revised_at: None,
        tick: ts(NOON),
    }
}

/// An alert, open or cleared, and the rows by which it is found.
pub fn alert(id: &str, sensor_id: &str, start: &str, open: bool) -> AlertRow {
    let start_ts = ts(start);
    AlertRow {
        tenant: tenant(),
        state: if open { "open" } else { "cleared" }.to_owned(),
        month: if open { -1 } else { month_of(start_ts) },
        start_ts,
        alert_id: id.to_owned(),
        rule_id: "builtin:thresholds".to_owned(),
        rule_version: 1,
        sensor_id: sensor(sensor_id),
        asset_id: None,
        severity: "medium".to_owned(),
        max_severity: "medium".to_owned(),
        raised_at: start_ts,
        end_ts: (!open).then_some(start_ts + 60_000),
        trigger_value: Some(90.0),
        threshold: Some(80.0),
        trigger_partition: 3,
        trigger_offset: 7,
        last_value: Some(91.0),
        count: 2,
        detected_at: ts(NOON),
        tick: ts(NOON),
    }
}

/// Writes alerts as the job would.
pub async fn write_alerts(app: &TestApp, alerts: Vec<AlertRow>) {
    let by_id = alerts.iter().map(|alert| AlertByIdRow {
        tenant: tenant(),
        alert_id: alert.alert_id.clone(),
        state: alert.state.clone(),
        month: alert.month,
        start_ts: alert.start_ts,
        tick: alert.tick,
    });
    app.rows(by_id.collect::<Vec<_>>()).await;
    let months = alerts
        .iter()
        .filter(|a| a.month >= 0)
        .map(|alert| AlertMonthRow {
            tenant: tenant(),
            month: alert.month,
            tick: alert.tick,
        });
    app.rows(months.collect::<Vec<_>>()).await;
    app.rows(alerts).await;
}
