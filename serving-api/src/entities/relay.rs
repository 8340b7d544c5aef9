//! The relay: finishes forward what crashes, timeouts and vanished clients left of writes.
//!
//! It takes each intent through the same steps as a live write; steps that were done are found done. What
//! a newcomer would get wrong: taking up an intent that another process is still at work on does no harm,
//! as both do the same, and one that takes it back decides against the other or loses to it
//! ([`verdict`](super::verdict)). It waits until such an intent is old only to save the work.

use std::{collections::HashSet, time::Duration};

use futures::future::join_all;
use openinfra_schemas::time::Millis;
use openinfra_store::{
    KeyBuf, Range, Row, StoreError,
    tables::entities::{INTENT_SHARDS, IntentRow},
};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{Entities, WriteError, fault, flights::Flight, write::Finished};

/// How old an intent of another process must be before the relay takes it up: longer than most writes live.
pub const GRACE_MS: Millis = 10_000;

/// From the end of one pass to the next.
const PERIOD: Duration = Duration::from_secs(1);

/// Intents of one shard that a pass reads; those beyond are the next one's.
const PER_SHARD: usize = 1_000;

/// Intents that are finished at the same time.
const AT_ONCE: usize = 64;

/// What one pass of the relay did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pass {
    /// Intents whose change is in the store and the log now.
    pub finished: usize,
    /// Intents whose version was another's, or that were taken back.
    pub lost: usize,
    /// Intents that could not be finished now, or not be read.
    pub failed: usize,
    /// Intents that are not the relay's yet.
    pub waiting: usize,
}

impl Entities {
    /// Runs the relay until cancelled, every second. Where this is the `sole_process` that serves the
    /// store, at first over every intent that stands: nobody can be at work on what an earlier run left.
    pub async fn run_relay(self, sole_process: bool, cancel: CancellationToken) {
        let mut grace_ms = if sole_process { 0 } else { GRACE_MS };
        let mut failed = false;
        while !cancel.is_cancelled() {
            match self.relay_pass(grace_ms).await {
                Ok(pass) => {
                    if std::mem::take(&mut failed) {
                        tracing::info!("the relay reads the intents again");
                    }
                    grace_ms = GRACE_MS;
                    report(pass);
                }
                Err(error) if failed => {
                    tracing::debug!(%error, "the relay still cannot read the intents")
                }
                Err(error) => {
                    tracing::warn!(%error, "the relay cannot read the intents");
                    failed = true;
                }
            }
            tokio::select! {
                () = cancel.cancelled() => return,
                () = sleep(PERIOD) => {}
            }
        }
    }

    /// One pass over the intents that this process left, and over those of others that are at least
    /// `grace_ms` old. Each step is tried once.
    pub async fn relay_pass(&self, grace_ms: Millis) -> Result<Pass, StoreError> {
        let left_before = self.flights.left();
        let mut pass = Pass::default();
        let mut mine = Vec::new();
        let mut standing = HashSet::new();
        for intent in self.intents(&mut pass).await? {
            standing.insert(intent.change_id.clone());
            if self.may_take(&intent, grace_ms) {
                mine.push(intent);
            } else {
                pass.waiting += 1;
            }
        }
        for change_id in left_before {
            // What was left before the intents were read and is not among them was never written, or is
            // done.
            if !standing.contains(&change_id) {
                self.flights.forget(&change_id);
            }
        }
        // Older ones first, so that the versions of an entity come in their order as far as possible.
        mine.sort_by(|a, b| a.change_id.cmp(&b.change_id));
        for chunk in mine.chunks(AT_ONCE) {
            let before = pass;
            for outcome in join_all(chunk.iter().map(|intent| self.take_up(intent))).await {
                match outcome {
                    Ok(Finished::Done { .. }) => pass.finished += 1,
                    Ok(Finished::Lost { .. } | Finished::Void { .. }) => pass.lost += 1,
                    Err(_) => pass.failed += 1,
                }
            }
            if pass.failed - before.failed == AT_ONCE {
                // The store or the log is away: the others would only wait for it one after the other.
                break;
            }
        }
        Ok(pass)
    }

    fn may_take(&self, intent: &IntentRow, grace_ms: Millis) -> bool {
        match self.flights.state(&intent.change_id) {
            Some(Flight::Live) => false,
            Some(Flight::Left) => true,
            None => self.now() - intent.at >= grace_ms,
        }
    }

    async fn take_up(&self, intent: &IntentRow) -> Result<Finished, WriteError> {
        let outcome = self.finish(intent, Instant::now(), fault::RELAY).await;
        match &outcome {
            Ok(finished) if finished.removed() => self.flights.forget(&intent.change_id),
            Ok(_) => {}
            Err(error) => tracing::warn!(
                change_id = intent.change_id,
                tenant = %intent.tenant,
                kind = intent.kind,
                id = intent.id,
                version = intent.version,
                error = error as &dyn std::error::Error,
                "an intent cannot be finished now"
            ),
        }
        outcome
    }

    /// The intents that stand. One that does not decode is counted as failed and left, so that it does
    /// not hold up the others.
    async fn intents(&self, pass: &mut Pass) -> Result<Vec<IntentRow>, StoreError> {
        let shards: Vec<_> = (0..INTENT_SHARDS).map(shard).collect();
        let mut intents = Vec::new();
        for (range, rows) in shards.iter().zip(self.store.range_many(&shards).await?) {
            for row in rows {
                match IntentRow::decode(&range.partition, &row.clustering, &row.value) {
                    Ok(intent) => intents.push(intent),
                    Err(error) => {
                        pass.failed += 1;
                        tracing::error!(%error, row = ?row.clustering, "an intent does not decode");
                    }
                }
            }
        }
        Ok(intents)
    }
}

fn shard(shard: i32) -> Range {
    Range::partition(IntentRow::TABLE, KeyBuf::new().int(shard).into_bytes()).limit(PER_SHARD)
}

fn report(pass: Pass) {
    if pass.finished + pass.lost + pass.failed > 0 {
        tracing::info!(
            finished = pass.finished,
            lost = pass.lost,
            failed = pass.failed,
            "the relay took up writes that were left"
        );
    }
}
