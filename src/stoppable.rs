//! A log and a store that answer nothing more once they are stopped.
//!
//! Long computations over them read all the time, and so end soon after; dropping their future would not
//! end them, as reads of a local folder seldom wait and a future is dropped only where it waits.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use openinfra_log::{AppendBatch, Appended, Fetch, Log, LogError, LogRecord};
use openinfra_schemas::Topic;
use openinfra_store::{
    Batch, ConditionalBatch, Freshness, Outcome, Range, RawRow, RowKey, Store, StoreError,
};
use tokio_util::sync::CancellationToken;

/// A log or a store until `stop` is cancelled.
pub struct Stoppable<T: ?Sized> {
    pub inner: Arc<T>,
    pub stop: CancellationToken,
}

impl<T: ?Sized> Stoppable<T> {
    fn unless_stopped<E>(&self, stopped: fn(String) -> E) -> Result<&T, E> {
        if self.stop.is_cancelled() {
            Err(stopped("nobody waits for what is read".to_owned()))
        } else {
            Ok(&self.inner)
        }
    }

    fn log(&self) -> Result<&T, LogError> {
        self.unless_stopped(LogError::Unavailable)
    }

    fn store(&self) -> Result<&T, StoreError> {
        self.unless_stopped(StoreError::Unavailable)
    }
}

#[async_trait]
impl Log for Stoppable<dyn Log> {
    fn partitions(&self, topic: Topic) -> i32 {
        self.inner.partitions(topic)
    }

    fn max_record_bytes(&self) -> usize {
        self.inner.max_record_bytes()
    }

    async fn append(&self, batch: AppendBatch) -> Result<Appended, LogError> {
        self.log()?.append(batch).await
    }

    async fn read(&self, fetch: Fetch) -> Result<Vec<LogRecord>, LogError> {
        self.log()?.read(fetch).await
    }

    async fn end_offsets(&self, topic: Topic) -> Result<Vec<i64>, LogError> {
        self.log()?.end_offsets(topic).await
    }

    async fn start_offsets(&self, topic: Topic) -> Result<Vec<i64>, LogError> {
        self.log()?.start_offsets(topic).await
    }
}

#[async_trait]
impl Store for Stoppable<dyn Store> {
    async fn get(&self, key: &RowKey, freshness: Freshness) -> Result<Option<Bytes>, StoreError> {
        self.store()?.get(key, freshness).await
    }

    async fn get_many(&self, keys: &[RowKey]) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.store()?.get_many(keys).await
    }

    async fn range(&self, range: &Range) -> Result<Vec<RawRow>, StoreError> {
        self.store()?.range(range).await
    }

    async fn range_many(&self, ranges: &[Range]) -> Result<Vec<Vec<RawRow>>, StoreError> {
        self.store()?.range_many(ranges).await
    }

    async fn write(&self, batch: Batch) -> Result<(), StoreError> {
        self.store()?.write(batch).await
    }

    async fn write_if(&self, batch: ConditionalBatch) -> Result<Outcome, StoreError> {
        self.store()?.write_if(batch).await
    }
}
