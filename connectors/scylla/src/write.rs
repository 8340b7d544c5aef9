//! Batches without conditions: single-partition batches, all at once within the bound, `then` rows last.
//!
//! Each carries one timestamp, so that repeating it changes nothing and, of two that write the same row,
//! the later one wins whichever arrives last.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use futures::future::try_join_all;
use openinfra_store::{Batch, Mutation, StoreError, WriteClass};
use scylla::statement::batch::{Batch as Statements, BatchType};

use crate::{
    bind::RowValues,
    chunk::{Chunk, chunks},
    metrics::Op,
    read::is_possible,
    store::ScyllaStore,
};

impl ScyllaStore {
    pub(crate) async fn write_batch(&self, batch: &Batch) -> Result<(), StoreError> {
        let timestamp = match batch.class {
            WriteClass::Tick(tick) | WriteClass::Ahead(tick) => tick.saturating_mul(1_000),
            WriteClass::Rest(tick) => tick.saturating_mul(1_000).saturating_add(1),
            WriteClass::Durable => self.clock.next(),
            WriteClass::Numbered(number) => number,
        };
        let (first, then) = chunks(batch.mutations(), batch.then());
        self.write_chunks(&first, timestamp).await?;
        self.write_chunks(&then, timestamp).await
    }

    async fn write_chunks(&self, chunks: &[Chunk<'_>], timestamp: i64) -> Result<(), StoreError> {
        let writes = chunks
            .iter()
            .map(|chunk| self.write_chunk(chunk, timestamp));
        try_join_all(writes).await.map(drop)
    }

    /// Writes some mutations of one partition at once.
    async fn write_chunk(&self, chunk: &[Mutation<'_>], timestamp: i64) -> Result<(), StoreError> {
        let Some(first) = chunk.first() else {
            return Ok(());
        };
        let table = self.statements.of(first.table)?;
        let mut statements = Statements::new(BatchType::Unlogged);
        statements.set_is_idempotent(true);
        statements.set_timestamp(Some(timestamp));
        let mut values = Vec::with_capacity(chunk.len());
        for mutation in chunk {
            let (partition, clustering) = mutation.key.split_at(mutation.partition_len);
            if !is_possible(partition, clustering) {
                if mutation.value.is_none() {
                    continue;
                }
                return Err(StoreError::Refused(format!(
                    "a key of {} is too long for the cluster",
                    first.table.name
                )));
            }
            statements.append_statement(match mutation.value {
                Some(_) => table.insert.clone(),
                None => table.delete.clone(),
            });
            values.push(RowValues::new(*mutation));
        }
        if values.is_empty() {
            return Ok(());
        }
        let write = || self.session.batch(&statements, &values);
        self.requests.repeat(Op::Write, write).await.map(drop)
    }
}

/// Timestamps of what exists nowhere else: our clock, never one twice and never back.
///
/// A row that one process writes and another removes would need clocks that agree better than the time
/// between the two: that is what [`WriteClass::Numbered`] is for.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    last: AtomicI64,
}

impl Clock {
    /// Microseconds since 1970.
    pub(crate) fn next(&self) -> i64 {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_micros() as i64);
        let next = |last: i64| Some(now.max(last + 1));
        let last = self
            .last
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        now.max(last.unwrap_or(0) + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_timestamp_comes_twice() {
        let clock = Clock::default();
        let ahead = clock.next() + 3_600_000_000;
        clock.last.store(ahead, Ordering::Relaxed);
        let stamps: Vec<_> = (0..1_000).map(|_| clock.next()).collect();
        assert!(stamps.iter().all(|stamp| *stamp > ahead));
        assert!(stamps.is_sorted_by(|a, b| a < b));
    }
}
