//! Whatever traffic the job takes, its views are those of the verification, which shares no code with it.
//!
//! A newcomer would feed the whole log and then start the job. Much of what can differ happens between
//! ticks, so here the job runs while the log grows.

#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod common;

use std::collections::BTreeSet;

use common::{Dice, Folder, PARTITIONS, bad, now, reading, sensor, sensor_change, settings_change};
use openinfra_schemas::{
    AfterImage, Begin, LedgerEntry, Position, Quality, Reading, Reason, SensorId, TenantId,
    Thresholds, Tick, TickRecord, Topic, TsSource,
    key::{partition_of, reading_key},
    time::{HOUR_MS, Millis},
};
use openinfra_store::{Freshness, KeyBuf, Row, RowKey, get_row, tables::views::SensorStatusRow};
use openinfra_testing::until;
use openinfra_verify::VerifyError;

const TENANTS: [&str; 3] = ["city", "works", "late-comer"];

/// Traffic in which everything happens that can.
struct Traffic {
    dice: Dice,
    start: Millis,
    sent: Vec<Reading>,
    versions: i64,
}

impl Traffic {
    fn new(seed: u64) -> Self {
        Self {
            dice: Dice(seed),
            start: now() - 30 * HOUR_MS,
            sent: Vec::new(),
            versions: 0,
        }
    }

    fn reading(&mut self) -> Reading {
        let dice = &mut self.dice;
        if !self.sent.is_empty() && dice.one_in(6) {
            let mut again = dice.pick(&self.sent).clone();
            match dice.below(5) {
                // A duplicate, one heard again later, corrections, one to BAD and one in quality alone.
                0 => {}
                1 => again.recv_ts += dice.below(3_600_000) as i64,
                2 => again.value += 7.0,
                3 => again = bad(again),
                _ => again.quality = Quality::Uncertain,
            }
            if again.quality != Quality::Bad && again.value.is_nan() {
                again.value = 3.0;
            }
            return again;
        }
        let tenant = *dice.pick(&TENANTS);
        let name = format!("s/{}", dice.below(12));
        let step = self.sent.len() as i64 * 20_000;
        let recv_ts = self.start + step + dice.below(1_200_000) as i64;
        let event_ts = match dice.below(12) {
            0 => recv_ts - dice.below(50 * 3_600_000) as i64,
            1 => recv_ts - 600_000 - dice.below(2) as i64,
            2 => recv_ts + dice.below(500_000) as i64,
            3 => recv_ts - dice.below(1_200_000) as i64,
            _ => recv_ts - recv_ts.rem_euclid(30_000),
        };
        let value = dice.below(120) as f64 / 1.7 - 5.0;
        let mut one = reading(tenant, &name, event_ts, value);
        one.recv_ts = recv_ts;
        one.battery_pct = dice.one_in(3).then(|| dice.below(100) as f64);
        one.signal_dbm = dice.one_in(4).then_some(-71.5);
        one.source = (*dice.pick(&["mqtt", "http", "file"])).to_owned();
        if dice.one_in(9) {
            one.ts_source = TsSource::Server;
        }
        if dice.one_in(15) {
            one.quality = Quality::Uncertain;
        }
        if dice.one_in(20) {
            one.readmits = Some(Position {
                topic: "readings".to_owned(),
                partition: 0,
                offset: 0,
            });
        }
        if dice.one_in(12) { bad(one) } else { one }
    }

    async fn send(&mut self, folder: &Folder, count: usize) {
        let mut batch = Vec::new();
        for _ in 0..count {
            let one = self.reading();
            self.sent.push(one.clone());
            batch.push(one);
        }
        folder.append_readings(&batch).await;
    }

    /// Registers, edits or removes a sensor; now and then with a version that was there before.
    async fn edit(&mut self, folder: &Folder) {
        let dice = &mut self.dice;
        let tenant = *dice.pick(&TENANTS);
        let id = format!("s/{}", dice.below(14));
        if !dice.one_in(5) {
            self.versions += 1;
        }
        let mut entity = sensor(&id);
        entity.updated_at = self.versions;
        entity.asset_id = (!dice.one_in(4)).then(|| format!("pump-{}", dice.below(3)));
        entity.max_age_ms = dice
            .one_in(2)
            .then(|| 1 + dice.below(40 * 3_600_000) as i64);
        entity.offline_timeout_ms = dice.one_in(2).then(|| 1_000 + dice.below(7_200_000) as i64);
        entity.reporting_interval_ms = dice.one_in(3).then(|| dice.below(400_000) as i64);
        entity.thresholds = dice.one_in(2).then(|| Thresholds {
            warning_max: Some(30.0),
            critical_max: dice.one_in(2).then_some(50.0),
            warning_min: dice.one_in(2).then_some(0.0),
            critical_min: None,
            deadband: dice.one_in(2).then_some(4.0),
        });
        let after = if dice.one_in(5) {
            AfterImage::Deleted
        } else {
            AfterImage::Sensor(entity)
        };
        let change = sensor_change(tenant, &id, self.versions, after);
        folder.append_entity(&change).await;
    }

    async fn settings(&mut self, folder: &Folder) {
        self.versions += 1;
        let tenant = *self.dice.pick(&TENANTS);
        let horizon = *self.dice.pick(&[HOUR_MS, 26 * HOUR_MS, 400 * HOUR_MS]);
        let auto_register = !self.dice.one_in(3);
        let change = settings_change(tenant, self.versions, horizon, auto_register);
        folder.append_entity(&change).await;
    }

    async fn refuse(&mut self, folder: &Folder) {
        let reason = *self
            .dice
            .pick(&["invalid", "unknown_tenant", "no such reason"]);
        let tenant = *self.dice.pick(&["city", "", "stranger"]);
        folder
            .append_refused(&LedgerEntry {
                tenant: TenantId::trusted(tenant),
                source: "http".to_owned(),
                reason: reason.to_owned(),
                detail: "a field is wrong".to_owned(),
                origin: "/api".to_owned(),
                sensor_id: self.dice.one_in(2).then(|| "s/1".to_owned()),
                event_ts: None,
                recv_ts: self.start,
                payload: b"{}".to_vec(),
            })
            .await;
    }

    /// What no writer of ours appends.
    async fn poison(&mut self, folder: &Folder) {
        let good = reading("city", "s/1", self.start, 1.0);
        let bytes = |reading: &Reading| folder.codec.encode_to_vec(reading);
        let infinite = Reading {
            value: f64::INFINITY,
            ..good.clone()
        };
        let never = Reading {
            recv_ts: i64::MAX,
            ..good.clone()
        };
        for (key, value) in [
            ("city/s/1", vec![]),
            ("city/s/1", vec![1, 2, 3]),
            ("city/s/1", vec![0, 0, 0, 9, 9, 1]),
            ("city/s/2", bytes(&good)),
            ("city/s/1", bytes(&infinite)),
            ("city/s/1", bytes(&never)),
            ("City!/x", bytes(&good)),
            ("", bytes(&good)),
        ] {
            folder.append_bytes(Topic::Readings, key, &value).await;
        }
        let lost = (Topic::Readings, 1, b"city/s/1".to_vec(), bytes(&good));
        let also = (Topic::Readings, 2, b"city/s/1".to_vec(), bytes(&good));
        folder.append_at(vec![lost, also]).await;
        folder.append_bytes(Topic::Ledger, "city/mqtt", b"?").await;
        folder
            .append_bytes(Topic::Entities, "city/sensor/s", b"?")
            .await;
    }

    async fn everything(&mut self, folder: &Folder, rounds: usize) {
        for round in 0..rounds {
            self.send(folder, 60).await;
            match self.dice.below(4) {
                0 | 1 => self.edit(folder).await,
                2 if round % 3 == 0 => self.settings(folder).await,
                _ => self.refuse(folder).await,
            }
            if round % 10 == 5 {
                self.poison(folder).await;
            }
            if self.dice.one_in(3) {
                // So that the traffic falls into several ticks.
                let began = now();
                until("a little later", async || (now() > began + 4).then_some(())).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_traffic_is_verified() {
    let mut reasons = BTreeSet::new();
    for seed in [11, 7_001, 424_242] {
        let folder = Folder::new().await;
        let job = folder.start().await;
        let mut traffic = Traffic::new(seed);
        traffic.everything(&folder, 40).await;
        folder.wait_covered().await;
        job.stop().await.unwrap();
        let report = folder.verify().await;
        assert!(report.equal, "seed {seed}: {report:#?}");
        assert!(report.conserved);
        let refused: i64 = report.refused.values().sum();
        assert_eq!(
            report.log_records,
            report.accepted + report.duplicates + report.corrections + refused
        );
        for (view, of_view) in &report.views {
            assert!(of_view.rows_expected > 0, "no rows of {view}");
        }
        reasons.extend(report.refused.into_keys());
    }
    // The traffic is worth something only when all of them happen.
    assert_eq!(reasons.len(), Reason::ALL.len(), "{reasons:?}");
}

/// Sensors fall silent, go stale and come back by the log's own clock.
#[tokio::test(flavor = "multi_thread")]
async fn deadlines_are_verified() {
    let folder = Folder::new().await;
    let job = folder.start().await;
    for i in 0..6 {
        let id = format!("s/{i}");
        let mut entity = sensor(&id);
        entity.offline_timeout_ms = Some(30 + 15 * i);
        entity.max_age_ms = Some(20 + 25 * i);
        entity.asset_id = Some("pump".to_owned());
        let after = AfterImage::Sensor(entity);
        folder
            .append_entity(&sensor_change("city", &id, 1, after))
            .await;
    }
    for round in 0..8 {
        for i in 0..5 {
            let one = reading("city", &format!("s/{i}"), now(), f64::from(round));
            folder.append_readings(&[one]).await;
        }
        // At a tick so late the first of them is silent for longer than it may be.
        let late = now() + 40;
        until("a tick so late", async || {
            (folder.progress().await?.as_of >= late).then_some(())
        })
        .await;
    }
    folder.wait_covered().await;
    job.stop().await.unwrap();
    let report = folder.verify().await;
    assert!(report.equal, "{report:#?}");
    assert!(report.views["offline_episode"].rows_expected >= 5);
}

/// A sensor was heard although nothing that it said was taken; once something is, `latest_reading` says when.
#[tokio::test(flavor = "multi_thread")]
async fn a_sensor_of_which_every_reading_is_refused_was_heard() {
    let folder = Folder::new().await;
    let heard = now() - HOUR_MS;
    let change = sensor_change("city", "late", 1, AfterImage::Sensor(sensor("late")));
    folder.append_entity(&change).await;
    let too_late = |recv_ts| Reading {
        recv_ts,
        ..reading("city", "late", recv_ts - 40 * HOUR_MS, 1.0)
    };
    folder
        .append_readings(&[too_late(heard), too_late(heard - 5)])
        .await;
    folder.catch_up().await;
    assert_eq!(last_recv_ts(&folder, "late").await, Some(heard));
    folder
        .append_readings(&[too_late(heard + 7), reading("city", "late", heard + 9, 1.0)])
        .await;
    folder.catch_up().await;
    assert_eq!(last_recv_ts(&folder, "late").await, None);
    let report = folder.verify().await;
    assert!(report.equal, "{report:#?}");
}

/// As the sensor's status has it; the views equal those of the log.
async fn last_recv_ts(folder: &Folder, id: &str) -> Option<Millis> {
    let report = folder.verify().await;
    assert!(report.equal, "{report:#?}");
    let (tenant, id) = (TenantId::trusted("city"), SensorId::trusted(id));
    let log_partition = partition_of(&reading_key(&tenant, &id), PARTITIONS);
    let partition = KeyBuf::new().text(tenant.as_str()).int(log_partition);
    let clustering = KeyBuf::new().text(id.as_str());
    let key = RowKey::new(SensorStatusRow::TABLE, &partition, &clustering);
    let row = get_row::<SensorStatusRow>(&*folder.store, &key, Freshness::Acknowledged).await;
    row.unwrap().unwrap().last_recv_ts
}

#[tokio::test(flavor = "multi_thread")]
async fn a_void_tick_binds_nothing() {
    let folder = Folder::new().await;
    let mut traffic = Traffic::new(5);
    traffic.everything(&folder, 4).await;
    folder.catch_up().await;
    let progress = folder.progress().await.unwrap();
    // A newer instance that begins and dies, and an older one that wakes up behind it.
    folder
        .append_tick_record(&TickRecord::Begin(Begin {
            attempt: progress.attempt + 5,
            processes: 1,
            generation: 1,
            tzdata: String::new(),
        }))
        .await;
    folder
        .append_tick_record(&TickRecord::Tick(Tick {
            attempt: progress.attempt,
            tick: progress.as_of + 1,
            ends: Vec::new(),
        }))
        .await;
    traffic.everything(&folder, 4).await;
    folder.catch_up().await;
    let report = folder.verify().await;
    assert!(report.equal, "{report:#?}");
    assert!(report.as_of > progress.as_of + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_the_jobs_in_ticks_is_void() {
    let folder = Folder::new().await;
    let foreign = async |times: usize| {
        let bytes = [&b"no frame"[..], b"", &[0, 0, 1]].repeat(times);
        let records = bytes.iter().map(|b| (Topic::Ticks, Vec::new(), b.to_vec()));
        folder.append(records.collect()).await;
    };
    // Before the log's own id, more than one read brings; under a job that runs, and before its next start.
    foreign(1_400).await;
    let job = folder.start().await;
    let sent = |count: i64| reading("city", "a", now() - count, 1.0);
    folder.append_readings(&[sent(1)]).await;
    folder.wait_covered().await;
    foreign(1).await;
    folder.append_readings(&[sent(2)]).await;
    folder.wait_covered().await;
    job.stop().await.unwrap();
    foreign(1).await;
    let (log, store) = (&*folder.log, &*folder.store);
    openinfra_views::check_same_log(log, store, &folder.codec)
        .await
        .unwrap();
    let job = folder.start().await;
    folder.append_readings(&[sent(3)]).await;
    folder.wait_covered().await;
    job.stop().await.unwrap();
    let report = folder.verify().await;
    assert!(report.equal, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_after_the_tick_does_not_count() {
    let folder = Folder::new().await;
    let mut traffic = Traffic::new(6);
    traffic.everything(&folder, 4).await;
    folder.catch_up().await;
    let before = folder.verify().await;
    traffic.everything(&folder, 4).await;
    assert_eq!(folder.verify().await, before);
    assert!(before.equal);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_views_there_is_nothing_to_compare() {
    let folder = Folder::new().await;
    let refused = folder.try_verify().await;
    assert!(matches!(refused, Err(VerifyError::NoViews)));
}
