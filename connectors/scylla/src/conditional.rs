//! A conditional batch as statements that the cluster applies all or none of.
//!
//! What a newcomer would get wrong: CQL knows conditions only on what a statement changes, and writing a
//! row by `UPDATE` makes no row marker. So a condition on a row that is not to change writes what it
//! demands, and `UPDATE` is used only where the condition says that the row is there.

use std::{collections::BTreeMap, fmt::Write};

use openinfra_store::{
    Column, Condition, ConditionalBatch, Mutation, RowError, Table,
    row::{Content, ValueContents},
};

use crate::{bind::Contents, statement};

/// One statement, and what it binds.
#[derive(Debug, Clone)]
pub(crate) struct Step<'a> {
    pub(crate) text: String,
    pub(crate) values: Contents<'a>,
}

/// What stood in a row that a batch without conditions changes: it is made to stand on that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    Nothing,
    Row,
}

/// One row of the batch.
#[derive(Debug, Clone)]
struct Part<'a> {
    key: &'a [u8],
    partition_len: usize,
    absent: bool,
    equals: Vec<(&'static str, i64)>,
    exists: bool,
    mutation: Option<Mutation<'a>>,
}

/// The statements of a batch; none: its conditions contradict each other. `found` is of the row of the
/// first mutation, where there are no conditions.
pub(crate) fn steps<'a>(
    place: &str,
    table: &'static Table,
    batch: &'a ConditionalBatch,
    found: Option<Found>,
) -> Result<Option<Vec<Step<'a>>>, RowError> {
    let mut parts: BTreeMap<&[u8], Part<'a>> = BTreeMap::new();
    for condition in &batch.conditions {
        let key = condition.key();
        let part = part_of(&mut parts, key.bytes(), key.partition().len());
        match condition {
            Condition::Absent(_) => part.absent = true,
            Condition::Equals { column, value, .. } => part.equals.push((column, *value)),
        }
    }
    for (at, mutation) in batch.mutations().enumerate() {
        let part = part_of(&mut parts, mutation.key, mutation.partition_len);
        part.mutation = Some(mutation);
        match found {
            Some(Found::Nothing) if at == 0 => part.absent = true,
            Some(Found::Row) if at == 0 => part.exists = true,
            _ => {}
        }
    }
    let contradictory = |part: &Part<'_>| part.absent && !part.equals.is_empty();
    if parts.values().any(contradictory) {
        return Ok(None);
    }
    let steps = parts.values().map(|part| part.step(place, table));
    steps.collect::<Result<_, _>>().map(Some)
}

fn part_of<'a, 'p>(
    parts: &'p mut BTreeMap<&'a [u8], Part<'a>>,
    key: &'a [u8],
    partition_len: usize,
) -> &'p mut Part<'a> {
    parts.entry(key).or_insert_with(|| Part {
        key,
        partition_len,
        absent: false,
        equals: Vec::new(),
        exists: false,
        mutation: None,
    })
}

impl<'a> Part<'a> {
    fn step(&self, place: &str, table: &'static Table) -> Result<Step<'a>, RowError> {
        let value = self.mutation.map(|mutation| mutation.value);
        match value {
            Some(Some(value)) if self.is_plain() || self.absent => self.insert(place, table, value),
            Some(Some(value)) => self.update(place, table, value),
            Some(None) if !self.absent => self.delete(place, table),
            None if !self.equals.is_empty() => self.keep(place, table),
            // The row must be absent and stay so.
            _ => self.keep_absent(place, table),
        }
    }

    /// Whether nothing is demanded of the row.
    fn is_plain(&self) -> bool {
        !self.absent && !self.exists && self.equals.is_empty()
    }

    fn insert(
        &self,
        place: &str,
        table: &'static Table,
        value: &'a [u8],
    ) -> Result<Step<'a>, RowError> {
        let mut text = statement::insert(place, table);
        if self.absent {
            text.push_str(" IF NOT EXISTS");
        }
        let values = self.key_values(Contents::default(), table)?;
        let values = push_values(values, table, value)?;
        Ok(Step { text, values })
    }

    fn update(
        &self,
        place: &str,
        table: &'static Table,
        value: &'a [u8],
    ) -> Result<Step<'a>, RowError> {
        let text = statement::update(place, table, table.values.iter());
        let values = push_values(Contents::default(), table, value)?;
        let values = self.key_values(values, table)?;
        self.with_conditions(text, values, table)
    }

    fn delete(&self, place: &str, table: &'static Table) -> Result<Step<'a>, RowError> {
        let text = statement::delete(place, table);
        let values = self.key_values(Contents::default(), table)?;
        self.with_conditions(text, values, table)
    }

    /// Writes what the conditions demand.
    fn keep(&self, place: &str, table: &'static Table) -> Result<Step<'a>, RowError> {
        let mut columns: Vec<&Column> = Vec::new();
        let mut values = Contents::default();
        for (name, value) in &self.equals {
            let column = column(table, name)?;
            if !columns.contains(&column) {
                columns.push(column);
                values.push(Content::BigInt(*value));
            }
        }
        let text = statement::update(place, table, columns.into_iter());
        let values = self.key_values(values, table)?;
        self.with_conditions(text, values, table)
    }

    /// Removes a column that only a row would have.
    fn keep_absent(&self, place: &str, table: &'static Table) -> Result<Step<'a>, RowError> {
        let column = table.values.iter().find(|column| !column.optional);
        let column = column.ok_or(RowError::NoColumn("that every row has"))?;
        Ok(Step {
            text: format!(
                "{} IF {} = null",
                statement::delete_column(place, table, column),
                statement::quoted(column)
            ),
            values: self.key_values(Contents::default(), table)?,
        })
    }

    fn key_values(
        &self,
        values: Contents<'a>,
        table: &'static Table,
    ) -> Result<Contents<'a>, RowError> {
        let (partition, clustering) = self.key.split_at(self.partition_len);
        values
            .partition(table, partition)?
            .key(table.clustering, clustering)
    }

    fn with_conditions(
        &self,
        mut text: String,
        mut values: Contents<'a>,
        table: &'static Table,
    ) -> Result<Step<'a>, RowError> {
        if self.exists {
            text.push_str(" IF EXISTS");
        }
        for (at, (name, value)) in self.equals.iter().enumerate() {
            let word = if at == 0 { "IF" } else { "AND" };
            // Writing to a string does not fail.
            let _ = write!(text, " {word} {}", statement::equals(column(table, name)?));
            values.push(Content::BigInt(*value));
        }
        Ok(Step { text, values })
    }
}

fn push_values<'a>(
    mut values: Contents<'a>,
    table: &'static Table,
    value: &'a [u8],
) -> Result<Contents<'a>, RowError> {
    for content in ValueContents::new(table.values, value)? {
        values.push(content?);
    }
    Ok(values)
}

fn column(table: &'static Table, name: &'static str) -> Result<&'static Column, RowError> {
    let found = table.values.iter().find(|column| column.name == name);
    found.ok_or(RowError::NoColumn(name))
}

#[cfg(test)]
mod tests {
    use openinfra_store::{Row, conformance::CounterRow};

    use super::*;

    fn row(name: &str, version: i64) -> CounterRow {
        CounterRow {
            part: "p".to_owned(),
            name: name.to_owned(),
            note: None,
            version,
            seen: None,
        }
    }

    fn equals(name: &str, column: &'static str, value: i64) -> Condition {
        Condition::Equals {
            key: row(name, 0).key(),
            column,
            value,
        }
    }

    const KEY: &str = "WHERE \"part\" = ? AND \"name\" = ?";

    fn check(batch: &ConditionalBatch, found: Option<Found>, expected: &[&str]) {
        let steps = steps("t", CounterRow::TABLE, batch, found)
            .unwrap()
            .unwrap();
        let texts: Vec<_> = steps.iter().map(|step| step.text.as_str()).collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|text| text.replace("KEY", KEY))
            .collect();
        assert_eq!(texts, expected);
    }

    const INSERT: &str = "INSERT INTO t (\"part\", \"name\", \"note\", \"version\", \"seen\") VALUES (?, ?, ?, ?, ?)";
    const UPDATE: &str = "UPDATE t SET \"note\" = ?, \"version\" = ?, \"seen\" = ? KEY";

    #[test]
    fn a_condition_stands_on_the_statement_that_writes_its_row() {
        let mut batch = ConditionalBatch::new(vec![
            Condition::Absent(row("a", 0).key()),
            equals("b", "version", 1),
            equals("b", "seen", 2),
            equals("c", "version", 1),
        ]);
        batch.put(&row("a", 1));
        batch.put(&row("b", 1));
        batch.put(&row("b", 2));
        batch.remove(&row("c", 0).key());
        batch.put(&row("d", 1));
        check(
            &batch,
            None,
            &[
                &format!("{INSERT} IF NOT EXISTS"),
                &format!("{UPDATE} IF \"version\" = ? AND \"seen\" = ?"),
                "DELETE FROM t KEY IF \"version\" = ?",
                INSERT,
            ],
        );
    }

    #[test]
    fn a_condition_on_a_row_that_stays_writes_what_it_demands() {
        let mut batch = ConditionalBatch::new(vec![
            equals("a", "version", 3),
            Condition::Absent(row("b", 0).key()),
            Condition::Absent(row("c", 0).key()),
        ]);
        batch.remove(&row("c", 0).key());
        let absent = "DELETE \"version\" FROM t KEY IF \"version\" = null";
        check(
            &batch,
            None,
            &[
                "UPDATE t SET \"version\" = ? KEY IF \"version\" = ?",
                absent,
                absent,
            ],
        );
    }

    #[test]
    fn a_batch_without_conditions_stands_on_what_was_found() {
        let mut batch = ConditionalBatch::new(vec![]);
        batch.put(&row("a", 1));
        batch.put(&row("b", 1));
        check(
            &batch,
            Some(Found::Nothing),
            &[&format!("{INSERT} IF NOT EXISTS"), INSERT],
        );
        check(
            &batch,
            Some(Found::Row),
            &[&format!("{UPDATE} IF EXISTS"), INSERT],
        );
    }

    #[test]
    fn conditions_that_contradict_each_other_make_no_statement() {
        let batch = ConditionalBatch::new(vec![
            Condition::Absent(row("a", 0).key()),
            equals("a", "version", 1),
        ]);
        let steps = steps("t", CounterRow::TABLE, &batch, None).unwrap();
        assert!(steps.is_none());
    }
}
