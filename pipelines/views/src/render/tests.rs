//! What each change becomes: which rows are written, and which removed.

use openinfra_operators::{
    AlertKey,
    change::{AssetHealthColumns, IndexColumns, StatusColumns},
};
use openinfra_schemas::{Quality, Reason, Sensor, time::parse_ts};
use openinfra_store::WriteClass;

use super::*;

const TICK: Millis = 77;

fn rendered(change: Change) -> Batch {
    let mut batch = Batch::new(WriteClass::Tick(TICK));
    let source = |record| LedgerSource {
        topic: "readings",
        partition: 3,
        offset: record as i64 + 100,
        payload: b"bytes".to_vec(),
    };
    render(change, TICK, source, &mut batch);
    batch
}

/// The rows of one table in a batch, as (key, row); none: removed.
fn rows<R: Row>(batch: &Batch) -> Vec<(Vec<u8>, Option<R>)> {
    batch
        .mutations()
        .filter(|m| *m.table == *R::TABLE)
        .map(|m| {
            let (partition, clustering) = m.key.split_at(m.partition_len);
            let row = m
                .value
                .map(|value| R::decode(partition, clustering, value).unwrap());
            (m.key.to_vec(), row)
        })
        .collect()
}

/// The only row that a batch writes.
fn only<R: Row>(batch: &Batch) -> R {
    assert_eq!(batch.len(), 1);
    rows::<R>(batch).pop().unwrap().1.unwrap()
}

/// Removing says the key that writing said.
fn check_removal<R: Row>(written: Change, removed: Change) {
    let (written, removed) = (rendered(written), rendered(removed));
    let (written, removed) = (rows::<R>(&written), rows::<R>(&removed));
    assert_eq!((written.len(), removed.len()), (1, 1));
    assert!(written[0].1.is_some());
    assert!(removed[0].1.is_none());
    assert_eq!(written[0].0, removed[0].0);
}

fn city() -> TenantId {
    TenantId::parse("city").unwrap()
}

fn meter() -> SensorId {
    SensorId::parse("meter").unwrap()
}

#[test]
fn a_reading_stands_in_its_hour() {
    let event_ts = parse_ts("1969-12-31T23:59:59.999Z").unwrap();
    let row: ReadingRow = only(&rendered(Change::Reading(HistoryRow {
        tenant: city(),
        bucket: 9,
        sensor_id: meter(),
        event_ts,
        offset: 5,
        value: None,
        quality: Quality::Bad,
        recv_ts: 3,
        device_ts: true,
        unit: None,
        battery_pct: Some(50.0),
        signal_dbm: None,
        is_new: true,
    })));
    assert_eq!(row.hour, -HOUR_MS);
    assert_eq!((row.bucket, row.offset, row.value), (9, 5, None));
    assert_eq!((row.battery_pct, row.tick), (Some(50.0), TICK));
}

#[test]
fn an_hour_stands_in_its_day() {
    let hour = parse_ts("2024-02-29T23:00:00Z").unwrap();
    let row: HourlyAggregateRow = only(&rendered(Change::Hourly(HourlyRow {
        tenant: city(),
        bucket: 0,
        sensor_id: meter(),
        hour,
        count: 1,
        sum: Some(2.0),
        min: Some(2.0),
        max: Some(2.0),
        mean: Some(2.0),
        stddev: Some(0.0),
        first: Some(2.0),
        last: Some(2.0),
        bad_count: 0,
        late_count: 1,
        revised_at: None,
        is_new: true,
    })));
    assert_eq!(row.day, parse_ts("2024-02-29T00:00:00Z").unwrap());
    assert_eq!((row.hour, row.sum, row.late_count), (hour, Some(2.0), 1));
}

#[test]
fn sensors_rows_are_removed_under_their_keys() {
    let status = |status| {
        Change::Status(StatusRow {
            tenant: city(),
            bucket: 4,
            sensor_id: meter(),
            status,
            is_new: false,
        })
    };
    let online = StatusColumns {
        status: "online",
        since: 1,
        offline_since: None,
        timeout_ms: 60_000,
        reason: None,
        stale_since: None,
        last_recv_ts: Some(7),
    };
    check_removal::<SensorStatusRow>(status(Some(online)), status(None));

    let episode = |recovered_at| {
        Change::Episode(EpisodeChange {
            tenant: city(),
            bucket: 4,
            sensor_id: meter(),
            offline_since: 10,
            recovered_at,
            is_new: false,
        })
    };
    check_removal::<OfflineEpisodeRow>(episode(Some(None)), episode(None));
    let closed: OfflineEpisodeRow = only(&rendered(episode(Some(Some(25)))));
    assert_eq!((closed.recovered_at, closed.gap_ms), (Some(25), Some(15)));

    let seen = |seen| {
        Change::Seen(SeenChange {
            tenant: city(),
            bucket: 4,
            sensor_id: meter(),
            seen,
            is_new: false,
        })
    };
    check_removal::<SensorSeenRow>(seen(Some((1, 2))), seen(None));
}

#[test]
fn the_index_carries_the_entity() {
    let entity = Sensor {
        sensor_id: meter(),
        sensor_type: Some("flow".to_owned()),
        unit: None,
        asset_id: Some("pipe".to_owned()),
        location: None,
        thresholds: None,
        offline_timeout_ms: None,
        max_age_ms: None,
        reporting_interval_ms: None,
        created_at: 1,
        created_by: "a".to_owned(),
        updated_at: 2,
        updated_by: "b".to_owned(),
    };
    let index = |row| {
        Change::Index(IndexChange {
            tenant: city(),
            bucket: SENSOR_INDEX_SHARDS + 3,
            sensor_id: meter(),
            row,
        })
    };
    let columns = IndexColumns {
        registered: true,
        version: 6,
        entity: Some(Box::new(entity.clone())),
        status: "offline",
        stale: true,
        updated_at: 2,
    };
    check_removal::<SensorIndexRow>(index(Some(columns.clone())), index(None));
    let row: SensorIndexRow = only(&rendered(index(Some(columns))));
    assert_eq!((row.shard, row.bucket), (3, SENSOR_INDEX_SHARDS + 3));
    assert_eq!(row.asset_id.as_deref(), Some("pipe"));
    let body: Sensor = serde_json::from_str(&row.body.unwrap()).unwrap();
    assert_eq!(body, entity);
}

fn alert_change(open: bool, before: Option<bool>) -> Change {
    Change::Alert(Box::new(AlertChange {
        tenant: city(),
        key: AlertKey {
            open,
            start_ts: parse_ts("2024-03-01T00:00:00Z").unwrap(),
            alert_id: "id".to_owned(),
        },
        before,
        rule_id: "builtin:thresholds",
        rule_version: 1,
        sensor_id: meter(),
        asset_id: None,
        severity: "medium",
        max_severity: "critical",
        raised_at: 1,
        end_ts: None,
        trigger_value: 4.0,
        threshold: 3.0,
        trigger_partition: 1,
        trigger_offset: 2,
        last_value: 5.0,
        count: 2,
        detected_at: TICK,
    }))
}

#[test]
fn an_alert_moves_when_it_clears() {
    let opened = rendered(alert_change(true, None));
    let open_rows = rows::<AlertRow>(&opened);
    assert_eq!(open_rows.len(), 1);
    let row = open_rows[0].1.as_ref().unwrap();
    assert_eq!((row.state.as_str(), row.month), ("open", -1));
    assert!(rows::<AlertMonthRow>(&opened).is_empty());

    let cleared = rendered(alert_change(false, Some(true)));
    let moved = rows::<AlertRow>(&cleared);
    assert_eq!(moved.len(), 2);
    assert_eq!((&moved[0].0, moved[0].1.is_none()), (&open_rows[0].0, true));
    let row = moved[1].1.as_ref().unwrap();
    assert_eq!((row.state.as_str(), row.month), ("cleared", 650));
    let by_id = rows::<AlertByIdRow>(&cleared).pop().unwrap().1.unwrap();
    assert_eq!((by_id.state.as_str(), by_id.month), ("cleared", 650));
    assert_eq!(rows::<AlertMonthRow>(&cleared).len(), 1);

    // Opened again under the same id: back it goes.
    let reopened = rows::<AlertRow>(&rendered(alert_change(true, Some(false))));
    assert_eq!(reopened[0].0, moved[1].0);
    assert!(reopened[0].1.is_none());
}

#[test]
fn an_alert_that_stays_is_written_in_place() {
    for (open, before) in [(true, Some(true)), (false, Some(false)), (false, None)] {
        let rows = rows::<AlertRow>(&rendered(alert_change(open, before)));
        assert_eq!(rows.len(), 1);
        assert!(rows[0].1.is_some());
    }
}

#[test]
fn what_is_refused_keeps_place_and_bytes() {
    let row: LedgerRow = only(&rendered(Change::Ledger(LedgerChange {
        record: 2,
        tenant: city(),
        reason: Reason::ClockFuture,
        detail: "ahead".to_owned(),
        source: "mqtt".to_owned(),
        sensor_id: Some("meter".to_owned()),
        event_ts: Some(9),
        recv_ts: Some(1),
    })));
    assert_eq!(row.reason, "clock_future");
    assert_eq!((row.topic.as_str(), row.log_partition), ("readings", 3));
    assert_eq!((row.offset, row.payload.as_slice()), (102, &b"bytes"[..]));
}

#[test]
fn counts_leave_no_row_behind() {
    let health = |columns| {
        Change::AssetHealth(AssetHealth {
            tenant: city(),
            asset_id: "pipe".to_owned(),
            columns,
            is_new: false,
        })
    };
    let columns = AssetHealthColumns {
        worst_severity: Some("high"),
        open_alerts: [1, 2, 3, 4, 5],
        sensors_total: 6,
        ..AssetHealthColumns::default()
    };
    check_removal::<AssetHealthRow>(health(Some(columns)), health(None));
    let row: AssetHealthRow = only(&rendered(health(Some(columns))));
    assert!((0..ASSET_SHARDS).contains(&row.shard));
    assert_eq!((row.alerts_info, row.alerts_critical), (1, 5));

    let indicator = |value| {
        Change::Indicator(IndicatorChange {
            tenant: city(),
            name: "sensors_online".to_owned(),
            value,
            is_new: false,
        })
    };
    check_removal::<IndicatorRow>(indicator(Some(3)), indicator(None));
}

#[test]
fn tenants_are_not_a_workers_to_write() {
    assert!(rendered(Change::Tenant(city())).is_empty());
    assert_eq!(tenant(city(), TICK).scope, ALL_TENANTS);
}
