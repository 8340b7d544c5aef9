//! The store on the database: a keyspace for each table, in it partition and clustering key end to end.
//!
//! What a newcomer would get wrong: a tick's rows must come as one batch, but for those written ahead. The
//! greatest tick written is kept, and a batch at or below it is acknowledged without being written, because
//! the tick's batch was atomic and is there whole; rows ahead of a tick's batch say nothing of the tick.

use std::{ops::Bound, sync::Arc};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use fjall::{Readable, Snapshot};
use openinfra_store::{
    Batch, ConditionalBatch, Freshness, Outcome, Range, RawRow, RowKey, Store, StoreError, row,
};

use crate::{committer::Request, database::Database, error::Failure, handle::Handle};

/// So many ranges are read on the calling task; more go to a thread where blocking harms nobody.
const RANGES_INLINE: usize = 16;

pub(crate) struct EmbeddedStore {
    pub(crate) handle: Arc<Handle>,
}

#[async_trait]
impl Store for EmbeddedStore {
    /// There is one copy and one writer, so every read is linearizable.
    async fn get(&self, key: &RowKey, _: Freshness) -> Result<Option<Bytes>, StoreError> {
        let database = self.handle.database();
        Ok(get(database, &database.shown(), key)?)
    }

    async fn get_many(&self, keys: &[RowKey]) -> Result<Vec<Option<Bytes>>, StoreError> {
        let database = self.handle.database();
        let snapshot = database.shown();
        let values: Result<_, Failure> = keys
            .iter()
            .map(|key| get(database, &snapshot, key))
            .collect();
        Ok(values?)
    }

    async fn range(&self, range: &Range) -> Result<Vec<RawRow>, StoreError> {
        let database = self.handle.database();
        Ok(read_range(database, &database.shown(), range)?)
    }

    async fn range_many(&self, ranges: &[Range]) -> Result<Vec<Vec<RawRow>>, StoreError> {
        let database = self.handle.database().clone();
        if ranges.len() <= RANGES_INLINE {
            return Ok(read_ranges(&database, ranges)?);
        }
        let ranges = ranges.to_vec();
        let answer = tokio::task::spawn_blocking(move || read_ranges(&database, &ranges))
            .await
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(answer?)
    }

    async fn write(&self, batch: Batch) -> Result<(), StoreError> {
        let answer = self
            .handle
            .ask(|reply| Request::Write { batch, reply })
            .await?;
        Ok(answer?)
    }

    async fn write_if(&self, batch: ConditionalBatch) -> Result<Outcome, StoreError> {
        if !batch.is_one_partition() {
            return Err(StoreError::Unavailable(
                "a conditional batch must keep to one partition of one table".into(),
            ));
        }
        let answer = self
            .handle
            .ask(|reply| Request::WriteIf { batch, reply })
            .await?;
        Ok(answer?)
    }
}

fn get(database: &Database, snapshot: &Snapshot, key: &RowKey) -> Result<Option<Bytes>, Failure> {
    let Some(keyspace) = database.table(key.table.name)? else {
        return Ok(None);
    };
    // Copied: a row is small, and a slice would keep its whole block in memory.
    let value = snapshot.get(&keyspace, key.bytes())?;
    Ok(value.map(|value| Bytes::copy_from_slice(&value)))
}

fn read_ranges(database: &Database, ranges: &[Range]) -> Result<Vec<Vec<RawRow>>, Failure> {
    let snapshot = database.shown();
    ranges
        .iter()
        .map(|range| read_range(database, &snapshot, range))
        .collect()
}

fn read_range(
    database: &Database,
    snapshot: &Snapshot,
    range: &Range,
) -> Result<Vec<RawRow>, Failure> {
    // The database does not take bounds between which no key can lie.
    if range.is_empty() {
        return Ok(Vec::new());
    }
    let Some(keyspace) = database.table(range.table.name)? else {
        return Ok(Vec::new());
    };
    let rows = snapshot.range(&keyspace, bounds(range));
    if range.descending {
        collect(rows.rev().take(range.limit), range.partition.len())
    } else {
        collect(rows.take(range.limit), range.partition.len())
    }
}

/// Copies rows into one buffer of which each is a slice.
fn collect(
    rows: impl Iterator<Item = fjall::Guard>,
    partition_len: usize,
) -> Result<Vec<RawRow>, Failure> {
    let mut bytes = BytesMut::new();
    let mut spans = Vec::new();
    for row in rows {
        let (key, value) = row.into_inner()?;
        let start = bytes.len();
        bytes.extend_from_slice(&key[partition_len..]);
        let middle = bytes.len();
        bytes.extend_from_slice(&value);
        spans.push((start, middle, bytes.len()));
    }
    let bytes = bytes.freeze();
    Ok(spans
        .into_iter()
        .map(|(start, middle, end)| RawRow {
            clustering: bytes.slice(start..middle),
            value: bytes.slice(middle..end),
        })
        .collect())
}

type Bounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// The range in terms of whole keys; it is not empty.
fn bounds(range: &Range) -> Bounds {
    let key = |clustering: Vec<u8>| [range.partition.as_slice(), &clustering].concat();
    let from = match range.from.position() {
        Some(clustering) => key(clustering),
        None => range.partition.clone(),
    };
    let to = match range.to.position() {
        Some(clustering) => Some(key(clustering)),
        None => row::after_prefix(&range.partition),
    };
    let to = to.map_or(Bound::Unbounded, Bound::Excluded);
    (Bound::Included(from), to)
}
