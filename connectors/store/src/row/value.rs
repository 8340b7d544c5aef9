//! Reading encoded rows column by column; what [`table!`](crate::table) expands to calls it.

use super::{Cell, Column, ColumnType, RowError, Table};

/// The form of values that this version writes.
pub const FORM: u8 = 1;

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
