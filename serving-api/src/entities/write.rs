//! The four steps of a write: intent, conditional batch, append, intent removed.
//!
//! * An intent is written only after the version before it was read as current. Versions never go down,
//!   so a condition that does not hold means that some write has that version already: ours, when an
//!   earlier attempt succeeded unseen, or another's.
//! * An intent goes only when its record is in the log, or when its version is another's. Anything else,
//!   a timeout, a full disk, a client that went away, leaves it to the relay, which finishes it forward.
//!   So a caller that was told "unavailable" may find the write done later, but never half of it.
//! * Steps are repeated with the same content. Appending a change twice is harmless: readers take each
//!   version once, and the highest wins, so concurrent writers may append out of order as well.

use std::{future::Future, time::Duration};

use openinfra_log::{AppendBatch, LogError, WriteToken};
use openinfra_schemas::{AfterImage, EntityChange, EntityKind, TenantId, Topic, key};
use openinfra_store::{
    Batch, Condition, ConditionalBatch, Freshness, Outcome, Row, StoreError, WriteClass, get_row,
    tables::entities::{EntityRow, INTENT_SHARDS, IntentRow},
};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{
    Entities, Stored, WriteError, Written,
    fault::{self, Points},
    image, stored,
};

/// How often a creation is tried anew when others create and delete the same id.
const CREATE_ATTEMPTS: usize = 8;

const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// Which entity, and who writes it.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub actor: &'a str,
    pub tenant: &'a TenantId,
    pub kind: EntityKind,
    pub id: &'a str,
}

/// What became of an intent.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Finished {
    /// In the store and in the log; whether the intent is gone, too.
    Done { token: WriteToken, removed: bool },
    /// Its version is another's; whether the intent is gone.
    Lost { removed: bool },
}

impl Finished {
    pub(super) fn removed(&self) -> bool {
        match self {
            Self::Done { removed, .. } | Self::Lost { removed } => *removed,
        }
    }
}

impl Entities {
    /// Writes an entity whose id is free: version 1, or the one after its deletion.
    pub(super) async fn create(
        &self,
        target: Target<'_>,
        after: AfterImage,
    ) -> Result<Written<AfterImage>, WriteError> {
        for _ in 0..CREATE_ATTEMPTS {
            let row = self.current(target.tenant, target.kind, target.id).await?;
            let version = row.as_ref().map_or(0, |row| row.holds) + 1;
            if let Some(row) = row.filter(|row| row.body.is_some()) {
                return Err(WriteError::Conflict {
                    kind: target.kind,
                    existing: Box::new(stored(row)?),
                });
            }
            if let Some(token) = self.write(target, version, &after).await? {
                return Ok(Written {
                    version,
                    entity: after,
                    token,
                });
            }
        }
        Err(WriteError::contended())
    }

    /// Replaces what stands at version `expected` by what `after` makes of it.
    pub(super) async fn replace(
        &self,
        target: Target<'_>,
        expected: i64,
        after: impl FnOnce(AfterImage) -> Result<AfterImage, WriteError>,
    ) -> Result<Written<AfterImage>, WriteError> {
        let current = self.expect(target, expected).await?;
        let after = after(current.entity)?;
        let version = expected + 1;
        match self.write(target, version, &after).await? {
            Some(token) => Ok(Written {
                version,
                entity: after,
                token,
            }),
            None => Err(self.lost(target, expected).await),
        }
    }

    /// What stands, if it stands at this version.
    async fn expect(
        &self,
        target: Target<'_>,
        expected: i64,
    ) -> Result<Stored<AfterImage>, WriteError> {
        let Target {
            tenant, kind, id, ..
        } = target;
        let current = self.find(tenant, kind, id).await?;
        let current = current.ok_or(WriteError::NotFound { kind })?;
        if current.version == expected {
            return Ok(current);
        }
        Err(WriteError::Stale {
            kind,
            expected,
            current: Box::new(current),
        })
    }

    /// The answer to whoever expected a version that another has replaced meanwhile.
    async fn lost(&self, target: Target<'_>, expected: i64) -> WriteError {
        match self.expect(target, expected).await {
            Err(error) => error,
            // It was refused although it stands at the version: only a store that breaks its promise.
            Ok(_) => WriteError::contended(),
        }
    }

    /// Takes one write through its steps; none when another has the version. The version before it was
    /// read as current.
    pub(super) async fn write(
        &self,
        target: Target<'_>,
        version: i64,
        after: &AfterImage,
    ) -> Result<Option<WriteToken>, WriteError> {
        let change_id = Uuid::now_v7().to_string();
        let intent = IntentRow {
            shard: key::partition_of(change_id.as_bytes(), INTENT_SHARDS),
            change_id,
            tenant: target.tenant.clone(),
            kind: target.kind.as_str().to_owned(),
            id: target.id.to_owned(),
            version,
            actor: target.actor.to_owned(),
            at: self.now(),
            body: image::to_body(after),
        };
        let flight = self.flights.begin(&intent.change_id);
        let deadline = Instant::now() + self.patience;
        fault::pass(fault::BEFORE_INTENT);
        self.declare(&intent, deadline).await?;
        fault::pass(fault::AFTER_INTENT);
        let finished = self.finish(&intent, deadline, fault::LIVE).await?;
        if finished.removed() {
            flight.land();
        }
        match finished {
            Finished::Done { token, .. } => Ok(Some(token)),
            Finished::Lost { .. } => Ok(None),
        }
    }

    /// Takes an intent that stands through the remaining steps, whichever of them were done before.
    pub(super) async fn finish(
        &self,
        intent: &IntentRow,
        deadline: Instant,
        points: Points,
    ) -> Result<Finished, WriteError> {
        // Before anything is written: what cannot go into the log must not go into the store.
        let (key, change) = image::record_of(intent)?;
        if !self.apply(intent, deadline).await? {
            let removed = self.remove(intent).await;
            return Ok(Finished::Lost { removed });
        }
        fault::pass(points.after_batch);
        let token = self.publish(&key, &change, deadline).await?;
        fault::pass(points.after_append);
        let removed = self.remove(intent).await;
        fault::pass(points.after_intent_removed);
        Ok(Finished::Done { token, removed })
    }

    /// Step 1: the intent.
    async fn declare(&self, intent: &IntentRow, deadline: Instant) -> Result<(), WriteError> {
        let mut batch = Batch::new(WriteClass::Durable);
        batch.put(intent);
        let write = || self.store.write(batch.clone());
        Ok(persist(deadline, store_may_recover, write).await?)
    }

    /// Step 2: the new version, if the one before it is current. False: the version is another's.
    async fn apply(&self, intent: &IntentRow, deadline: Instant) -> Result<bool, WriteError> {
        // An unknown outcome is resolved by trying again: refused, and the version carries our change id.
        let apply = || self.try_apply(intent);
        Ok(persist(deadline, store_may_recover, apply).await?)
    }

    async fn try_apply(&self, intent: &IntentRow) -> Result<bool, StoreError> {
        let current = image::row_of(intent, 0);
        let history = image::row_of(intent, intent.version);
        let condition = match intent.version {
            1 => Condition::Absent(current.key()),
            version => Condition::Equals {
                key: current.key(),
                column: "holds",
                value: version - 1,
            },
        };
        let mut batch = ConditionalBatch::new(vec![condition]);
        batch.put(&current);
        batch.put(&history);
        match self.store.write_if(batch).await? {
            Outcome::Applied => Ok(true),
            Outcome::Refused { .. } => {
                let row: Option<EntityRow> =
                    get_row(&*self.store, &history.key(), Freshness::Linearizable).await?;
                Ok(row.is_some_and(|row| row.change_id == intent.change_id))
            }
        }
    }

    /// Step 3: the record in the log.
    async fn publish(
        &self,
        key: &[u8],
        change: &EntityChange,
        deadline: Instant,
    ) -> Result<WriteToken, WriteError> {
        let partition = key::partition_of(key, self.log.partitions(Topic::Entities));
        let mut batch = AppendBatch::default();
        batch.push_with(Topic::Entities, partition, key, |out| {
            self.codec.encode(change, out);
        });
        let append = || self.log.append(batch.clone());
        let appended = persist(deadline, log_may_recover, append).await?;
        Ok(WriteToken::from_appended(&batch, &appended))
    }

    /// Step 4: the intent goes. Whether it did; the write is done either way.
    async fn remove(&self, intent: &IntentRow) -> bool {
        let mut batch = Batch::new(WriteClass::Durable);
        batch.remove(&intent.key());
        match self.store.write(batch).await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(change_id = intent.change_id, %error, "an intent that is done stays until the relay's next pass");
                false
            }
        }
    }
}

fn store_may_recover(error: &StoreError) -> bool {
    matches!(error, StoreError::Unavailable(_))
}

fn log_may_recover(error: &LogError) -> bool {
    matches!(error, LogError::Unavailable(_))
}

/// Tries until it succeeds, fails for good, or the deadline would pass in the pause before the next try.
async fn persist<T, E, F>(
    deadline: Instant,
    may_recover: fn(&E) -> bool,
    mut attempt: impl FnMut() -> F,
) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
{
    let mut pause = FIRST_PAUSE;
    loop {
        match attempt().await {
            Err(error) if may_recover(&error) && Instant::now() + pause < deadline => {
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            answer => return answer,
        }
    }
}
