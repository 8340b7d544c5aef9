//! Topics that were made anew, cut short or trimmed, before the job starts and while it runs.

#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod common;

use std::sync::{Arc, atomic::Ordering};

use common::{Folder, config, failure, now, reading, wrap::Replaced};
use openinfra_log::Log;
use openinfra_schemas::{TickRecord, Topic};
use openinfra_views::JobError;

/// A folder whose views have `count` readings of one sensor.
async fn covered(count: i64) -> Folder {
    let folder = filled(count).await;
    let job = folder.start(config(2)).await.unwrap();
    folder.wait_covered(&*folder.store).await;
    job.stop().await.unwrap();
    folder
}

/// A folder whose log has `count` readings of one sensor.
async fn filled(count: i64) -> Folder {
    let folder = Folder::new().await;
    for number in 0..count {
        folder
            .append_readings(&[reading("city", "a", now() + number, 1.0)])
            .await;
    }
    folder
}

fn with_readings_of(folder: &Folder, other: &Folder) -> Arc<Replaced> {
    let (inner, other) = (Arc::clone(&folder.log), Arc::clone(&other.log));
    Replaced::new(inner, other, Topic::Readings)
}

/// What an instance appends before all else. Ticks and verdicts of one that is stopped may still come: on Kafka,
/// what is on its way is not called back.
async fn instances(folder: &Folder) -> Vec<TickRecord> {
    let mut records = folder.tick_records().await;
    records.retain(|record| matches!(record, TickRecord::LogId(_) | TickRecord::Begin(_)));
    records
}

/// Starting is refused, and changes nothing: an instance that runs goes on.
async fn refused(folder: &Folder, log: Arc<dyn Log>, store: &Folder) -> JobError {
    let before = instances(folder).await;
    let store = Arc::clone(&store.store);
    let started = folder.start_on(config(2), log, store).await;
    assert_eq!(instances(folder).await, before, "no instance began");
    started.err().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_made_anew_is_refused_however_long_it_is() {
    let folder = covered(3).await;
    for (count, what) in [(2, "shorter"), (3, "as long"), (9, "longer")] {
        let log = with_readings_of(&folder, &filled(count).await);
        log.replaced.store(true, Ordering::SeqCst);
        let error = refused(&folder, log, &folder).await;
        match what {
            "shorter" => assert!(
                matches!(
                    error,
                    JobError::LogBehind {
                        stored: 3,
                        found: 2,
                        ..
                    }
                ),
                "{error}"
            ),
            _ => assert!(
                matches!(
                    error,
                    JobError::OtherRecord {
                        topic: "readings",
                        offset: 2,
                        ..
                    }
                ),
                "{what}: {error}"
            ),
        }
    }
    // As it was, the job goes on with it.
    let job = folder.start(config(2)).await.unwrap();
    job.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_made_anew_under_a_job_ends_it() {
    let folder = covered(3).await;
    // It is longer by the time the job looks, so that the job goes on with what stands in it.
    let log = with_readings_of(&folder, &filled(9).await);
    let job = folder
        .start_on(config(2), log.clone(), Arc::clone(&folder.store))
        .await
        .unwrap();
    folder.wait_covered(&*folder.store).await;
    log.replaced.store(true, Ordering::SeqCst);
    let error = failure(&job).await;
    assert!(
        matches!(
            error,
            JobError::OtherRecord {
                topic: "readings",
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ticks_of_other_topics_are_refused_without_any_views() {
    let folder = covered(3).await;
    let log = with_readings_of(&folder, &filled(1).await);
    log.replaced.store(true, Ordering::SeqCst);
    let error = refused(&folder, log, &Folder::new().await).await;
    assert!(
        matches!(
            error,
            JobError::TicksAhead {
                topic: "readings",
                covered: 3,
                found: 1,
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_records_refuse_a_start_and_leave_the_job_that_runs() {
    let folder = covered(3).await;
    let running = folder.start(config(2)).await.unwrap();
    folder.wait_covered(&*folder.store).await;
    let log = with_readings_of(&folder, &folder);
    log.start.store(1, Ordering::SeqCst);
    let store = Arc::clone(&folder.store);
    let error = folder.start_on(config(2), log, store).await.err().unwrap();
    assert!(
        matches!(
            error,
            JobError::Trimmed {
                topic: "readings",
                partition: 0,
                start: 1
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("retention.ms=-1"), "{error}");
    folder
        .append_readings(&[reading("city", "b", now(), 1.0)])
        .await;
    folder.wait_covered(&*folder.store).await;
    running.stop().await.unwrap();
}
