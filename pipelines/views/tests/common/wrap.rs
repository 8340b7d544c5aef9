//! Wrappers around log and store that watch, disturb or delay what the job does.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use openinfra_log::{AppendBatch, Appended, Fetch, Log, LogError, LogRecord};
use openinfra_schemas::{Codec, TickRecord, Topic, time::Millis};
use openinfra_store::{
    Batch, ConditionalBatch, Freshness, Outcome, Range, RawRow, RowKey, Store, StoreError,
    WriteClass,
};

use super::append_tick_record;

/// When a record is slipped into `ticks`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slip {
    BeforeTick,
    /// After the tick's append, and before anybody can read it.
    BehindTick,
    /// Before what is said of schemas.
    BeforeVerdicts,
}

/// A log that notes calls and can slip a record beside a tick.
pub struct WatchedLog {
    pub inner: Arc<dyn Log>,
    pub codec: Arc<Codec>,
    /// Topics whose ends were asked for, in order.
    pub sampled: Mutex<Vec<Topic>>,
    /// Slipped in beside the next tick that covers records, or the next verdicts.
    pub slip: Mutex<Option<(Slip, TickRecord)>>,
    /// Appends and reads that fail from now on.
    pub failing: AtomicUsize,
    /// Held while `ticks` is appended to, so that readers see all or nothing.
    ticks: tokio::sync::Mutex<()>,
}

impl WatchedLog {
    pub fn new(inner: Arc<dyn Log>, codec: Arc<Codec>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            codec,
            sampled: Mutex::default(),
            slip: Mutex::default(),
            failing: AtomicUsize::new(0),
            ticks: tokio::sync::Mutex::default(),
        })
    }

    fn fail(&self) -> Result<(), LogError> {
        if take_one(&self.failing) {
            return Err(LogError::Unavailable("a test says so".to_owned()));
        }
        Ok(())
    }

    /// What is to be slipped in beside a batch of `ticks`.
    fn slip(&self, batch: &AppendBatch) -> Option<(Slip, TickRecord)> {
        let mut slip = self.slip.lock().expect("not poisoned");
        let is_beside = |slip: Slip| {
            batch
                .iter()
                .any(|record| match self.codec.decode(record.value) {
                    Ok(TickRecord::Tick(tick)) => {
                        slip != Slip::BeforeVerdicts && !tick.ends.is_empty()
                    }
                    Ok(TickRecord::Verdicts(_)) => slip == Slip::BeforeVerdicts,
                    _ => false,
                })
        };
        slip.take_if(|(slip, _)| is_beside(*slip))
    }
}

fn take_one(left: &AtomicUsize) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1))
        .is_ok()
}

#[async_trait]
impl Log for WatchedLog {
    fn partitions(&self, topic: Topic) -> i32 {
        self.inner.partitions(topic)
    }

    async fn append(&self, batch: AppendBatch) -> Result<Appended, LogError> {
        self.fail()?;
        let is_tick = batch.iter().all(|record| record.topic == Topic::Ticks);
        if !is_tick {
            return self.inner.append(batch).await;
        }
        let _guard = self.ticks.lock().await;
        let Some((slip, record)) = self.slip(&batch) else {
            return self.inner.append(batch).await;
        };
        if slip != Slip::BehindTick {
            append_tick_record(&*self.inner, &self.codec, &record).await;
        }
        let appended = self.inner.append(batch).await;
        if slip == Slip::BehindTick {
            append_tick_record(&*self.inner, &self.codec, &record).await;
        }
        appended
    }

    async fn read(&self, fetch: Fetch) -> Result<Vec<LogRecord>, LogError> {
        self.fail()?;
        if fetch.topic == Topic::Ticks {
            let _guard = self.ticks.lock().await;
            return self.inner.read(fetch).await;
        }
        self.inner.read(fetch).await
    }

    async fn end_offsets(&self, topic: Topic) -> Result<Vec<i64>, LogError> {
        self.sampled.lock().expect("not poisoned").push(topic);
        self.inner.end_offsets(topic).await
    }

    async fn start_offsets(&self, topic: Topic) -> Result<Vec<i64>, LogError> {
        self.inner.start_offsets(topic).await
    }
}

/// A log of which one topic is another's from some moment on, and may be cut at its beginning.
pub struct Replaced {
    pub inner: Arc<dyn Log>,
    pub other: Arc<dyn Log>,
    pub topic: Topic,
    pub replaced: AtomicBool,
    /// The first offset that is kept of every partition of the topic.
    pub start: AtomicI64,
}

impl Replaced {
    pub fn new(inner: Arc<dyn Log>, other: Arc<dyn Log>, topic: Topic) -> Arc<Self> {
        Arc::new(Self {
            inner,
            other,
            topic,
            replaced: AtomicBool::new(false),
            start: AtomicI64::new(0),
        })
    }

    fn of(&self, topic: Topic) -> &dyn Log {
        let other = topic == self.topic && self.replaced.load(Ordering::SeqCst);
        if other { &*self.other } else { &*self.inner }
    }
}

#[async_trait]
impl Log for Replaced {
    fn partitions(&self, topic: Topic) -> i32 {
        self.inner.partitions(topic)
    }

    async fn append(&self, batch: AppendBatch) -> Result<Appended, LogError> {
        self.inner.append(batch).await
    }

    async fn read(&self, fetch: Fetch) -> Result<Vec<LogRecord>, LogError> {
        self.of(fetch.topic).read(fetch).await
    }

    async fn end_offsets(&self, topic: Topic) -> Result<Vec<i64>, LogError> {
        self.of(topic).end_offsets(topic).await
    }

    async fn start_offsets(&self, topic: Topic) -> Result<Vec<i64>, LogError> {
        let mut starts = self.of(topic).start_offsets(topic).await?;
        if topic == self.topic {
            starts.fill(self.start.load(Ordering::SeqCst));
        }
        Ok(starts)
    }
}

/// A log whose clock, as `ticks` tells it, is the test's.
pub struct OnClock<C> {
    pub inner: Arc<dyn Log>,
    pub clock: C,
}

#[async_trait]
impl<C: Fn() -> Millis + Send + Sync + 'static> Log for OnClock<C> {
    fn partitions(&self, topic: Topic) -> i32 {
        self.inner.partitions(topic)
    }

    async fn append(&self, batch: AppendBatch) -> Result<Appended, LogError> {
        self.inner.append(batch).await
    }

    async fn read(&self, fetch: Fetch) -> Result<Vec<LogRecord>, LogError> {
        let mut records = self.inner.read(fetch).await?;
        if fetch.topic == Topic::Ticks {
            for record in &mut records {
                record.append_ts = (self.clock)();
            }
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

/// A store that notes the ticks written, and fails when told to.
pub struct WatchedStore {
    pub inner: Arc<dyn Store>,
    /// Class of every batch written.
    pub written: Mutex<Vec<Millis>>,
    /// Writes and range reads that fail from now on; for ever when negative.
    pub failing: AtomicI64,
    /// Refusals given.
    pub refused: AtomicUsize,
    /// Whether failures are for good, as far as the store knows.
    pub for_good: AtomicBool,
}

impl WatchedStore {
    pub fn new(inner: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            written: Mutex::default(),
            failing: AtomicI64::new(0),
            refused: AtomicUsize::new(0),
            for_good: AtomicBool::new(false),
        })
    }

    pub fn written(&self) -> Vec<Millis> {
        self.written.lock().expect("not poisoned").clone()
    }

    fn fail(&self) -> Result<(), StoreError> {
        let fails = match self.failing.load(Ordering::SeqCst) {
            0 => false,
            n if n < 0 => true,
            _ => self.failing.fetch_sub(1, Ordering::SeqCst) > 0,
        };
        if fails {
            self.refused.fetch_add(1, Ordering::SeqCst);
            let why = "a test says so".to_owned();
            return Err(match self.for_good.load(Ordering::SeqCst) {
                true => StoreError::Refused(why),
                false => StoreError::Unavailable(why),
            });
        }
        Ok(())
    }
}

#[async_trait]
impl Store for WatchedStore {
    async fn get(&self, key: &RowKey, freshness: Freshness) -> Result<Option<Bytes>, StoreError> {
        self.inner.get(key, freshness).await
    }

    async fn get_many(&self, keys: &[RowKey]) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.inner.get_many(keys).await
    }

    async fn range(&self, range: &Range) -> Result<Vec<RawRow>, StoreError> {
        self.fail()?;
        self.inner.range(range).await
    }

    async fn range_many(&self, ranges: &[Range]) -> Result<Vec<Vec<RawRow>>, StoreError> {
        self.fail()?;
        self.inner.range_many(ranges).await
    }

    async fn write(&self, batch: Batch) -> Result<(), StoreError> {
        self.fail()?;
        if let WriteClass::Tick(tick) = batch.class {
            self.written.lock().expect("not poisoned").push(tick);
        }
        self.inner.write(batch).await
    }

    async fn write_if(&self, batch: ConditionalBatch) -> Result<Outcome, StoreError> {
        self.inner.write_if(batch).await
    }
}
