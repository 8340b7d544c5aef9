//! What the ticker writes, under a clock of the test's own.

#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use common::{
    Folder, config, failure, now, reading, sensor, sensor_entity, until,
    wrap::{OnClock, WatchedLog},
};
use openinfra_log::Log;
use openinfra_schemas::{Reading, Sensor, Tick, TickRecord, Topic, time::Millis};
use openinfra_views::{Clock, Config, Job, JobError, JobHandle, MAX_STEP_MS};

/// A clock that stands still until the test moves it.
struct FakeClock {
    now: AtomicI64,
    monotonic: AtomicI64,
}

impl FakeClock {
    fn at(now: Millis) -> Arc<Self> {
        Arc::new(Self {
            now: AtomicI64::new(now),
            monotonic: AtomicI64::new(0),
        })
    }

    fn advance(&self, ms: i64) {
        self.monotonic.fetch_add(ms, Ordering::SeqCst);
        self.now.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Millis {
        self.now.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.monotonic.load(Ordering::SeqCst) as u64)
    }
}

async fn start(
    folder: &Folder,
    config: Config,
    log: Arc<dyn Log>,
    clock: Arc<FakeClock>,
) -> JobHandle {
    let logs = Arc::clone(&clock);
    let log = Arc::new(OnClock {
        inner: log,
        clock: move || logs.now(),
    });
    try_start(folder, config, log, clock).await.unwrap()
}

async fn try_start(
    folder: &Folder,
    config: Config,
    log: Arc<dyn Log>,
    clock: Arc<FakeClock>,
) -> Result<JobHandle, JobError> {
    let (store, codec) = (Arc::clone(&folder.store), Arc::clone(&folder.codec));
    let registry = prometheus::Registry::new();
    Job::start_with_clock(config, log, store, codec, &registry, clock).await
}

async fn ticks(folder: &Folder) -> Vec<Tick> {
    let records = folder.tick_records().await.into_iter();
    let tick = |record| match record {
        TickRecord::Tick(tick) => Some(tick),
        _ => None,
    };
    records.filter_map(tick).collect()
}

fn readings(count: usize) -> Vec<Reading> {
    (0..count)
        .map(|i| reading("city", &format!("s{}", i % 50), now() + i as i64, 1.0))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_is_cut_and_walked_through_in_its_own_time() {
    let folder = Folder::new().await;
    for part in readings(2_000).chunks(100) {
        folder.append_readings(part).await;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let appended_to = now();
    // The job comes an hour later.
    let clock = FakeClock::at(appended_to + 3_600_000);
    let capped = Config {
        max_records_per_tick: Some(300),
        ..config(2)
    };
    let job = start(&folder, capped, Arc::clone(&folder.log), clock.clone()).await;
    folder.wait_covered(&*folder.store).await;
    job.stop().await.unwrap();

    let all = ticks(&folder).await;
    let mut ends = [0; 4];
    let mut last = Millis::MIN;
    for (index, tick) in all.iter().enumerate() {
        assert!(tick.tick > last, "strictly increasing");
        last = tick.tick;
        let mut records = 0;
        for moved in &tick.ends {
            assert_eq!(moved.topic, Topic::Readings.name());
            let end = &mut ends[moved.partition as usize];
            assert!(moved.end > *end, "only what moved is listed");
            records += moved.end - *end;
            *end = moved.end;
        }
        assert!(records <= 300);
        if index < 6 {
            assert_eq!(records, 300, "as much as there is, up to the cap");
            assert!(tick.tick <= appended_to, "not later than what is left");
        }
    }
    assert_eq!(ends.iter().sum::<i64>(), 2_000);
    let covered = all.iter().find(|t| t.tick >= clock.now());
    assert!(
        covered.is_some(),
        "what leaves nothing has our clock's time"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn readings_are_sampled_before_entities() {
    let folder = Folder::new().await;
    let log = WatchedLog::new(Arc::clone(&folder.log), Arc::clone(&folder.codec));
    let job = start(&folder, config(1), log.clone(), FakeClock::at(now())).await;
    until("some samples", async || {
        (log.sampled.lock().unwrap().len() >= 12).then_some(())
    })
    .await;
    job.stop().await.unwrap();
    let sampled = log.sampled.lock().unwrap().clone();
    // The first three are looked at before the job begins.
    for round in sampled[3..].chunks_exact(3) {
        assert_eq!(round, [Topic::Readings, Topic::Ledger, Topic::Entities]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_job_ticks_once_an_interval() {
    let folder = Folder::new().await;
    let clock = FakeClock::at(1_000_000);
    let idle = Config {
        idle_interval_ms: 1_000,
        ..config(1)
    };
    let job = start(&folder, idle, Arc::clone(&folder.log), clock.clone()).await;
    until("the first tick", async || {
        (ticks(&folder).await.len() == 1).then_some(())
    })
    .await;
    clock.advance(999);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(ticks(&folder).await.len(), 1);
    clock.advance(1);
    until("the second tick", async || {
        (ticks(&folder).await.len() == 2).then_some(())
    })
    .await;
    let all = ticks(&folder).await;
    assert_eq!(
        all.iter()
            .map(|t| (t.tick, t.ends.len()))
            .collect::<Vec<_>>(),
        [(1_000_000, 0), (1_001_000, 0)]
    );
    job.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_falls_due_is_seen_on_time() {
    let folder = Folder::new().await;
    let clock = FakeClock::at(now());
    let idle = Config {
        idle_interval_ms: 1_000,
        ..config(2)
    };
    let job = start(&folder, idle, Arc::clone(&folder.log), clock.clone()).await;
    let silent = Sensor {
        offline_timeout_ms: Some(400),
        ..sensor("s1")
    };
    folder
        .append_entity(&sensor_entity("city", silent, 1))
        .await;
    let registered = folder.wait_covered(&*folder.store).await.as_of;
    // Long before the next idle tick, which comes a second after the last.
    let due = registered + 400;
    clock.advance(due - clock.now());
    let seen = until("a tick at the deadline", async || {
        let newest = ticks(&folder).await.last()?.tick;
        (newest > registered).then_some(newest)
    })
    .await;
    assert_eq!(seen, due);
    job.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_steps_stops_the_job() {
    let folder = Folder::new().await;
    let clock = FakeClock::at(1_000_000_000);
    let job = start(&folder, config(1), Arc::clone(&folder.log), clock.clone()).await;
    until("a tick", async || job.status().as_of).await;
    clock.now.fetch_sub(MAX_STEP_MS + 1, Ordering::SeqCst);
    let error = failure(&job).await;
    assert!(matches!(error, JobError::ClockStepped { .. }), "{error}");
    assert!(job.stop().await.is_err());
}

/// A host whose clock is wrong does not start a job, nor end the one that runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_far_from_the_logs_is_refused() {
    let folder = Folder::new().await;
    let running = folder.start(config(1)).await.unwrap();
    until("a tick", async || running.status().as_of).await;
    for off_by in [3_600_000, -3_600_000] {
        let clock = FakeClock::at(now() + off_by);
        let log = Arc::clone(&folder.log);
        let error = try_start(&folder, config(1), log, clock)
            .await
            .err()
            .unwrap();
        let JobError::ClockDiffers { ahead_ms } = error else {
            panic!("{error}");
        };
        assert!((ahead_ms - off_by).abs() < 60_000, "{ahead_ms}");
    }
    let near = FakeClock::at(now() + MAX_STEP_MS - 60_000);
    folder.append_readings(&readings(1)).await;
    folder.wait_covered(&*folder.store).await;
    running.stop().await.unwrap();
    let log = Arc::clone(&folder.log);
    let job = try_start(&folder, config(1), log, near).await.unwrap();
    assert_eq!(job.status().attempt, 2, "no attempt was taken in vain");
    job.stop().await.unwrap();
}

/// The log's clock was ahead and was put right: it stands until ours, which is right, has caught up.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_whose_time_stands_still_is_waited_for() {
    let folder = Folder::new().await;
    let stands = now() + 3_600_000;
    let log = Arc::new(OnClock {
        inner: Arc::clone(&folder.log),
        clock: move || stands,
    });
    let job = try_start(&folder, config(1), log, FakeClock::at(now()))
        .await
        .unwrap();
    job.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_step_back_keeps_ticks_ascending() {
    let folder = Folder::new().await;
    let clock = FakeClock::at(1_000_000_000);
    let job = start(&folder, config(1), Arc::clone(&folder.log), clock.clone()).await;
    until("a tick", async || job.status().as_of).await;
    clock.now.fetch_sub(10_000, Ordering::SeqCst);
    folder.append_readings(&readings(1)).await;
    folder.wait_covered(&*folder.store).await;
    job.stop().await.unwrap();
    let all = ticks(&folder).await;
    assert!(all.windows(2).all(|pair| pair[0].tick < pair[1].tick));
    assert_eq!(all[1].tick, 1_000_000_001);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_of_a_worker_is_the_jobs_failure() {
    let folder = Folder::new().await;
    // No tick lies before 1970: the dataflow refuses it, loudly.
    let job = start(
        &folder,
        config(3),
        Arc::clone(&folder.log),
        FakeClock::at(-5),
    )
    .await;
    let error = failure(&job).await;
    assert!(matches!(error, JobError::WorkerPanicked { .. }), "{error}");
    assert!(job.stop().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unavailable_log_is_waited_for() {
    let folder = Folder::new().await;
    let log = WatchedLog::new(Arc::clone(&folder.log), Arc::clone(&folder.codec));
    let job = start(&folder, config(2), log.clone(), FakeClock::at(now())).await;
    until("a tick", async || job.status().as_of).await;
    log.failing.store(8, Ordering::SeqCst);
    folder.append_readings(&readings(200)).await;
    folder.wait_covered(&*folder.store).await;
    assert_eq!(log.failing.load(Ordering::SeqCst), 0);
    job.stop().await.unwrap();
}

/// Somebody has to put it right, and then the views go on by themselves.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_refuses_is_waited_for_and_told() {
    let folder = Folder::new().await;
    let store = common::wrap::WatchedStore::new(Arc::clone(&folder.store));
    store.for_good.store(true, Ordering::SeqCst);
    store.failing.store(-1, Ordering::SeqCst);
    let log = Arc::clone(&folder.log);
    let job = folder
        .start_on(config(1), log, store.clone())
        .await
        .unwrap();
    folder.append_readings(&readings(1)).await;
    let told = until("the refusal is told", async || job.status().trouble).await;
    assert!(told.contains("the store refuses: a test says so"), "{told}");
    store.failing.store(0, Ordering::SeqCst);
    folder.wait_covered(&*folder.store).await;
    job.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sinks_that_fall_behind_make_ticks_larger() {
    let folder = Folder::new().await;
    let store = common::wrap::WatchedStore::new(Arc::clone(&folder.store));
    let job = folder
        .start_on(config(1), Arc::clone(&folder.log), store.clone())
        .await
        .unwrap();
    until("a tick", async || job.status().as_of).await;
    store.failing.store(-1, Ordering::SeqCst);
    let most = ticks(&folder).await.len() + Config::default().max_uncommitted_ticks + 3;
    for part in readings(1_000).chunks(20) {
        folder.append_readings(part).await;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(ticks(&folder).await.len() <= most);
    store.failing.store(0, Ordering::SeqCst);
    folder.wait_covered(&*folder.store).await;
    job.stop().await.unwrap();
}
