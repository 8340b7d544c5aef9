//! The four steps of a write: intent, conditional batch, append, intent removed.
//!
//! * An intent is written only after the version before it was read as current. The batch then decides
//!   what becomes of its change ([`verdict`](super::verdict)), once, whoever makes it and however often.
//! * An intent goes when its record is in the log, when its version is another's, or when its writer takes
//!   it back because its batch did not get through ([`withdraw`](super::withdraw)). Anything else, a
//!   timeout, a log that is away, a client that went away, leaves it to the relay, which finishes it
//!   forward. So "unavailable" says that nothing was taken, nor will be; where that is not certain the
//!   answer is "unresolved".
//! * Steps are repeated with the same content. Appending a change twice is harmless: readers take each
//!   version once, and the highest wins, so concurrent writers may append out of order as well.

use std::{future::Future, time::Duration};

use openinfra_log::{AppendBatch, LogError, WriteToken};
use openinfra_schemas::{AfterImage, EntityChange, EntityKind, TenantId, Topic, key};
use openinfra_store::{Batch, Row, StoreError, WriteClass, tables::entities::IntentRow};
use tokio::time::{Instant, sleep};

use super::{
    Change, Entities, Stored, WriteError, Written,
    fault::{self, Points},
    image, stored,
    verdict::Verdict,
};

/// How often a creation is tried anew when others create and delete the same id.
const CREATE_ATTEMPTS: usize = 8;

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
    Done {
        version: i64,
        token: WriteToken,
        removed: bool,
    },
    /// Its version is another's; whether the intent is gone.
    Lost { removed: bool },
    /// It was taken back; whether the intent is gone.
    Void { removed: bool },
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
            Self::Done { removed, .. } | Self::Lost { removed } | Self::Void { removed } => {
                *removed
            }
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
        let may_stand = target.change.may_stand();
        for _ in 0..CREATE_ATTEMPTS {
            let row = self.current(target.tenant, target.kind, target.id).await;
            let row = row.map_err(|error| match may_stand {
                true => error.unresolved(),
                false => error,
            })?;
            let version = row.as_ref().map_or(0, |row| row.holds) + 1;
            // After the row was read, which may be what the change itself wrote.
            if may_stand && let Some(written) = self.resume(target).await? {
                return Ok(written);
            }
            if let Some(row) = row.filter(|row| row.body.is_some()) {
                return Err(WriteError::Conflict {
                    kind: target.kind,
                    existing: Box::new(stored(row)?),
                });
            }
            if let Some((version, token)) = self.write(target, version, &after).await? {
                return Ok(Written {
                    version,
                    entity: after,
                    token,
                });
            }
        }
        Err(WriteError::contended())
    }

    /// What a change wrote when it was tried before, brought to its end; none when it wrote nothing yet.
    async fn resume(&self, target: Target<'_>) -> Result<Option<Written<AfterImage>>, WriteError> {
        // No version is named, so that what was written before there were verdicts is found in the current
        // row.
        let any = self.intent(target, 0, None);
        let decided = self.decided(&any).await;
        let intent = match decided.map_err(|error| WriteError::from(error).unresolved())? {
            Some(Verdict::Made(intent)) => intent,
            Some(Verdict::Void | Verdict::Overtaken) => return Err(WriteError::contended()),
            None => return Ok(None),
        };
        let (_, entity) = image::from_body(&intent.kind, &intent.id, intent.body.as_deref())?;
        let flight = self.flights.begin(&intent.change_id);
        let deadline = Instant::now() + self.patience;
        let token = self.carry(&intent, deadline, fault::LIVE).await?;
        if self.remove(&intent).await {
            flight.land();
        }
        Ok(Some(Written {
            version: intent.version,
            entity,
            token,
        }))
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
            Some((version, token)) => Ok(Written {
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

    /// Takes one write through its steps; the version that it made, none when that is another's. The
    /// version before it was read as current.
    pub(super) async fn write(
        &self,
        target: Target<'_>,
        version: i64,
        after: &AfterImage,
    ) -> Result<Option<(i64, WriteToken)>, WriteError> {
        let intent = self.intent(target, version, image::to_body(after));
        let flight = self.flights.begin(&intent.change_id);
        let deadline = Instant::now() + self.patience;
        fault::pass(fault::BEFORE_INTENT);
        match self.declare(&intent, deadline).await {
            Ok(()) => {}
            // Of a change that was tried before, an intent may stand whatever became of this one.
            Err(Undeclared { error, left }) if left || target.change.may_stand() => {
                return Err(self.take_back(&intent, error, flight).await);
            }
            Err(Undeclared { error, .. }) => {
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
            Finished::Done { version, token, .. } => Ok(Some((version, token))),
            Finished::Lost { .. } => Ok(None),
            // By another try of the same change, whose answer holds for this one.
            Finished::Void { .. } => Err(WriteError::contended()),
        }
    }

    fn intent(&self, target: Target<'_>, version: i64, body: Option<String>) -> IntentRow {
        let change_id = target.change.id().to_owned();
        IntentRow {
            shard: image::shard_of(&change_id),
            change_id,
            tenant: target.tenant.clone(),
            kind: target.kind.as_str().to_owned(),
            id: target.id.to_owned(),
            version,
            actor: target.actor.to_owned(),
            at: self.now(),
            body,
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
        image::record_of(intent)?;
        // An unknown outcome is resolved by trying again: then it is decided.
        let decide = || self.decide(intent);
        let made = match persist(deadline, store_may_recover, decide).await? {
            Verdict::Made(made) => made,
            undone => {
                let removed = self.remove(intent).await;
                return Ok(match undone {
                    Verdict::Void => Finished::Void { removed },
                    _ => Finished::Lost { removed },
                });
            }
        };
        let version = made.version;
        let token = self.carry(&made, deadline, points).await?;
        let removed = self.remove(intent).await;
        fault::pass(points.after_intent_removed);
        Ok(Finished::Done {
            version,
            token,
            removed,
        })
    }

    /// Takes a version that the store has into the log.
    async fn carry(
        &self,
        made: &IntentRow,
        deadline: Instant,
        points: Points,
    ) -> Result<WriteToken, WriteError> {
        fault::pass(points.after_batch);
        let (key, change) = image::record_of(made)?;
        let published = self.publish(&key, &change, deadline).await;
        let token = published.map_err(WriteError::unresolved)?;
        fault::pass(points.after_append);
        Ok(token)
    }

    /// Step 1: the intent.
    async fn declare(&self, intent: &IntentRow, deadline: Instant) -> Result<(), Undeclared> {
        let mut batch = Batch::new(written(intent));
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

    /// Step 4: the intent goes. Whether it did; what became of the write is decided either way.
    pub(super) async fn remove(&self, intent: &IntentRow) -> bool {
        let mut batch = Batch::new(removed(intent));
        batch.remove(&intent.key());
        match self.store.write(batch).await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(change_id = intent.change_id, %error, "an intent that is decided stays until the relay's next pass");
                false
            }
        }
    }
}

/// A change that is tried again may declare a later version under the same key. So intents are ordered by
/// version, and not by the clocks of who writes and removes them: the removal of one is behind its own
/// writing, and before that of a later version.
fn written(intent: &IntentRow) -> WriteClass {
    WriteClass::Numbered(intent.version * 2)
}

fn removed(intent: &IntentRow) -> WriteClass {
    WriteClass::Numbered(intent.version * 2 + 1)
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
