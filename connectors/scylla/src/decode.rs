//! Rows of an answer back into encoded ones.

use std::borrow::Cow;

use bytes::Bytes;
use openinfra_store::{
    Column, ColumnType, RawRow, RowError, StoreError, Table,
    row::{Content, FORM},
};
use scylla::{deserialize::row::ColumnIterator, response::query_result::QueryResult};

/// Rows whose bytes lie in one buffer until it is frozen.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    bytes: Vec<u8>,
    /// Of each row: where its clustering key begins, where its value does, where that ends.
    spans: Vec<(usize, usize, usize)>,
}

impl Rows {
    pub(crate) fn len(&self) -> usize {
        self.spans.len()
    }

    /// Adds the rows of one answer: clustering columns, then value columns.
    pub(crate) fn add(
        &mut self,
        table: &'static Table,
        answer: QueryResult,
    ) -> Result<(), StoreError> {
        let rows = answer.into_rows_result().map_err(unreadable)?;
        for row in rows.rows::<ColumnIterator>().map_err(unreadable)? {
            let columns = row.map_err(unreadable)?;
            self.add_row(table, columns)?;
        }
        Ok(())
    }

    fn add_row(
        &mut self,
        table: &'static Table,
        mut columns: ColumnIterator<'_, '_>,
    ) -> Result<(), StoreError> {
        let wrong = |source| StoreError::Row {
            table: table.name,
            source,
        };
        let start = self.bytes.len();
        for column in table.clustering {
            let content = next(column, &mut columns)?.map_err(wrong)?;
            content.put_key(&mut self.bytes);
        }
        let middle = self.bytes.len();
        self.bytes.push(FORM);
        for column in table.values {
            let content = next(column, &mut columns)?.map_err(wrong)?;
            content.put_value(column.optional, &mut self.bytes);
        }
        self.spans.push((start, middle, self.bytes.len()));
        Ok(())
    }

    pub(crate) fn freeze(self) -> Vec<RawRow> {
        let bytes: Bytes = self.bytes.into();
        let rows = self.spans.into_iter();
        rows.map(|(start, middle, end)| RawRow {
            clustering: bytes.slice(start..middle),
            value: bytes.slice(middle..end),
        })
        .collect()
    }
}

/// The next column of the answer; within, what it says of the row.
fn next<'frame>(
    column: &Column,
    columns: &mut ColumnIterator<'frame, '_>,
) -> Result<Result<Content<'frame>, RowError>, StoreError> {
    let Some(raw) = columns.next() else {
        return Ok(Err(RowError::Short(column.name)));
    };
    let raw = raw.map_err(unreadable)?;
    Ok(match raw.slice {
        Some(slice) => content(column.kind, slice.as_slice()).ok_or(RowError::Content(column.name)),
        None if column.optional => Ok(Content::None),
        None => Err(RowError::Short(column.name)),
    })
}

fn content(kind: ColumnType, bytes: &[u8]) -> Option<Content<'_>> {
    Some(match kind {
        ColumnType::Text => Content::Text(Cow::Borrowed(bytes)),
        ColumnType::Blob => Content::Blob(Cow::Borrowed(bytes)),
        ColumnType::BigInt => Content::BigInt(i64::from_be_bytes(bytes.try_into().ok()?)),
        ColumnType::Int => Content::Int(i32::from_be_bytes(bytes.try_into().ok()?)),
        ColumnType::Double => Content::Double(f64::from_be_bytes(bytes.try_into().ok()?)),
        ColumnType::Boolean => match bytes {
            [byte] => Content::Boolean(*byte != 0),
            _ => return None,
        },
    })
}

/// An answer that is none: the next one may be.
pub(crate) fn unreadable(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable(format!("an answer cannot be read: {error}"))
}
