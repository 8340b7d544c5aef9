//! The lease of whoever migrates: a row that expires by itself when its holder does not live to remove it.

use std::time::Duration;

use scylla::{client::session::Session, deserialize::row::ColumnIterator, statement::Statement};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::MigrateError;

pub(super) fn create_table(keyspace: &str) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS \"{keyspace}\".schema_lease (name text PRIMARY KEY, holder text)"
    )
}

/// Longer than one change of the schema may take.
const LEASE_SECONDS: i32 = 90;
/// How long to wait for another's: it may have many files to apply.
const PATIENCE: Duration = Duration::from_secs(300);
const PAUSE: Duration = Duration::from_millis(200);

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
        // An attempt whose outcome is unknown may hold it: then renewing succeeds.
        while !lease.is_applied(session, &text, (&lease.holder,)).await
            && lease.renew(session).await.is_err()
        {
            if Instant::now() > deadline {
                return Err(MigrateError::Busy);
            }
            sleep(PAUSE).await;
        }
        Ok(lease)
    }

    /// Errs when it is not ours, or not known to be.
    pub(super) async fn renew(&self, session: &Session) -> Result<(), MigrateError> {
        let text = format!(
            "UPDATE {} USING TTL {LEASE_SECONDS} SET holder = ? WHERE name = 'migrate' IF holder = ?",
            self.table
        );
        let values = (&self.holder, &self.holder);
        if self.is_applied(session, &text, values).await {
            Ok(())
        } else {
            Err(MigrateError::Busy)
        }
    }

    /// Gives it back; if that fails it expires.
    pub(super) async fn release(self, session: &Session) {
        let text = format!(
            "DELETE FROM {} WHERE name = 'migrate' IF holder = ?",
            self.table
        );
        if !self.is_applied(session, &text, (&self.holder,)).await {
            tracing::warn!("the lease on the schema is not given back and expires by itself");
        }
    }

    async fn is_applied(
        &self,
        session: &Session,
        text: &str,
        values: impl scylla::serialize::row::SerializeRow,
    ) -> bool {
        let answer = session.query_unpaged(Statement::new(text), values).await;
        let rows = match answer {
            Ok(answer) => answer.into_rows_result(),
            Err(error) => {
                tracing::warn!(%error, "the lease on the schema is not known to be ours");
                return false;
            }
        };
        let Ok(rows) = rows else { return false };
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
}
