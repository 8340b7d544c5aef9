//! One row changed, removed or added in the store is named, and nothing else is.
//!
//! A newcomer would take an equal report as proof that verification works. It is worth as much as what makes
//! it unequal: every column of every table is changed here, one at a time.

#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod common;

use std::sync::Arc;

use common::{Folder, now, reading, sensor, sensor_change};
use openinfra_schemas::{
    AfterImage, Quality, TenantId, Thresholds, Tick, TickRecord, Topic,
    key::BUCKETS_PER_PARTITION,
    time::{Millis, day_of, hour_of},
};
use openinfra_store::{
    Batch, KeyBuf, Range, Row, StoreError, WriteClass, range_many_rows,
    tables::views::{
        ALL_TENANTS, ASSET_SHARDS, AlertByIdRow, AlertMonthRow, AlertRow, AssetHealthRow,
        HourlyAggregateRow, IndicatorRow, LatestReadingRow, LedgerRow, LedgerSummaryRow,
        OfflineEpisodeRow, ReadingRow, SENSOR_INDEX_SHARDS, SensorDaysRow, SensorIndexRow,
        SensorSeenRow, SensorStatusRow, TenantRow, month_of,
    },
};
use openinfra_testing::{Servers, until};
use openinfra_verify::{Options, Report, VerifyError};
use openinfra_views::Config;

/// Five minutes of a pump, an hour ago: the sensor `level` alerts twice and falls silent between.
async fn filled() -> (Folder, Millis) {
    let folder = Folder::new().await;
    let start = hour_of(now()) - 3_600_000;
    let mut entity = sensor("level");
    entity.asset_id = Some("pump".to_owned());
    entity.offline_timeout_ms = Some(100_000);
    entity.thresholds = Some(Thresholds {
        warning_max: Some(5.0),
        ..Thresholds::default()
    });
    let after = AfterImage::Sensor(entity);
    folder
        .append_entity(&sensor_change("city", "level", 1, after))
        .await;
    let read = |sensor: &str, at: Millis, value| reading("city", sensor, start + at, value);
    let mut late = read("level", 0, 1.0);
    late.recv_ts += 90_000_000_000;
    late.event_ts -= 1;
    folder
        .append_readings(&[
            read("level", 0, 1.0),
            read("level", 10_000, 8.0),
            read("level", 20_000, 1.5),
            read("level", 200_000, 9.0),
            read("other", 5_000, 3.0),
            late,
        ])
        .await;
    folder.append_bytes(Topic::Readings, "city/x", b"?").await;
    folder.catch_up().await;
    let report = folder.verify().await;
    assert!(report.equal, "{report:#?}");
    (folder, start)
}

/// Runs a job that ticks once. One that ticks often may leave its last tick to the next when it is stopped.
async fn tick_once(folder: &Folder) {
    let config = Config {
        idle_interval_ms: 600_000,
        ..Config::default()
    };
    let job = folder.start_on(Arc::clone(&folder.log), config).await;
    until("its tick is in the views", async || {
        (folder.progress().await?.attempt == job.status().attempt).then_some(())
    })
    .await;
    job.stop().await.unwrap();
}

/// A report in which exactly one row of one table differs.
#[track_caller]
fn check_one(report: &Report, table: &str, has: (bool, bool)) {
    assert!(!report.equal, "{table}: nothing was found");
    let of_table: Vec<_> = report.differing.iter().map(|d| d.view.as_str()).collect();
    assert_eq!(of_table, [table], "{report:#?}");
    let found = &report.differing[0];
    let sides = (found.expected.is_some(), found.stored.is_some());
    assert_eq!(sides, has, "{found:?}");
    assert_eq!(report.views[table].differing, 1);
}

/// Puts a row in the place of the one that is there. In tables whose rows never change, a database is not told of
/// columns without content: over a row that is there, they would stay.
async fn replace<R: Row>(folder: &Folder, row: &R) {
    folder.remove(&row.key()).await;
    folder.put(row).await;
}

/// Changes every column of the first row by `edits`, removes it, and adds the stray row; after each the
/// verification must name exactly that row.
async fn check<R: Row + Clone>(
    folder: &Folder,
    partitions: Vec<KeyBuf>,
    stray: Option<fn(&mut R)>,
    edits: &[fn(&mut R)],
) {
    let name = R::TABLE.name;
    let ranges: Vec<Range> = partitions
        .into_iter()
        .map(|partition| Range::partition(R::TABLE, partition.into_bytes()))
        .collect();
    let rows: Vec<R> = range_many_rows(&*folder.store, &ranges).await.unwrap();
    let row = rows.into_iter().next().expect(name);
    for edit in edits {
        let mut changed = row.clone();
        edit(&mut changed);
        assert_eq!(changed.key(), row.key(), "an edit of {name} moves the row");
        replace(folder, &changed).await;
        check_one(&folder.verify().await, name, (true, true));
        replace(folder, &row).await;
    }
    folder.remove(&row.key()).await;
    check_one(&folder.verify().await, name, (true, false));
    folder.put(&row).await;
    if let Some(stray) = stray {
        let mut added = row.clone();
        stray(&mut added);
        assert_ne!(added.key(), row.key(), "the stray row of {name} is the row");
        folder.put(&added).await;
        check_one(&folder.verify().await, name, (false, true));
        folder.remove(&added.key()).await;
    }
    assert!(folder.verify().await.equal);
}

fn city() -> KeyBuf {
    KeyBuf::new().text("city")
}

fn buckets() -> Vec<KeyBuf> {
    (0..common::PARTITIONS * BUCKETS_PER_PARTITION)
        .map(|bucket| city().int(bucket))
        .collect()
}

fn log_partitions() -> Vec<KeyBuf> {
    shards(common::PARTITIONS)
}

fn shards(count: i32) -> Vec<KeyBuf> {
    (0..count).map(|shard| city().int(shard)).collect()
}

fn sensor_id(id: &str) -> openinfra_schemas::SensorId {
    openinfra_schemas::SensorId::parse(id).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_readings() {
    let (folder, start) = filled().await;
    let of = |ts: Millis| buckets().into_iter().map(move |place| place.bigint(ts));
    check::<ReadingRow>(
        &folder,
        of(start).collect(),
        Some(|row| row.offset += 1_000),
        &[
            |row| row.value = Some(1.000_000_000_000_000_2),
            |row| row.value = None,
            |row| row.quality = Quality::Uncertain,
            |row| row.recv_ts += 1,
            |row| row.device_ts = false,
            |row| row.unit = None,
            |row| row.battery_pct = Some(1.0),
            |row| row.signal_dbm = Some(-0.0),
            |row| row.tick += 1,
        ],
    )
    .await;
    check::<LatestReadingRow>(
        &folder,
        log_partitions(),
        Some(|row| row.sensor_id = sensor_id("stray")),
        &[
            |row| row.event_ts += 1,
            |row| row.offset += 1,
            |row| row.value = Some(0.0),
            |row| row.last_recv_ts += 1,
            |row| row.tick -= 1,
        ],
    )
    .await;
    check::<HourlyAggregateRow>(
        &folder,
        of(day_of(start)).collect(),
        Some(|row| row.sensor_id = sensor_id("stray")),
        &[
            |row| row.count += 1,
            |row| row.sum = row.sum.map(f64::next_up),
            |row| row.min = row.min.map(f64::next_down),
            |row| row.max = None,
            |row| row.mean = row.mean.map(f64::next_up),
            |row| row.stddev = row.stddev.map(f64::next_up),
            |row| row.first = Some(-1.0),
            |row| row.last = Some(-1.0),
            |row| row.bad_count = 1,
            |row| row.late_count = 1,
            |row| row.revised_at = Some(1),
            |row| row.tick += 1,
        ],
    )
    .await;
    check::<SensorDaysRow>(
        &folder,
        buckets(),
        Some(|row| row.month -= 7),
        &[|row| row.days ^= 1 << 30, |row| row.days = 0],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_sensors() {
    let (folder, _) = filled().await;
    check::<SensorStatusRow>(
        &folder,
        log_partitions(),
        Some(|row| row.sensor_id = sensor_id("stray")),
        &[
            |row| row.status = "never_seen".to_owned(),
            |row| row.since += 1,
            |row| row.offline_since = Some(1),
            |row| row.timeout_ms += 1,
            |row| row.reason = Some("because".to_owned()),
            |row| row.stale_since = Some(1),
            |row| row.last_recv_ts = Some(1),
            |row| row.tick += 1,
        ],
    )
    .await;
    check::<OfflineEpisodeRow>(
        &folder,
        buckets(),
        Some(|row| row.offline_since += 1),
        &[
            |row| row.recovered_at = Some(1),
            |row| row.gap_ms = Some(1),
            |row| row.tick += 1,
        ],
    )
    .await;
    check::<SensorSeenRow>(
        &folder,
        log_partitions(),
        Some(|row| row.sensor_id = sensor_id("stray")),
        &[
            |row| row.first_recv_ts -= 1,
            |row| row.last_recv_ts += 1,
            |row| row.tick += 1,
        ],
    )
    .await;
    check::<SensorIndexRow>(
        &folder,
        shards(SENSOR_INDEX_SHARDS),
        Some(|row| row.sensor_id = sensor_id("stray")),
        &[
            |row| row.bucket += 1,
            |row| row.registered = !row.registered,
            |row| row.version += 1,
            |row| row.sensor_type = Some("other".to_owned()),
            |row| row.asset_id = Some("other".to_owned()),
            |row| row.status = "other".to_owned(),
            |row| row.stale = !row.stale,
            |row| row.updated_at += 1,
            |row| row.body = Some("{}".to_owned()),
            |row| row.tick += 1,
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_alerts() {
    let (folder, start) = filled().await;
    let edits: [fn(&mut AlertRow); 16] = [
        |row| row.rule_id.push('x'),
        |row| row.rule_version += 1,
        |row| row.sensor_id = sensor_id("stray"),
        |row| row.asset_id = None,
        |row| row.severity = "high".to_owned(),
        |row| row.max_severity = "high".to_owned(),
        |row| row.raised_at += 1,
        |row| row.end_ts = Some(1),
        |row| row.trigger_value = None,
        |row| row.threshold = Some(5.5),
        |row| row.trigger_partition += 1,
        |row| row.trigger_offset += 1,
        |row| row.last_value = Some(0.0),
        |row| row.count += 1,
        |row| row.detected_at += 1,
        |row| row.tick += 1,
    ];
    let open = city().text("open").int(-1);
    let cleared = city().text("cleared").int(month_of(start));
    for place in [open, cleared.clone()] {
        let stray: fn(&mut AlertRow) = |row| row.start_ts += 1;
        check::<AlertRow>(&folder, vec![place], Some(stray), &edits).await;
    }
    let range = Range::partition(AlertRow::TABLE, cleared.into_bytes());
    let alerts: Vec<AlertRow> = range_many_rows(&*folder.store, &[range]).await.unwrap();
    check::<AlertByIdRow>(
        &folder,
        vec![city().text(&alerts[0].alert_id)],
        None,
        &[
            |row| row.state = "open".to_owned(),
            |row| row.month += 1,
            |row| row.start_ts += 1,
            |row| row.tick += 1,
        ],
    )
    .await;
    check::<AlertMonthRow>(
        &folder,
        vec![city()],
        Some(|row| row.month -= 1),
        &[|row| row.tick += 1],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_counts() {
    let (folder, _) = filled().await;
    let place = |topic: &str, reason: &str| {
        let place = move |p| city().text(reason).text(topic).int(p);
        (0..common::PARTITIONS).map(place).collect()
    };
    let edits: [fn(&mut LedgerRow); 6] = [
        |row| row.source.push('x'),
        |row| row.sensor_id = Some("other".to_owned()),
        |row| row.event_ts = Some(1),
        |row| row.recv_ts = Some(1),
        |row| row.payload.push(0),
        |row| row.tick += 1,
    ];
    let stray: fn(&mut LedgerRow) = |row| row.offset += 100;
    for reason in ["late_beyond_horizon", "undecodable"] {
        check::<LedgerRow>(&folder, place("readings", reason), Some(stray), &edits).await;
    }
    check::<LedgerSummaryRow>(
        &folder,
        vec![city()],
        Some(|row| row.source.push('x')),
        &[
            |row| row.log_records += 1,
            |row| row.accepted += 1,
            |row| row.duplicates += 1,
            |row| row.corrections += 1,
            |row| row.undecodable += 1,
            |row| row.invalid += 1,
            |row| row.schema_rejected += 1,
            |row| row.unknown_tenant += 1,
            |row| row.late_beyond_horizon += 1,
            |row| row.clock_future += 1,
            |row| row.unknown_sensor += 1,
            |row| row.server_ts += 1,
            |row| row.tick += 1,
        ],
    )
    .await;
    check::<AssetHealthRow>(
        &folder,
        shards(ASSET_SHARDS),
        Some(|row| row.asset_id.push('x')),
        &[
            |row| row.worst_severity = Some("high".to_owned()),
            |row| row.alerts_info += 1,
            |row| row.alerts_low += 1,
            |row| row.alerts_medium += 1,
            |row| row.alerts_high += 1,
            |row| row.alerts_critical += 1,
            |row| row.sensors_total += 1,
            |row| row.sensors_online += 1,
            |row| row.sensors_offline += 1,
            |row| row.sensors_stale += 1,
            |row| row.sensors_never_seen += 1,
            |row| row.tick += 1,
        ],
    )
    .await;
    check::<IndicatorRow>(
        &folder,
        vec![city()],
        Some(|row| row.name.push('x')),
        &[|row| row.value += 1, |row| row.tick += 1],
    )
    .await;
    check::<TenantRow>(
        &folder,
        vec![KeyBuf::new().text(ALL_TENANTS)],
        Some(|row| row.tenant = TenantId::parse("stray").unwrap()),
        &[|row| row.tick += 1],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_progress_row_says() {
    let (folder, _) = filled().await;
    let row = folder.progress().await.unwrap();
    let fewer = openinfra_store::tables::views::ProgressRow {
        rows: row.rows.replace("\"readings\":5", "\"readings\":6"),
        ..row.clone()
    };
    assert_ne!(fewer.rows, row.rows);
    let elsewhere = openinfra_store::tables::views::ProgressRow {
        log_id: "another".to_owned(),
        ..row.clone()
    };
    for changed in [fewer, elsewhere] {
        folder.put(&changed).await;
        check_one(&folder.verify().await, "progress", (true, true));
    }
}

/// A row that a job wrote before it was killed in the middle of a tick is no difference, and nobody can
/// tell it from one.
#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_tick_that_was_cut_off() {
    let (folder, _) = filled().await;
    tick_once(&folder).await;
    let unsettled = || Options {
        settled: false,
        ..Options::default()
    };
    let progress = folder.progress().await.unwrap();
    let tenant = TenantId::parse("city").unwrap();
    let ahead = IndicatorRow {
        tenant,
        name: "sensors_total".to_owned(),
        value: 77,
        tick: progress.as_of + 1,
    };
    folder.put(&ahead).await;
    // Every tick is in the views whole, so the row is a stray one.
    let report = folder.verify_with(unsettled()).await.unwrap();
    check_one(
        &report,
        "indicators",
        (report.differing[0].expected.is_some(), true),
    );
    folder
        .append_tick_record(&TickRecord::Tick(Tick {
            attempt: progress.attempt,
            tick: progress.as_of + 1,
            ends: Vec::new(),
        }))
        .await;
    let unknown = folder.verify_with(unsettled()).await;
    assert!(
        matches!(unknown, Err(VerifyError::Unsettled { as_of, newest })
            if as_of == progress.as_of && newest == as_of + 1),
        "{unknown:?}"
    );
    // Whoever holds the job knows that nothing is under way.
    assert!(!folder.verify().await.equal);
}

/// A row that does not even decode is named as well; a database, which knows the types of its columns, refuses it.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_no_longer_decodes() {
    openinfra_store::table! {
        /// The same name, but a column of another type.
        struct Broken in "tenant" {
            partition { scope: String }
            clustering { tenant: TenantId }
            values { tick: String }
        }
    }
    let (folder, _) = filled().await;
    let mut batch = Batch::new(WriteClass::Durable);
    batch.put(&Broken {
        scope: ALL_TENANTS.to_owned(),
        tenant: TenantId::parse("city").unwrap(),
        tick: "a long text".to_owned(),
    });
    let written = folder.store.write(batch).await;
    if Servers::wanted().is_some() {
        assert!(
            matches!(written, Err(StoreError::Refused(_))),
            "{written:?}"
        );
        return;
    }
    written.unwrap();
    let report = folder.verify().await;
    check_one(&report, "tenant", (true, true));
}
