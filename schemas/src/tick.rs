//! Ticks: the log's own time, and the binding of offsets to it.

use serde::{Deserialize, Serialize};

use crate::{registry::SchemaId, time::Millis};

/// The value of a record of the topic `ticks`.
///
/// Its schema only ever grows by branches at its end, so that every record of the topic is read by the newest
/// version, without a registry: what the registry said of other ids is told by the topic itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum TickRecord {
    /// The first record of the topic, and only that.
    LogId(LogId),
    Begin(Begin),
    Tick(Tick),
    Verdicts(Verdicts),
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

/// Which schemas stood under ids of records of a tick, as the registry said when the tick was first worked on.
///
/// A known id has its schema at every tick, an unknown one has none at this tick. Of all that is said of an id
/// and a tick, and is not void, what stands first in the topic holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdicts {
    /// Void when it stands after a newer attempt's `Begin`.
    pub attempt: i64,
    pub tick: Millis,
    pub known: Vec<KnownSchema>,
    pub unknown: Vec<SchemaId>,
}

/// An id, and the schema that stands under it for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownSchema {
    pub id: SchemaId,
    /// The writer's schema, as JSON.
    pub schema: String,
}
