//! Rows on their way into the store, their bytes in one buffer.

use openinfra_schemas::time::Millis;

use crate::row::{Row, RowKey, Table};

/// What a batch is, and so how it must be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteClass {
    /// Exists nowhere else. Of two that write a row the later one wins, by the clocks of who wrote them.
    Durable,
    /// Exists nowhere else, and several processes write and remove it: who writes tells the order, so that
    /// no clock does. Of two batches that write a row the one of the greater number, which is not negative,
    /// wins, whichever comes last; where one process has the store to itself the last one may win. A
    /// row that is written so is always written so.
    Numbered(i64),
    /// Rows of views as of this tick, which the log can make again.
    Tick(Millis),
    /// Rows as of this tick that no other tick ever writes, ahead of the tick's batch, which stands for their
    /// being there.
    Ahead(Millis),
    /// The same, behind what was written as of this tick.
    Rest(Millis),
}

/// Mutations to be written together.
#[derive(Debug, Clone)]
pub struct Batch {
    pub class: WriteClass,
    mutations: Mutations,
    then: Mutations,
}

/// One row written, or removed when `value` is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mutation<'a> {
    pub table: &'static Table,
    /// Partition key and clustering key, end to end.
    pub key: &'a [u8],
    /// How much of `key` is the partition key.
    pub partition_len: usize,
    pub value: Option<&'a [u8]>,
}

#[derive(Debug, Clone, Default)]
struct Mutations {
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    table: &'static Table,
    start: usize,
    partition_end: usize,
    key_end: usize,
    /// None: a removal.
    value_end: Option<usize>,
}

impl Mutations {
    fn put<R: Row>(&mut self, row: &R) {
        let start = self.bytes.len();
        let partition_end = row.encode_key(&mut self.bytes);
        let key_end = self.bytes.len();
        row.encode_value(&mut self.bytes);
        let value_end = Some(self.bytes.len());
        self.spans.push(Span {
            table: R::TABLE,
            start,
            partition_end,
            key_end,
            value_end,
        });
    }

    fn remove(&mut self, key: &RowKey) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key.partition());
        let partition_end = self.bytes.len();
        self.bytes.extend_from_slice(key.clustering());
        let key_end = self.bytes.len();
        self.spans.push(Span {
            table: key.table,
            start,
            partition_end,
            key_end,
            value_end: None,
        });
    }

    fn push(&mut self, mutation: Mutation<'_>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(mutation.key);
        let key_end = self.bytes.len();
        self.bytes
            .extend_from_slice(mutation.value.unwrap_or_default());
        self.spans.push(Span {
            table: mutation.table,
            start,
            partition_end: start + mutation.partition_len,
            key_end,
            value_end: mutation.value.map(|_| self.bytes.len()),
        });
    }

    fn iter(&self) -> impl ExactSizeIterator<Item = Mutation<'_>> {
        self.spans.iter().map(|span| Mutation {
            table: span.table,
            key: &self.bytes[span.start..span.key_end],
            partition_len: span.partition_end - span.start,
            value: span.value_end.map(|end| &self.bytes[span.key_end..end]),
        })
    }

    fn append(&mut self, other: Self) {
        let base = self.bytes.len();
        self.bytes.extend_from_slice(&other.bytes);
        self.spans.extend(other.spans.into_iter().map(|span| Span {
            table: span.table,
            start: span.start + base,
            partition_end: span.partition_end + base,
            key_end: span.key_end + base,
            value_end: span.value_end.map(|end| end + base),
        }));
    }
}

impl Batch {
    pub fn new(class: WriteClass) -> Self {
        Self {
            class,
            mutations: Mutations::default(),
            then: Mutations::default(),
        }
    }

    /// Writes a row, whatever stands there.
    pub fn put<R: Row>(&mut self, row: &R) {
        self.mutations.put(row);
    }

    /// Adds what another batch had.
    pub fn push(&mut self, mutation: Mutation<'_>) {
        self.mutations.push(mutation);
    }

    /// Removes a row; no error when there is none.
    pub fn remove(&mut self, key: &RowKey) {
        self.mutations.remove(key);
    }

    /// Writes a row after all that are not `then` rows.
    pub fn put_then<R: Row>(&mut self, row: &R) {
        self.then.put(row);
    }

    /// Adds the mutations of another batch behind this one's, whose class stays.
    pub fn append(&mut self, other: Self) {
        self.mutations.append(other.mutations);
        self.then.append(other.then);
    }

    pub fn len(&self) -> usize {
        self.mutations.spans.len() + self.then.spans.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn size_bytes(&self) -> usize {
        self.mutations.bytes.len() + self.then.bytes.len()
    }

    /// The mutations, but for `then` rows, in the order they were added.
    pub fn mutations(&self) -> impl ExactSizeIterator<Item = Mutation<'_>> {
        self.mutations.iter()
    }

    /// The rows to be written last.
    pub fn then(&self) -> impl ExactSizeIterator<Item = Mutation<'_>> {
        self.then.iter()
    }
}

/// What must hold of one row for a conditional batch to apply.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// No such row.
    Absent(RowKey),
    /// The row is there and its column, of type [`BigInt`](crate::ColumnType::BigInt), has this value.
    Equals {
        key: RowKey,
        column: &'static str,
        value: i64,
    },
}

impl Condition {
    pub fn key(&self) -> &RowKey {
        match self {
            Self::Absent(key) | Self::Equals { key, .. } => key,
        }
    }
}

/// Mutations of one partition of one table that apply only if all conditions, on rows of that partition,
/// hold.
#[derive(Debug, Clone, Default)]
pub struct ConditionalBatch {
    pub conditions: Vec<Condition>,
    mutations: Mutations,
}

impl ConditionalBatch {
    pub fn new(conditions: Vec<Condition>) -> Self {
        Self {
            conditions,
            mutations: Mutations::default(),
        }
    }

    pub fn put<R: Row>(&mut self, row: &R) {
        self.mutations.put(row);
    }

    pub fn remove(&mut self, key: &RowKey) {
        self.mutations.remove(key);
    }

    pub fn mutations(&self) -> impl ExactSizeIterator<Item = Mutation<'_>> {
        self.mutations.iter()
    }

    pub fn size_bytes(&self) -> usize {
        self.mutations.bytes.len()
    }

    /// Whether all mutations and conditions are of one partition of one table, as they must be.
    pub fn is_one_partition(&self) -> bool {
        let mut places = self
            .mutations
            .iter()
            .map(|m| (m.table.name, &m.key[..m.partition_len]))
            .chain(
                self.conditions
                    .iter()
                    .map(|c| (c.key().table.name, c.key().partition())),
            );
        let Some(first) = places.next() else {
            return true;
        };
        places.all(|place| place == first)
    }
}
