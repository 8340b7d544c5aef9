//! Taking back a write that did not get through, so that "unavailable" can be said with certainty.
//!
//! Until its batch is in the store a write has no effect but its intent, and without the intent nobody
//! finishes it. What a newcomer would get wrong is the order: first whether the version carries our change
//! is read, linearizably, which also settles a batch whose outcome was not heard; only then may the intent
//! go. The relay leaves the intent alone meanwhile: this process's because the flight is live, another's
//! because the intent is young.

use openinfra_store::{
    Batch, Freshness, Row, StoreError, WriteClass, get_row,
    tables::entities::{EntityRow, IntentRow},
};
use tokio::time::Instant;

use super::{
    Entities, WriteError,
    flights::Guard,
    image,
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
        match self.try_take_back(intent).await {
            Ok(true) => {
                flight.land();
                error
            }
            Ok(false) => error.unresolved(),
            Err(trouble) => {
                tracing::warn!(change_id = intent.change_id, error = %trouble, "a write that failed is left to the relay");
                error.unresolved()
            }
        }
    }

    /// Whether the intent is gone and its version is not ours.
    async fn try_take_back(&self, intent: &IntentRow) -> Result<bool, StoreError> {
        let deadline = Instant::now() + self.patience / 2;
        let stands = persist(deadline, store_may_recover, || self.stands(intent)).await?;
        if stands {
            return Ok(false);
        }
        let mut batch = Batch::new(WriteClass::Durable);
        batch.remove(&intent.key());
        let remove = || self.store.write(batch.clone());
        persist(deadline, store_may_recover, remove).await?;
        Ok(true)
    }

    /// Whether the version that an intent makes carries its change.
    pub(super) async fn stands(&self, intent: &IntentRow) -> Result<bool, StoreError> {
        let key = image::row_of(intent, intent.version).key();
        let row: Option<EntityRow> = get_row(&*self.store, &key, Freshness::Linearizable).await?;
        Ok(row.is_some_and(|row| row.change_id == intent.change_id))
    }
}
