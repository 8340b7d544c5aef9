//! The lease of whoever migrates: a row that expires by itself when its holder does not live to remove it.

use std::time::Duration;

use scylla::{
    client::session::Session,
    deserialize::row::ColumnIterator,
    errors::{DbError, ExecutionError, RequestAttemptError},
    response::query_result::QueryRowsResult,
    statement::Statement,
};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{MigrateError, change};
use crate::error::Kind;

pub(super) fn create_table(keyspace: &str) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS \"{keyspace}\".schema_lease (name text PRIMARY KEY, holder text)"
    )
}

/// Longer than a change of the schema, what the nodes take to agree on it, and the row about it may take.
const LEASE_SECONDS: i32 = 180;
/// How long to wait for another's: it may have many files to apply.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long a cluster that does not answer is asked for ours. It may expire meanwhile: nothing is changed
/// before it is renewed.
const RENEWAL: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(200);

/// What became of a conditional statement.
enum Verdict {
    Applied,
    Refused,
    /// Nobody said.
    Unknown(Box<ExecutionError>),
}

/// Why there is no lease.
pub(super) enum NotTaken {
    /// Of the nodes that have a copy too few are alive.
    TooFew {
        required: i32,
        alive: i32,
    },
    Error(MigrateError),
}

impl From<MigrateError> for NotTaken {
    fn from(error: MigrateError) -> Self {
        Self::Error(error)
    }
}

pub(super) struct Lease {
    holder: String,
    /// The table, with its keyspace.
    table: String,
}

impl Lease {
    /// Too few nodes at the first attempt are told at once; later, when the cluster has answered, it may be that
    /// nodes are restarted one after the other, and they are waited for.
    pub(super) async fn take(session: &Session, keyspace: &str) -> Result<Self, NotTaken> {
        let lease = Self {
            holder: Uuid::new_v4().to_string(),
            table: format!("\"{keyspace}\".schema_lease"),
        };
        let deadline = Instant::now() + PATIENCE;
        let text = format!(
            "INSERT INTO {} (name, holder) VALUES ('migrate', ?) IF NOT EXISTS USING TTL {LEASE_SECONDS}",
            lease.table
        );
        let mut first = true;
        loop {
            match lease.ask(session, &text, (&lease.holder,)).await? {
                Verdict::Applied => return Ok(lease),
                Verdict::Unknown(error) if first => too_few(&error)?,
                Verdict::Refused if first => tracing::warn!(
                    keyspace,
                    "another process migrates the keyspace, or was killed while it did: then its lease ends \
                     within {LEASE_SECONDS} s; waiting"
                ),
                Verdict::Unknown(_) | Verdict::Refused => {}
            }
            first = false;
            // An attempt whose outcome is unknown may hold it: then renewing succeeds.
            match lease.renew(session).await {
                Ok(()) => return Ok(lease),
                Err(error) if Instant::now() > deadline => return Err(error.into()),
                Err(_) => sleep(PAUSE).await,
            }
        }
    }

    /// Errs when it is another's, or nobody has said for a while that it is ours. Doing it twice is as good
    /// as once, so that it is asked for again as long as nobody answers.
    pub(super) async fn renew(&self, session: &Session) -> Result<(), MigrateError> {
        let text = format!(
            "UPDATE {} USING TTL {LEASE_SECONDS} SET holder = ? WHERE name = 'migrate' IF holder = ?",
            self.table
        );
        let deadline = Instant::now() + RENEWAL;
        let mut told = false;
        loop {
            let values = (&self.holder, &self.holder);
            match self.ask(session, &text, values).await? {
                Verdict::Applied => return Ok(()),
                Verdict::Refused => return Err(MigrateError::Busy),
                Verdict::Unknown(error) if Instant::now() > deadline => {
                    return Err(change(&text, *error));
                }
                Verdict::Unknown(error) if !told => {
                    told = true;
                    tracing::warn!(%error, "the lease on the schema is not known to be ours; asking again");
                }
                Verdict::Unknown(_) => {}
            }
            sleep(PAUSE).await;
        }
    }

    /// Gives it back; if that fails it expires.
    pub(super) async fn release(self, session: &Session) {
        let text = format!(
            "DELETE FROM {} WHERE name = 'migrate' IF holder = ?",
            self.table
        );
        let verdict = self.ask(session, &text, (&self.holder,)).await;
        if !matches!(verdict, Ok(Verdict::Applied)) {
            tracing::warn!("the lease on the schema is not given back and expires by itself");
        }
    }

    /// Errs when the cluster says that it will not, whoever holds the lease.
    async fn ask(
        &self,
        session: &Session,
        text: &str,
        values: impl scylla::serialize::row::SerializeRow,
    ) -> Result<Verdict, MigrateError> {
        let answer = session.query_unpaged(Statement::new(text), values).await;
        let rows = match answer {
            Ok(answer) => answer.into_rows_result(),
            Err(error) if Kind::of(&error) == Kind::Refused => return Err(change(text, error)),
            Err(error) => return Ok(Verdict::Unknown(Box::new(error))),
        };
        if rows.is_ok_and(|rows| is_applied(&rows)) {
            Ok(Verdict::Applied)
        } else {
            Ok(Verdict::Refused)
        }
    }
}

/// Errs when the node that was asked says that too few of those that have a copy are alive. It says so before it
/// proposes anything, at the consistency of the condition, or of the read before it. When nodes go between that and
/// the write it says the same; then the lease may be ours, and expires.
fn too_few(error: &ExecutionError) -> Result<(), NotTaken> {
    match *error {
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(
            DbError::Unavailable {
                required, alive, ..
            },
            _,
        )) => Err(NotTaken::TooFew { required, alive }),
        _ => Ok(()),
    }
}

/// By name: the shapes of answers differ.
fn is_applied(rows: &QueryRowsResult) -> bool {
    let Ok(mut columns) = rows.first_row::<ColumnIterator>() else {
        return false;
    };
    columns.any(|column| {
        column.is_ok_and(|column| {
            column.spec.name() == "[applied]"
                && column.slice.is_some_and(|slice| slice.as_slice() == [1])
        })
    })
}

#[cfg(test)]
mod tests {
    use scylla::statement::Consistency;

    use super::*;

    fn said(error: DbError) -> ExecutionError {
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, String::new()))
    }

    #[test]
    fn too_few_nodes_are_told_from_nodes_that_do_not_answer() {
        for consistency in [Consistency::Serial, Consistency::Quorum] {
            let refused = too_few(&said(DbError::Unavailable {
                consistency,
                required: 2,
                alive: 1,
            }));
            assert!(matches!(
                refused,
                Err(NotTaken::TooFew {
                    required: 2,
                    alive: 1
                })
            ));
        }
        assert!(too_few(&said(DbError::Overloaded)).is_ok());
        assert!(too_few(&ExecutionError::EmptyPlan).is_ok());
    }
}
