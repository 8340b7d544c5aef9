//! How fast the log on Kafka appends, reads, and answers.
//!
//! `cargo run --release -p openinfra-kafka --example kafka_throughput -- HOST:PORT [RECORDS] [PARTITIONS]
//! [APPENDERS] [LINGER_MS]` makes topics of its own, named after the time, and leaves them there.

#![expect(
    clippy::unwrap_used,
    reason = "a measurement that fails has nothing to say"
)]

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use futures::future::join_all;
use openinfra_kafka::{Config, KafkaLog};
use openinfra_log::{AppendBatch, Fetch, Log};
use openinfra_schemas::Topic;
use prometheus::Registry;

const VALUE_BYTES: usize = 180;
const BATCH: usize = 1_000;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let broker = arguments
        .next()
        .unwrap_or_else(|| "127.0.0.1:9092".to_owned());
    let records: usize = arguments.next().map_or(1_000_000, |n| n.parse().unwrap());
    let partitions: i32 = arguments.next().map_or(32, |n| n.parse().unwrap());
    let appenders: usize = arguments.next().map_or(16, |n| n.parse().unwrap());
    let linger_ms = arguments.next().map(|n| n.parse().unwrap());
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    let config = Config {
        brokers: vec![broker],
        topic_prefix: format!("bench-{}.", now.as_secs()),
        partitions,
        linger_ms: linger_ms.unwrap_or(Config::default().linger_ms),
        ..Config::default()
    };
    let begun = Instant::now();
    let log = KafkaLog::open(config.clone(), &Registry::new())
        .await
        .unwrap();
    let log: Arc<dyn Log> = Arc::new(log);
    println!("opened in {:?}", begun.elapsed());

    for time in 1..=2 {
        append_all(&log, records, partitions, appenders).await;
        let ends = log.end_offsets(Topic::Readings).await.unwrap();
        assert_eq!(ends.iter().sum::<i64>(), (time * records) as i64);
    }
    let ends = log.end_offsets(Topic::Readings).await.unwrap();
    for name in ["first", "second"] {
        read_all(&log, &ends, name).await;
    }
    // Another process: nothing is assigned or known yet.
    let fresh = KafkaLog::open(config, &Registry::new()).await.unwrap();
    let fresh: Arc<dyn Log> = Arc::new(fresh);
    read_all(&fresh, &ends, "new log's").await;

    latency("end_offsets of all partitions", 200, async |_| {
        log.end_offsets(Topic::Readings).await.unwrap();
    })
    .await;
    latency("append of one record", 200, async |_| {
        append_one(&log).await
    })
    .await;
    latency("append, then read it", 200, async |_| {
        append_one(&log).await;
        let end = log.end_offsets(Topic::Ticks).await.unwrap()[0];
        let fetch = fetch(Topic::Ticks, 0, end - 1, i64::MAX, 4_096);
        assert_eq!(log.read(fetch).await.unwrap().len(), 1);
    })
    .await;
    latency("read at the end", 200, async |_| {
        let end = log.end_offsets(Topic::Ticks).await.unwrap()[0];
        let fetch = fetch(Topic::Ticks, 0, end, i64::MAX, 4_096);
        assert!(log.read(fetch).await.unwrap().is_empty());
    })
    .await;
    let spread = |i: i64| (i * 7_919) % (records as i64 / i64::from(partitions) / 2).max(1);
    latency("look-up of one record", 200, async |i| {
        let fetch = fetch(
            Topic::Readings,
            i as i32 % partitions,
            spread(i),
            spread(i) + 1,
            1,
        );
        assert_eq!(log.read(fetch).await.unwrap().len(), 1);
    })
    .await;
}

async fn append_one(log: &Arc<dyn Log>) {
    let mut batch = AppendBatch::default();
    batch.push(Topic::Ticks, 0, b"", &[7; 100]);
    log.append(batch).await.unwrap();
}

async fn append_all(log: &Arc<dyn Log>, records: usize, partitions: i32, appenders: usize) {
    let value = vec![b'v'; VALUE_BYTES];
    let begun = Instant::now();
    let appended = (0..appenders).map(|appender| {
        let (log, value) = (log.clone(), value.clone());
        let share = (appender..records).step_by(appenders).count();
        tokio::spawn(async move {
            let mut left = share;
            while left > 0 {
                let count = left.min(BATCH);
                let mut batch = AppendBatch::default();
                for i in 0..count {
                    let partition = ((left - i) as i32) % partitions;
                    let key = format!("tenant/sensor-{i:08}");
                    batch.push(Topic::Readings, partition, key.as_bytes(), &value);
                }
                log.append(batch).await.unwrap();
                left -= count;
            }
        })
    });
    for outcome in join_all(appended).await {
        outcome.unwrap();
    }
    rate("appended", records, begun.elapsed());
}

async fn read_all(log: &Arc<dyn Log>, ends: &[i64], which: &str) {
    let begun = Instant::now();
    let readers = ends.iter().enumerate().map(|(partition, end)| {
        let (log, end) = (log.clone(), *end);
        tokio::spawn(async move {
            let mut next = 0;
            while next < end {
                let fetch = fetch(Topic::Readings, partition as i32, next, i64::MAX, 2_048);
                let records = log.read(fetch).await.unwrap();
                assert!(
                    records
                        .iter()
                        .map(|r| r.offset)
                        .eq(next..next + records.len() as i64)
                );
                next += records.len() as i64;
            }
        })
    });
    for read in join_all(readers).await {
        read.unwrap();
    }
    let records = ends.iter().sum::<i64>() as usize;
    rate(&format!("read, {which} time"), records, begun.elapsed());
}

fn fetch(topic: Topic, partition: i32, from: i64, to: i64, max_records: usize) -> Fetch {
    Fetch {
        topic,
        partition,
        from,
        to,
        max_records,
        max_bytes: 512 << 10,
    }
}

fn rate(what: &str, records: usize, took: Duration) {
    let rate = records as f64 / took.as_secs_f64();
    println!("{what}: {records} records in {took:.2?}, {rate:.0}/s");
}

async fn latency(what: &str, times: i64, mut run: impl AsyncFnMut(i64)) {
    let mut took = Vec::new();
    for i in 0..times {
        let begun = Instant::now();
        run(i).await;
        took.push(begun.elapsed());
    }
    took.sort();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    println!(
        "{what}: p50 {:.2?}, p99 {:.2?}, most {:.2?}",
        at(0.5),
        at(0.99),
        at(1.0)
    );
}
