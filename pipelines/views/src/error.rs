//! Why the job does not run, in the terms of who operates it.
//!
//! An unavailable log or store is none of these once the job runs: it holds, retries and says so in its
//! status.

use std::sync::Arc;

use openinfra_log::LogError;
use openinfra_schemas::registry::RegistryError;
use openinfra_store::StoreError;

/// Why the job did not start, or stopped by itself. Cheap to clone, as several wait for it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JobError {
    #[error("the settings of the job cannot be used: {0}")]
    Config(String),
    #[error("the job's metrics cannot be registered: {0}")]
    Metrics(String),
    #[error("the log failed the job")]
    Log(#[source] Arc<LogError>),
    #[error("the store failed the job")]
    Store(#[source] Arc<StoreError>),
    #[error("the schema registry failed the job")]
    Registry(#[source] Arc<RegistryError>),
    /// A newer instance of the job took over.
    #[error(
        "attempt {ours} of the job is superseded by attempt {theirs}; this instance stopped and changed nothing since"
    )]
    Superseded { ours: i64, theirs: i64 },
    /// The store was filled from another log.
    #[error(
        "the store holds views of log {stored}, but this is log {found}; is the prefix of the topics the right one, and the store? Give the log that belongs to the store, or an empty store to fill from this log"
    )]
    OtherLog { stored: String, found: String },
    /// The log lost records that are in the views.
    #[error(
        "the views cover {topic}/{partition} up to offset {stored}, but the log ends at {found}; is the prefix of the topics the right one, and the store? Restore the log, or give an empty store to fill from what is left"
    )]
    LogBehind {
        topic: &'static str,
        partition: i32,
        stored: i64,
        found: i64,
    },
    /// The log is another than the views were made from, though long enough.
    #[error(
        "the views cover {topic}/{partition}, but another record stands at offset {offset} than when they were made: the topic was made anew, cut short and filled again, or restored without its append times; restore it, or give the job an empty store to fill from what is there"
    )]
    OtherRecord {
        topic: &'static str,
        partition: i32,
        offset: i64,
    },
    /// `ticks` belongs to other topics than those beside it.
    #[error(
        "the log's own ticks cover {topic}/{partition} up to offset {covered}, but it ends at {found}: the topic was made anew or cut short and `ticks` was not; restore it, or remove all topics of the log and give the job an empty store"
    )]
    TicksAhead {
        topic: &'static str,
        partition: i32,
        covered: i64,
        found: i64,
    },
    /// Records are deleted that every start needs.
    #[error(
        "the log keeps {topic}/{partition} only from offset {start} on, and views are computed from the first record: nothing was changed, and an instance that runs goes on; set the topic to keep everything (retention.ms=-1, retention.bytes=-1, cleanup.policy=delete), then restore what was deleted, or begin with new topics and an empty store"
    )]
    Trimmed {
        topic: &'static str,
        partition: i32,
        start: i64,
    },
    /// The registry is another than the log was written with, or lost what it had.
    #[error(
        "the log has records whose schema id {id} stands for another schema than the registry gives it now, that of {subject}: give the job the registry that belongs to the log, with its ids"
    )]
    OtherSchema { id: u32, subject: &'static str },
    /// A record of `ticks` that nobody who keeps the rules can have written.
    #[error(
        "the record at offset {offset} of ticks cannot be used: {reason}; it is a newer version's of this program, which is then to be run, or somebody else's, who may not write there: then only new topics and an empty store help"
    )]
    Ticks { offset: i64, reason: String },
    /// What was appended to `ticks` is not there when it is read back.
    #[error(
        "ticks does not have what was appended to it, up to offset {offset}: {missing}; start the job again: nothing was done by what is missing"
    )]
    NotReadBack { offset: i64, missing: String },
    #[error(
        "the system clock stepped by {step_ms} ms against the monotonic clock; set it right and start the job again"
    )]
    ClockStepped { step_ms: i64 },
    /// The machine's clock, or that of the log's machines, is wrong.
    #[error(
        "the system clock is {ahead_ms} ms ahead of the log's (behind it, if negative); set both right (NTP) and start the job again; nothing was changed, and an instance that runs goes on"
    )]
    ClockDiffers { ahead_ms: i64 },
    #[error("worker {worker} of the job panicked: {message}")]
    WorkerPanicked { worker: usize, message: String },
    #[error("a part of the job panicked: {0}")]
    Panicked(String),
    #[error("ticks in flight were not committed within {waited_ms} ms")]
    StillInFlight { waited_ms: u64 },
    #[error("the job was stopped")]
    Stopped,
}

impl From<LogError> for JobError {
    fn from(source: LogError) -> Self {
        Self::Log(Arc::new(source))
    }
}

impl From<StoreError> for JobError {
    fn from(source: StoreError) -> Self {
        Self::Store(Arc::new(source))
    }
}

impl From<RegistryError> for JobError {
    fn from(source: RegistryError) -> Self {
        Self::Registry(Arc::new(source))
    }
}

/// Why a part of the job leaves off before its input ends.
#[derive(Debug)]
pub(crate) enum Halt {
    /// Another part failed, or whoever started the job does not want to wait.
    Aborted,
    Failed(JobError),
}

impl<E: Into<JobError>> From<E> for Halt {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}
