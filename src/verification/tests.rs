//! A verification that nobody waits for any more stops reading.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use openinfra_log::{AppendBatch, Appended, Fetch, LogError, LogRecord};
use openinfra_schemas::Topic;
use openinfra_store::{
    Batch, ConditionalBatch, Freshness, Outcome, Range, RawRow, RowKey, StoreError,
};
use openinfra_views::Job;
use tokio::sync::Semaphore;

use super::*;
use crate::{config::Config, deployment::Deployment};

/// How many reads are done before the others have to wait.
const FREE: usize = 5;

/// The reads of a log and a store: they are counted, and each needs a permit.
struct Reads {
    begun: AtomicUsize,
    permits: Semaphore,
}

impl Reads {
    fn with_permits(permits: usize) -> Arc<Self> {
        Arc::new(Self {
            begun: AtomicUsize::new(0),
            permits: Semaphore::new(permits),
        })
    }

    fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    async fn begin(&self) {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let permit = self.permits.acquire().await;
        permit.expect("nobody closes it").forget();
    }
}

/// A log or a store whose reads are counted.
struct Counted<T: ?Sized> {
    inner: Arc<T>,
    reads: Arc<Reads>,
}

#[async_trait]
impl Log for Counted<dyn Log> {
    fn partitions(&self, topic: Topic) -> i32 {
        self.inner.partitions(topic)
    }

    async fn append(&self, batch: AppendBatch) -> Result<Appended, LogError> {
        self.inner.append(batch).await
    }

    async fn read(&self, fetch: Fetch) -> Result<Vec<LogRecord>, LogError> {
        self.reads.begin().await;
        self.inner.read(fetch).await
    }

    async fn end_offsets(&self, topic: Topic) -> Result<Vec<i64>, LogError> {
        self.reads.begin().await;
        self.inner.end_offsets(topic).await
    }

    async fn start_offsets(&self, topic: Topic) -> Result<Vec<i64>, LogError> {
        self.reads.begin().await;
        self.inner.start_offsets(topic).await
    }
}

#[async_trait]
impl Store for Counted<dyn Store> {
    async fn get(&self, key: &RowKey, freshness: Freshness) -> Result<Option<Bytes>, StoreError> {
        self.reads.begin().await;
        self.inner.get(key, freshness).await
    }

    async fn get_many(&self, keys: &[RowKey]) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.reads.begin().await;
        self.inner.get_many(keys).await
    }

    async fn range(&self, range: &Range) -> Result<Vec<RawRow>, StoreError> {
        self.reads.begin().await;
        self.inner.range(range).await
    }

    async fn range_many(&self, ranges: &[Range]) -> Result<Vec<Vec<RawRow>>, StoreError> {
        self.reads.begin().await;
        self.inner.range_many(ranges).await
    }

    async fn write(&self, batch: Batch) -> Result<(), StoreError> {
        self.inner.write(batch).await
    }

    async fn write_if(&self, batch: ConditionalBatch) -> Result<Outcome, StoreError> {
        self.inner.write_if(batch).await
    }
}

fn counted(parts: &Parts, reads: &Arc<Reads>) -> Parts {
    let log: Counted<dyn Log> = Counted {
        inner: Arc::clone(&parts.log),
        reads: Arc::clone(reads),
    };
    let store: Counted<dyn Store> = Counted {
        inner: Arc::clone(&parts.store),
        reads: Arc::clone(reads),
    };
    Parts {
        log: Arc::new(log),
        store: Arc::new(store),
        codec: Arc::clone(&parts.codec),
    }
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), waiting).await;
    assert!(waited.is_ok(), "waited in vain until {what}");
}

/// Views of an empty log, and no job that goes on with them.
async fn views(deployment: &Deployment) {
    let (log, store) = (Arc::clone(&deployment.log), Arc::clone(&deployment.store));
    let metrics = prometheus::Registry::new();
    let config = openinfra_views::Config::default();
    let codec = Arc::clone(&deployment.codec);
    let job = Job::start(config, log, store, codec, &metrics)
        .await
        .unwrap();
    until("there are views", async || {
        run(deployment.parts(), Options::default()).await.is_ok()
    })
    .await;
    job.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verification_that_is_dropped_stops_reading() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config::of_folder(dir.path());
    let deployment = Deployment::open(&config, &prometheus::Registry::new())
        .await
        .unwrap();
    views(&deployment).await;

    let whole = Reads::with_permits(Semaphore::MAX_PERMITS);
    let parts = counted(&deployment.parts(), &whole);
    run(parts, Options::default()).await.unwrap();
    assert!(whole.begun() > 2 * FREE, "{} are too few", whole.begun());

    let reads = Reads::with_permits(FREE);
    let parts = counted(&deployment.parts(), &reads);
    let running = tokio::spawn(run(parts, Options::default()));
    until("one has to wait", async || reads.begun() == FREE + 1).await;
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    reads.permits.add_permits(1_000_000);
    // What computes has its own handle on them until its end.
    until("it has ended", async || Arc::strong_count(&reads) == 1).await;
    assert_eq!(reads.begun(), FREE + 1);
}
