//! Attempts, newer instances, and stores that belong to another log.

#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod common;

use std::sync::Arc;

use common::{
    Folder, config,
    dump::{dump, typed},
    failure, now, progress_key, reading, until,
    wrap::{Slip, WatchedLog, WatchedStore},
};
use openinfra_schemas::{Begin, PartitionEnd, Tick, TickRecord, Topic, time::HOUR_MS};
use openinfra_store::{
    Batch, Condition, ConditionalBatch, KeyBuf, Row, RowKey, WriteClass,
    tables::views::{AttemptRow, GENERATION, LatestReadingRow, ProgressRow},
};
use openinfra_views::{Config, JobError};

fn begin(attempt: i64) -> TickRecord {
    TickRecord::Begin(Begin {
        attempt,
        processes: 1,
        generation: GENERATION,
        tzdata: String::new(),
    })
}

async fn latest_rows(folder: &Folder) -> Vec<LatestReadingRow> {
    typed(&dump(&*folder.store, &["city"], now() - HOUR_MS, now()).await)
}

/// A newer `Begin` beside a tick, before the tick is read back: the tick changes nothing, the instance
/// stops and says why. The next instance acts on it if it stood before the `Begin`.
async fn check_superseded(slip: Slip) {
    let folder = Folder::new().await;
    let log = WatchedLog::new(Arc::clone(&folder.log), Arc::clone(&folder.codec));
    let store = WatchedStore::new(Arc::clone(&folder.store));
    let job = folder
        .start_on(config(2), log.clone(), store.clone())
        .await
        .unwrap();
    *log.slip.lock().unwrap() = Some((slip, begin(9)));
    folder
        .append_readings(&[reading("city", "a", now(), 1.0)])
        .await;
    let error = failure(&job).await;
    assert!(
        matches!(error, JobError::Superseded { ours: 1, theirs: 9 }),
        "{error}"
    );
    assert!(error.to_string().contains("superseded by attempt 9"));
    assert!(job.stop().await.is_err());
    assert!(latest_rows(&folder).await.is_empty());

    let ticks = folder.tick_records().await;
    let covering = ticks
        .iter()
        .position(|record| matches!(record, TickRecord::Tick(tick) if !tick.ends.is_empty()))
        .unwrap();
    let TickRecord::Tick(tick) = &ticks[covering] else {
        unreachable!("found by its kind");
    };
    assert!(store.written().iter().all(|written| *written < tick.tick));

    let job = folder.start(config(2)).await.unwrap();
    assert_eq!(job.status().attempt, 10);
    folder.wait_covered(&*folder.store).await;
    let row = &latest_rows(&folder).await[0];
    match slip {
        Slip::BehindTick | Slip::BeforeVerdicts => assert_eq!(row.tick, tick.tick),
        Slip::BeforeTick => assert!(row.tick > tick.tick, "the void tick covers nothing"),
    }
    job.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_begin_between_append_and_reading_back_ends_the_instance() {
    check_superseded(Slip::BehindTick).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tick_behind_a_newer_begin_is_void() {
    check_superseded(Slip::BeforeTick).await;
}

/// What is said of schemas behind a newer `Begin` is void, and nothing was done by it.
#[tokio::test(flavor = "multi_thread")]
async fn verdicts_behind_a_newer_begin_are_void() {
    check_superseded(Slip::BeforeVerdicts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_instance_notices_a_newer_one() {
    let folder = Folder::new().await;
    let job = folder.start(config(1)).await.unwrap();
    folder.append_tick_record(&begin(2)).await;
    let error = failure(&job).await;
    assert!(matches!(error, JobError::Superseded { ours: 1, theirs: 2 }));
    assert!(matches!(job.hold().await, Err(JobError::Superseded { .. })));
}

/// Who reads its status learns what it waits for; whoever wrote the tick, the next start refuses the log.
#[tokio::test(flavor = "multi_thread")]
async fn a_tick_that_covers_more_than_the_log_has_is_waited_for() {
    let folder = Folder::new().await;
    let config = Config {
        stop_timeout_ms: 100,
        ..config(1)
    };
    let job = folder.start(config.clone()).await.unwrap();
    let forged = Tick {
        attempt: 1,
        tick: now() + HOUR_MS,
        ends: vec![PartitionEnd {
            topic: Topic::Readings.name().to_owned(),
            partition: 0,
            end: 3,
        }],
    };
    folder.append_tick_record(&TickRecord::Tick(forged)).await;
    until("it waits", async || {
        let trouble = job.status().trouble?;
        let said = "readings/0 ends at 0, and a tick covers it up to 3";
        trouble.contains(said).then_some(())
    })
    .await;
    job.stop().await.unwrap();
    let error = folder.start(config).await.err().unwrap();
    assert!(
        matches!(
            &error,
            JobError::TicksAhead {
                covered: 3,
                found: 0,
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_never_share_an_attempt() {
    let folder = Folder::new().await;
    let first = folder.start(config(1)).await.unwrap();
    let second = folder.start(config(1)).await.unwrap();
    assert_eq!((first.status().attempt, second.status().attempt), (1, 2));
    assert!(matches!(
        failure(&first).await,
        JobError::Superseded { ours: 1, theirs: 2 }
    ));
    folder
        .append_readings(&[reading("city", "a", now(), 1.0)])
        .await;
    folder.wait_covered(&*folder.store).await;
    second.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_is_above_the_stores_and_the_logs() {
    let folder = Folder::new().await;
    folder.start(config(1)).await.unwrap().stop().await.unwrap();
    folder.append_tick_record(&begin(7)).await;
    let job = folder.start(config(1)).await.unwrap();
    assert_eq!(job.status().attempt, 8);
    job.stop().await.unwrap();

    let generation = KeyBuf::new().int(GENERATION);
    let mut batch = ConditionalBatch::new(vec![Condition::Equals {
        key: RowKey::new(AttemptRow::TABLE, &generation, &KeyBuf::new()),
        column: "attempt",
        value: 8,
    }]);
    batch.put(&AttemptRow {
        generation: GENERATION,
        attempt: 20,
    });
    folder.store.write_if(batch).await.unwrap();
    let job = folder.start(config(1)).await.unwrap();
    assert_eq!(job.status().attempt, 21);
    job.stop().await.unwrap();
}

async fn covered_folder() -> Folder {
    let folder = Folder::new().await;
    let job = folder.start(config(1)).await.unwrap();
    folder
        .append_readings(&[reading("city", "a", now(), 1.0)])
        .await;
    folder.wait_covered(&*folder.store).await;
    job.stop().await.unwrap();
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_another_log_is_refused() {
    let (ours, theirs) = (covered_folder().await, covered_folder().await);
    let store = Arc::clone(&theirs.store);
    let result = ours.start_on(config(1), Arc::clone(&ours.log), store).await;
    assert!(matches!(result.err(), Some(JobError::OtherLog { .. })));

    // An empty log has no id yet, and gets none.
    let empty = Folder::new().await;
    let store = Arc::clone(&theirs.store);
    let result = empty
        .start_on(config(1), Arc::clone(&empty.log), store)
        .await;
    assert!(matches!(
        result.err(),
        Some(JobError::LogBehind { topic: "ticks", .. })
    ));
    assert!(empty.tick_records().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_lost_records_is_refused() {
    let folder = covered_folder().await;
    let stored = folder.progress().await.unwrap();
    let further = ProgressRow {
        ends: r#"{"readings":[9,9,9,9],"entities":[0,0,0,0],"ledger":[0,0,0,0]}"#.to_owned(),
        as_of: stored.as_of + 1,
        ..stored
    };
    let mut batch = Batch::new(WriteClass::Tick(further.as_of));
    batch.put_then(&further);
    folder.store.write(batch).await.unwrap();
    assert_eq!(further.key(), progress_key());
    let error = folder.start(config(1)).await.err().unwrap();
    assert!(
        matches!(
            error,
            JobError::LogBehind {
                topic: "readings",
                partition: 0,
                stored: 9,
                ..
            }
        ),
        "{error}"
    );
}
