//! Reads: rows by key, and ranges in pages.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::future::try_join_all;
use openinfra_store::{
    Edge, Range, RawRow, RowError, RowKey, StoreError, Table,
    row::{Content, KeyContents},
};
use scylla::{
    response::{PagingState, PagingStateResponse},
    statement::prepared::PreparedStatement,
};
use std::ops::ControlFlow;

use crate::{bind::Contents, decode::Rows, metrics::Op, store::ScyllaStore};

/// So many keys of one partition are asked for with one statement.
const KEYS_AT_ONCE: usize = 100;
/// So many ranges of one partition are. Their pages come one after the other, so that dense ones are better
/// read side by side, and sparse ones together.
const RANGES_AT_ONCE: usize = 20;

/// No part of a key may be longer in CQL than 64 KiB, its lengths included.
const MAX_KEY_BYTES: usize = 65_000;

/// Whether the cluster can have a row of this key: not if it is too long.
pub(crate) fn is_possible(partition: &[u8], clustering: &[u8]) -> bool {
    partition.len() <= MAX_KEY_BYTES && clustering.len() <= MAX_KEY_BYTES
}

impl ScyllaStore {
    pub(crate) async fn read_row(&self, key: &RowKey) -> Result<Option<Bytes>, StoreError> {
        let statement = &self.statements.of(key.table)?.get;
        self.read_row_by(statement, key).await
    }

    /// The caller has the partition's turn.
    pub(crate) async fn read_row_linearizable(
        &self,
        key: &RowKey,
    ) -> Result<Option<Bytes>, StoreError> {
        let statement = &self.statements.of(key.table)?.get_linearizable;
        self.read_row_by(statement, key).await
    }

    async fn read_row_by(
        &self,
        statement: &PreparedStatement,
        key: &RowKey,
    ) -> Result<Option<Bytes>, StoreError> {
        let table = key.table;
        if !is_possible(key.partition(), key.clustering()) {
            return Ok(None);
        }
        let values = Contents::default()
            .partition(table, key.partition())
            .and_then(|values| values.key(table.clustering, key.clustering()))
            .map_err(wrong(table))?;
        let get = || self.session.execute_unpaged(statement, &values);
        let answer = self.requests.repeat(Op::Get, get).await?;
        let mut rows = Rows::default();
        rows.add(table, answer)?;
        Ok(rows.freeze().pop().map(|row| row.value))
    }

    pub(crate) async fn read_rows(
        &self,
        keys: &[RowKey],
    ) -> Result<Vec<Option<Bytes>>, StoreError> {
        let mut partitions: BTreeMap<(&str, &[u8]), Vec<usize>> = BTreeMap::new();
        for (index, key) in keys.iter().enumerate() {
            let place = (key.table.name, key.partition());
            partitions.entry(place).or_default().push(index);
        }
        let mut groups = Vec::new();
        for indexes in partitions.into_values() {
            let table = keys[indexes[0]].table;
            let at_once = match table.clustering {
                [_] => KEYS_AT_ONCE,
                // A list is of the first column, with which a key of more does not end.
                _ => 1,
            };
            groups.extend(indexes.chunks(at_once).map(<[usize]>::to_vec));
        }
        let reads = groups.iter().map(|group| self.read_group(keys, group));
        let mut values = vec![None; keys.len()];
        for (group, found) in groups.iter().zip(try_join_all(reads).await?) {
            for (index, value) in group.iter().zip(found) {
                values[*index] = value;
            }
        }
        Ok(values)
    }

    /// Values of keys of one partition, in the order of `group`.
    async fn read_group(
        &self,
        keys: &[RowKey],
        group: &[usize],
    ) -> Result<Vec<Option<Bytes>>, StoreError> {
        let first = &keys[group[0]];
        let table = first.table;
        let statement = match &self.statements.of(table)?.get_in {
            Some(statement) if group.len() > 1 => statement,
            _ => return Ok(vec![self.read_row(first).await?]),
        };
        let mut list = Vec::with_capacity(group.len());
        for index in group {
            let key = &keys[*index];
            if is_possible(key.partition(), key.clustering()) {
                list.push(first_content(table, key.clustering()).map_err(wrong(table))?);
            }
        }
        if list.is_empty() {
            return Ok(vec![None; group.len()]);
        }
        let values = Contents::default()
            .partition(table, first.partition())
            .map_err(wrong(table))?
            .with_list(list);
        let rows = self.read_pages(Op::Get, table, statement, &values, usize::MAX);
        let rows: BTreeMap<Bytes, Bytes> = rows
            .await?
            .into_iter()
            .map(|row| (row.clustering, row.value))
            .collect();
        let found = group
            .iter()
            .map(|index| rows.get(keys[*index].clustering()).cloned());
        Ok(found.collect())
    }

    pub(crate) async fn read_ranges(
        &self,
        ranges: &[Range],
    ) -> Result<Vec<Vec<RawRow>>, StoreError> {
        let reads = together(ranges).into_iter().map(async |group| {
            let rows = match group[..] {
                [index] => vec![self.read_range(&ranges[index]).await?],
                _ => self.read_prefixes(ranges, &group).await?,
            };
            Ok::<_, StoreError>((group, rows))
        });
        let mut answers = vec![Vec::new(); ranges.len()];
        for (group, rows) in try_join_all(reads).await? {
            for (index, rows) in group.into_iter().zip(rows) {
                answers[index] = rows;
            }
        }
        Ok(answers)
    }

    /// Ranges of one partition, each of which is one content of the first clustering column, with one
    /// statement; the rows of each, in the order of `group`.
    async fn read_prefixes(
        &self,
        ranges: &[Range],
        group: &[usize],
    ) -> Result<Vec<Vec<RawRow>>, StoreError> {
        let Range {
            table, partition, ..
        } = &ranges[group[0]];
        let statement = self.statements.of(table)?.get_in.as_ref();
        let statement = statement.expect("a table with a first clustering column has it");
        let mut places: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
        for (place, index) in group.iter().enumerate() {
            if let Some(first) = only_prefix(&ranges[*index]) {
                places.entry(first).or_default().push(place);
            }
        }
        let list = places.keys().map(|first| first_content(table, first));
        let list = list.collect::<Result<Vec<_>, _>>().map_err(wrong(table))?;
        let values = Contents::default()
            .partition(table, partition)
            .map_err(wrong(table))?
            .with_list(list);
        let mut found = vec![Vec::new(); group.len()];
        let rows = self.read_pages(Op::Range, table, statement, &values, usize::MAX);
        for row in rows.await? {
            let before = places.range(..=&row.clustering[..]).next_back();
            let of = before.filter(|(first, _)| row.clustering.starts_with(first));
            for place in of.map_or(&[][..], |(_, places)| places) {
                found[*place].push(row.clone());
            }
        }
        Ok(found)
    }

    pub(crate) async fn read_range(&self, range: &Range) -> Result<Vec<RawRow>, StoreError> {
        let table = range.table;
        if range.is_empty() || !is_possible(&range.partition, &[]) {
            return Ok(Vec::new());
        }
        let statement = self.statements.range(&self.session, range).await?;
        let mut values = Contents::default()
            .partition(table, &range.partition)
            .map_err(wrong(table))?;
        for edge in [&range.from, &range.to] {
            if let Edge::Before(prefix) | Edge::After(prefix) = edge {
                values = values.key(table.clustering, prefix).map_err(wrong(table))?;
            }
        }
        let limit = i32::try_from(range.limit).unwrap_or(i32::MAX);
        values.push(Content::Int(limit));
        self.read_pages(Op::Range, table, &statement, &values, range.limit)
            .await
    }

    /// Reads page after page, until there is none or the rows are as many as wanted.
    async fn read_pages(
        &self,
        op: Op,
        table: &'static Table,
        statement: &PreparedStatement,
        values: &Contents<'_>,
        enough: usize,
    ) -> Result<Vec<RawRow>, StoreError> {
        let mut rows = Rows::default();
        let mut page = PagingState::start();
        loop {
            let read = || {
                self.session
                    .execute_single_page(statement, values, page.clone())
            };
            let (answer, rest): (_, PagingStateResponse) = self.requests.repeat(op, read).await?;
            rows.add(table, answer)?;
            match rest.into_paging_control_flow() {
                ControlFlow::Continue(next) if rows.len() < enough => page = next,
                _ => return Ok(rows.freeze()),
            }
        }
    }
}

/// Which ranges are read with one statement, by their indexes: those of one partition that are each one
/// content of its first clustering column. A tick that corrects the past of many sensors asks for many.
fn together(ranges: &[Range]) -> Vec<Vec<usize>> {
    let mut groups = Vec::new();
    let mut partitions: BTreeMap<(&str, &[u8]), Vec<usize>> = BTreeMap::new();
    for (index, range) in ranges.iter().enumerate() {
        if only_prefix(range).is_some() {
            let partition = (range.table.name, &range.partition[..]);
            partitions.entry(partition).or_default().push(index);
        } else {
            groups.push(vec![index]);
        }
    }
    for indexes in partitions.into_values() {
        groups.extend(indexes.chunks(RANGES_AT_ONCE).map(<[usize]>::to_vec));
    }
    groups
}

/// The first clustering column that all rows of a range have, encoded, where nothing else bounds it.
fn only_prefix(range: &Range) -> Option<&[u8]> {
    let (Edge::Before(first), Edge::After(to)) = (&range.from, &range.to) else {
        return None;
    };
    let one = KeyContents::new(range.table.clustering, first).count() == 1;
    let whole = first == to && !range.descending && range.limit == usize::MAX;
    (one && whole && is_possible(&range.partition, first)).then_some(first)
}

/// The content of the first clustering column.
fn first_content<'a>(table: &'static Table, clustering: &'a [u8]) -> Result<Content<'a>, RowError> {
    KeyContents::new(table.clustering, clustering)
        .next()
        .unwrap_or(Err(RowError::Short("clustering key")))
}

fn wrong(table: &'static Table) -> impl Fn(RowError) -> StoreError {
    move |source| StoreError::Row {
        table: table.name,
        source,
    }
}
