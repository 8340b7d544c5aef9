//! What was said of a write stays true, whoever else is at work on it, was, or wakes up later.
//!
//! A batch that its writer gave up is kept here and delivered late, as a node of the store may; and an
//! intent is put back behind its writer's back, as a relay holds it that fell asleep over it.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use openinfra_api::entities::{Change, Entities, Pass, WriteError, Written};
use openinfra_schemas::Sensor;
use openinfra_store::{
    Batch, ConditionalBatch, Freshness, Outcome, Range, RawRow, RowKey, Store, StoreError,
    WriteClass, tables::entities::IntentRow,
};
use tempfile::tempdir;

use crate::harness::{World, fields, id, is_unresolved, sensor, tenant};

/// What becomes of a batch that makes a version.
#[derive(Debug, Clone, Copy, Default)]
enum Versions {
    #[default]
    Pass,
    /// It is kept, and the store says that it does not answer.
    Keep,
    /// It passes, and the store says the same.
    Unheard,
}

/// A store that is late with versions.
struct LateStore {
    inner: Arc<dyn Store>,
    late: Arc<Late>,
}

#[derive(Default)]
struct Late {
    versions: Mutex<Versions>,
    refuses_reads: AtomicBool,
    kept: Mutex<Vec<ConditionalBatch>>,
    intents: Mutex<Vec<Batch>>,
}

/// Longer than any step takes on a busy machine.
const LONG: Duration = Duration::from_secs(60);

fn away() -> StoreError {
    StoreError::Unavailable("for the test".to_owned())
}

#[async_trait]
impl Store for LateStore {
    async fn get(&self, key: &RowKey, freshness: Freshness) -> Result<Option<Bytes>, StoreError> {
        match self.late.refuses_reads.load(Ordering::SeqCst) {
            true => Err(away()),
            false => self.inner.get(key, freshness).await,
        }
    }

    async fn get_many(&self, keys: &[RowKey]) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.inner.get_many(keys).await
    }

    async fn range(&self, range: &Range) -> Result<Vec<RawRow>, StoreError> {
        self.inner.range(range).await
    }

    async fn range_many(&self, ranges: &[Range]) -> Result<Vec<Vec<RawRow>>, StoreError> {
        self.inner.range_many(ranges).await
    }

    async fn write(&self, batch: Batch) -> Result<(), StoreError> {
        if batch.mutations().any(|row| row.value.is_some()) {
            self.late.intents.lock().unwrap().push(batch.clone());
        }
        self.inner.write(batch).await
    }

    async fn write_if(&self, batch: ConditionalBatch) -> Result<Outcome, StoreError> {
        // A version is a current row and one of the history at least.
        if batch.mutations().len() == 1 {
            return self.inner.write_if(batch).await;
        }
        let versions = *self.late.versions.lock().unwrap();
        match versions {
            Versions::Pass => self.inner.write_if(batch).await,
            Versions::Keep => {
                self.late.kept.lock().unwrap().push(batch);
                Err(away())
            }
            Versions::Unheard => self.inner.write_if(batch).await.and(Err(away())),
        }
    }
}

struct Scene {
    world: World,
    late: Arc<Late>,
    /// Over the store that keeps versions back.
    entities: Entities,
    _folder: tempfile::TempDir,
}

impl Scene {
    async fn open() -> Self {
        let folder = tempdir().unwrap();
        let world = World::open(folder.path()).await;
        let late = Arc::new(Late::default());
        let store = LateStore {
            inner: world.store.clone(),
            late: late.clone(),
        };
        let entities = world
            .entities_over(Arc::new(store), world.log.clone())
            .patience(Duration::from_millis(100));
        Self {
            world,
            late,
            entities,
            _folder: folder,
        }
    }

    fn versions(&self, versions: Versions) {
        *self.late.versions.lock().unwrap() = versions;
    }

    async fn create(&self, change: &Change) -> Result<Written<Sensor>, WriteError> {
        let new = sensor("s1", "C");
        let created = self
            .entities
            .create_sensor_once("ada", tenant(), new, change);
        created.await
    }

    /// Delivers every batch that was kept; how many were applied.
    async fn deliver(&self) -> usize {
        let kept = std::mem::take(&mut *self.late.kept.lock().unwrap());
        assert!(!kept.is_empty(), "nothing was kept");
        let mut applied = 0;
        for batch in kept {
            let outcome = self.world.store.write_if(batch).await.unwrap();
            applied += usize::from(outcome == Outcome::Applied);
        }
        applied
    }

    /// Writes every intent again that was ever written.
    async fn put_intents_back(&self) -> usize {
        let written = std::mem::take(&mut *self.late.intents.lock().unwrap());
        for batch in &written {
            self.world.store.write(batch.clone()).await.unwrap();
        }
        written.len()
    }
}

fn is_nothing<T>(answer: &Result<T, WriteError>) -> bool {
    matches!(answer, Err(WriteError::Unavailable { .. }))
}

#[tokio::test]
async fn a_batch_that_arrives_after_its_write_was_taken_back_is_refused() {
    let scene = Scene::open().await;
    scene.versions(Versions::Keep);
    let created = scene.create(&Change::new()).await;
    assert!(is_nothing(&created), "{created:?}");
    assert_eq!(scene.deliver().await, 0);
    scene.world.assert_consistent("s1", 0).await;
    // Nor is an update, and what stood before it stands.
    scene.versions(Versions::Pass);
    scene.create(&Change::new()).await.unwrap();
    scene.versions(Versions::Keep);
    let updated = scene
        .entities
        .update_sensor("ada", tenant(), &id("s1"), 1, fields("F"))
        .await;
    assert!(is_nothing(&updated), "{updated:?}");
    assert_eq!(scene.deliver().await, 0);
    scene.world.assert_consistent("s1", 1).await;
}

#[tokio::test]
async fn a_relay_that_slept_over_a_taking_back_makes_no_version() {
    let scene = Scene::open().await;
    scene.versions(Versions::Keep);
    let created = scene.create(&Change::new()).await;
    assert!(is_nothing(&created), "{created:?}");
    assert_eq!(scene.put_intents_back().await, 1);
    let other = scene.world.entities();
    let pass = other.relay_pass(0).await.unwrap();
    let lost = Pass {
        lost: 1,
        ..Pass::default()
    };
    assert_eq!(pass, lost);
    scene.world.assert_consistent("s1", 0).await;
}

#[tokio::test]
async fn a_write_that_stands_is_not_taken_back() {
    let scene = Scene::open().await;
    scene.versions(Versions::Unheard);
    let change = Change::new();
    let created = scene.create(&change).await;
    assert!(is_unresolved(&created), "{created:?}");
    // Tried again it is found, and needs no batch any more.
    scene.versions(Versions::Keep);
    assert_eq!(scene.create(&change.again()).await.unwrap().version, 1);
    scene.world.assert_consistent("s1", 1).await;
}

#[tokio::test]
async fn a_live_write_that_another_process_finishes_is_answered_as_done() {
    let scene = Scene::open().await;
    scene.versions(Versions::Keep);
    let entities = scene.entities.clone().patience(LONG);
    let write = tokio::spawn(async move {
        let new = sensor("s1", "C");
        entities.create_sensor("ada", tenant(), new).await
    });
    let other = scene.world.entities();
    let finished = async {
        while other.relay_pass(0).await.unwrap().finished == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, finished).await.unwrap();
    scene.versions(Versions::Pass);
    assert_eq!(write.await.unwrap().unwrap().version, 1);
    scene.world.assert_consistent("s1", 1).await;
}

#[tokio::test]
async fn a_change_that_was_taken_back_stays_so_and_another_is_free() {
    let scene = Scene::open().await;
    scene.versions(Versions::Keep);
    let change = Change::new();
    assert!(is_nothing(&scene.create(&change).await));
    scene.versions(Versions::Pass);
    for _ in 0..2 {
        let again = scene.create(&change.clone().again()).await;
        assert!(is_nothing(&again), "{again:?}");
        scene.world.assert_consistent("s1", 0).await;
    }
    assert_eq!(scene.create(&Change::new()).await.unwrap().version, 1);
    scene.world.assert_consistent("s1", 1).await;
}

#[tokio::test]
async fn a_repetition_that_cannot_find_out_does_not_say_that_nothing_was_taken() {
    let scene = Scene::open().await;
    let change = Change::new();
    scene.create(&change).await.unwrap();
    scene.late.refuses_reads.store(true, Ordering::SeqCst);
    let again = scene.create(&change.clone().again()).await;
    assert!(is_unresolved(&again), "{again:?}");
    scene.late.refuses_reads.store(false, Ordering::SeqCst);
    assert_eq!(scene.create(&change.again()).await.unwrap().version, 1);
    scene.world.assert_consistent("s1", 1).await;
}

#[tokio::test]
async fn a_change_makes_one_version_however_often_it_is_tried() {
    let scene = Scene::open().await;
    let change = Change::new();
    scene.create(&change).await.unwrap();
    let deleted = scene
        .entities
        .delete_sensor("eve", tenant(), &id("s1"), 1)
        .await;
    deleted.unwrap();
    // The id is free, and an intent of the old change for the version to come is put there.
    let first = scene.late.intents.lock().unwrap()[0].clone();
    let row = first.mutations().next().unwrap();
    let (partition, clustering) = row.key.split_at(row.partition_len);
    let decode = <IntentRow as openinfra_store::Row>::decode;
    let intent = decode(partition, clustering, row.value.unwrap()).unwrap();
    let mut batch = Batch::new(WriteClass::Durable);
    batch.put(&IntentRow {
        version: 3,
        ..intent
    });
    scene.world.store.write(batch).await.unwrap();
    let pass = scene.world.entities().relay_pass(0).await.unwrap();
    assert_eq!((pass.finished, pass.lost), (1, 0));
    // It published what the change made long ago, once more.
    scene.world.assert_consistent("s1", 2).await;
}
