//! Leaders that are killed and come back, on three real brokers: what was acknowledged is there, once, in its
//! order, and everything goes on by itself.
//!
//! `OPENINFRA_FAULTS=full` kills a leader of each partition in turn instead of one.

#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod support;

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
use support::{
    Real, all,
    brokers::{Brokers, Place},
    open, until,
};
use tokio::task::JoinHandle;

const PARTITIONS: i32 = 3;
/// Who append to one partition, each waiting for its own acknowledgements only.
const WRITERS: usize = 4;
const BATCH: usize = 20;
/// Between a writer's batches.
const PAUSE: Duration = Duration::from_millis(5);
/// Many times what an append takes.
const STILL: Duration = Duration::from_secs(1);

/// One test at a time has the brokers.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[derive(Default)]
struct Watch {
    stop: AtomicBool,
    /// Nothing is being written any more.
    written: AtomicBool,
    acknowledged: AtomicUsize,
    failed: AtomicUsize,
    reads_failed: AtomicUsize,
    /// The longest that one append took, in milliseconds.
    longest_append_ms: AtomicU64,
    complaints: Mutex<Vec<String>>,
}

impl Watch {
    /// Waits until more has been acknowledged.
    async fn goes_on(&self, what: &str) {
        let before = self.acknowledged.load(Relaxed);
        let enough = before + 10 * BATCH * WRITERS * PARTITIONS as usize;
        until(what, || self.acknowledged.load(Relaxed) >= enough).await;
    }

    /// Waits until nothing has been acknowledged for a while, or more than can have been on its way; how much was.
    async fn stands_still(&self) -> usize {
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
struct Traffic {
    real: Real,
    log: Arc<dyn Log>,
    watch: Arc<Watch>,
    writers: Vec<Vec<JoinHandle<Vec<i64>>>>,
    followers: Vec<JoinHandle<Vec<LogRecord>>>,
}

impl Traffic {
    async fn start(brokers: &Brokers) -> Self {
        let mut real = Real::new(&brokers.addresses.join(","));
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

    /// Waits until all brokers have all that is written.
    async fn in_sync(&self, brokers: &Brokers) {
        let name = self.real.name(Topic::Readings);
        for partition in 0..PARTITIONS {
            let all = |place: &Place| place.in_sync == brokers.addresses.len();
            brokers.wait_for(&name, partition, all).await;
        }
    }

    /// Ends it, and compares what was acknowledged, what was followed and what a newcomer reads.
    async fn check(self) {
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
        // The client tries for `delivery_timeout_ms`, and that is longer than an election.
        let complaints = watch.complaints.lock().unwrap().clone();
        assert_eq!(watch.failed.load(Relaxed), 0, "{complaints:?}");
        // What a follower has read is what a newcomer reads.
        let newcomer = open(&self.real.config, &Registry::new()).await;
        for ((partition, written), follower) in (0..).zip(&written).zip(self.followers) {
            let records = follower.await.unwrap();
            let again = support::read_all(&*newcomer, partition).await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_is_killed_and_comes_back() {
    let _alone = ALONE.lock().await;
    let Some(brokers) = Brokers::three() else {
        return;
    };
    let traffic = Traffic::start(&brokers).await;
    let name = traffic.real.name(Topic::Readings);
    let rounds = match std::env::var("OPENINFRA_FAULTS").as_deref() {
        Ok("full") => PARTITIONS,
        _ => 1,
    };
    for partition in 0..rounds {
        traffic.watch.goes_on("appends before").await;
        traffic.in_sync(&brokers).await;
        let leader = brokers.wait_for(&name, partition, |_| true).await.leader;
        brokers.kill(leader).await;
        let begun = Instant::now();
        let other = |place: &Place| place.leader != leader;
        brokers.wait_for(&name, partition, other).await;
        let led = begun.elapsed();
        traffic.watch.goes_on("appends to the new leader").await;
        let on = begun.elapsed();
        brokers.up().await;
        traffic.in_sync(&brokers).await;
        traffic.watch.goes_on("appends with all brokers").await;
        eprintln!(
            "broker {leader} killed: {led:.1?} to another leader, {on:.1?} to appends again, {:.1?} to all",
            begun.elapsed()
        );
    }
    traffic.check().await;
}

/// The followers stand still while the leader takes what nobody else has, and then it is killed: what it alone had
/// is lost, so that it must not have been acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_a_killed_leader_had_was_not_acknowledged() {
    let _alone = ALONE.lock().await;
    let Some(brokers) = Brokers::three() else {
        return;
    };
    let traffic = Traffic::start(&brokers).await;
    let name = traffic.real.name(Topic::Readings);
    traffic.watch.goes_on("appends before").await;
    traffic.in_sync(&brokers).await;
    let leader = brokers.wait_for(&name, 0, |_| true).await.leader;
    let mut paused = Vec::new();
    for other in (1..=3).filter(|id| *id != leader) {
        paused.push(brokers.pause(other).await);
    }
    let alone = traffic.watch.stands_still().await;
    brokers.kill(leader).await;
    let begun = Instant::now();
    drop(paused);
    let other = |place: &Place| place.leader != leader;
    brokers.wait_for(&name, 0, other).await;
    traffic.watch.goes_on("appends to the new leader").await;
    eprintln!(
        "{alone} records acknowledged by broker {leader} alone, {:.1?} to appends again",
        begun.elapsed()
    );
    brokers.up().await;
    traffic.in_sync(&brokers).await;
    traffic.watch.goes_on("appends with all brokers").await;
    traffic.check().await;
}
