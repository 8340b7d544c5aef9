//! Keys, whose byte order is the order of their columns.

use std::fmt;

use super::{Row, Table, bytes::push_key_bytes};

/// The key of one row.
#[derive(Clone, PartialEq, Eq)]
pub struct RowKey {
    pub table: &'static Table,
    bytes: Vec<u8>,
    partition_len: usize,
}

impl RowKey {
    pub fn new(table: &'static Table, partition: &KeyBuf, clustering: &KeyBuf) -> Self {
        let mut bytes = partition.0.clone();
        bytes.extend_from_slice(&clustering.0);
        Self {
            table,
            bytes,
            partition_len: partition.0.len(),
        }
    }

    /// The key of these encoded columns.
    pub fn from_bytes(table: &'static Table, partition: &[u8], clustering: &[u8]) -> Self {
        Self {
            table,
            bytes: [partition, clustering].concat(),
            partition_len: partition.len(),
        }
    }

    /// The key of a row.
    pub fn of<R: Row>(row: &R) -> Self {
        let mut bytes = Vec::with_capacity(64);
        let partition_len = row.encode_key(&mut bytes);
        Self {
            table: R::TABLE,
            bytes,
            partition_len,
        }
    }

    pub fn partition(&self) -> &[u8] {
        &self.bytes[..self.partition_len]
    }

    pub fn clustering(&self) -> &[u8] {
        &self.bytes[self.partition_len..]
    }

    /// Partition and clustering key, end to end.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:02x?}", self.table.name, self.bytes)
    }
}

/// Builds the encoded form of some key columns, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyBuf(Vec<u8>);

impl KeyBuf {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn text(mut self, text: &str) -> Self {
        push_key_bytes(&mut self.0, text.as_bytes());
        self
    }

    pub fn bigint(mut self, value: i64) -> Self {
        self.0.extend_from_slice(&(value ^ i64::MIN).to_be_bytes());
        self
    }

    pub fn int(mut self, value: i32) -> Self {
        self.0.extend_from_slice(&(value ^ i32::MIN).to_be_bytes());
        self
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// The least key greater than all that begin with `prefix`; none when there is no such key.
pub fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let keep = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix[..=keep].to_vec();
    end[keep] += 1;
    Some(end)
}
