//! Entities: what people own and change, written so that an answered write is never lost.
//!
//! The store holds them; the log carries every version to the views. [`write`] has the four steps of a
//! write, `relay` finishes forward what a crash left between them. What a newcomer would get wrong: an
//! entity is not in force when the store has it, but when its record is in the log, and only then is a
//! write answered. A deleted entity keeps its row, so that registering its id again continues its
//! versions.

mod change;
mod error;
pub mod fault;
mod fields;
mod flights;
mod image;
mod location;
mod patch;
mod relay;
mod sensor;
mod settings;
mod verdict;
mod withdraw;
mod write;

use std::{sync::Arc, time::Duration};

use openinfra_log::{Log, WriteToken};
use openinfra_schemas::{AfterImage, Codec, EntityKind, TenantId, time::Millis};
use openinfra_store::{
    Freshness, KeyBuf, Row, RowKey, Store, get_row, tables::entities::EntityRow,
};

pub use change::Change;
pub use error::{Cause, Part, Violation, WriteError};
pub use relay::Pass;
pub use sensor::{NewSensor, SensorFields};
pub use settings::{MAX_FUTURE_GUARD_MS, MAX_HORIZON_MS, SettingsFields};

use flights::Flights;

/// Tells the time of our clock.
pub type Clock = Arc<dyn Fn() -> Millis + Send + Sync>;

/// How long a write goes on trying when the store or the log does not answer.
pub const DEFAULT_PATIENCE: Duration = Duration::from_secs(2);

/// One version of an entity as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored<E> {
    /// From 1; 0 for settings that nobody wrote.
    pub version: i64,
    /// UUIDv7 of the write; empty at version 0.
    pub change_id: String,
    /// Who wrote: an opaque id.
    pub actor: String,
    pub at: Millis,
    pub entity: E,
}

impl<E> Stored<E> {
    /// The same version of an entity in another form.
    pub fn map<F>(self, map: impl FnOnce(E) -> F) -> Stored<F> {
        Stored {
            version: self.version,
            change_id: self.change_id,
            actor: self.actor,
            at: self.at,
            entity: map(self.entity),
        }
    }

    fn try_map<F>(
        self,
        map: impl FnOnce(E) -> Result<F, WriteError>,
    ) -> Result<Stored<F>, WriteError> {
        let Stored { version, at, .. } = self;
        Ok(Stored {
            version,
            change_id: self.change_id,
            actor: self.actor,
            at,
            entity: map(self.entity)?,
        })
    }
}

/// A write that is done: durable in the store and in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Written<E> {
    pub version: i64,
    /// What stands now; of a deletion what stood before.
    pub entity: E,
    /// Where the write stands in the log, for reads that wait for it.
    pub token: WriteToken,
}

impl<E> Written<E> {
    fn try_map<F>(
        self,
        map: impl FnOnce(E) -> Result<F, WriteError>,
    ) -> Result<Written<F>, WriteError> {
        Ok(Written {
            version: self.version,
            entity: map(self.entity)?,
            token: self.token,
        })
    }
}

/// Reads and writes entities. Clones share everything.
#[derive(Clone)]
pub struct Entities {
    store: Arc<dyn Store>,
    log: Arc<dyn Log>,
    codec: Arc<Codec>,
    clock: Clock,
    flights: Flights,
    patience: Duration,
}

impl Entities {
    /// Over a store and a log; call [`Entities::run_relay`] once for each process.
    pub fn new(store: Arc<dyn Store>, log: Arc<dyn Log>, codec: Arc<Codec>, clock: Clock) -> Self {
        Self {
            store,
            log,
            codec,
            clock,
            flights: Flights::default(),
            patience: DEFAULT_PATIENCE,
        }
    }

    /// Sets how long a write goes on trying before it is left to the relay.
    #[must_use]
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The entity as it stands, none when it never was or is deleted. Linearizable: it sees every write
    /// that was answered before, and may see one whose answer is still under way.
    pub async fn find(
        &self,
        tenant: &TenantId,
        kind: EntityKind,
        id: &str,
    ) -> Result<Option<Stored<AfterImage>>, WriteError> {
        let row = self.current(tenant, kind, id).await?;
        Ok(row
            .map(stored)
            .transpose()?
            .filter(|stored| stored.entity != AfterImage::Deleted))
    }

    /// The current row, also of a deleted entity.
    async fn current(
        &self,
        tenant: &TenantId,
        kind: EntityKind,
        id: &str,
    ) -> Result<Option<EntityRow>, WriteError> {
        let key = row_key(tenant, kind, id, 0);
        Ok(get_row(&*self.store, &key, Freshness::Linearizable).await?)
    }

    fn now(&self) -> Millis {
        (self.clock)()
    }
}

fn partition(tenant: &TenantId, kind: EntityKind, id: &str) -> KeyBuf {
    KeyBuf::new()
        .text(tenant.as_str())
        .text(kind.as_str())
        .text(id)
}

fn row_key(tenant: &TenantId, kind: EntityKind, id: &str, version: i64) -> RowKey {
    RowKey::new(
        EntityRow::TABLE,
        &partition(tenant, kind, id),
        &KeyBuf::new().bigint(version),
    )
}

fn stored(row: EntityRow) -> Result<Stored<AfterImage>, WriteError> {
    let (_, entity) = image::from_body(&row.kind, &row.id, row.body.as_deref())?;
    Ok(Stored {
        version: row.holds,
        change_id: row.change_id,
        actor: row.actor,
        at: row.at,
        entity,
    })
}
