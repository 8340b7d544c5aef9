//! The text of statements, from a table's declaration.
//!
//! Every name is quoted: columns are called what the product calls them, reserved word or not.

use std::fmt::Write;

use openinfra_store::{Column, ColumnType, Table, row::KeyContents};
use openinfra_store::{Edge, Range, RowError};

/// `"keyspace"."table"`.
pub(crate) fn place(keyspace: &str, table: &Table) -> String {
    format!("\"{keyspace}\".\"{}\"", table.name)
}

/// Writes all columns: partition, clustering, values.
pub(crate) fn insert(place: &str, table: &Table) -> String {
    let columns = all(table);
    format!(
        "INSERT INTO {place} ({}) VALUES ({})",
        list(columns.iter().copied(), ", ", quoted),
        vec!["?"; columns.len()].join(", ")
    )
}

/// Removes the row of a key.
pub(crate) fn delete(place: &str, table: &Table) -> String {
    format!("DELETE FROM {place} WHERE {}", key_equals(table))
}

/// Writes the value columns of a key; to be followed by conditions.
pub(crate) fn update<'a>(
    place: &str,
    table: &Table,
    columns: impl Iterator<Item = &'a Column>,
) -> String {
    format!(
        "UPDATE {place} SET {} WHERE {}",
        list(columns, ", ", equals),
        key_equals(table)
    )
}

/// Removes one column of a key; to be followed by a condition.
pub(crate) fn delete_column(place: &str, table: &Table, column: &Column) -> String {
    format!(
        "DELETE {} FROM {place} WHERE {}",
        quoted(column),
        key_equals(table)
    )
}

/// Clustering and value columns of a key.
pub(crate) fn get(place: &str, table: &Table) -> String {
    format!("{} WHERE {}", select(place, table), key_equals(table))
}

/// Clustering and value columns of a partition's rows whose first clustering column is in a list.
pub(crate) fn get_in(place: &str, table: &Table, first: &Column) -> String {
    format!(
        "{} WHERE {} AND {} IN ?",
        select(place, table),
        partition_equals(table),
        quoted(first)
    )
}

/// What of a range decides its statement. At an edge stands a relation over so many clustering columns.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Shape {
    pub(crate) table: &'static str,
    from: Option<(&'static str, usize)>,
    to: Option<(&'static str, usize)>,
    descending: bool,
}

impl Shape {
    /// The range is not empty.
    pub(crate) fn of(range: &Range) -> Result<Self, RowError> {
        let columns = |prefix: &[u8]| -> Result<usize, RowError> {
            KeyContents::new(range.table.clustering, prefix)
                .try_fold(0, |columns, content| content.map(|_| columns + 1))
        };
        let relation = |edge: &Edge, before, after| -> Result<_, RowError> {
            let (operator, prefix) = match edge {
                Edge::Open => return Ok(None),
                Edge::Before(prefix) => (before, prefix),
                Edge::After(prefix) => (after, prefix),
            };
            let columns = columns(prefix)?;
            Ok((columns > 0).then_some((operator, columns)))
        };
        Ok(Self {
            table: range.table.name,
            from: relation(&range.from, ">=", ">")?,
            to: relation(&range.to, "<", "<=")?,
            descending: range.descending,
        })
    }

    /// Binds: the partition key, the columns of both edges, the limit.
    pub(crate) fn text(&self, place: &str, table: &Table) -> String {
        let mut text = format!("{} WHERE {}", select(place, table), partition_equals(table));
        for (operator, columns) in self.from.iter().chain(&self.to) {
            let names = list(table.clustering[..*columns].iter(), ", ", quoted);
            let marks = vec!["?"; *columns].join(", ");
            // Writing to a string does not fail.
            let _ = write!(text, " AND ({names}) {operator} ({marks})");
        }
        if self.descending && !table.clustering.is_empty() {
            let order = |column: &Column| format!("{} DESC", quoted(column));
            let _ = write!(
                text,
                " ORDER BY {}",
                list(table.clustering.iter(), ", ", order)
            );
        }
        text.push_str(" LIMIT ?");
        text
    }
}

/// `"column" = ?`.
pub(crate) fn equals(column: &Column) -> String {
    format!("{} = ?", quoted(column))
}

pub(crate) fn quoted(column: &Column) -> String {
    format!("\"{}\"", column.name)
}

/// A column's type in CQL.
pub(crate) fn type_name(kind: ColumnType) -> &'static str {
    match kind {
        ColumnType::Text => "text",
        ColumnType::BigInt => "bigint",
        ColumnType::Int => "int",
        ColumnType::Double => "double",
        ColumnType::Boolean => "boolean",
        ColumnType::Blob => "blob",
    }
}

/// Partition, clustering and value columns.
pub(crate) fn all(table: &Table) -> Vec<&Column> {
    let keys = table.partition.iter().chain(table.clustering);
    keys.chain(table.values).collect()
}

fn select(place: &str, table: &Table) -> String {
    let columns = table.clustering.iter().chain(table.values);
    format!("SELECT {} FROM {place}", list(columns, ", ", quoted))
}

fn partition_equals(table: &Table) -> String {
    list(table.partition.iter(), " AND ", equals)
}

fn key_equals(table: &Table) -> String {
    list(
        table.partition.iter().chain(table.clustering),
        " AND ",
        equals,
    )
}

pub(crate) fn list<'a>(
    columns: impl Iterator<Item = &'a Column>,
    separator: &str,
    text: impl Fn(&Column) -> String,
) -> String {
    columns.map(text).collect::<Vec<_>>().join(separator)
}

#[cfg(test)]
mod tests {
    use openinfra_store::{KeyBuf, Row, tables::views::ReadingRow};

    use super::*;

    #[test]
    fn edges_are_relations_over_the_columns_they_name() {
        let table = ReadingRow::TABLE;
        let range = Range {
            from: Edge::Before(KeyBuf::new().text("s").bigint(5).into_bytes()),
            to: Edge::After(KeyBuf::new().text("s").into_bytes()),
            ..Range::partition(table, vec![]).descending()
        };
        let text = Shape::of(&range).unwrap().text("k.t", table);
        let (_, relations) = text.split_once(" WHERE ").unwrap();
        assert_eq!(
            relations,
            "\"tenant\" = ? AND \"bucket\" = ? AND \"hour\" = ? \
             AND (\"sensor_id\", \"event_ts\") >= (?, ?) AND (\"sensor_id\") <= (?) \
             ORDER BY \"sensor_id\" DESC, \"event_ts\" DESC, \"offset\" DESC LIMIT ?"
        );
    }

    #[test]
    fn an_edge_of_no_columns_is_open() {
        let table = ReadingRow::TABLE;
        let range = Range::prefix(table, vec![], vec![]);
        let all = Range::partition(table, vec![]);
        assert_eq!(Shape::of(&range), Shape::of(&all));
    }
}
