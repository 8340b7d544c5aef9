//! Conditional batches: one lightweight transaction each, and what to say when it is refused.
//!
//! They are made once. A newcomer would repeat one that timed out; its first try may have been applied
//! and would then refuse the second. Who asked finds out by reading.

use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash, Hasher},
};

use bytes::Bytes;
use openinfra_store::{
    Condition, ConditionalBatch, Outcome, RowError, RowKey, StoreError, Table, row::column_i64,
};
use scylla::{
    deserialize::row::ColumnIterator,
    policies::retry::FallthroughRetryPolicy,
    response::query_result::QueryResult,
    statement::batch::{Batch as Statements, BatchType},
};
use std::sync::Arc;
use tokio::sync::{Mutex, MutexGuard};

use crate::{
    conditional::{Found, Step, steps},
    decode::unreadable,
    error::unavailable,
    metrics::Op,
    read::is_possible,
    store::ScyllaStore,
};

/// How often a batch is made that was refused although its conditions held when they were looked at.
const TRIES: usize = 16;

impl ScyllaStore {
    pub(crate) async fn write_conditional(
        &self,
        batch: &ConditionalBatch,
    ) -> Result<Outcome, StoreError> {
        if !batch.is_one_partition() {
            return Err(StoreError::Unavailable(
                "a conditional batch must keep to one partition of one table".into(),
            ));
        }
        let Some((table, partition)) = place_of(batch) else {
            return Ok(Outcome::Applied);
        };
        let _turn = self.turns.take(table, partition).await;
        for _ in 0..TRIES {
            if self.try_conditional(table, batch).await? {
                return Ok(Outcome::Applied);
            }
            if let Some(refused) = self.refusal(batch).await? {
                return Ok(refused);
            }
        }
        Err(StoreError::Unavailable(format!(
            "others write the same partition of {} all the time",
            table.name
        )))
    }

    /// Whether it was applied; false as well when it can never be.
    async fn try_conditional(
        &self,
        table: &'static Table,
        batch: &ConditionalBatch,
    ) -> Result<bool, StoreError> {
        let found = match batch.mutations().next() {
            Some(first) if batch.conditions.is_empty() => {
                let (partition, clustering) = first.key.split_at(first.partition_len);
                let key = RowKey::from_bytes(table, partition, clustering);
                let row = self.read_row_linearizable(&key).await?;
                Some(row.map_or(Found::Nothing, |_| Found::Row))
            }
            _ => None,
        };
        if let Some(key) = impossible(batch) {
            return Err(StoreError::Unavailable(format!(
                "a key of {} is too long for the cluster",
                key.name
            )));
        }
        let place = &self.statements.of(table)?.place;
        let steps = steps(place, table, batch, found).map_err(|source| StoreError::Row {
            table: table.name,
            source,
        })?;
        match steps {
            Some(steps) => self.apply(&steps).await,
            None => Ok(false),
        }
    }

    async fn apply(&self, steps: &[Step<'_>]) -> Result<bool, StoreError> {
        let mut statements = Statements::new(BatchType::Unlogged);
        statements.set_is_idempotent(false);
        statements.set_retry_policy(Some(Arc::new(FallthroughRetryPolicy::new())));
        let mut values = Vec::with_capacity(steps.len());
        for step in steps {
            let prepared = self.statements.conditional(&self.session, &step.text);
            statements.append_statement(prepared.await?);
            values.push(&step.values);
        }
        let write = self.session.batch(&statements, &values);
        let answer = self.requests.once(Op::WriteIf, write).await;
        is_applied(answer.map_err(|error| unavailable(&error))?)
    }

    /// The first condition that does not hold, with its row; none: all of them hold by now.
    async fn refusal(&self, batch: &ConditionalBatch) -> Result<Option<Outcome>, StoreError> {
        for (at, condition) in batch.conditions.iter().enumerate() {
            let current = self.read_row_linearizable(condition.key()).await?;
            let held = holds(condition, current.as_ref());
            let held = held.map_err(|source| StoreError::Row {
                table: condition.key().table.name,
                source,
            })?;
            if !held {
                return Ok(Some(Outcome::Refused {
                    condition: at,
                    current,
                }));
            }
        }
        Ok(None)
    }
}

fn place_of(batch: &ConditionalBatch) -> Option<(&'static Table, &[u8])> {
    let condition = batch.conditions.first();
    let of_condition = condition.map(|c| (c.key().table, c.key().partition()));
    let mutation = batch.mutations().next();
    of_condition.or(mutation.map(|m| (m.table, &m.key[..m.partition_len])))
}

/// The table of a row that cannot be written.
fn impossible(batch: &ConditionalBatch) -> Option<&'static Table> {
    let mutation = batch.mutations().find(|mutation| {
        let (partition, clustering) = mutation.key.split_at(mutation.partition_len);
        !is_possible(partition, clustering)
    });
    mutation.map(|mutation| mutation.table)
}

fn holds(condition: &Condition, current: Option<&Bytes>) -> Result<bool, RowError> {
    match (condition, current) {
        (Condition::Absent(_), current) => Ok(current.is_none()),
        (Condition::Equals { .. }, None) => Ok(false),
        (Condition::Equals { key, column, value }, Some(current)) => {
            Ok(column_i64(key.table, column, current)? == Some(*value))
        }
    }
}

/// The column of that name in the first row: servers differ in what else they answer, and in which order.
fn is_applied(answer: QueryResult) -> Result<bool, StoreError> {
    let rows = answer.into_rows_result().map_err(unreadable)?;
    let mut columns = rows.first_row::<ColumnIterator>().map_err(unreadable)?;
    let applied = columns.find_map(|column| match column {
        Ok(column) if column.spec.name() == "[applied]" => {
            Some(column.slice.is_some_and(|slice| slice.as_slice() == [1]))
        }
        _ => None,
    });
    applied.ok_or_else(|| unreadable("it does not say whether the batch was applied"))
}

/// Whose turn it is in a partition. Within one process conditional batches wait for each other here, where
/// that costs nothing; in the cluster they would outbid each other.
pub(crate) struct Turns {
    turns: Vec<Mutex<()>>,
}

impl Default for Turns {
    fn default() -> Self {
        let turns = std::iter::repeat_with(Mutex::default).take(1_024);
        Self {
            turns: turns.collect(),
        }
    }
}

impl Turns {
    pub(crate) async fn take(&self, table: &Table, partition: &[u8]) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        (table.name, partition).hash(&mut hasher);
        let turn = hasher.finish() as usize % self.turns.len();
        self.turns[turn].lock().await
    }
}
