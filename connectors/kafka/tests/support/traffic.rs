//! Writers and followers of every partition of a real log, while its brokers or the way to them are disturbed:
//! what was acknowledged is there, once, where it was acknowledged, each writer's in their order.
//!
//! What a newcomer would get wrong: nothing that failed is appended again. So a record that stands twice was sent
//! twice by the client itself.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use openinfra_log::{AppendBatch, Log, LogError, LogRecord};
use openinfra_schemas::Topic;
use prometheus::Registry;
use tokio::task::JoinHandle;

use super::{Real, all, open, read_all, until};

pub const PARTITIONS: i32 = 3;
/// Who append to one partition, each waiting for its own acknowledgements only.
const WRITERS: usize = 4;
const BATCH: usize = 20;
/// Between a writer's batches.
const PAUSE: Duration = Duration::from_millis(5);
/// Many times what an append takes.
const STILL: Duration = Duration::from_secs(1);

#[derive(Default)]
pub struct Watch {
    stop: AtomicBool,
    /// Nothing is being written any more.
    written: AtomicBool,
    pub acknowledged: AtomicUsize,
    failed: AtomicUsize,
    reads_failed: AtomicUsize,
    /// The longest that one append took, in milliseconds.
    longest_append_ms: AtomicU64,
    complaints: Mutex<Vec<String>>,
}

impl Watch {
    /// Waits until more has been acknowledged.
    pub async fn goes_on(&self, what: &str) {
        let before = self.acknowledged.load(Relaxed);
        let enough = before + 10 * BATCH * WRITERS * PARTITIONS as usize;
        until(what, || self.acknowledged.load(Relaxed) >= enough).await;
    }

    /// Waits until nothing has been acknowledged for a while, or more than can have been on its way; how much was.
    pub async fn stands_still(&self) -> usize {
        let first = self.acknowledged.load(Relaxed);
        let (mut last, mut since) = (first, Instant::now());
        until("nothing is acknowledged, or too much", || {
            let now = self.acknowledged.load(Relaxed);
            if now != std::mem::replace(&mut last, now) {
                since = Instant::now();
            }
            since.elapsed() > STILL || now > first + 100 * BATCH * WRITERS
        })
        .await;
        last - first
    }
}

/// Appends `writer:number` in batches until it is told to stop, and never again what failed; returns the offset of
/// each number, none where it was not acknowledged.
async fn write(log: Arc<dyn Log>, partition: i32, writer: usize, watch: Arc<Watch>) -> Vec<i64> {
    let mut offsets = Vec::new();
    while !watch.stop.load(Relaxed) {
        let mut batch = AppendBatch::default();
        for number in offsets.len()..offsets.len() + BATCH {
            let value = format!("{writer}:{number}");
            batch.push(Topic::Readings, partition, b"key", value.as_bytes());
        }
        let begun = Instant::now();
        match log.append(batch).await {
            Ok(appended) => {
                offsets.extend(appended.offsets);
                watch.acknowledged.fetch_add(BATCH, Relaxed);
            }
            Err(LogError::Unavailable(why)) => {
                watch.failed.fetch_add(1, Relaxed);
                watch.complaints.lock().unwrap().push(why);
            }
            Err(error) => panic!("{error}"),
        }
        let took = u64::try_from(begun.elapsed().as_millis()).unwrap();
        watch.longest_append_ms.fetch_max(took, Relaxed);
        tokio::time::sleep(PAUSE).await;
    }
    offsets
}

/// Reads a partition as it grows, to the end that it has when all is over.
async fn follow(log: Arc<dyn Log>, partition: i32, watch: Arc<Watch>) -> Vec<LogRecord> {
    let mut records = Vec::new();
    loop {
        let last = watch.written.load(Relaxed);
        match log.read(all(partition, records.len() as i64)).await {
            Ok(more) if more.is_empty() && last => return records,
            Ok(more) => {
                for record in more {
                    assert_eq!(record.offset, records.len() as i64, "[{partition}]");
                    records.push(record);
                }
            }
            Err(LogError::Unavailable(why)) => {
                watch.reads_failed.fetch_add(1, Relaxed);
                watch.complaints.lock().unwrap().push(why);
            }
            Err(error) => panic!("{error}"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Every number stands once, where it was acknowledged, each writer's in their order.
fn check(partition: i32, records: &[LogRecord], written: &[Vec<i64>]) {
    let mut seen = vec![0; written.len()];
    for record in records {
        let text = std::str::from_utf8(&record.value).unwrap();
        let (writer, number) = text.split_once(':').unwrap();
        let (writer, number): (usize, usize) = (writer.parse().unwrap(), number.parse().unwrap());
        let at = record.offset;
        assert_eq!(number, seen[writer], "{text} at {at} of {partition}");
        assert_eq!(
            written[writer].get(number),
            Some(&at),
            "{text} of {partition}"
        );
        seen[writer] += 1;
    }
    let acknowledged: Vec<usize> = written.iter().map(Vec::len).collect();
    assert_eq!(seen, acknowledged, "lost of {partition}");
}

/// Writers and followers of every partition.
pub struct Traffic {
    pub real: Real,
    log: Arc<dyn Log>,
    pub watch: Arc<Watch>,
    writers: Vec<Vec<JoinHandle<Vec<i64>>>>,
    followers: Vec<JoinHandle<Vec<LogRecord>>>,
}

impl Traffic {
    /// On topics that nobody else has, with as many copies as there are brokers for.
    pub async fn start(brokers: &[String]) -> Self {
        let mut real = Real::new(&brokers.join(","));
        real.config.partitions = PARTITIONS;
        real.config.replication_factor = None;
        let log = open(&real.config, &Registry::new()).await;
        let watch = Arc::new(Watch::default());
        let mut writers = Vec::new();
        let mut followers = Vec::new();
        for partition in 0..PARTITIONS {
            let of_one = (0..WRITERS)
                .map(|writer| tokio::spawn(write(log.clone(), partition, writer, watch.clone())));
            writers.push(of_one.collect());
            followers.push(tokio::spawn(follow(log.clone(), partition, watch.clone())));
        }
        Self {
            real,
            log,
            watch,
            writers,
            followers,
        }
    }

    /// Ends it, and compares what was acknowledged, what was followed and what a newcomer reads.
    pub async fn check(self) {
        let watch = self.watch;
        watch.stop.store(true, Relaxed);
        let mut written = Vec::new();
        for of_one in self.writers {
            let mut offsets = Vec::new();
            for writer in of_one {
                offsets.push(writer.await.unwrap());
            }
            written.push(offsets);
        }
        watch.written.store(true, Relaxed);
        // The client tries for `delivery_timeout_ms`, and that is longer than an election, and than it takes to connect
        // again.
        let complaints = watch.complaints.lock().unwrap().clone();
        assert_eq!(watch.failed.load(Relaxed), 0, "{complaints:?}");
        // What a follower has read is what a newcomer reads.
        let newcomer = open(&self.real.config, &Registry::new()).await;
        for ((partition, written), follower) in (0..).zip(&written).zip(self.followers) {
            let records = follower.await.unwrap();
            let again = read_all(&*newcomer, partition).await;
            let differs = records.iter().zip(&again).find(|(then, now)| then != now);
            assert_eq!(differs, None, "[{partition}]");
            assert_eq!(records.len(), again.len(), "[{partition}]");
            check(partition, &records, written);
        }
        eprintln!(
            "{} records acknowledged, {} appends and {} reads failed, the longest append took {} ms",
            watch.acknowledged.load(Relaxed),
            watch.failed.load(Relaxed),
            watch.reads_failed.load(Relaxed),
            watch.longest_append_ms.load(Relaxed)
        );
        drop(self.log);
        self.real.clean().await;
    }
}
