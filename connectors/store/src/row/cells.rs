//! Encoded rows column by column, for a store whose columns are typed: bytes to contents and back, by the
//! table alone.

use std::borrow::Cow;

use super::{
    Cell, Column, ColumnType, FORM, RowError,
    bytes::{push_key_bytes, put_sized, take_array, take_key_content, take_sized},
    done,
};

/// What stands in one column.
#[derive(Debug, Clone, PartialEq)]
pub enum Content<'a> {
    /// An optional column without content.
    None,
    /// UTF-8.
    Text(Cow<'a, [u8]>),
    BigInt(i64),
    Int(i32),
    Double(f64),
    Boolean(bool),
    Blob(Cow<'a, [u8]>),
}

/// The contents of an encoded partition or clustering key, or of its first columns; ends after an error.
#[derive(Debug, Clone)]
pub struct KeyContents<'a> {
    columns: std::slice::Iter<'static, Column>,
    bytes: &'a [u8],
}

/// The contents of an encoded value, a column that the bytes do not reach being none.
#[derive(Debug, Clone)]
pub struct ValueContents<'a> {
    columns: std::slice::Iter<'static, Column>,
    bytes: &'a [u8],
}

impl<'a> KeyContents<'a> {
    pub fn new(columns: &'static [Column], bytes: &'a [u8]) -> Self {
        Self {
            columns: columns.iter(),
            bytes,
        }
    }
}

impl<'a> Iterator for KeyContents<'a> {
    type Item = Result<Content<'a>, RowError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let bytes = std::mem::take(&mut self.bytes);
        let Some(column) = self.columns.next() else {
            return Some(Err(RowError::Long(bytes.len())));
        };
        let mut rest = bytes;
        let content = key_content(column.kind, &mut rest).ok_or(RowError::Content(column.name));
        if content.is_ok() {
            self.bytes = rest;
        }
        Some(content)
    }
}

impl<'a> ValueContents<'a> {
    pub fn new(columns: &'static [Column], value: &'a [u8]) -> Result<Self, RowError> {
        match value {
            [FORM, bytes @ ..] => Ok(Self {
                columns: columns.iter(),
                bytes,
            }),
            [form, ..] => Err(RowError::Form(*form)),
            [] => Err(RowError::Short("form")),
        }
    }
}

impl<'a> Iterator for ValueContents<'a> {
    type Item = Result<Content<'a>, RowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let Some(column) = self.columns.next() else {
            return done(std::mem::take(&mut self.bytes)).err().map(Err);
        };
        if self.bytes.is_empty() {
            return Some(if column.optional {
                Ok(Content::None)
            } else {
                Err(RowError::Short(column.name))
            });
        }
        let mut rest = self.bytes;
        let content = value_content(column, &mut rest).ok_or(RowError::Content(column.name));
        self.bytes = rest;
        Some(content)
    }
}

fn key_content<'a>(kind: ColumnType, bytes: &mut &'a [u8]) -> Option<Content<'a>> {
    Some(match kind {
        ColumnType::Text => Content::Text(take_key_content(bytes)?),
        ColumnType::BigInt => Content::BigInt(i64::take_key(bytes)?),
        ColumnType::Int => Content::Int(i32::take_key(bytes)?),
        ColumnType::Double => Content::Double(f64::take_key(bytes)?),
        ColumnType::Boolean => Content::Boolean(bool::take_key(bytes)?),
        ColumnType::Blob => Content::Blob(take_key_content(bytes)?),
    })
}

fn value_content<'a>(column: &Column, bytes: &mut &'a [u8]) -> Option<Content<'a>> {
    if column.optional && !bool::take(bytes)? {
        return Some(Content::None);
    }
    Some(match column.kind {
        ColumnType::Text => Content::Text(Cow::Borrowed(take_sized(bytes)?)),
        ColumnType::BigInt => Content::BigInt(i64::take(bytes)?),
        ColumnType::Int => Content::Int(i32::take(bytes)?),
        ColumnType::Double => Content::Double(f64::from_le_bytes(take_array(bytes)?)),
        ColumnType::Boolean => Content::Boolean(bool::take(bytes)?),
        ColumnType::Blob => Content::Blob(Cow::Borrowed(take_sized(bytes)?)),
    })
}

impl Content<'_> {
    /// Appends a key column; none has no place in a key, and adds nothing.
    pub fn put_key(&self, out: &mut Vec<u8>) {
        match self {
            Self::None => {}
            Self::Text(content) | Self::Blob(content) => push_key_bytes(out, content),
            Self::BigInt(value) => value.put_key(out),
            Self::Int(value) => value.put_key(out),
            Self::Double(value) => value.put_key(out),
            Self::Boolean(value) => value.put_key(out),
        }
    }

    /// Appends a value column.
    pub fn put_value(&self, optional: bool, out: &mut Vec<u8>) {
        if optional {
            out.push(u8::from(!matches!(self, Self::None)));
        }
        match self {
            Self::None => {}
            Self::Text(content) | Self::Blob(content) => put_sized(out, content),
            Self::BigInt(value) => value.put(out),
            Self::Int(value) => value.put(out),
            Self::Double(value) => value.put(out),
            Self::Boolean(value) => value.put(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Row, table};

    table! {
        struct AllRow in "all_kinds" {
            partition { text: String, blob: Vec<u8> }
            clustering { big: i64, int: i32 }
            values {
                text_value: String, no_text: Option<String>, big_value: i64, int_value: i32,
                double: Option<f64>, flag: bool, blob_value: Option<Vec<u8>>, last: Option<i64>,
            }
        }
    }

    fn row(text: &str) -> AllRow {
        AllRow {
            text: text.to_owned(),
            blob: vec![0, 0xff, 0, 0, 1],
            big: i64::MIN,
            int: -7,
            text_value: format!("{text} value"),
            no_text: None,
            big_value: i64::MAX,
            int_value: i32::MIN,
            double: Some(-0.0),
            flag: true,
            blob_value: Some(vec![]),
            last: Some(-1),
        }
    }

    fn taken_apart_and_put_together(row: &AllRow) -> (Vec<u8>, Vec<u8>) {
        let key = row.key();
        let table = AllRow::TABLE;
        let (mut keys, mut value) = (Vec::new(), Vec::new());
        let columns = KeyContents::new(table.partition, key.partition())
            .chain(KeyContents::new(table.clustering, key.clustering()));
        columns.for_each(|content| content.unwrap().put_key(&mut keys));
        row.encode_value(&mut value);
        let mut again = vec![FORM];
        for (content, column) in ValueContents::new(table.values, &value)
            .unwrap()
            .zip(table.values)
        {
            content.unwrap().put_value(column.optional, &mut again);
        }
        assert_eq!(keys, key.bytes());
        (value, again)
    }

    #[test]
    fn a_row_is_the_sum_of_its_columns() {
        for text in ["", "plain", "\0", "a\0b", "\0\0", "é\u{10ffff}"] {
            let (value, again) = taken_apart_and_put_together(&row(text));
            assert_eq!(value, again, "{text:?}");
        }
    }

    #[test]
    fn columns_that_the_bytes_do_not_reach_are_none() {
        let mut value = Vec::new();
        row("x").encode_value(&mut value);
        let without_last = value.len() - 2;
        let contents = ValueContents::new(AllRow::TABLE.values, &value[..without_last]).unwrap();
        let contents: Vec<_> = contents.collect::<Result<_, _>>().unwrap();
        assert_eq!(contents.len(), AllRow::TABLE.values.len());
        assert_eq!(contents.last(), Some(&Content::None));
    }

    #[test]
    fn bytes_that_are_no_row_are_refused() {
        let mut value = Vec::new();
        row("x").encode_value(&mut value);
        value.push(0);
        let contents = ValueContents::new(AllRow::TABLE.values, &value).unwrap();
        assert_eq!(contents.last(), Some(Err(RowError::Long(1))));
        assert!(ValueContents::new(AllRow::TABLE.values, &[9]).is_err());
        let cut = KeyContents::new(AllRow::TABLE.partition, b"cut").next();
        assert_eq!(cut, Some(Err(RowError::Content("text"))));
    }
}
