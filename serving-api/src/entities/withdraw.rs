//! Taking back a write that did not get through, so that "unavailable" can be said with certainty.
//!
//! What a newcomer would get wrong is what takes it back: not that its intent goes, but the verdict that
//! it makes no version. Whoever is at work on the same change, now or when it wakes up, is refused by it.
//! The intent goes only to save the relay the work.

use openinfra_store::tables::entities::IntentRow;
use tokio::time::Instant;

use super::{
    Entities, WriteError,
    flights::Guard,
    verdict::Verdict,
    write::{persist, store_may_recover},
};

impl Entities {
    /// Takes back what failed with `error`, and answers what its caller is to be told: that nothing was
    /// taken where that is certain, else that it is not known. Then the relay finishes it forward.
    pub(super) async fn take_back(
        &self,
        intent: &IntentRow,
        error: WriteError,
        flight: Guard,
    ) -> WriteError {
        if matches!(error, WriteError::Unresolved { .. }) {
            return error;
        }
        let deadline = Instant::now() + self.patience / 2;
        match persist(deadline, store_may_recover, || self.void(intent)).await {
            Ok(Verdict::Void | Verdict::Overtaken) => {
                if self.remove(intent).await {
                    flight.land();
                }
                error
            }
            Ok(Verdict::Made(_)) => error.unresolved(),
            Err(trouble) => {
                tracing::warn!(change_id = intent.change_id, error = %trouble, "a write that failed is left to the relay");
                error.unresolved()
            }
        }
    }
}
