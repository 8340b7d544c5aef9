//! Whether the conditions of a batch hold.

use bytes::Bytes;
use fjall::Readable;
use openinfra_store::{Condition, ConditionalBatch, Outcome, row};

use crate::{database::Database, error::Failure};

/// `Applied` when all conditions hold of what is committed; else the first that does not.
pub(crate) fn evaluate(database: &Database, batch: &ConditionalBatch) -> Result<Outcome, Failure> {
    let snapshot = database.shown();
    for (at, condition) in batch.conditions.iter().enumerate() {
        let key = condition.key();
        let current = match database.table(key.table.name)? {
            Some(keyspace) => snapshot.get(&keyspace, key.bytes())?,
            None => None,
        };
        if !holds(condition, current.as_deref())? {
            return Ok(Outcome::Refused {
                condition: at,
                current: current.map(|value| Bytes::copy_from_slice(&value)),
            });
        }
    }
    Ok(Outcome::Applied)
}

fn holds(condition: &Condition, current: Option<&[u8]>) -> Result<bool, Failure> {
    match (condition, current) {
        (Condition::Absent(_), current) => Ok(current.is_none()),
        (Condition::Equals { .. }, None) => Ok(false),
        (Condition::Equals { key, column, value }, Some(current)) => {
            let found = row::column_i64(key.table, column, current).map_err(|error| {
                Failure::Damaged(format!("a row of {}: {error}", key.table.name))
            })?;
            Ok(found == Some(*value))
        }
    }
}
