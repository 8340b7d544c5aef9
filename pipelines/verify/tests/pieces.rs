//! A tick that covers more bytes than there may be at work.
//!
//! A newcomer would only look whether the views are right. They were right before, too, on a machine with
//! enough memory: how many bytes of records are alive at a time is what is told here.

#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod common;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use common::{Folder, now, reading};
use openinfra_log::{AppendBatch, Appended, Fetch, Log, LogError, LogRecord};
use openinfra_schemas::{LedgerEntry, Reason, TenantId, TickRecord, Topic};
use openinfra_views::Config;

/// What is at work at most, in bytes, with two workers.
const AT_WORK: usize = 64 << 20;

/// Bytes of records that are alive, and the most that ever were.
#[derive(Default)]
struct Alive {
    now: AtomicUsize,
    most: AtomicUsize,
}

/// A record's value, which says when it is gone.
struct Counted(Bytes, Arc<Alive>);

impl Counted {
    fn value(bytes: Bytes, alive: &Arc<Alive>) -> Bytes {
        let now = alive.now.fetch_add(bytes.len(), SeqCst) + bytes.len();
        alive.most.fetch_max(now, SeqCst);
        Bytes::from_owner(Self(bytes, Arc::clone(alive)))
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.now.fetch_sub(self.0.len(), SeqCst);
    }
}

/// A log that counts what is alive of the records it gave.
struct CountedLog {
    inner: Arc<dyn Log>,
    alive: Arc<Alive>,
}

#[async_trait]
impl Log for CountedLog {
    fn partitions(&self, topic: Topic) -> i32 {
        self.inner.partitions(topic)
    }

    async fn append(&self, batch: AppendBatch) -> Result<Appended, LogError> {
        self.inner.append(batch).await
    }

    async fn read(&self, fetch: Fetch) -> Result<Vec<LogRecord>, LogError> {
        let mut records = self.inner.read(fetch).await?;
        for record in &mut records {
            record.value = Counted::value(std::mem::take(&mut record.value), &self.alive);
        }
        Ok(records)
    }

    async fn end_offsets(&self, topic: Topic) -> Result<Vec<i64>, LogError> {
        self.inner.end_offsets(topic).await
    }

    async fn start_offsets(&self, topic: Topic) -> Result<Vec<i64>, LogError> {
        self.inner.start_offsets(topic).await
    }
}

/// A delivery that was refused, as it came.
fn refused(number: usize, bytes: usize) -> LedgerEntry {
    LedgerEntry {
        tenant: TenantId::parse(&format!("city-{}", number % 7)).unwrap(),
        source: "http".to_owned(),
        reason: Reason::Undecodable.as_str().to_owned(),
        detail: "not JSON".to_owned(),
        origin: "/ingest".to_owned(),
        sensor_id: None,
        event_ts: None,
        recv_ts: now(),
        payload: vec![number as u8; bytes],
    }
}

/// Forty deliveries of 4 MiB stand in the log with readings between them before the job comes: one tick.
#[tokio::test(flavor = "multi_thread")]
async fn a_tick_of_more_bytes_than_may_be_at_work() {
    let folder = Folder::new().await;
    for number in 0..40 {
        folder.append_refused(&refused(number, 4 << 20)).await;
        let late = reading("city-1", "a", now() - 5_000 * number as i64, 1.0);
        folder.append_readings(&[late]).await;
    }
    let alive = Arc::new(Alive::default());
    let log = Arc::new(CountedLog {
        inner: Arc::clone(&folder.log),
        alive: Arc::clone(&alive),
    });
    let job = folder.start_on(log, Config::default()).await;
    folder.wait_covered().await;
    job.stop().await.unwrap();
    let most = alive.most.load(SeqCst);
    assert!(most > 4 << 20, "nothing was counted");
    assert!(most <= AT_WORK, "{most} bytes were alive");

    let covering: BTreeSet<_> = ticks(&folder).await.into_iter().collect();
    assert_eq!(covering.len(), 1, "one tick covers all");
    let report = folder.verify().await;
    assert!(report.equal, "{report:#?}");
    assert_eq!(report.views["ledger"].rows_stored, 40);
    assert_eq!(report.log_records, 80);
}

/// The ticks that cover records.
async fn ticks(folder: &Folder) -> Vec<i64> {
    let fetch = Fetch {
        topic: Topic::Ticks,
        partition: 0,
        from: 0,
        to: i64::MAX,
        max_records: usize::MAX,
        max_bytes: usize::MAX,
    };
    let records = folder.log.read(fetch).await.unwrap();
    let ticks =
        records
            .iter()
            .filter_map(|record| match folder.codec.decode(&record.value).unwrap() {
                TickRecord::Tick(tick) if !tick.ends.is_empty() => Some(tick.tick),
                _ => None,
            });
    ticks.collect()
}
