//! Ranges: which rows of a partition a read is about.
//!
//! A newcomer would bound them by bytes. A store with typed columns knows no bytes between two keys: an
//! edge stands in front of or behind all rows whose clustering key begins with some whole columns.

use bytes::Bytes;

use crate::row::{Table, after_prefix};

/// Where a range begins or ends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Edge {
    /// Where the partition does.
    #[default]
    Open,
    /// In front of all rows whose clustering key begins with these whole columns, encoded.
    Before(Vec<u8>),
    /// Behind all of them.
    After(Vec<u8>),
}

/// Rows of one partition between two edges.
#[derive(Debug, Clone)]
pub struct Range {
    pub table: &'static Table,
    /// The whole partition key, encoded.
    pub partition: Vec<u8>,
    pub from: Edge,
    pub to: Edge,
    /// From the greatest key down.
    pub descending: bool,
    pub limit: usize,
}

/// A row as it was stored; its partition is the range's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawRow {
    pub clustering: Bytes,
    pub value: Bytes,
}

impl Range {
    /// All rows of a partition, ascending.
    pub fn partition(table: &'static Table, partition: Vec<u8>) -> Self {
        Self {
            table,
            partition,
            from: Edge::Open,
            to: Edge::Open,
            descending: false,
            limit: usize::MAX,
        }
    }

    /// All rows of a partition whose clustering key begins with `prefix`, ascending.
    pub fn prefix(table: &'static Table, partition: Vec<u8>, prefix: Vec<u8>) -> Self {
        Self {
            from: Edge::Before(prefix.clone()),
            to: Edge::After(prefix),
            ..Self::partition(table, partition)
        }
    }

    pub fn limit(self, limit: usize) -> Self {
        Self { limit, ..self }
    }

    pub fn descending(self) -> Self {
        Self {
            descending: true,
            ..self
        }
    }

    /// Whether no row can lie in it, whatever the partition holds.
    pub fn is_empty(&self) -> bool {
        let starts = match &self.from {
            Edge::Open => Some(Vec::new()),
            edge => edge.position(),
        };
        match (starts, self.to.position()) {
            _ if self.limit == 0 => true,
            (Some(from), Some(to)) => from >= to,
            (None, _) => true,
            (Some(_), None) => false,
        }
    }
}

impl Edge {
    /// The least clustering key behind the edge, as bytes; none: no key is, as behind an open end.
    pub fn position(&self) -> Option<Vec<u8>> {
        match self {
            Self::Open => None,
            Self::Before(prefix) => Some(prefix.clone()),
            Self::After(prefix) => after_prefix(prefix),
        }
    }
}
