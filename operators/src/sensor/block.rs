//! A block: the readings in force of one sensor and one hour, in event-time order.

use openinfra_schemas::{Quality, time::Millis};

use crate::{change::HistoryRow, views::hourly_aggregate::Aggregate};

/// One reading in force.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Entry {
    pub event_ts: Millis,
    pub offset: i64,
    pub value: f64,
    pub quality: Quality,
    pub recv_ts: Millis,
}

impl Entry {
    /// Whether the other says the same of the same time; values are compared by their bits.
    fn says(&self, other: &Self) -> bool {
        self.value.to_bits() == other.value.to_bits() && self.quality == other.quality
    }
}

/// What a reading is to the block it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// The first of its event time.
    New,
    Duplicate,
    /// It replaces the entry of its event time.
    Correction,
}

/// All readings in force of an hour; a block is always complete.
#[derive(Debug, Clone, Default)]
pub struct Block {
    entries: Vec<Entry>,
    /// The tick that started the hour, if it did so since the block came into memory.
    pub created_at: Option<Millis>,
    /// The last tick that changed it: until that is acknowledged, rows of it are nowhere else.
    pub changed_at: Millis,
    /// When it was last used, by the cache's count.
    pub used: u64,
}

impl Block {
    /// An hour that a tick starts.
    pub fn new(tick: Millis) -> Self {
        Self {
            created_at: Some(tick),
            changed_at: tick,
            ..Self::default()
        }
    }

    /// Makes a block of all rows of an hour, corrections included, in any order.
    pub fn of_rows(rows: &[HistoryRow]) -> Self {
        let mut entries: Vec<Entry> = rows
            .iter()
            .map(|row| Entry {
                event_ts: row.event_ts,
                offset: row.offset,
                value: row.value.unwrap_or(openinfra_schemas::reading::NO_VALUE),
                quality: row.quality,
                recv_ts: row.recv_ts,
            })
            .collect();
        entries.sort_unstable_by_key(|entry| (entry.event_ts, entry.offset));
        // The last of each event time is in force.
        entries.reverse();
        entries.dedup_by_key(|entry| entry.event_ts);
        entries.reverse();
        Self {
            entries,
            changed_at: Millis::MIN,
            ..Self::default()
        }
    }

    /// Takes a reading, which stands behind all taken so far in the log.
    pub fn take(&mut self, entry: Entry) -> Taken {
        match self
            .entries
            .binary_search_by_key(&entry.event_ts, |e| e.event_ts)
        {
            Err(at) => {
                self.entries.insert(at, entry);
                Taken::New
            }
            Ok(at) if self.entries[at].says(&entry) => Taken::Duplicate,
            Ok(at) => {
                self.entries[at] = entry;
                Taken::Correction
            }
        }
    }

    /// Folds the readings in event-time order.
    pub fn aggregate(&self, hour: Millis) -> Aggregate {
        let mut aggregate = Aggregate::default();
        for entry in &self.entries {
            aggregate.add(hour, entry.value, entry.quality, entry.recv_ts);
        }
        aggregate
    }

    /// What it holds in memory, about.
    pub fn size_bytes(&self) -> usize {
        OVERHEAD_BYTES + self.entries.capacity() * size_of::<Entry>()
    }
}

/// A block's own fields, its place in the map and in the queue.
const OVERHEAD_BYTES: usize = 160;
