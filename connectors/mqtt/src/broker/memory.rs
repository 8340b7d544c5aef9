//! Which filters a session at a broker may have, kept in the store.
//!
//! The broker keeps them, too, and tells nobody, so that what is to be unsubscribed has to be remembered here.
//! What a newcomer would get wrong: a filter is written down before it is asked for, and crossed out after the
//! broker said that it is gone. So more may stand here than the session has, and never less.

use std::{collections::BTreeSet, sync::Arc};

use openinfra_store::{
    Condition, ConditionalBatch, Freshness, Outcome, Row, Store, StoreError, get_row,
    tables::entities::BrokerSessionRow,
};

/// Of one session.
#[derive(Clone)]
pub(crate) struct Memory {
    store: Arc<dyn Store>,
    client_id: String,
    broker: String,
}

impl Memory {
    /// Of the session that the client called `broker` has under `client_id`.
    pub fn new(store: Arc<dyn Store>, broker: &str, client_id: &str) -> Self {
        Self {
            store,
            client_id: client_id.to_owned(),
            broker: broker.to_owned(),
        }
    }

    /// Adds filters; returns all that the session may have then.
    pub async fn add(&self, filters: &[String]) -> Result<BTreeSet<String>, StoreError> {
        self.change(|kept| kept.extend(filters.iter().cloned()))
            .await
    }

    /// Removes filters.
    pub async fn forget(&self, filters: &[String]) -> Result<(), StoreError> {
        let changed = self.change(|kept| kept.retain(|filter| !filters.contains(filter)));
        changed.await.map(drop)
    }

    /// By a condition, not by the last write: a process that comes after another may be on a host whose clock
    /// is behind.
    async fn change(
        &self,
        change: impl Fn(&mut BTreeSet<String>),
    ) -> Result<BTreeSet<String>, StoreError> {
        let mut row = BrokerSessionRow {
            client_id: self.client_id.clone(),
            broker: self.broker.clone(),
            version: 0,
            filters: String::new(),
        };
        let key = row.key();
        loop {
            let found =
                get_row::<BrokerSessionRow>(&*self.store, &key, Freshness::Linearizable).await?;
            let before = match &found {
                Some(found) => read(&found.filters)?,
                None => BTreeSet::new(),
            };
            let mut after = before.clone();
            change(&mut after);
            if found.is_some() && after == before {
                return Ok(after);
            }
            let condition = match &found {
                None => Condition::Absent(row.key()),
                Some(found) => Condition::Equals {
                    key: row.key(),
                    column: "version",
                    value: found.version,
                },
            };
            row.version = found.map_or(1, |found| found.version + 1);
            row.filters = serde_json::to_string(&after).expect("texts are always written");
            let mut batch = ConditionalBatch::new(vec![condition]);
            batch.put(&row);
            if self.store.write_if(batch).await? == Outcome::Applied {
                return Ok(after);
            }
        }
    }
}

fn read(filters: &str) -> Result<BTreeSet<String>, StoreError> {
    serde_json::from_str(filters)
        .map_err(|error| StoreError::Damaged(format!("the filters of a broker's session: {error}")))
}
