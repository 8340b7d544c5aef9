//! Rows as a person reads them: whatever the table, from its columns.

use openinfra_store::{
    Column, ColumnType, RowError, Table,
    row::{Cell, FORM, take_key, take_value},
};
use serde_json::{Map, Value};

/// The columns of a key: `tenant=city, bucket=3, sensor_id=pump/1`.
pub(crate) fn key_text(table: &Table, partition: &[u8], clustering: &[u8]) -> String {
    let mut parts = Vec::new();
    for (columns, mut bytes) in [(table.partition, partition), (table.clustering, clustering)] {
        for column in columns {
            match key_column(column, &mut bytes) {
                Ok(Value::String(text)) => parts.push(format!("{}={text}", column.name)),
                Ok(value) => parts.push(format!("{}={value}", column.name)),
                Err(error) => {
                    parts.push(format!("unreadable: {error}"));
                    return parts.join(", ");
                }
            }
        }
    }
    parts.join(", ")
}

/// The value columns as a JSON object.
pub(crate) fn value_text(table: &Table, value: &[u8]) -> String {
    match value_columns(table, value) {
        Ok(columns) => Value::Object(columns).to_string(),
        Err(error) => format!("unreadable: {error}"),
    }
}

fn value_columns(table: &Table, value: &[u8]) -> Result<Map<String, Value>, RowError> {
    let mut bytes = match value {
        [FORM, rest @ ..] => rest,
        [form, ..] => return Err(RowError::Form(*form)),
        [] => return Err(RowError::Short("form")),
    };
    let mut columns = Map::new();
    for column in table.values {
        columns.insert(column.name.to_owned(), value_column(column, &mut bytes)?);
    }
    Ok(columns)
}

fn key_column(column: &Column, bytes: &mut &[u8]) -> Result<Value, RowError> {
    Ok(match column.kind {
        ColumnType::Text => take_key::<String>(bytes, column.name)?.into(),
        ColumnType::BigInt => take_key::<i64>(bytes, column.name)?.into(),
        ColumnType::Int => take_key::<i32>(bytes, column.name)?.into(),
        ColumnType::Double => double(take_key(bytes, column.name)?),
        ColumnType::Boolean => take_key::<bool>(bytes, column.name)?.into(),
        ColumnType::Blob => blob(&take_key::<Vec<u8>>(bytes, column.name)?),
    })
}

fn value_column(column: &Column, bytes: &mut &[u8]) -> Result<Value, RowError> {
    fn take<C: Cell>(
        column: &Column,
        bytes: &mut &[u8],
        json: impl Fn(C) -> Value,
    ) -> Result<Value, RowError> {
        if column.optional {
            let value = take_value::<Option<C>>(bytes, column.name)?;
            Ok(value.map_or(Value::Null, json))
        } else {
            take_value::<C>(bytes, column.name).map(json)
        }
    }
    match column.kind {
        ColumnType::Text => take::<String>(column, bytes, Value::from),
        ColumnType::BigInt => take::<i64>(column, bytes, Value::from),
        ColumnType::Int => take::<i32>(column, bytes, Value::from),
        ColumnType::Double => take::<f64>(column, bytes, double),
        ColumnType::Boolean => take::<bool>(column, bytes, Value::from),
        ColumnType::Blob => take::<Vec<u8>>(column, bytes, |bytes| blob(&bytes)),
    }
}

/// JSON has no NaN: its bits stand there as text, as two of them may differ.
fn double(value: f64) -> Value {
    if value.is_finite() {
        value.into()
    } else {
        format!("{value} ({:#018x})", value.to_bits()).into()
    }
}

/// The beginning, as text where it is text.
fn blob(bytes: &[u8]) -> Value {
    const SHOWN: usize = 120;
    let shown = &bytes[..bytes.len().min(SHOWN)];
    let text = shown.escape_ascii().to_string();
    if bytes.len() > SHOWN {
        format!("{text}… ({} bytes)", bytes.len()).into()
    } else {
        text.into()
    }
}
