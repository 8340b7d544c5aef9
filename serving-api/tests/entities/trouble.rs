//! A store and a log that fail for a while, before or after they did what they were asked.
//!
//! "After" is the trouble that matters: the caller hears of a failure, and the write stands.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use openinfra_api::entities::{Change, Part, WriteError};
use openinfra_log::{AppendBatch, Appended, Fetch, Log, LogError, LogRecord};
use openinfra_schemas::Topic;
use openinfra_store::{
    Batch, ConditionalBatch, Freshness, Outcome, Range, RawRow, RowKey, Store, StoreError,
};
use tempfile::tempdir;

use crate::harness::{World, fields, id, is_unresolved, sensor, tenant};

/// What happens to one call.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Trouble {
    None,
    /// Nothing is done, and it is told so.
    Before,
    /// It is done, and the contrary is told.
    After,
    Full,
}

use Trouble::{After, Before, Full};

/// The calls to come; when it runs out, the last one goes on.
#[derive(Clone)]
struct Script(Arc<Mutex<Calls>>);

struct Calls {
    to_come: VecDeque<Trouble>,
    taken: usize,
}

impl Script {
    fn new(troubles: &[Trouble]) -> Self {
        let to_come = troubles.iter().copied().collect();
        Self(Arc::new(Mutex::new(Calls { to_come, taken: 0 })))
    }

    fn set(&self, troubles: &[Trouble]) {
        let mut calls = self.0.lock().unwrap();
        calls.to_come = troubles.iter().copied().collect();
        calls.taken = 0;
    }

    fn next(&self) -> Trouble {
        let mut calls = self.0.lock().unwrap();
        calls.taken += 1;
        match calls.to_come.len() {
            0 => Trouble::None,
            1 => calls.to_come[0],
            _ => calls.to_come.pop_front().unwrap(),
        }
    }

    /// Waits for the first call since the script was set.
    async fn called(&self) {
        let called = async {
            while self.0.lock().unwrap().taken == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(LONG, called).await.unwrap();
    }
}

/// Longer than any step takes on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// For writes that are to be given up.
const SHORT: Duration = Duration::from_millis(100);

struct TroubledStore {
    inner: Arc<dyn Store>,
    writes: Script,
    conditional: Script,
}

fn away() -> StoreError {
    StoreError::Unavailable("for the test".to_owned())
}

#[async_trait]
impl Store for TroubledStore {
    async fn get(&self, key: &RowKey, freshness: Freshness) -> Result<Option<Bytes>, StoreError> {
        self.inner.get(key, freshness).await
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
        match self.writes.next() {
            Trouble::None => self.inner.write(batch).await,
            Before => Err(away()),
            After => self.inner.write(batch).await.and(Err(away())),
            Full => Err(StoreError::StorageFull),
        }
    }

    async fn write_if(&self, batch: ConditionalBatch) -> Result<Outcome, StoreError> {
        match self.conditional.next() {
            Trouble::None => self.inner.write_if(batch).await,
            Before => Err(away()),
            After => self.inner.write_if(batch).await.and(Err(away())),
            Full => Err(StoreError::StorageFull),
        }
    }
}

struct TroubledLog {
    inner: Arc<dyn Log>,
    appends: Script,
}

#[async_trait]
impl Log for TroubledLog {
    fn partitions(&self, topic: Topic) -> i32 {
        self.inner.partitions(topic)
    }

    async fn append(&self, batch: AppendBatch) -> Result<Appended, LogError> {
        let away = || LogError::Unavailable("for the test".to_owned());
        match self.appends.next() {
            Trouble::None => self.inner.append(batch).await,
            Before => Err(away()),
            After => self.inner.append(batch).await.and(Err(away())),
            Full => Err(LogError::StorageFull),
        }
    }

    async fn read(&self, fetch: Fetch) -> Result<Vec<LogRecord>, LogError> {
        self.inner.read(fetch).await
    }

    async fn end_offsets(&self, topic: Topic) -> Result<Vec<i64>, LogError> {
        self.inner.end_offsets(topic).await
    }

    async fn start_offsets(&self, topic: Topic) -> Result<Vec<i64>, LogError> {
        self.inner.start_offsets(topic).await
    }
}

/// A world, the scripts of its store and log, and entities over both.
struct Troubled {
    world: World,
    writes: Script,
    conditional: Script,
    appends: Script,
    entities: openinfra_api::entities::Entities,
    _folder: tempfile::TempDir,
}

async fn troubled(
    patience: Duration,
    writes: &[Trouble],
    conditional: &[Trouble],
    appends: &[Trouble],
) -> Troubled {
    let folder = tempdir().unwrap();
    let world = World::open(folder.path()).await;
    let [writes, conditional, appends] = [writes, conditional, appends].map(Script::new);
    let store = TroubledStore {
        inner: world.store.clone(),
        writes: writes.clone(),
        conditional: conditional.clone(),
    };
    let log = TroubledLog {
        inner: world.log.clone(),
        appends: appends.clone(),
    };
    let entities = world
        .entities_over(Arc::new(store), Arc::new(log))
        .patience(patience);
    Troubled {
        world,
        writes,
        conditional,
        appends,
        entities,
        _folder: folder,
    }
}

const FINE: &[Trouble] = &[];

#[tokio::test]
async fn unknown_outcomes_are_resolved_within_the_request() {
    for (writes, conditional, appends) in [
        (&[After, Trouble::None][..], FINE, FINE),
        (&[Before, After, Trouble::None], FINE, FINE),
        (FINE, &[After, Trouble::None][..], FINE),
        (FINE, &[Before, After, After, Trouble::None], FINE),
        (FINE, FINE, &[After, Trouble::None][..]),
        (FINE, FINE, &[Before, After, Trouble::None]),
        (
            &[After, Trouble::None],
            &[After, Trouble::None],
            &[After, Trouble::None],
        ),
    ] {
        let t = troubled(LONG, writes, conditional, appends).await;
        let s1 = id("s1");
        let created = t.entities.create_sensor("ada", tenant(), sensor("s1", "C"));
        assert_eq!(created.await.unwrap().version, 1);
        t.conditional.set(conditional);
        let updated = t
            .entities
            .update_sensor("ada", tenant(), &s1, 1, fields("F"));
        assert_eq!(updated.await.unwrap().version, 2);
        t.world.assert_consistent("s1", 2).await;
    }
}

#[tokio::test]
async fn a_log_that_is_away_delays_a_write_and_loses_nothing() {
    for trouble in [Before, After, Full] {
        let t = troubled(SHORT, FINE, FINE, &[trouble]).await;
        let answer = t
            .entities
            .create_sensor("ada", tenant(), sensor("s1", "C"))
            .await;
        // The store has it: it is no longer true that nothing was taken.
        assert!(
            matches!(
                &answer,
                Err(WriteError::Unresolved {
                    part: Part::Log,
                    ..
                })
            ),
            "{answer:?}"
        );
        // The relay takes up what this process left without waiting until it is old.
        assert_eq!(t.entities.relay_pass(10_000).await.unwrap().failed, 1);
        t.appends.set(FINE);
        let pass = t.entities.relay_pass(10_000).await.unwrap();
        assert_eq!((pass.finished, pass.failed), (1, 0));
        t.world.assert_consistent("s1", 1).await;
    }
}

/// What became of a write that was not answered with success.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Told {
    /// Nothing was taken, and nothing will be.
    Nothing,
    /// It is not known.
    Unknown,
}

#[tokio::test]
async fn a_store_that_is_away_leaves_a_write_wholly_in_or_wholly_out() {
    use Told::{Nothing, Unknown};
    for (writes, conditional, told, stands) in [
        // Whether the intent is written is not known; the change is taken back.
        (&[Before][..], FINE, Nothing, false),
        (&[After], FINE, Nothing, false),
        (&[Before, Full], FINE, Nothing, false),
        (&[Full], FINE, Nothing, false),
        // Neither does the batch get through nor what takes it back.
        (FINE, &[Before][..], Unknown, true),
        (FINE, &[Full], Unknown, true),
        // It did get through, which is found when it is to be taken back.
        (FINE, &[After], Unknown, true),
        (&[Trouble::None, Before], &[Before], Unknown, true),
        (&[Trouble::None, Full], &[Full], Unknown, true),
    ] {
        let t = troubled(SHORT, writes, conditional, FINE).await;
        let answer = t
            .entities
            .create_sensor("ada", tenant(), sensor("s1", "C"))
            .await;
        let heard = match &answer {
            Err(WriteError::Unavailable { .. }) => Nothing,
            Err(WriteError::Unresolved { .. }) => Unknown,
            other => panic!("{other:?}"),
        };
        assert_eq!(heard, told, "{writes:?} {conditional:?}");
        t.writes.set(FINE);
        t.conditional.set(FINE);
        t.entities.relay_pass(10_000).await.unwrap();
        t.world.assert_consistent("s1", i64::from(stands)).await;
        // What the relay did shows: whoever tries again hears of it.
        let again = t
            .entities
            .create_sensor("ada", tenant(), sensor("s1", "C"))
            .await;
        match again {
            Ok(written) => assert!(!stands && written.version == 1),
            Err(WriteError::Conflict { existing, .. }) => assert!(stands && existing.version == 1),
            Err(other) => panic!("{other}"),
        }
        t.world.assert_consistent("s1", 1).await;
    }
}

#[tokio::test]
async fn the_same_change_tried_again_finds_what_became_of_it() {
    for (conditional, appends) in [
        (&[After][..], FINE),
        (FINE, &[Before][..]),
        (FINE, &[After]),
        (FINE, &[Full]),
    ] {
        let t = troubled(SHORT, FINE, conditional, appends).await;
        let change = Change::new();
        let create = |change: Change| {
            let entities = t.entities.clone();
            async move {
                let new = sensor("s1", "C");
                let created = entities.create_sensor_once("ada", tenant(), new, &change);
                created.await
            }
        };
        let first = create(change.clone()).await;
        assert!(is_unresolved(&first), "{first:?}");
        t.conditional.set(FINE);
        t.appends.set(FINE);
        let again = create(change.clone().again()).await.unwrap();
        assert_eq!(
            (again.version, again.entity.unit.as_deref()),
            (1, Some("C"))
        );
        t.world.assert_consistent("s1", 1).await;
        // Others went on meanwhile, and it is still told what it did.
        let s1 = id("s1");
        let updated = t
            .entities
            .update_sensor("eve", tenant(), &s1, 1, fields("K"));
        assert_eq!(updated.await.unwrap().version, 2);
        let again = create(change.clone().again()).await.unwrap();
        assert_eq!(
            (again.version, again.entity.unit.as_deref()),
            (1, Some("C"))
        );
        // Another change is another creation.
        let other = create(Change::new()).await;
        assert!(
            matches!(other, Err(WriteError::Conflict { .. })),
            "{other:?}"
        );
        t.world.assert_consistent("s1", 2).await;
    }
}

#[tokio::test]
async fn an_intent_that_another_write_overtook_is_dropped() {
    // The first update gets no further than its intent, which it cannot take back; the second has the
    // version.
    let writes = [Trouble::None, Trouble::None, Trouble::None, Before];
    let t = troubled(SHORT, &writes, &[Trouble::None, Before], FINE).await;
    let s1 = id("s1");
    let created = t.entities.create_sensor("ada", tenant(), sensor("s1", "C"));
    created.await.unwrap();
    let stuck = t
        .entities
        .update_sensor("bob", tenant(), &s1, 1, fields("F"))
        .await;
    assert!(is_unresolved(&stuck), "{stuck:?}");
    let others = t.world.entities();
    let won = others
        .update_sensor("eve", tenant(), &s1, 1, fields("K"))
        .await;
    assert_eq!(won.unwrap().version, 2);
    t.writes.set(FINE);
    t.conditional.set(FINE);
    let pass = t.entities.relay_pass(10_000).await.unwrap();
    assert_eq!((pass.finished, pass.lost), (0, 1));
    t.world.assert_consistent("s1", 2).await;
    let found = others.find_sensor(tenant(), &s1).await.unwrap().unwrap();
    assert_eq!(found.entity.unit.as_deref(), Some("K"));
}

#[tokio::test]
async fn a_lost_race_with_an_unknown_outcome_is_answered_as_lost() {
    let t = troubled(LONG, FINE, FINE, FINE).await;
    let s1 = id("s1");
    let created = t.entities.create_sensor("ada", tenant(), sensor("s1", "C"));
    created.await.unwrap();
    let others = t.world.entities();
    t.conditional.set(&[Before]);
    let entities = t.entities.clone();
    let slow = async move {
        entities
            .update_sensor("bob", tenant(), &s1, 1, fields("F"))
            .await
    };
    let slow = tokio::spawn(slow);
    // The slow one has read version 1, written its intent and not got through.
    t.conditional.called().await;
    let fast = others
        .update_sensor("eve", tenant(), &id("s1"), 1, fields("K"))
        .await;
    assert_eq!(fast.unwrap().version, 2);
    // Its refusal is not heard either: only the next try finds another's change at the version.
    t.conditional.set(&[After, Trouble::None]);
    let slow = slow.await.unwrap();
    assert!(
        matches!(&slow, Err(WriteError::Stale { current, .. }) if current.version == 2),
        "{slow:?}"
    );
    t.world.assert_consistent("s1", 2).await;
}

#[tokio::test]
async fn an_intent_that_cannot_be_removed_is_answered_and_removed_later() {
    let t = troubled(LONG, &[Trouble::None, Before], FINE, FINE).await;
    let created = t
        .entities
        .create_sensor("ada", tenant(), sensor("s1", "C"))
        .await;
    assert_eq!(created.unwrap().version, 1);
    assert_eq!(t.world.intents().await.len(), 1);
    t.writes.set(FINE);
    assert_eq!(t.entities.relay_pass(10_000).await.unwrap().finished, 1);
    // The change stands twice in the log, which harms nobody.
    assert_eq!(t.world.changes().await.len(), 2);
    t.world.assert_consistent("s1", 1).await;
}

#[tokio::test]
async fn the_relay_leaves_young_intents_of_other_processes_alone() {
    let t = troubled(SHORT, FINE, FINE, &[Before]).await;
    let created = t
        .entities
        .create_sensor("ada", tenant(), sensor("s1", "C"))
        .await;
    assert!(is_unresolved(&created));
    let other = t.world.entities();
    let pass = other.relay_pass(10_000).await.unwrap();
    assert_eq!((pass.waiting, pass.finished), (1, 0));
    assert_eq!(other.relay_pass(0).await.unwrap().finished, 1);
    t.world.assert_consistent("s1", 1).await;
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_its_write_to_the_relay() {
    let t = troubled(LONG, FINE, FINE, &[Before]).await;
    let entities = t.entities.clone();
    let write = async move {
        entities
            .create_sensor("ada", tenant(), sensor("s1", "C"))
            .await
    };
    let write = tokio::spawn(write);
    t.appends.called().await;
    write.abort();
    assert!(write.await.unwrap_err().is_cancelled());
    t.appends.set(FINE);
    assert_eq!(t.entities.relay_pass(10_000).await.unwrap().finished, 1);
    t.world.assert_consistent("s1", 1).await;
}
