//! From records in the log to rows in the store, over the embedded log and store.

#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod common;

use std::sync::{Arc, atomic::Ordering};

use common::{
    Folder, bad, config,
    dump::{Raw, dump, rows, typed},
    now, reading, sensor, sensor_entity, settings, until,
    wrap::WatchedStore,
};
use openinfra_schemas::{
    LedgerEntry, Reading, Reason, TenantId, Thresholds, Topic,
    time::{HOUR_MS, Millis, hour_of},
};
use openinfra_store::tables::views::{
    AlertRow, AssetHealthRow, HourlyAggregateRow, IndicatorRow, LatestReadingRow, LedgerRow,
    LedgerSummaryRow, ReadingRow, SensorStatusRow, TenantRow,
};
use openinfra_views::Config;

const TENANTS: [&str; 2] = ["city", "works"];

/// Two tenants, some 40 sensors, hours of readings: in order, repeated, late, corrected, refused.
struct Traffic {
    start: Millis,
    end: Millis,
    state: u64,
}

impl Traffic {
    fn new() -> Self {
        let end = hour_of(now()) - 2 * HOUR_MS;
        Self {
            start: end - 8 * HOUR_MS,
            end,
            state: 7,
        }
    }

    fn next(&mut self, below: u64) -> u64 {
        // An xorshift: the same traffic in every run.
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % below
    }

    fn readings(&mut self, count: usize) -> Vec<Reading> {
        let mut all: Vec<Reading> = Vec::with_capacity(count);
        while all.len() < count {
            let tenant = TENANTS[self.next(2) as usize];
            let sensor = format!("s/{}", self.next(20));
            let minutes = ((self.end - self.start) / 60_000) as u64;
            let recv_ts = self.start + all.len() as i64 * (self.end - self.start) / count as i64;
            let event_ts = match self.next(10) {
                0..6 => recv_ts,
                6..9 => (recv_ts - self.next(minutes) as i64 * 60_000).max(self.start),
                // Before the horizon.
                _ => recv_ts - 30 * HOUR_MS,
            };
            let value = self.next(100) as f64;
            let mut one = reading(tenant, &sensor, event_ts, value);
            one.recv_ts = recv_ts;
            match self.next(20) {
                0 => all.push(bad(one)),
                1 if !all.is_empty() => {
                    let again = self.next(all.len() as u64) as usize;
                    all.push(all[again].clone());
                }
                2 if !all.is_empty() => {
                    let again = self.next(all.len() as u64) as usize;
                    let corrected = Reading {
                        value: value + 0.5,
                        ..all[again].clone()
                    };
                    all.push(corrected);
                }
                _ => all.push(one),
            }
        }
        all
    }

    async fn append_entities(&mut self, folder: &Folder) {
        for tenant in TENANTS {
            for i in 0..10 {
                let mut entity = sensor(&format!("s/{i}"));
                entity.asset_id = Some(format!("pump-{}", i % 4));
                entity.thresholds = Some(Thresholds {
                    warning_max: Some(70.0),
                    critical_max: Some(95.0),
                    ..Thresholds::default()
                });
                folder
                    .append_entity(&sensor_entity(tenant, entity, 1))
                    .await;
            }
        }
    }

    async fn append_refused(&mut self, folder: &Folder) {
        let garbage = (Topic::Readings, b"city/s/1".to_vec(), vec![1, 2, 3]);
        let unreadable = (Topic::Ledger, b"city/mqtt".to_vec(), vec![0, 0, 0, 0, 99]);
        folder.append(vec![garbage, unreadable]).await;
        folder
            .append_refused(&LedgerEntry {
                tenant: TenantId::parse("city").unwrap(),
                source: "http".to_owned(),
                reason: Reason::Invalid.as_str().to_owned(),
                detail: "no value".to_owned(),
                origin: "/api".to_owned(),
                sensor_id: None,
                event_ts: None,
                recv_ts: self.end,
                payload: b"{}".to_vec(),
            })
            .await;
    }

    async fn append_all(&mut self, folder: &Folder) {
        self.append_entities(folder).await;
        let readings = self.readings(4_000);
        for part in readings.chunks(250) {
            folder.append_readings(part).await;
        }
        self.append_refused(folder).await;
    }

    async fn dump(&self, store: &dyn openinfra_store::Store) -> Vec<Raw> {
        dump(store, &TENANTS, self.start - 40 * HOUR_MS, self.end).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readings_become_rows() {
    let folder = Folder::new().await;
    let job = folder.start(config(2)).await.unwrap();
    let at = hour_of(now()) - HOUR_MS;
    let mut entity = sensor("level");
    entity.asset_id = Some("tank".to_owned());
    entity.thresholds = Some(Thresholds {
        warning_max: Some(3.5),
        ..Thresholds::default()
    });
    folder
        .append_entity(&sensor_entity("city", entity, 1))
        .await;
    let read = |minute: i64, value: f64| reading("city", "level", at + minute * 60_000, value);
    folder
        .append_readings(&[read(0, 1.0), read(10, 4.0), read(5, 2.0), read(10, 4.0)])
        .await;
    let garbage = (
        Topic::Readings,
        b"city/level".to_vec(),
        b"\x01rest".to_vec(),
    );
    folder.append(vec![garbage]).await;

    let progress = folder.wait_covered(&*folder.store).await;
    let all = dump(&*folder.store, &["city"], at, at + HOUR_MS).await;
    let latest = &typed::<LatestReadingRow>(&all)[0];
    assert_eq!((latest.event_ts, latest.value), (at + 600_000, Some(4.0)));
    assert_eq!(typed::<ReadingRow>(&all).len(), 3);
    let hour = &typed::<HourlyAggregateRow>(&all)[0];
    assert_eq!((hour.count, hour.sum), (3, Some(7.0)));
    let alert = &typed::<AlertRow>(&all)[0];
    assert_eq!((alert.state.as_str(), alert.threshold), ("open", Some(3.5)));
    let refused = &typed::<LedgerRow>(&all)[0];
    assert_eq!(refused.reason, "undecodable");
    assert_eq!(refused.payload, b"\x01rest");
    assert_eq!(typed::<AssetHealthRow>(&all)[0].sensors_total, 1);
    assert_eq!(typed::<TenantRow>(&all).len(), 1);
    assert!(!typed::<IndicatorRow>(&all).is_empty());

    let counted: serde_json::Value = serde_json::from_str(&progress.rows).unwrap();
    assert_eq!(counted["readings"], 3);
    assert_eq!(counted["alert"], 1);
    assert_eq!(counted["ledger"], 1);
    assert_eq!(job.status().attempt, 1);
    assert!(job.status().hydrated);
    job.stop().await.unwrap();
}

/// Rows of the dump agree with the counts of the progress row, and every record is accounted for.
fn check_counts(all: &[Raw], progress: &openinfra_store::tables::views::ProgressRow) {
    let counted: serde_json::Value = serde_json::from_str(&progress.rows).unwrap();
    for (view, rows) in [
        ("latest_reading", rows(all, LatestReadingRow::TABLE_OF)),
        ("hourly_aggregate", rows(all, HourlyAggregateRow::TABLE_OF)),
        ("sensor_status", rows(all, SensorStatusRow::TABLE_OF)),
        ("alert", rows(all, AlertRow::TABLE_OF)),
        ("ledger", rows(all, LedgerRow::TABLE_OF)),
        ("asset_health", rows(all, AssetHealthRow::TABLE_OF)),
        ("indicators", rows(all, IndicatorRow::TABLE_OF)),
    ] {
        assert_eq!(counted[view], rows, "{view}");
    }
    let mut values: Vec<_> = typed::<ReadingRow>(all)
        .into_iter()
        .map(|row| (row.tenant, row.sensor_id, row.event_ts))
        .collect();
    values.dedup();
    assert_eq!(counted["readings"], values.len());
    for row in typed::<LedgerSummaryRow>(all) {
        let refused = row.undecodable
            + row.invalid
            + row.schema_rejected
            + row.unknown_tenant
            + row.late_beyond_horizon
            + row.clock_future
            + row.unknown_sensor;
        assert_eq!(
            row.log_records,
            row.accepted + row.duplicates + row.corrections + refused
        );
    }
}

/// The table of a row type, by a short name.
trait TableOf {
    const TABLE_OF: &'static openinfra_store::Table;
}

impl<R: openinfra_store::Row> TableOf for R {
    const TABLE_OF: &'static openinfra_store::Table = R::TABLE;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_worker_and_four_give_the_same_rows() {
    let live = Folder::new().await;
    let mut traffic = Traffic::new();
    let small = Config {
        // Many ticks, and blocks that do not stay in memory.
        max_records_per_tick: Some(150),
        block_cache_bytes: 10_000,
        ..config(1)
    };
    let job = live.start(small.clone()).await.unwrap();
    traffic.append_all(&live).await;
    let progress = live.wait_covered(&*live.store).await;
    job.stop().await.unwrap();
    let expected = traffic.dump(&*live.store).await;
    assert!(expected.len() > 2_000, "{} rows", expected.len());
    check_counts(&expected, &progress);

    // The same log, and an empty store.
    let other = Folder::new().await;
    let four = Config {
        workers: 4,
        ..small
    };
    let log = Arc::clone(&live.log);
    let store = Arc::clone(&other.store);
    let job = live.start_on(four, log, store).await.unwrap();
    let replayed = live.wait_covered(&*other.store).await;
    job.stop().await.unwrap();
    assert_eq!(replayed.rows, progress.rows);
    let got = traffic.dump(&*other.store).await;
    assert_eq!(got.len(), expected.len());
    for (got, expected) in got.iter().zip(&expected) {
        assert_eq!(got, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_writes_nothing_again() {
    let folder = Folder::new().await;
    let mut traffic = Traffic::new();
    traffic.append_all(&folder).await;
    let small = Config {
        max_records_per_tick: Some(200),
        block_cache_bytes: 10_000,
        ..config(2)
    };
    let job = folder.start(small.clone()).await.unwrap();
    folder.wait_covered(&*folder.store).await;
    job.stop().await.unwrap();
    let before = folder.progress().await.unwrap();
    let rows = traffic.dump(&*folder.store).await;

    let watched = WatchedStore::new(Arc::clone(&folder.store));
    let log = Arc::clone(&folder.log);
    let job = folder.start_on(small, log, watched.clone()).await.unwrap();
    until("hydrated", async || job.status().hydrated.then_some(())).await;
    until("a tick beyond", async || {
        (folder.progress().await?.as_of > before.as_of).then_some(())
    })
    .await;
    assert_eq!(job.status().attempt, 2);
    job.stop().await.unwrap();
    assert!(watched.written().iter().all(|tick| *tick > before.as_of));
    let after = folder.progress().await.unwrap();
    assert_eq!(after.rows, before.rows);
    assert_eq!(traffic.dump(&*folder.store).await, rows);

    // What comes next builds on what was replayed: everything sent again is known.
    let job = folder.start(config(3)).await.unwrap();
    let again = Traffic::new().readings(1_000);
    folder.append_readings(&again).await;
    let progress = folder.wait_covered(&*folder.store).await;
    job.stop().await.unwrap();
    check_counts(&traffic.dump(&*folder.store).await, &progress);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_changes_while_held() {
    let folder = Folder::new().await;
    let job = folder.start(config(2)).await.unwrap();
    folder
        .append_readings(&[reading("city", "a", now(), 1.0)])
        .await;
    folder.wait_covered(&*folder.store).await;

    let held = job.hold().await.unwrap();
    assert!(job.status().held);
    let as_of = folder.progress().await.unwrap().as_of;
    assert_eq!(held.as_of(), Some(as_of));
    folder
        .append_readings(&[reading("city", "b", now(), 1.0)])
        .await;
    // Another job that nobody holds goes on meanwhile: without the hold there would be ticks.
    let free = Folder::new().await;
    let ticking = free.start(config(2)).await.unwrap();
    let mut newest = i64::MIN;
    for _ in 0..5 {
        newest = until("one more tick of the other", async || {
            let as_of = free.progress().await?.as_of;
            (as_of > newest).then_some(as_of)
        })
        .await;
    }
    ticking.stop().await.unwrap();
    assert_eq!(folder.progress().await.unwrap().as_of, as_of);
    drop(held);
    folder.wait_covered(&*folder.store).await;
    job.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_job_waits_for_the_store() {
    let folder = Folder::new().await;
    let store = WatchedStore::new(Arc::clone(&folder.store));
    let log = Arc::clone(&folder.log);
    let small = Config {
        max_records_per_tick: Some(100),
        block_cache_bytes: 0,
        ..config(2)
    };
    let job = folder.start_on(small, log, store.clone()).await.unwrap();
    store.failing.store(-1, Ordering::SeqCst);
    let mut traffic = Traffic::new();
    traffic.append_all(&folder).await;
    until("the store refused", async || {
        (store.refused.load(Ordering::SeqCst) > 2).then_some(())
    })
    .await;
    assert!(job.status().trouble.unwrap().contains("a test says so"));
    store.failing.store(0, Ordering::SeqCst);
    let progress = folder.wait_covered(&*folder.store).await;
    // Range reads and writes that fail now and then change nothing either.
    store.failing.store(3, Ordering::SeqCst);
    folder.append_readings(&traffic.readings(500)).await;
    let later = folder.wait_covered(&*folder.store).await;
    assert!(later.as_of > progress.as_of);
    assert_eq!(job.status().trouble, None);
    job.stop().await.unwrap();
    check_counts(&traffic.dump(&*folder.store).await, &later);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settings_change_is_in_force_for_readings_after_it() {
    let folder = Folder::new().await;
    let job = folder.start(config(2)).await.unwrap();
    let old = now() - 40 * HOUR_MS;
    let mut late = reading("city", "a", old, 1.0);
    late.recv_ts = now();
    folder.append_readings(&[late.clone()]).await;
    folder.wait_covered(&*folder.store).await;
    folder.append_entity(&settings("city", 50 * HOUR_MS)).await;
    late.event_ts += 1;
    folder.append_readings(&[late]).await;
    folder.wait_covered(&*folder.store).await;
    let all = dump(&*folder.store, &["city"], old - HOUR_MS, now()).await;
    assert_eq!(typed::<LedgerRow>(&all).len(), 1);
    assert_eq!(typed::<ReadingRow>(&all).len(), 1);
    job.stop().await.unwrap();
}
