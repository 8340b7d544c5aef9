//! Rows as bytes: keys whose byte order is the order of their columns, values in a compact form.
//!
//! * Key columns, end to end: text with `00` as `00 FF` and `00 00` behind it, integers big-endian with
//!   the sign flipped. So a key is a prefix of another only when its columns are.
//! * Value columns: one byte that names the form, then the columns in the table's order: an option is a
//!   byte and its content, text and blobs have a length before them, integers are zigzag varints, doubles
//!   eight bytes. A table may gain optional columns at its end: where the bytes end, they are none.

use std::{fmt, sync::Arc};

use openinfra_schemas::{Quality, SensorId, TenantId};

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
        let mut bytes = Vec::with_capacity(64);
        let partition_len = self.encode_key(&mut bytes);
        RowKey {
            table: Self::TABLE,
            bytes,
            partition_len,
        }
    }
}

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
        push_key_text(&mut self.0, text);
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

/// The form of values that this version writes.
pub const FORM: u8 = 1;

/// What can stand in a column.
pub trait Cell: Sized {
    const KIND: ColumnType;
    const OPTIONAL: bool = false;

    fn put_key(&self, out: &mut Vec<u8>);
    fn take_key(bytes: &mut &[u8]) -> Option<Self>;
    fn put(&self, out: &mut Vec<u8>);
    /// None: the bytes end, or hold what the type does not allow.
    fn take(bytes: &mut &[u8]) -> Option<Self>;

    /// What a column that the bytes do not reach is.
    fn missing() -> Option<Self> {
        None
    }
}

fn push_key_text(out: &mut Vec<u8>, text: &str) {
    for byte in text.as_bytes() {
        out.push(*byte);
        if *byte == 0 {
            out.push(0xff);
        }
    }
    out.extend_from_slice(&[0, 0]);
}

fn take_key_text(bytes: &mut &[u8]) -> Option<String> {
    let mut text = Vec::new();
    loop {
        match bytes {
            [0, 0xff, rest @ ..] => {
                text.push(0);
                *bytes = rest;
            }
            [0, 0, rest @ ..] => {
                *bytes = rest;
                return String::from_utf8(text).ok();
            }
            [0, ..] | [] => return None,
            [byte, rest @ ..] => {
                text.push(*byte);
                *bytes = rest;
            }
        }
    }
}

fn take_array<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn put_sized(out: &mut Vec<u8>, content: &[u8]) {
    put_varint(out, content.len() as u64);
    out.extend_from_slice(content);
}

fn take_sized<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(take_varint(bytes)?).ok()?;
    let (head, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(head)
}

impl Cell for i64 {
    const KIND: ColumnType = ColumnType::BigInt;

    fn put_key(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self ^ i64::MIN).to_be_bytes());
    }

    fn take_key(bytes: &mut &[u8]) -> Option<Self> {
        take_array(bytes).map(|array| i64::from_be_bytes(array) ^ i64::MIN)
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, ((self << 1) ^ (self >> 63)) as u64);
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        take_varint(bytes).map(|raw| (raw >> 1) as i64 ^ -((raw & 1) as i64))
    }
}

impl Cell for i32 {
    const KIND: ColumnType = ColumnType::Int;

    fn put_key(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self ^ i32::MIN).to_be_bytes());
    }

    fn take_key(bytes: &mut &[u8]) -> Option<Self> {
        take_array(bytes).map(|array| i32::from_be_bytes(array) ^ i32::MIN)
    }

    fn put(&self, out: &mut Vec<u8>) {
        i64::from(*self).put(out);
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        i64::take(bytes).and_then(|value| value.try_into().ok())
    }
}

impl Cell for f64 {
    const KIND: ColumnType = ColumnType::Double;

    /// Doubles in keys are not supported by any table; the order would be that of the bits.
    fn put_key(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_bits().to_be_bytes());
    }

    fn take_key(bytes: &mut &[u8]) -> Option<Self> {
        take_array(bytes).map(|array| f64::from_bits(u64::from_be_bytes(array)))
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        take_array(bytes).map(f64::from_le_bytes)
    }
}

impl Cell for bool {
    const KIND: ColumnType = ColumnType::Boolean;

    fn put_key(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn take_key(bytes: &mut &[u8]) -> Option<Self> {
        Self::take(bytes)
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        match take_array(bytes)? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }
}

impl Cell for Vec<u8> {
    const KIND: ColumnType = ColumnType::Blob;

    fn put_key(&self, out: &mut Vec<u8>) {
        for byte in self {
            out.push(*byte);
            if *byte == 0 {
                out.push(0xff);
            }
        }
        out.extend_from_slice(&[0, 0]);
    }

    fn take_key(bytes: &mut &[u8]) -> Option<Self> {
        let mut content = Vec::new();
        loop {
            match bytes {
                [0, 0xff, rest @ ..] => {
                    content.push(0);
                    *bytes = rest;
                }
                [0, 0, rest @ ..] => {
                    *bytes = rest;
                    return Some(content);
                }
                [0, ..] | [] => return None,
                [byte, rest @ ..] => {
                    content.push(*byte);
                    *bytes = rest;
                }
            }
        }
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_sized(out, self);
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        take_sized(bytes).map(<[u8]>::to_vec)
    }
}

/// Cells that are text in the store and a type of their own in Rust.
macro_rules! text_cell {
    ($type:ty, $as_str:expr, $parse:expr) => {
        impl Cell for $type {
            const KIND: ColumnType = ColumnType::Text;

            fn put_key(&self, out: &mut Vec<u8>) {
                push_key_text(out, $as_str(self));
            }

            fn take_key(bytes: &mut &[u8]) -> Option<Self> {
                take_key_text(bytes).and_then(|text| $parse(&text))
            }

            fn put(&self, out: &mut Vec<u8>) {
                put_sized(out, $as_str(self).as_bytes());
            }

            fn take(bytes: &mut &[u8]) -> Option<Self> {
                take_sized(bytes)
                    .and_then(|text| std::str::from_utf8(text).ok())
                    .and_then(|text| $parse(text))
            }
        }
    };
}

text_cell!(String, String::as_str, |text: &str| Some(text.to_owned()));
text_cell!(Arc<str>, AsRef::as_ref, |text: &str| Some(Arc::from(text)));
text_cell!(TenantId, TenantId::as_str, |text: &str| Some(
    TenantId::trusted(text)
));
text_cell!(SensorId, SensorId::as_str, |text: &str| Some(
    SensorId::trusted(text)
));
text_cell!(Quality, |q: &Quality| q.as_str(), Quality::parse);

impl<T: Cell> Cell for Option<T> {
    const KIND: ColumnType = T::KIND;
    const OPTIONAL: bool = true;

    /// Key columns are never optional.
    fn put_key(&self, out: &mut Vec<u8>) {
        if let Some(content) = self {
            content.put_key(out);
        }
    }

    fn take_key(bytes: &mut &[u8]) -> Option<Self> {
        T::take_key(bytes).map(Some)
    }

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            None => out.push(0),
            Some(content) => {
                out.push(1);
                content.put(out);
            }
        }
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        if bool::take(bytes)? {
            T::take(bytes).map(Some)
        } else {
            Some(None)
        }
    }

    fn missing() -> Option<Self> {
        Some(None)
    }
}

/// Takes the next value column.
pub fn take_value<C: Cell>(bytes: &mut &[u8], name: &'static str) -> Result<C, RowError> {
    if bytes.is_empty() {
        return C::missing().ok_or(RowError::Short(name));
    }
    C::take(bytes).ok_or(RowError::Content(name))
}

/// Takes the next key column.
pub fn take_key<C: Cell>(bytes: &mut &[u8], name: &'static str) -> Result<C, RowError> {
    C::take_key(bytes).ok_or(RowError::Content(name))
}

/// One [`BigInt`](ColumnType::BigInt) column out of an encoded value; none when the column is none.
///
/// What a conditional batch compares. The other columns are only passed over.
pub fn column_i64(
    table: &Table,
    name: &'static str,
    value: &[u8],
) -> Result<Option<i64>, RowError> {
    let mut bytes = match value {
        [FORM, rest @ ..] => rest,
        [form, ..] => return Err(RowError::Form(*form)),
        [] => return Err(RowError::Short("form")),
    };
    for column in table.values {
        if column.name != name {
            skip_value(column, &mut bytes)?;
            continue;
        }
        return match (column.kind, column.optional) {
            (ColumnType::BigInt, false) => take_value(&mut bytes, column.name).map(Some),
            (ColumnType::BigInt, true) => take_value(&mut bytes, column.name),
            _ => Err(RowError::Content(column.name)),
        };
    }
    Err(RowError::NoColumn(name))
}

fn skip_value(column: &Column, bytes: &mut &[u8]) -> Result<(), RowError> {
    fn skip<C: Cell>(column: &Column, bytes: &mut &[u8]) -> Result<(), RowError> {
        if column.optional {
            take_value::<Option<C>>(bytes, column.name).map(drop)
        } else {
            take_value::<C>(bytes, column.name).map(drop)
        }
    }
    match column.kind {
        ColumnType::Text => skip::<String>(column, bytes),
        ColumnType::BigInt => skip::<i64>(column, bytes),
        ColumnType::Int => skip::<i32>(column, bytes),
        ColumnType::Double => skip::<f64>(column, bytes),
        ColumnType::Boolean => skip::<bool>(column, bytes),
        ColumnType::Blob => skip::<Vec<u8>>(column, bytes),
    }
}

/// Errs when bytes are left.
pub fn done(bytes: &[u8]) -> Result<(), RowError> {
    if bytes.is_empty() {
        Ok(())
    } else {
        Err(RowError::Long(bytes.len()))
    }
}

/// Declares a table and the type of its rows.
///
/// ```
/// openinfra_store::table! {
///     /// How many cups each machine made, by day.
///     pub struct CupsRow in "cups" {
///         partition { machine: String }
///         clustering { day: i64 }
///         values { cups: i64, note: Option<String> }
///     }
/// }
/// ```
#[macro_export]
macro_rules! table {
    (
        $(#[$doc:meta])*
        $vis:vis struct $row:ident in $name:literal {
            partition { $($(#[$pdoc:meta])* $p:ident: $pt:ty),* $(,)? }
            clustering { $($(#[$cdoc:meta])* $c:ident: $ct:ty),* $(,)? }
            values { $($(#[$vdoc:meta])* $v:ident: $vt:ty),* $(,)? }
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        $vis struct $row {
            $($(#[$pdoc])* pub $p: $pt,)*
            $($(#[$cdoc])* pub $c: $ct,)*
            $($(#[$vdoc])* pub $v: $vt,)*
        }

        impl $crate::row::Row for $row {
            const TABLE: &'static $crate::row::Table = &$crate::row::Table {
                name: $name,
                partition: &[$($crate::table!(@column $p, $pt)),*],
                clustering: &[$($crate::table!(@column $c, $ct)),*],
                values: &[$($crate::table!(@column $v, $vt)),*],
            };

            fn encode_key(&self, out: &mut Vec<u8>) -> usize {
                $($crate::row::Cell::put_key(&self.$p, out);)*
                let partition_end = out.len();
                $($crate::row::Cell::put_key(&self.$c, out);)*
                partition_end
            }

            fn encode_value(&self, out: &mut Vec<u8>) {
                out.push($crate::row::FORM);
                $($crate::row::Cell::put(&self.$v, out);)*
            }

            #[allow(unused_mut, unused_variables)]
            fn decode(
                mut partition: &[u8],
                mut clustering: &[u8],
                value: &[u8],
            ) -> Result<Self, $crate::row::RowError> {
                let mut value = match value {
                    [$crate::row::FORM, rest @ ..] => rest,
                    [form, ..] => return Err($crate::row::RowError::Form(*form)),
                    [] => return Err($crate::row::RowError::Short("form")),
                };
                let row = Self {
                    $($p: $crate::row::take_key(&mut partition, stringify!($p))?,)*
                    $($c: $crate::row::take_key(&mut clustering, stringify!($c))?,)*
                    $($v: $crate::row::take_value(&mut value, stringify!($v))?,)*
                };
                $crate::row::done(partition)?;
                $crate::row::done(clustering)?;
                $crate::row::done(value)?;
                Ok(row)
            }
        }
    };
    (@column $name:ident, $type:ty) => {
        $crate::row::Column {
            name: stringify!($name),
            kind: <$type as $crate::row::Cell>::KIND,
            optional: <$type as $crate::row::Cell>::OPTIONAL,
        }
    };
}
