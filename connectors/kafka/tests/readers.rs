//! Several readers at once, each with its own way through the log.

#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod support;

use std::sync::Arc;

use openinfra_log::{AppendBatch, Fetch, Log};
use openinfra_schemas::Topic;
use prometheus::Registry;
use support::{Mock, all, metric, open};

const RECORDS: i64 = 6_000;

async fn filled(mock: &Mock, registry: &Registry) -> Arc<dyn Log> {
    let log = open(&mock.config, registry).await;
    for partition in 0..3 {
        let mut batch = AppendBatch::default();
        for number in 0..RECORDS {
            batch.push(
                Topic::Readings,
                partition,
                b"",
                number.to_string().as_bytes(),
            );
        }
        log.append(batch).await.unwrap();
    }
    log
}

/// Reads a partition in steps of so many records.
async fn walk(log: Arc<dyn Log>, partition: i32, step: usize) {
    let mut next = 0;
    while next < RECORDS {
        let fetch = Fetch {
            max_records: step,
            ..all(partition, next)
        };
        for record in log.read(fetch).await.unwrap() {
            assert_eq!(record.offset, next);
            assert_eq!(record.value, next.to_string());
            next += 1;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_go_on_where_they_stood() {
    let mock = Mock::new(1);
    let registry = Registry::new();
    let log = filled(&mock, &registry).await;
    let mut tasks = Vec::new();
    for step in [100, 150, 250] {
        for partition in 0..3 {
            tasks.push(tokio::spawn(walk(log.clone(), partition, step)));
        }
    }
    for task in tasks {
        task.await.unwrap();
    }
    // Nine ways, each found once; a few more when two readers meet at an offset and one takes the other's
    // place.
    let seeks = metric(&registry, "openinfra_kafka_seeks_total");
    assert!(seeks <= 40.0, "{seeks} seeks for 900 reads");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn more_readers_than_consumers_get_their_records_too() {
    let mut mock = Mock::new(1);
    mock.config.readers = 1;
    let log = filled(&mock, &Registry::new()).await;
    let walks = [500, 700, 900].map(|step| tokio::spawn(walk(log.clone(), 0, step)));
    for walk in walks {
        walk.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn look_ups_do_not_move_a_reader() {
    let mut mock = Mock::new(1);
    mock.config.readers = 1;
    let registry = Registry::new();
    let log = filled(&mock, &registry).await;
    let walking = tokio::spawn(walk(log.clone(), 0, 100));
    for i in 0..60 {
        let at = (i * 977) % RECORDS;
        let fetch = Fetch {
            to: at + 1,
            max_records: 1,
            ..all(0, at)
        };
        assert_eq!(log.read(fetch).await.unwrap()[0].value, at.to_string());
    }
    walking.await.unwrap();
    let seeks = metric(&registry, "openinfra_kafka_seeks_total");
    assert!(seeks <= 61.0, "{seeks} seeks");
}
