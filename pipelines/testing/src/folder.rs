//! A data folder, or what stands for one on real servers, and what is put into it.

use std::sync::Arc;

use openinfra_embedded::{Embedded, Options};
use openinfra_log::{AppendBatch, Log};
use openinfra_schemas::{
    Codec, EntityChange, EntityKind, LedgerEntry, Reading, TickRecord, Topic,
    key::{entity_key, ledger_key, partition_of, reading_key},
    registry::Registry,
};
use openinfra_store::{
    Batch, Freshness, KeyBuf, Row, RowKey, Store, WriteClass, get_row,
    tables::views::{GENERATION, ProgressRow},
};
use tempfile::TempDir;

use crate::{
    servers::{OnServers, Servers},
    until,
};

/// Partitions of the log's keyed topics.
pub const PARTITIONS: i32 = 4;

/// A data folder and what is in it; with `OPENINFRA_TEST_DEPLOYMENT=cluster` topics, subjects and a
/// keyspace of its own.
pub struct Folder {
    pub log: Arc<dyn Log>,
    pub store: Arc<dyn Store>,
    pub codec: Arc<Codec>,
    pub registry: Arc<dyn Registry>,
    /// Stays for as long as it is used.
    _embedded: Option<(Embedded, TempDir)>,
}

impl Folder {
    pub async fn new() -> Self {
        match Servers::wanted() {
            None => Self::embedded().await,
            Some(servers) => Self::on_servers(servers).await,
        }
    }

    async fn on_servers(servers: Servers) -> Self {
        let place = OnServers::new(servers);
        let registry = place.registry();
        Self {
            log: place.log().await,
            store: place.store().await,
            codec: Arc::new(Codec::open(Arc::clone(&registry)).await.unwrap()),
            registry,
            _embedded: None,
        }
    }

    async fn embedded() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = Options {
            partitions: PARTITIONS,
            ..Options::default()
        };
        let embedded = Embedded::open(dir.path(), options).unwrap();
        Self {
            log: embedded.log(),
            store: embedded.store(),
            codec: Arc::new(Codec::open(embedded.registry()).await.unwrap()),
            registry: embedded.registry(),
            _embedded: Some((embedded, dir)),
        }
    }

    /// Appends records as they are: topic, partition, key, value.
    pub async fn append_at(&self, records: Vec<(Topic, i32, Vec<u8>, Vec<u8>)>) {
        let mut batch = AppendBatch::default();
        for (topic, partition, key, value) in records {
            batch.push(topic, partition, &key, &value);
        }
        self.log.append(batch).await.unwrap();
    }

    /// Appends records as they are, each in its key's partition.
    pub async fn append(&self, records: Vec<(Topic, Vec<u8>, Vec<u8>)>) {
        let placed = records.into_iter().map(|(topic, key, value)| {
            let partition = partition_of(&key, self.log.partitions(topic));
            (topic, partition, key, value)
        });
        self.append_at(placed.collect()).await;
    }

    /// Appends bytes under a key, in the key's partition.
    pub async fn append_bytes(&self, topic: Topic, key: &str, value: &[u8]) {
        let record = (topic, key.as_bytes().to_vec(), value.to_vec());
        self.append(vec![record]).await;
    }

    pub async fn append_readings(&self, readings: &[Reading]) {
        let encode = |r: &Reading| {
            let key = reading_key(&r.tenant, &r.sensor_id);
            (Topic::Readings, key, self.codec.encode_to_vec(r))
        };
        self.append(readings.iter().map(encode).collect()).await;
    }

    pub async fn append_entity(&self, change: &EntityChange) {
        let kind = EntityKind::parse(&change.kind).unwrap();
        let key = entity_key(&change.tenant, kind, &change.id);
        let value = self.codec.encode_to_vec(change);
        self.append(vec![(Topic::Entities, key, value)]).await;
    }

    pub async fn append_refused(&self, entry: &LedgerEntry) {
        let key = ledger_key(&entry.tenant, &entry.source);
        let value = self.codec.encode_to_vec(entry);
        self.append(vec![(Topic::Ledger, key, value)]).await;
    }

    pub async fn append_tick_record(&self, record: &TickRecord) {
        append_tick_record(&*self.log, &self.codec, record).await;
    }

    pub async fn progress(&self) -> Option<ProgressRow> {
        progress(&*self.store).await
    }

    /// Waits until everything that is in the log now is in the views.
    pub async fn wait_covered(&self) -> ProgressRow {
        wait_covered(&*self.log, &*self.store).await
    }

    /// Writes a row that the job never wrote.
    pub async fn put<R: Row>(&self, row: &R) {
        let mut batch = Batch::new(WriteClass::Durable);
        batch.put(row);
        self.store.write(batch).await.unwrap();
    }

    pub async fn remove(&self, key: &RowKey) {
        let mut batch = Batch::new(WriteClass::Durable);
        batch.remove(key);
        self.store.write(batch).await.unwrap();
    }
}

pub async fn append_tick_record(log: &dyn Log, codec: &Codec, record: &TickRecord) {
    let mut batch = AppendBatch::default();
    batch.push(Topic::Ticks, 0, b"", &codec.encode_to_vec(record));
    log.append(batch).await.unwrap();
}

/// Where the job says how far it is.
pub fn progress_key() -> RowKey {
    let generation = KeyBuf::new().int(GENERATION);
    RowKey::new(ProgressRow::TABLE, &generation, &KeyBuf::new())
}

pub async fn progress(store: &dyn Store) -> Option<ProgressRow> {
    get_row(store, &progress_key(), Freshness::Acknowledged)
        .await
        .unwrap()
}

/// Waits until everything that is in a log now is in the views of a store.
pub async fn wait_covered(log: &dyn Log, store: &dyn Store) -> ProgressRow {
    let mut ends = serde_json::Map::new();
    for topic in [Topic::Readings, Topic::Entities, Topic::Ledger] {
        let of_topic = log.end_offsets(topic).await.unwrap();
        ends.insert(topic.name().to_owned(), of_topic.into());
    }
    let ends = serde_json::Value::Object(ends);
    until("the views cover the log", async || {
        let row = progress(store).await?;
        let covered: serde_json::Value = serde_json::from_str(&row.ends).unwrap();
        (covered == ends).then_some(row)
    })
    .await
}
