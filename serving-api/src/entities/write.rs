//! The four steps of a write: intent, conditional batch, append, intent removed.
//!
//! * An intent is written only after the version before it was read as current. Versions never go down,
//!   so a condition that does not hold means that some write has that version already: ours, when an
//!   earlier attempt succeeded unseen, or another's.
//! * An intent goes when its record is in the log, when its version is another's, or when its writer takes
//!   it back because its batch did not get through ([`withdraw`](super::withdraw)). Anything else, a
//!   timeout, a log that is away, a client that went away, leaves it to the relay, which finishes it
//!   forward. So "unavailable" says that nothing was taken; where that is not certain the answer is
//!   "unresolved".
//! * Steps are repeated with the same content. Appending a change twice is harmless: readers take each
//!   version once, and the highest wins, so concurrent writers may append out of order as well.

use std::{future::Future, time::Duration};

use openinfra_log::{AppendBatch, LogError, WriteToken};
use openinfra_schemas::{AfterImage, EntityChange, EntityKind, TenantId, Topic, key};
use openinfra_store::{
    Batch, Condition, ConditionalBatch, Outcome, Range, Row, StoreError, WriteClass, range_rows,
    tables::entities::{EntityRow, IntentRow},
};
use tokio::time::{Instant, sleep};

use super::{
    Change, Entities, Stored, WriteError, Written,
    fault::{self, Points},
    image, partition, stored,
};

/// How often a creation is tried anew when others create and delete the same id.
const CREATE_ATTEMPTS: usize = 8;

/// How many versions back a change that is tried again is looked for.
const RESUMED_VERSIONS: usize = 1_000;

const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// Which write it is, of which entity, and who writes.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub change: &'a Change,
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

/// An intent was not written, as far as is known.
struct Undeclared {
    error: WriteError,
    /// Whether it may stand all the same.
    left: bool,
}

impl Finished {
    pub(super) fn removed(&self) -> bool {
        match self {
            Self::Done { removed, .. } | Self::Lost { removed } => *removed,
        }
    }
}

impl Entities {
    /// Writes an entity whose id is free: version 1, or the one after its deletion. Of a change that may
    /// stand already, what it wrote then.
    pub(super) async fn create(
        &self,
        target: Target<'_>,
        after: AfterImage,
    ) -> Result<Written<AfterImage>, WriteError> {
        if target.change.may_stand()
            && let Some(written) = self.resume(target).await?
        {
            return Ok(written);
        }
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

    /// What a change wrote when it was tried before, brought to its end; none when it wrote nothing.
    async fn resume(&self, target: Target<'_>) -> Result<Option<Written<AfterImage>>, WriteError> {
        let Some(row) = self.version_of(target).await? else {
            return Ok(None);
        };
        let (_, entity) = image::from_body(&row.kind, &row.id, row.body.as_deref())?;
        let intent = image::intent_of(row);
        let flight = self.flights.begin(&intent.change_id);
        let deadline = Instant::now() + self.patience;
        let finished = self.finish(&intent, deadline, fault::LIVE).await;
        match finished.map_err(WriteError::unresolved)? {
            Finished::Done { token, removed } => {
                if removed {
                    flight.land();
                }
                Ok(Some(Written {
                    version: intent.version,
                    entity,
                    token,
                }))
            }
            // A version carries its change for ever: only a store that breaks its promise.
            Finished::Lost { .. } => Err(WriteError::contended()),
        }
    }

    /// The version that carries the target's change.
    async fn version_of(&self, target: Target<'_>) -> Result<Option<EntityRow>, StoreError> {
        let partition = partition(target.tenant, target.kind, target.id).into_bytes();
        let range = Range::partition(EntityRow::TABLE, partition);
        let range = range.descending().limit(RESUMED_VERSIONS);
        let rows: Vec<EntityRow> = range_rows(&*self.store, &range).await?;
        let own = |row: &EntityRow| row.version > 0 && row.change_id == target.change.id();
        Ok(rows.into_iter().find(own))
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
        let change_id = target.change.id().to_owned();
        let intent = IntentRow {
            shard: image::shard_of(&change_id),
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
        match self.declare(&intent, deadline).await {
            Ok(()) => {}
            Err(Undeclared { error, left: true }) => {
                return Err(self.take_back(&intent, error, flight).await);
            }
            Err(Undeclared { error, left: false }) => {
                flight.land();
                return Err(error);
            }
        }
        fault::pass(fault::AFTER_INTENT);
        let finished = match self.finish(&intent, deadline, fault::LIVE).await {
            Ok(finished) => finished,
            Err(error) => return Err(self.take_back(&intent, error, flight).await),
        };
        if finished.removed() {
            flight.land();
        }
        match finished {
            Finished::Done { token, .. } => Ok(Some(token)),
            Finished::Lost { .. } => Ok(None),
        }
    }

    /// Takes an intent that stands through the remaining steps, whichever of them were done before.
    ///
    /// Errs with `Unresolved` once the store has the version, with anything else when it may not have it.
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
        let published = self.publish(&key, &change, deadline).await;
        let token = published.map_err(WriteError::unresolved)?;
        fault::pass(points.after_append);
        let removed = self.remove(intent).await;
        fault::pass(points.after_intent_removed);
        Ok(Finished::Done { token, removed })
    }

    /// Step 1: the intent.
    async fn declare(&self, intent: &IntentRow, deadline: Instant) -> Result<(), Undeclared> {
        let mut batch = Batch::new(WriteClass::Durable);
        batch.put(intent);
        let mut tries = 0;
        let write = || {
            tries += 1;
            self.store.write(batch.clone())
        };
        let written = persist(deadline, store_may_recover, write).await;
        written.map_err(|error| Undeclared {
            left: tries > 1 || !matches!(error, StoreError::StorageFull),
            error: error.into(),
        })
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
            Outcome::Refused { .. } => self.stands(intent).await,
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

pub(super) fn store_may_recover(error: &StoreError) -> bool {
    matches!(error, StoreError::Unavailable(_))
}

fn log_may_recover(error: &LogError) -> bool {
    matches!(error, LogError::Unavailable(_))
}

/// Tries until it succeeds, fails for good, or the deadline would pass in the pause before the next try.
pub(super) async fn persist<T, E, F>(
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
