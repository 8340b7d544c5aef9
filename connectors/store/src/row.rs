//! Rows as bytes: keys whose byte order is the order of their columns, values in a compact form.
//!
//! * Key columns, end to end: text with `00` as `00 FF` and `00 00` behind it, integers big-endian with
//!   the sign flipped. So a key is a prefix of another only when its columns are.
//! * Value columns: one byte that names the form, then the columns in the table's order: an option is a
//!   byte and its content, text and blobs have a length before them, integers are zigzag varints, doubles
//!   eight bytes. A table may gain optional columns at its end: where the bytes end, they are none.

mod bytes;
mod cell;
mod cells;
mod key;
mod table;
mod value;

pub use cell::Cell;
pub use cells::{Content, KeyContents, ValueContents};
pub use key::{KeyBuf, RowKey, after_prefix};
pub use value::{FORM, column_i64, done, take_key, take_value};

/// The layout of a table. Compared by name.
#[derive(Debug)]
pub struct Table {
    pub name: &'static str,
    /// Columns that choose the partition; at least one.
    pub partition: &'static [Column],
    /// Columns that order rows within it; may be none.
    pub clustering: &'static [Column],
    pub values: &'static [Column],
}

impl PartialEq for Table {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Table {}

/// One column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    pub name: &'static str,
    pub kind: ColumnType,
    /// Only value columns may be.
    pub optional: bool,
}

/// What a column holds, in CQL's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    Text,
    BigInt,
    Int,
    Double,
    Boolean,
    Blob,
}

/// Why bytes are no row of the expected table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    #[error("the bytes end within column {0}")]
    Short(&'static str),
    #[error("column {0} holds what its type does not allow")]
    Content(&'static str),
    #[error("{0} bytes are left over")]
    Long(usize),
    #[error("the form {0} is not known")]
    Form(u8),
    #[error("the table has no column {0}")]
    NoColumn(&'static str),
}

/// A type whose values are rows of one table; made by [`table!`](crate::table).
pub trait Row: Sized + Send {
    const TABLE: &'static Table;

    /// Appends partition and clustering key; returns where the partition key ends in `out`.
    fn encode_key(&self, out: &mut Vec<u8>) -> usize;

    /// Appends the value columns.
    fn encode_value(&self, out: &mut Vec<u8>);

    fn decode(partition: &[u8], clustering: &[u8], value: &[u8]) -> Result<Self, RowError>;

    /// The key of this row.
    fn key(&self) -> RowKey {
        RowKey::of(self)
    }
}
