//! The topics of the log.

use std::fmt;

/// A topic: its name, and how it is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// `Reading`, by (tenant, sensor).
    Readings,
    /// `EntityChange`, by (tenant, kind, id); kept for ever.
    Entities,
    /// `TickRecord`; one partition, totally ordered.
    Ticks,
    /// `LedgerEntry`, by (tenant, source): what connectors refused.
    Ledger,
}

/// Partitions of a keyed topic, fixed for its life.
pub const DEFAULT_PARTITIONS: i32 = 32;

impl Topic {
    pub const ALL: [Self; 4] = [Self::Readings, Self::Entities, Self::Ticks, Self::Ledger];

    pub fn name(self) -> &'static str {
        match self {
            Self::Readings => "readings",
            Self::Entities => "entities",
            Self::Ticks => "ticks",
            Self::Ledger => "ledger",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.name() == name)
    }

    /// How many partitions the topic has when keyed topics have `keyed`.
    pub fn partitions(self, keyed: i32) -> i32 {
        if self == Self::Ticks { 1 } else { keyed }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
