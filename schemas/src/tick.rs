//! Ticks: the log's own time, and the binding of offsets to it.

use serde::{Deserialize, Serialize};

use crate::time::Millis;

/// The value of a record of the topic `ticks`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum TickRecord {
    /// The first record of the topic, and only that.
    LogId(LogId),
    Begin(Begin),
    Tick(Tick),
}

/// Tells one log from another: random, made with the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogId {
    /// UUIDv4, lower case.
    pub id: String,
}

/// An instance of the job takes over. Ticks of older attempts that stand after it are void.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Begin {
    pub attempt: i64,
    /// How many processes the instance has.
    pub processes: i32,
    /// The generation of view definitions that it maintains.
    pub generation: i32,
    /// The version of the time zone data in use.
    pub tzdata: String,
}

/// Binds offsets to a time: the records below `ends`, and not below an earlier tick's, are at `tick`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tick {
    pub attempt: i64,
    /// Strictly increasing over the ticks that are not void.
    pub tick: Millis,
    /// Only partitions whose end moved since the attempt's last tick; others keep theirs.
    pub ends: Vec<PartitionEnd>,
}

/// The end (exclusive) of one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionEnd {
    pub topic: String,
    pub partition: i32,
    pub end: i64,
}
