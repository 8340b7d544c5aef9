//! Partitioned, ordered tables: what every implementation promises.
//!
//! A row has a partition key, a clustering key that orders it within its partition, and value columns,
//! all typed by its [`Table`]. Rows travel encoded ([`row`]): keys in an order-preserving form, values in
//! a compact one; an implementation with typed columns of its own decodes them by the table. What a
//! newcomer would get wrong: a batch is atomic in each partition, not over partitions.

mod batch;
pub mod conformance;
mod range;
pub mod row;
pub mod tables;

use async_trait::async_trait;
use bytes::Bytes;

pub use batch::{Batch, Condition, ConditionalBatch, Mutation, WriteClass};
pub use range::{Edge, Range, RawRow};
pub use row::{Cell, Column, ColumnType, KeyBuf, Row, RowError, RowKey, Table};

/// Why the store did not do as it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing was written, or it is not known whether it was; writing the same again is right.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The store will not do it, however often it is asked: a row is too large, a right or a table is
    /// missing. An operator has to look. Of a batch without conditions some rows may be written.
    #[error("the store refuses: {0}")]
    Refused(String),
    /// Nothing was written; what was acknowledged stays readable.
    #[error("the store's storage is full")]
    StorageFull,
    /// What lies on disk is not what was written; an operator has to look.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    #[error("a row of {table} does not decode: {source}")]
    Row {
        table: &'static str,
        source: RowError,
    },
}

/// How fresh a read of one row must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Sees every write that was acknowledged before the read began.
    Acknowledged,
    /// As that, and ordered with all conditional batches of the partition.
    Linearizable,
}

/// What became of a conditional batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Applied,
    /// A condition did not hold; nothing was written. The row of that condition as it stands.
    Refused {
        condition: usize,
        current: Option<Bytes>,
    },
}

/// So many rows of a batch and partition appear together, ...
pub const ATOMIC_ROWS: usize = 128;

/// ... and so many bytes of them, encoded; a row that is larger is its own.
pub const ATOMIC_BYTES: usize = 32 << 10;

/// Partitioned, ordered tables.
///
/// * **Durable**: an acknowledged batch of class [`WriteClass::Durable`] or [`WriteClass::Numbered`] and an
///   applied conditional batch survive a crash. A batch of class [`WriteClass::Tick`] can be made again from the log: after a crash
///   it may be missing, but then so is every batch of that class acknowledged after it, and its `then`
///   rows are never there without its rows.
///   The same goes for [`WriteClass::Ahead`], whose rows are there before any of the batch of their tick is.
/// * **Atomic**: the rows of one batch that share a partition appear together as long as they are no more
///   than [`ATOMIC_ROWS`] and [`ATOMIC_BYTES`]; `then` rows appear only when all others are there. Within
///   a batch the last mutation of a row counts.
/// * **Repeatable**: a batch whose outcome is unknown may be written again with the same effect. A
///   [`WriteClass::Tick`] batch of a lower tick never overwrites a row written at a higher one, nor brings
///   back one removed there; one of class [`WriteClass::Rest`] stands between its tick and the next. A row is written by batches of one class only.
/// * **Read your writes**: what was acknowledged is seen by every read that begins later.
/// * **Conditional**: conditional batches of one partition are linearizable. Their tables are written by
///   no other means.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The value of one row.
    async fn get(&self, key: &RowKey, freshness: Freshness) -> Result<Option<Bytes>, StoreError>;

    /// The values of many rows, in the order of the keys.
    async fn get_many(&self, keys: &[RowKey]) -> Result<Vec<Option<Bytes>>, StoreError>;

    /// Rows of one partition, in order of their clustering keys.
    async fn range(&self, range: &Range) -> Result<Vec<RawRow>, StoreError>;

    /// Rows of many partitions, in the order of the ranges.
    async fn range_many(&self, ranges: &[Range]) -> Result<Vec<Vec<RawRow>>, StoreError>;

    /// Writes a batch without conditions.
    async fn write(&self, batch: Batch) -> Result<(), StoreError>;

    /// Writes rows of one partition if all conditions hold.
    async fn write_if(&self, batch: ConditionalBatch) -> Result<Outcome, StoreError>;
}

/// Typed reads over any store.
pub async fn get_row<R: Row>(
    store: &dyn Store,
    key: &RowKey,
    freshness: Freshness,
) -> Result<Option<R>, StoreError> {
    match store.get(key, freshness).await? {
        Some(value) => decode::<R>(key.partition(), key.clustering(), &value).map(Some),
        None => Ok(None),
    }
}

/// Typed reads of many rows by key.
pub async fn get_rows<R: Row>(
    store: &dyn Store,
    keys: &[RowKey],
) -> Result<Vec<Option<R>>, StoreError> {
    let values = store.get_many(keys).await?;
    keys.iter()
        .zip(values)
        .map(|(key, value)| {
            value
                .map(|value| decode::<R>(key.partition(), key.clustering(), &value))
                .transpose()
        })
        .collect()
}

/// Typed rows of one partition.
pub async fn range_rows<R: Row>(store: &dyn Store, range: &Range) -> Result<Vec<R>, StoreError> {
    let rows = store.range(range).await?;
    rows.iter()
        .map(|row| decode::<R>(&range.partition, &row.clustering, &row.value))
        .collect()
}

/// Typed rows of many partitions, one after the other.
pub async fn range_many_rows<R: Row>(
    store: &dyn Store,
    ranges: &[Range],
) -> Result<Vec<R>, StoreError> {
    let answers = store.range_many(ranges).await?;
    let mut rows = Vec::with_capacity(answers.iter().map(Vec::len).sum());
    for (range, answer) in ranges.iter().zip(&answers) {
        for row in answer {
            rows.push(decode::<R>(&range.partition, &row.clustering, &row.value)?);
        }
    }
    Ok(rows)
}

fn decode<R: Row>(partition: &[u8], clustering: &[u8], value: &[u8]) -> Result<R, StoreError> {
    R::decode(partition, clustering, value).map_err(|source| StoreError::Row {
        table: R::TABLE.name,
        source,
    })
}
