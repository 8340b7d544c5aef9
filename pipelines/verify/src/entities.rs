//! Entities in force at each tick: of every entity each version once, the highest wins.
//!
//! A newcomer would take changes in the order of their versions. The log's order decides: a version at or
//! below one taken before it never was in force.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use openinfra_log::Log;
use openinfra_schemas::{
    AfterImage, Codec, EntityChange, EntityKind, Sensor, SensorId, TenantId, TenantSettings, Topic,
    time::Millis,
};

use crate::{VerifyError, decode::read_on, schemas::decode, ticks::Ticks};

/// A version of a sensor that came into force.
#[derive(Debug, Clone)]
pub(crate) struct Edit {
    pub(crate) tick: Millis,
    pub(crate) version: i64,
    /// None: it was removed.
    pub(crate) sensor: Option<Arc<Sensor>>,
}

/// Who decides about a reading: horizon, future guard, and unknown sensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Guards {
    pub(crate) horizon_ms: i64,
    pub(crate) future_guard_ms: i64,
    /// None: the tenant has not decided.
    pub(crate) auto_register: Option<bool>,
}

/// All changes that took effect.
#[derive(Debug, Default)]
pub(crate) struct Entities {
    sensors: HashMap<(TenantId, SensorId), Vec<Edit>>,
    settings: HashMap<TenantId, Vec<(Millis, Guards)>>,
    tenants: BTreeMap<TenantId, Millis>,
    /// The highest version so far, while the changes are taken.
    highest: HashMap<(TenantId, EntityKind, String), i64>,
}

impl Entities {
    /// Reads every change up to the last tick. One that cannot be read never took effect.
    pub(crate) async fn read(
        log: &dyn Log,
        codec: &Codec,
        ticks: &Ticks,
    ) -> Result<Self, VerifyError> {
        let mut changes = Vec::new();
        for partition in 0..log.partitions(Topic::Entities) {
            for span in ticks.spans(Topic::Entities, partition) {
                let mut next = span.from;
                while next < span.to {
                    for record in read_on(log, Topic::Entities, partition, next, span.to).await? {
                        next = record.offset + 1;
                        let decoded =
                            decode::<EntityChange>(codec, ticks, span.tick, &record.value);
                        if let Ok(change) = decoded.await? {
                            changes.push((span.tick, change));
                        }
                    }
                }
            }
        }
        // Stable: within a tick they stay in (partition, offset) order.
        changes.sort_by_key(|(tick, _)| *tick);
        let mut entities = Self::default();
        for (tick, change) in changes {
            entities.take(tick, change);
        }
        entities.highest = HashMap::new();
        Ok(entities)
    }

    pub(crate) fn take(&mut self, tick: Millis, change: EntityChange) {
        let Some(kind) = EntityKind::parse(&change.kind) else {
            return;
        };
        self.tenants.entry(change.tenant.clone()).or_insert(tick);
        let entity = (change.tenant.clone(), kind, change.id.clone());
        // A tenant has one row of settings, whatever id stands there.
        let entity = match kind {
            EntityKind::TenantSettings => (entity.0, kind, String::new()),
            EntityKind::Sensor => entity,
        };
        let highest = self.highest.entry(entity).or_insert(0);
        if change.version <= *highest {
            return;
        }
        *highest = change.version;
        match (kind, change.after) {
            (EntityKind::Sensor, after) => {
                let sensor = match after {
                    AfterImage::Sensor(sensor) => Some(Arc::new(sensor)),
                    _ => None,
                };
                let who = (change.tenant, SensorId::trusted(&change.id));
                self.sensors.entry(who).or_default().push(Edit {
                    tick,
                    version: change.version,
                    sensor,
                });
            }
            (EntityKind::TenantSettings, after) => {
                let guards = match after {
                    AfterImage::TenantSettings(settings) => Guards::of(&settings),
                    _ => Guards::default(),
                };
                self.settings
                    .entry(change.tenant)
                    .or_default()
                    .push((tick, guards));
            }
        }
    }

    /// Every sensor that an entity was ever written of, with its edits in the order they took effect.
    pub(crate) fn sensors(&self) -> impl Iterator<Item = (&TenantId, &SensorId, &[Edit])> {
        self.sensors
            .iter()
            .map(|((tenant, sensor), edits)| (tenant, sensor, edits.as_slice()))
    }

    /// A tenant's guards as of a tick.
    pub(crate) fn guards(&self, tenant: &TenantId, tick: Millis) -> Guards {
        let Some(changes) = self.settings.get(tenant) else {
            return Guards::default();
        };
        match changes.partition_point(|(at, _)| *at <= tick) {
            0 => Guards::default(),
            place => changes[place - 1].1,
        }
    }

    /// The tenants that entities name, and the first tick that did.
    pub(crate) fn tenants(&self) -> &BTreeMap<TenantId, Millis> {
        &self.tenants
    }
}

impl Guards {
    fn of(settings: &TenantSettings) -> Self {
        Self {
            horizon_ms: settings.horizon_ms,
            future_guard_ms: settings.future_guard_ms,
            auto_register: Some(settings.auto_register),
        }
    }
}

impl Default for Guards {
    fn default() -> Self {
        Self {
            horizon_ms: TenantSettings::DEFAULT_HORIZON_MS,
            future_guard_ms: TenantSettings::DEFAULT_FUTURE_GUARD_MS,
            auto_register: None,
        }
    }
}

/// The sensor's entity in force at a tick.
pub(crate) fn in_force(edits: &[Edit], tick: Millis) -> Option<&Sensor> {
    let place = edits.partition_point(|edit| edit.tick <= tick);
    edits[..place].last()?.sensor.as_deref()
}
