//! What is decided of each change, once and for ever: the version that it made, or that it makes none.
//!
//! The verdict is a row of its own in the entity's partition. The batch that makes a version writes it, on
//! condition that there is none; taking a write back writes the other verdict, on the same condition. What
//! a newcomer would get wrong: reading that a version is not there proves nothing. Its batch may be under
//! way yet, in a relay that read the intent and fell asleep, or in a node of the store that was asked long
//! ago; only what refuses it from now on makes "nothing was taken" true and keeps it so.

use openinfra_store::{
    Condition, ConditionalBatch, Freshness, Outcome, Row, StoreError, get_row,
    tables::entities::{EntityRow, IntentRow},
};
use sha2::{Digest, Sha256};

use super::{Entities, image};

/// In a verdict's `holds`: the change makes no version.
const NONE: i64 = 0;

/// What is decided of a change.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// It made a version, which is here as it stands in the store.
    Made(IntentRow),
    /// It was taken back: it makes no version any more.
    Void,
    /// Nothing, but the version that it was to make is another's, and so it cannot make that one any more.
    Overtaken,
}

impl Entities {
    /// Makes the intent's version if the one before it is current and nothing is decided yet; what is
    /// decided from now on.
    pub(super) async fn decide(&self, intent: &IntentRow) -> Result<Verdict, StoreError> {
        let current = image::row_of(intent, 0);
        let verdict = verdict_of(intent, intent.version);
        let expected = match intent.version {
            1 => Condition::Absent(current.key()),
            version => Condition::Equals {
                key: current.key(),
                column: "holds",
                value: version - 1,
            },
        };
        let undecided = Condition::Absent(verdict.key());
        let mut batch = ConditionalBatch::new(vec![expected, undecided]);
        batch.put(&current);
        batch.put(&image::row_of(intent, intent.version));
        batch.put(&verdict);
        match self.store.write_if(batch).await? {
            Outcome::Applied => Ok(Verdict::Made(intent.clone())),
            Outcome::Refused { .. } => self.decided_or_overtaken(intent).await,
        }
    }

    /// Decides that the intent makes no version, if nothing is decided yet; what is decided from now on.
    pub(super) async fn void(&self, intent: &IntentRow) -> Result<Verdict, StoreError> {
        let verdict = verdict_of(intent, NONE);
        let undecided = Condition::Absent(verdict.key());
        let mut batch = ConditionalBatch::new(vec![undecided]);
        batch.put(&verdict);
        match self.store.write_if(batch).await? {
            Outcome::Applied => Ok(Verdict::Void),
            Outcome::Refused { .. } => self.decided_or_overtaken(intent).await,
        }
    }

    /// What is decided of an intent's change, if anything is.
    ///
    /// Versions from before there were verdicts tell by the change id that they carry.
    pub(super) async fn decided(&self, intent: &IntentRow) -> Result<Option<Verdict>, StoreError> {
        let verdict = self.entity_row(verdict_of(intent, NONE)).await?;
        let version = match verdict {
            Some(verdict) if verdict.change_id != intent.change_id => return Ok(None),
            Some(verdict) if verdict.holds == NONE => return Ok(Some(Verdict::Void)),
            Some(verdict) => verdict.holds,
            None => intent.version,
        };
        let made = self.entity_row(image::row_of(intent, version)).await?;
        let own = made.filter(|row| row.change_id == intent.change_id);
        Ok(own.map(|row| Verdict::Made(image::intent_of(row))))
    }

    /// What is decided of an intent that was refused. Versions never go down, so that one that was
    /// refused, and not for a verdict, stays refused.
    async fn decided_or_overtaken(&self, intent: &IntentRow) -> Result<Verdict, StoreError> {
        let decided = self.decided(intent).await?;
        Ok(decided.unwrap_or(Verdict::Overtaken))
    }

    /// The row that stands at the key of this one.
    async fn entity_row(&self, at: EntityRow) -> Result<Option<EntityRow>, StoreError> {
        get_row(&*self.store, &at.key(), Freshness::Linearizable).await
    }
}

/// The verdict that an intent's change made a version, or [`NONE`].
fn verdict_of(intent: &IntentRow, holds: i64) -> EntityRow {
    EntityRow {
        version: place_of(&intent.change_id),
        holds,
        body: None,
        ..image::row_of(intent, 0)
    }
}

/// Where the verdict of a change stands: below all versions, by a hash of 63 bits. Of two changes of one
/// entity that meet there, the later one is refused for ever.
fn place_of(change_id: &str) -> i64 {
    let digest = Sha256::digest(change_id);
    let head = digest.first_chunk().expect("a digest has 32 bytes");
    i64::from_be_bytes(*head) | i64::MIN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_stand_below_all_versions_where_they_always_stood() {
        assert_eq!(place_of("a"), -3_848_465_438_864_589_366);
        for change_id in ["", "b", "01890c3c-0000-7000-8000-000000000000"] {
            assert!(place_of(change_id) < 0, "{change_id}");
        }
        assert_ne!(place_of("a"), place_of("b"));
    }
}
