//! The ordered, durable log: what every implementation promises.
//!
//! A topic has partitions, a partition has records at offsets 0, 1, 2, … Offsets order the records of
//! one partition and nothing else; they are not time. What a newcomer would get wrong: an append that
//! fails may have happened. Appending again is right, as readers count a reading once.

mod batch;
pub mod conformance;
mod token;

use async_trait::async_trait;
use bytes::Bytes;
use openinfra_schemas::{Topic, time::Millis};

pub use batch::{AppendBatch, AppendRecord};
pub use token::{MAX_TOKEN_BYTES, TokenError, WriteToken};

/// One record of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    pub offset: i64,
    /// When the log took it, by the log's clock. Never decreases within a partition, as far as the
    /// clocks of the machines agree that lead it one after the other.
    pub append_ts: Millis,
    pub key: Bytes,
    pub value: Bytes,
}

/// Where an append ended up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// The offset of each record, in the batch's order.
    pub offsets: Vec<i64>,
}

/// What to read of one partition: offsets `from..to`, as far as the bounds reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetch {
    pub topic: Topic,
    pub partition: i32,
    pub from: i64,
    /// Exclusive; the partition's end when it is less.
    pub to: i64,
    /// At most so many records.
    pub max_records: usize,
    /// No further record once so many bytes are reached; the first comes whatever its size.
    pub max_bytes: usize,
}

/// Why the log did not do as it was asked.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Nothing was taken, or it is not known whether it was; trying later may help.
    #[error("the log is unavailable: {0}")]
    Unavailable(String),
    /// Nothing was taken; what was acknowledged stays readable.
    #[error("the log's storage is full")]
    StorageFull,
    /// Credentials, permissions or settings are in the way. It passes when an operator puts them right.
    /// As for [`LogError::Unavailable`], of a batch some may have been taken.
    #[error("the log refuses us: {0}")]
    Refused(String),
    /// Nothing was taken, nor will it ever be.
    #[error("a record of {bytes} bytes is too large for the log: it takes {limit}")]
    TooLarge { bytes: usize, limit: usize },
    /// The offset lies below the first that is kept.
    #[error("offset {wanted} of {topic}/{partition} is gone: the log starts at {start}")]
    Gone {
        topic: Topic,
        partition: i32,
        wanted: i64,
        start: i64,
    },
    #[error("{topic} has partitions 0..{partitions}, not {partition}")]
    NoPartition {
        topic: Topic,
        partition: i32,
        partitions: i32,
    },
    /// What lies on disk is not what was written; an operator has to look.
    #[error("the log is damaged: {0}")]
    Damaged(String),
}

/// An ordered, durable log of keyed records in partitioned topics.
///
/// * **Durable**: when [`append`](Log::append) returns `Ok`, every record of the batch survives a crash
///   of any process (and of the machine, as far as the deployment's replication goes).
/// * **Not before**: no reader sees a record that is not durable yet, nor do `end_offsets` count it.
/// * **Ordered**: the records of one batch and one partition have ascending offsets in the batch's
///   order; a batch appended after another returned stands behind it in every partition.
/// * **Unknown outcome**: after an `Err` none, some or all of the records may be in the log.
/// * **Stable**: a record read once is read the same for ever after, until it is trimmed.
/// * **Fixed**: the number of partitions of a topic does not change in its life.
#[async_trait]
pub trait Log: Send + Sync + 'static {
    /// Partitions of a topic.
    fn partitions(&self, topic: Topic) -> i32;

    /// The largest record that it takes, key and value together, in bytes; what is larger is
    /// [`LogError::TooLarge`] whenever it is appended. Default: any.
    fn max_record_bytes(&self) -> usize {
        usize::MAX
    }

    /// Appends a batch; returns when all of it is durable. An empty batch appends nothing, and fails as any
    /// other when the log takes no input.
    async fn append(&self, batch: AppendBatch) -> Result<Appended, LogError>;

    /// Reads consecutive records of one partition; empty at its end, never waiting for more.
    async fn read(&self, fetch: Fetch) -> Result<Vec<LogRecord>, LogError>;

    /// The end (exclusive) of every partition of a topic, indexed by partition.
    async fn end_offsets(&self, topic: Topic) -> Result<Vec<i64>, LogError>;

    /// The first offset that is kept in every partition of a topic, indexed by partition.
    async fn start_offsets(&self, topic: Topic) -> Result<Vec<i64>, LogError>;
}
