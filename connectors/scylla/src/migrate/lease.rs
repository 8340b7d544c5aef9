//! The lease of whoever migrates: a row that expires by itself when its holder does not live to remove it.

use std::time::Duration;

use scylla::{
    client::session::Session, deserialize::row::ColumnIterator, errors::ExecutionError,
    response::query_result::QueryRowsResult, statement::Statement,
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

pub(super) struct Lease {
    holder: String,
    /// The table, with its keyspace.
    table: String,
}

impl Lease {
    pub(super) async fn take(session: &Session, keyspace: &str) -> Result<Self, MigrateError> {
        let lease = Self {
            holder: Uuid::new_v4().to_string(),
            table: format!("\"{keyspace}\".schema_lease"),
        };
        let deadline = Instant::now() + PATIENCE;
        let text = format!(
            "INSERT INTO {} (name, holder) VALUES ('migrate', ?) IF NOT EXISTS USING TTL {LEASE_SECONDS}",
            lease.table
        );
        loop {
            if let Verdict::Applied = lease.ask(session, &text, (&lease.holder,)).await? {
                return Ok(lease);
            }
            // An attempt whose outcome is unknown may hold it: then renewing succeeds.
            match lease.renew(session).await {
                Ok(()) => return Ok(lease),
                Err(error) if Instant::now() > deadline => return Err(error),
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
