//! A data folder with entities over it, and what stands in its log and store.
//!
//! Everything is read through the traits, past the code under test.

use std::{
    path::Path,
    sync::{Arc, LazyLock},
};

use openinfra_api::entities::{Clock, Entities, NewSensor, SensorFields, WriteError};
use openinfra_embedded::{Embedded, Options};
use openinfra_log::{Fetch, Log};
use openinfra_schemas::{Codec, EntityChange, EntityKind, SensorId, TenantId, Topic, key};
use openinfra_store::{
    Freshness, KeyBuf, Range, Row, RowKey, Store, get_row, range_many_rows, range_rows,
    tables::entities::{EntityRow, INTENT_SHARDS, IntentRow},
};

/// The clock of all tests stands still.
pub const NOW: i64 = 1_700_000_000_000;

pub fn tenant() -> &'static TenantId {
    static TENANT: LazyLock<TenantId> = LazyLock::new(|| TenantId::trusted("default"));
    &TENANT
}

pub fn id(text: &str) -> SensorId {
    SensorId::parse(text).unwrap()
}

pub fn clock() -> Clock {
    Arc::new(|| NOW)
}

pub fn fields(unit: &str) -> SensorFields {
    SensorFields {
        unit: Some(unit.to_owned()),
        ..SensorFields::default()
    }
}

pub fn sensor(name: &str, unit: &str) -> NewSensor {
    NewSensor {
        sensor_id: id(name),
        fields: fields(unit),
    }
}

/// An open data folder.
pub struct World {
    pub store: Arc<dyn Store>,
    pub log: Arc<dyn Log>,
    pub codec: Arc<Codec>,
    _embedded: Embedded,
}

impl World {
    pub async fn open(folder: &Path) -> Self {
        let options = Options {
            partitions: 4,
            ..Options::default()
        };
        let embedded = Embedded::open(folder, options).unwrap();
        Self {
            store: embedded.store(),
            log: embedded.log(),
            codec: Arc::new(Codec::open(embedded.registry()).await.unwrap()),
            _embedded: embedded,
        }
    }

    pub fn entities(&self) -> Entities {
        self.entities_over(self.store.clone(), self.log.clone())
    }

    pub fn entities_over(&self, store: Arc<dyn Store>, log: Arc<dyn Log>) -> Entities {
        Entities::new(store, log, self.codec.clone(), clock())
    }

    /// Every change in the log, by partition and offset.
    pub async fn changes(&self) -> Vec<EntityChange> {
        let ends = self.log.end_offsets(Topic::Entities).await.unwrap();
        let mut changes = Vec::new();
        for (partition, end) in (0..).zip(ends) {
            let fetch = Fetch {
                topic: Topic::Entities,
                partition,
                from: 0,
                to: end,
                max_records: usize::MAX,
                max_bytes: usize::MAX,
            };
            for record in self.log.read(fetch).await.unwrap() {
                assert_eq!(partition, key::partition_of(&record.key, 4));
                let change: EntityChange = self.codec.decode(&record.value).unwrap();
                let wanted = format!("{}/{}/{}", change.tenant, change.kind, change.id);
                assert_eq!(record.key, wanted.as_bytes());
                changes.push(change);
            }
        }
        changes
    }

    /// The changes of one sensor: each version once, ascending.
    pub async fn versions(&self, name: &str) -> Vec<EntityChange> {
        let mut changes = self.changes().await;
        changes.retain(|change| change.id == name);
        changes.sort_by_key(|change| change.version);
        changes.dedup();
        changes
    }

    /// The row of one version of a sensor; 0 is the current one.
    pub async fn row(&self, name: &str, version: i64) -> Option<EntityRow> {
        let key = RowKey::new(
            EntityRow::TABLE,
            &partition(name),
            &KeyBuf::new().bigint(version),
        );
        get_row(&*self.store, &key, Freshness::Linearizable)
            .await
            .unwrap()
    }

    /// All rows of a sensor but for verdicts: the current one, then its versions.
    pub async fn rows(&self, name: &str) -> Vec<EntityRow> {
        let range = Range::partition(EntityRow::TABLE, partition(name).into_bytes());
        let mut rows: Vec<EntityRow> = range_rows(&*self.store, &range).await.unwrap();
        rows.retain(|row| row.version >= 0);
        rows
    }

    pub async fn intents(&self) -> Vec<IntentRow> {
        let shards: Vec<_> = (0..INTENT_SHARDS)
            .map(|s| Range::partition(IntentRow::TABLE, KeyBuf::new().int(s).into_bytes()))
            .collect();
        range_many_rows(&*self.store, &shards).await.unwrap()
    }

    /// Store and log agree on a sensor: the versions 1 to `newest`, each once in the store and with the
    /// same change in the log, the newest current, and nothing under way.
    pub async fn assert_consistent(&self, name: &str, newest: i64) {
        assert_eq!(self.intents().await, [], "intents are left");
        let rows = self.rows(name).await;
        let logged = self.versions(name).await;
        let version_of = |row: &EntityRow| (row.version, row.holds, row.change_id.clone());
        let mut wanted: Vec<_> = logged
            .iter()
            .map(|c| (c.version, c.version, c.change_id.clone()))
            .collect();
        let numbers: Vec<i64> = logged.iter().map(|c| c.version).collect();
        assert_eq!(numbers, (1..=newest).collect::<Vec<_>>(), "versions logged");
        if let Some((_, holds, change_id)) = wanted.last().cloned() {
            wanted.insert(0, (0, holds, change_id));
        }
        assert_eq!(rows.iter().map(version_of).collect::<Vec<_>>(), wanted);
        for (change, row) in logged.iter().zip(rows.iter().skip(1)) {
            let deleted = change.after == openinfra_schemas::AfterImage::Deleted;
            assert_eq!(deleted, row.body.is_none());
            assert_eq!((change.at, &change.actor), (row.at, &row.actor));
        }
    }
}

fn partition(name: &str) -> KeyBuf {
    KeyBuf::new()
        .text(tenant().as_str())
        .text(EntityKind::Sensor.as_str())
        .text(name)
}

pub fn is_unresolved<T>(answer: &Result<T, WriteError>) -> bool {
    matches!(answer, Err(WriteError::Unresolved { .. }))
}
