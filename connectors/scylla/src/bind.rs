//! Encoded rows as bound values: taken apart column by column, straight into the request's bytes.

use std::borrow::Cow;

use openinfra_store::{
    Mutation, Table,
    row::{Content, KeyContents, ValueContents},
};
use scylla::serialize::{
    SerializationError,
    row::{RowSerializationContext, SerializeRow},
    writers::{CellWriter, RowWriter},
};

/// Tables whose rows never change once they are written: a column without content is left unset there,
/// where a null would leave a tombstone behind that every read has to pass.
const IMMUTABLE: [&str; 2] = ["readings", "ledger"];

/// What a mutation binds: all columns, or the key of a row to be removed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowValues<'a> {
    pub(crate) mutation: Mutation<'a>,
    /// What stands for no content: unset or null.
    pub(crate) unset: bool,
}

impl<'a> RowValues<'a> {
    pub(crate) fn new(mutation: Mutation<'a>) -> Self {
        Self {
            unset: IMMUTABLE.contains(&mutation.table.name),
            mutation,
        }
    }
}

impl SerializeRow for RowValues<'_> {
    fn serialize(
        &self,
        _: &RowSerializationContext<'_>,
        writer: &mut RowWriter,
    ) -> Result<(), SerializationError> {
        let Mutation {
            table,
            key,
            partition_len,
            value,
        } = self.mutation;
        write_key(table, &key[..partition_len], &key[partition_len..], writer)?;
        let Some(value) = value else { return Ok(()) };
        let contents = ValueContents::new(table.values, value).map_err(SerializationError::new)?;
        for content in contents {
            let content = content.map_err(SerializationError::new)?;
            let cell = writer.make_cell_writer();
            if self.unset && content == Content::None {
                cell.set_unset();
            } else {
                write_content(cell, &content)?;
            }
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        false
    }
}

/// Contents bound one after the other, in the order of the statement's marks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Contents<'a> {
    contents: Vec<Content<'a>>,
    /// One more mark at the end: the list of an `IN`.
    list: Option<Vec<Content<'a>>>,
}

impl<'a> Contents<'a> {
    /// Adds key columns.
    pub(crate) fn key(
        mut self,
        columns: &'static [openinfra_store::Column],
        bytes: &'a [u8],
    ) -> Result<Self, openinfra_store::RowError> {
        for content in KeyContents::new(columns, bytes) {
            self.contents.push(content?);
        }
        Ok(self)
    }

    /// Adds the columns of a partition key.
    pub(crate) fn partition(
        mut self,
        table: &'static Table,
        bytes: &'a [u8],
    ) -> Result<Self, openinfra_store::RowError> {
        for content in KeyContents::new(table.partition, bytes) {
            self.contents.push(not_empty(table, content?));
        }
        Ok(self)
    }

    pub(crate) fn push(&mut self, content: Content<'a>) {
        self.contents.push(content);
    }

    pub(crate) fn with_list(self, list: Vec<Content<'a>>) -> Self {
        Self {
            list: Some(list),
            ..self
        }
    }
}

impl SerializeRow for Contents<'_> {
    fn serialize(
        &self,
        _: &RowSerializationContext<'_>,
        writer: &mut RowWriter,
    ) -> Result<(), SerializationError> {
        for content in &self.contents {
            write_content(writer.make_cell_writer(), content)?;
        }
        let Some(list) = &self.list else {
            return Ok(());
        };
        let mut cell = writer.make_cell_writer().into_value_builder();
        cell.append_bytes(&(list.len() as i32).to_be_bytes());
        for content in list {
            write_content(cell.make_sub_writer(), content)?;
        }
        cell.finish().map_err(SerializationError::new)?;
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.contents.is_empty() && self.list.is_none()
    }
}

fn write_key(
    table: &'static Table,
    partition: &[u8],
    clustering: &[u8],
    writer: &mut RowWriter,
) -> Result<(), SerializationError> {
    for content in KeyContents::new(table.partition, partition) {
        let content = content.map_err(SerializationError::new)?;
        write_content(writer.make_cell_writer(), &not_empty(table, content))?;
    }
    for content in KeyContents::new(table.clustering, clustering) {
        let content = content.map_err(SerializationError::new)?;
        write_content(writer.make_cell_writer(), &content)?;
    }
    Ok(())
}

/// The cluster takes no partition key that is one empty text, and the tenant of a record that names none is
/// one. It stands there as a zero byte; what is nothing but zero bytes has one more there, so that no two
/// keys become the same.
fn not_empty<'a>(table: &Table, content: Content<'a>) -> Content<'a> {
    let longer = |bytes: &[u8]| Cow::Owned(vec![0; bytes.len() + 1]);
    match content {
        Content::Text(bytes) if table.partition.len() == 1 && is_zeros(&bytes) => {
            Content::Text(longer(&bytes))
        }
        Content::Blob(bytes) if table.partition.len() == 1 && is_zeros(&bytes) => {
            Content::Blob(longer(&bytes))
        }
        other => other,
    }
}

fn is_zeros(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

fn write_content(cell: CellWriter<'_>, content: &Content<'_>) -> Result<(), SerializationError> {
    let written = match content {
        Content::None => Ok(cell.set_null()),
        Content::Text(bytes) | Content::Blob(bytes) => cell.set_value(bytes),
        Content::BigInt(value) => cell.set_value(&value.to_be_bytes()),
        Content::Int(value) => cell.set_value(&value.to_be_bytes()),
        Content::Double(value) => cell.set_value(&value.to_be_bytes()),
        Content::Boolean(value) => cell.set_value(&[u8::from(*value)]),
    };
    written.map(drop).map_err(SerializationError::new)
}

#[cfg(test)]
mod tests {
    use openinfra_store::{Row, conformance::MarkRow, tables::views::LedgerRow};

    use super::*;

    fn text(content: &str) -> Content<'_> {
        Content::Text(content.as_bytes().into())
    }

    #[test]
    fn no_partition_key_is_empty_and_no_two_are_the_same() {
        let of = |content| not_empty(MarkRow::TABLE, text(content));
        assert_eq!(MarkRow::TABLE.partition.len(), 1);
        assert_eq!(of(""), text("\0"));
        assert_eq!(of("\0"), text("\0\0"));
        for other in ["a", "\0a", "a\0"] {
            assert_eq!(of(other), text(other));
        }
    }

    #[test]
    fn beside_other_columns_an_empty_text_is_good() {
        assert!(LedgerRow::TABLE.partition.len() > 1);
        assert_eq!(not_empty(LedgerRow::TABLE, text("")), text(""));
    }
}
