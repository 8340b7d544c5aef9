//! Rows of many partitions as one stream, in the order of their clustering keys.
//!
//! Keys are encoded so that their byte order is their columns' order; merging compares bytes and decodes a
//! row only when it is its turn. A chunk of each partition is in memory, never a whole partition.

use std::{
    cmp::Ordering,
    collections::{BinaryHeap, VecDeque},
    marker::PhantomData,
};

use bytes::Bytes;
use openinfra_store::{Edge, Range, RawRow, Row, Store, StoreError};

/// A stream of the rows of some ranges of one table; all of them ascend, or all descend.
pub struct Merge<'a, R> {
    store: &'a dyn Store,
    sources: Vec<Source>,
    /// The next row of each source that has one.
    heads: BinaryHeap<Head>,
    rows: PhantomData<fn() -> R>,
}

struct Source {
    /// What was not read yet, with the chunk's size as its limit.
    rest: Range,
    buffer: VecDeque<RawRow>,
    /// Whether `rest` may hold more.
    more: bool,
}

#[derive(PartialEq, Eq)]
struct Head {
    clustering: Bytes,
    source: usize,
    descending: bool,
}

impl Ord for Head {
    /// The heap gives the greatest first. Of equal keys the one of the earlier range comes first, whichever
    /// way the ranges go.
    fn cmp(&self, other: &Self) -> Ordering {
        let keys = self.clustering.cmp(&other.clustering);
        let keys = if self.descending {
            keys
        } else {
            keys.reverse()
        };
        keys.then(other.source.cmp(&self.source))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<'a, R: Row> Merge<'a, R> {
    /// `chunk` rows of each range are read at a time.
    pub async fn new(
        store: &'a dyn Store,
        ranges: Vec<Range>,
        chunk: usize,
    ) -> Result<Self, StoreError> {
        let ranges: Vec<Range> = ranges.into_iter().map(|range| range.limit(chunk)).collect();
        let answers = store.range_many(&ranges).await?;
        let sources = ranges.into_iter().zip(answers);
        let mut merge = Self {
            store,
            sources: sources
                .map(|(rest, rows)| Source::new(rest, rows))
                .collect(),
            heads: BinaryHeap::new(),
            rows: PhantomData,
        };
        for source in 0..merge.sources.len() {
            merge.push_head(source);
        }
        Ok(merge)
    }

    /// The next row.
    pub async fn next(&mut self) -> Result<Option<R>, StoreError> {
        let Some(head) = self.heads.pop() else {
            return Ok(None);
        };
        let source = &mut self.sources[head.source];
        let row = source
            .buffer
            .pop_front()
            .expect("a source with a head has a row");
        if source.buffer.is_empty() && source.more {
            source.refill(self.store).await?;
        }
        let decoded = R::decode(&source.rest.partition, &row.clustering, &row.value);
        self.push_head(head.source);
        decoded.map(Some).map_err(|source| StoreError::Row {
            table: R::TABLE.name,
            source,
        })
    }

    fn push_head(&mut self, index: usize) {
        let source = &self.sources[index];
        if let Some(row) = source.buffer.front() {
            self.heads.push(Head {
                clustering: row.clustering.clone(),
                source: index,
                descending: source.rest.descending,
            });
        }
    }
}

impl Source {
    fn new(rest: Range, rows: Vec<RawRow>) -> Self {
        let mut source = Self {
            rest,
            buffer: VecDeque::new(),
            more: true,
        };
        source.take(rows);
        source
    }

    async fn refill(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        let rows = store.range(&self.rest).await?;
        self.take(rows);
        Ok(())
    }

    fn take(&mut self, rows: Vec<RawRow>) {
        self.more = rows.len() >= self.rest.limit;
        if let Some(last) = rows.last() {
            let last = last.clustering.to_vec();
            if self.rest.descending {
                self.rest.to = Edge::Before(last);
            } else {
                self.rest.from = Edge::After(last);
            }
        }
        self.buffer = rows.into();
    }
}
