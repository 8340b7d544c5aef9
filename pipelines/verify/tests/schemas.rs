//! What is said of a writer's schema once is said for ever, whatever the registry says later.
//!
//! A newcomer would ask the codec of the running job. It remembers what it was told; whoever starts again
//! asks anew, so every start and every verification here has a codec of its own.

#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod common;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use common::{Folder, PARTITIONS, now, reading};
use openinfra_log::Fetch;
use openinfra_schemas::{
    Begin, Codec, KnownSchema, LogId, PartitionEnd, Reading, Tick, TickRecord, Topic, Verdicts,
    codec::Record,
    key::{partition_of, reading_key},
    registry::{Registry, RegistryError, SchemaId},
};
use openinfra_store::Store;
use openinfra_verify::{Options, Report, verify};
use openinfra_views::{Config, Job, JobError, JobHandle};

/// What a registry says of the schemas that it was given.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Memory {
    Whole,
    Lost,
    /// It says them every other time.
    Fickle,
}

/// A registry that may lose all schemas but those registered through it.
struct Forgetful {
    inner: Arc<dyn Registry>,
    memory: Mutex<Memory>,
    asked: AtomicUsize,
}

#[async_trait]
impl Registry for Forgetful {
    async fn register(&self, subject: &str, schema: &str) -> Result<SchemaId, RegistryError> {
        self.inner.register(subject, schema).await
    }

    async fn schema(&self, id: SchemaId) -> Result<String, RegistryError> {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst);
        let forgot = match *self.memory.lock().unwrap() {
            Memory::Whole => false,
            Memory::Lost => true,
            Memory::Fickle => asked.is_multiple_of(2),
        };
        if forgot {
            return Err(RegistryError::UnknownId(id));
        }
        self.inner.schema(id).await
    }
}

/// A folder with a registry that can forget.
struct Fixture {
    folder: Folder,
    registry: Arc<Forgetful>,
}

impl Fixture {
    async fn new() -> Self {
        let folder = Folder::new().await;
        let registry = Arc::new(Forgetful {
            inner: Arc::clone(&folder.registry),
            memory: Mutex::new(Memory::Whole),
            asked: AtomicUsize::new(0),
        });
        Self { folder, registry }
    }

    fn remember(&self, memory: Memory) {
        *self.registry.memory.lock().unwrap() = memory;
    }

    /// As after a start of the process.
    async fn codec(&self) -> Arc<Codec> {
        let registry: Arc<dyn Registry> = self.registry.clone();
        Arc::new(Codec::open(registry).await.unwrap())
    }

    async fn start_on(&self, store: &Arc<dyn Store>) -> JobHandle {
        let config = Config {
            workers: 2,
            tick_interval_ms: Some(2),
            idle_interval_ms: 10,
            max_piece_bytes: 600,
            hourly_interval_ms: Some(0),
            ..Config::default()
        };
        let (log, store) = (Arc::clone(&self.folder.log), Arc::clone(store));
        let metrics = prometheus::Registry::new();
        Job::start(config, log, store, self.codec().await, &metrics)
            .await
            .unwrap()
    }

    async fn start(&self) -> JobHandle {
        self.start_on(&self.folder.store).await
    }

    async fn verify_of(&self, store: &Arc<dyn Store>) -> Report {
        let (log, codec) = (&self.folder.log, self.codec().await);
        verify(&**log, &**store, &codec, Options::default())
            .await
            .unwrap()
    }

    /// The views equal the log's, as they stand and made anew in an empty store, where the registry knows
    /// nothing any more.
    async fn verify(&self) -> Report {
        let before = *self.registry.memory.lock().unwrap();
        self.remember(Memory::Lost);
        let report = self.verify_of(&self.folder.store).await;
        assert!(report.equal, "{report:#?}");
        let other = Folder::new().await;
        let job = self.start_on(&other.store).await;
        openinfra_testing::wait_covered(&*self.folder.log, &*other.store).await;
        job.stop().await.unwrap();
        let anew = self.verify_of(&other.store).await;
        assert!(anew.equal, "{anew:#?}");
        assert_eq!(figures(&anew), figures(&report));
        self.remember(before);
        report
    }

    /// What the log says of schemas, with the bytes of each record.
    async fn verdicts(&self) -> Vec<(usize, Verdicts)> {
        let fetch = Fetch {
            topic: Topic::Ticks,
            partition: 0,
            from: 0,
            to: i64::MAX,
            max_records: usize::MAX,
            max_bytes: usize::MAX,
        };
        let records = self.folder.log.read(fetch).await.unwrap();
        let verdicts = records.iter().filter_map(|record| {
            match self.folder.codec.decode_own(&record.value).unwrap() {
                TickRecord::Verdicts(verdicts) => Some((record.value.len(), verdicts)),
                _ => None,
            }
        });
        verdicts.collect()
    }

    /// Appends a reading under a schema id.
    async fn append(&self, id: SchemaId, reading: &Reading) {
        let mut value = self.folder.codec.encode_to_vec(reading);
        value[1..5].copy_from_slice(&id.to_be_bytes());
        let key = reading_key(&reading.tenant, &reading.sensor_id);
        let record = (Topic::Readings, key, value);
        self.folder.append(vec![record]).await;
    }

    /// Says something of schemas, as an attempt of the job would.
    async fn say(&self, attempt: i64, id: SchemaId, schema: &str) {
        let known = vec![KnownSchema {
            id,
            schema: schema.to_owned(),
        }];
        let verdicts = Verdicts {
            attempt,
            tick: 0,
            known,
            unknown: Vec::new(),
        };
        let record = TickRecord::Verdicts(verdicts);
        self.folder.append_tick_record(&record).await;
    }

    async fn begin(&self, attempt: i64) {
        let begin = Begin {
            attempt,
            processes: 1,
            generation: 1,
            tzdata: String::new(),
        };
        self.folder
            .append_tick_record(&TickRecord::Begin(begin))
            .await;
    }

    /// Registers a schema by which readings are written as by ours.
    async fn register(&self) -> SchemaId {
        self.register_as("of somebody else").await
    }

    /// As [`Fixture::register`]; another property is another schema, where another `doc` is not to some registries.
    async fn register_as(&self, whose: &str) -> SchemaId {
        let mut schema: serde_json::Value = serde_json::from_str(Reading::SCHEMA).unwrap();
        schema["whose"] = whose.into();
        let schema = schema.to_string();
        self.registry.register("theirs", &schema).await.unwrap()
    }
}

fn figures(report: &Report) -> (i64, i64, i64, Option<i64>) {
    let rejected = report.refused.get("schema_rejected").copied();
    (
        report.log_records,
        report.accepted,
        report.duplicates,
        rejected,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_was_unknown_stays_so_for_its_tick() {
    let fixture = Fixture::new().await;
    let id = fixture.register().await;
    // As if it came after the first reading: which id comes next nobody knows where others register, too.
    fixture.remember(Memory::Lost);
    let one = reading("city", "a", now(), 1.0);
    let job = fixture.start().await;
    fixture.append(id, &one).await;
    fixture.folder.wait_covered().await;
    fixture.remember(Memory::Whole);
    // What comes later is asked for again.
    let two = reading("city", "a", now(), 2.0);
    fixture.append(id, &two).await;
    fixture.folder.wait_covered().await;
    job.stop().await.unwrap();
    assert_eq!(figures(&fixture.verify().await), (2, 1, 0, Some(1)));

    // Had a replay taken the first, this were a duplicate.
    let job = fixture.start().await;
    fixture.folder.append_readings(&[one]).await;
    fixture.folder.wait_covered().await;
    job.stop().await.unwrap();
    assert_eq!(figures(&fixture.verify().await), (3, 2, 0, Some(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_was_known_stays_so_without_the_registry() {
    let fixture = Fixture::new().await;
    let id = fixture.register().await;
    let one = reading("city", "a", now(), 1.0);
    let job = fixture.start().await;
    fixture.append(id, &one).await;
    fixture.folder.wait_covered().await;
    job.stop().await.unwrap();
    fixture.remember(Memory::Lost);
    assert_eq!(figures(&fixture.verify().await), (1, 1, 0, None));

    let job = fixture.start().await;
    fixture.append(id, &one).await;
    fixture.folder.append_readings(&[one]).await;
    fixture.folder.wait_covered().await;
    job.stop().await.unwrap();
    assert_eq!(figures(&fixture.verify().await), (3, 1, 2, None));
}

/// Whatever the registry says when: what is made of the log anew is what was made of it at first.
#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_says_now_this_now_that() {
    let fixture = Fixture::new().await;
    let ids = [
        fixture.register_as("one").await,
        fixture.register_as("two").await,
        fixture.register_as("three").await,
        2_000_000_000,
    ];
    fixture.remember(Memory::Fickle);
    let start = now() - 1_000_000;
    for round in 0..6 {
        let job = fixture.start().await;
        for n in 0..40 {
            let name = format!("s{}", n % 13);
            let reading = reading("city", &name, start + 1_000 * n, f64::from(round));
            fixture.append(ids[n as usize % ids.len()], &reading).await;
        }
        fixture.folder.wait_covered().await;
        job.stop().await.unwrap();
    }
    let report = fixture.verify().await;
    let (log_records, .., rejected) = figures(&report);
    assert_eq!(log_records, 240);
    // Sixty are of an id that there is not.
    assert!(rejected.unwrap() >= 60, "{report:#?}");
    assert!(report.accepted > 0, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_superseded_attempt_says_is_void() {
    let fixture = Fixture::new().await;
    fixture.start().await.stop().await.unwrap();
    let (good, bad) = (
        fixture.register_as("good").await,
        fixture.register_as("bad").await,
    );
    fixture.begin(9).await;
    fixture.say(1, good, r#""string""#).await;
    fixture.say(9, bad, r#""string""#).await;
    // What is said first holds.
    fixture.say(9, bad, Reading::SCHEMA).await;
    let job = fixture.start().await;
    for id in [good, bad] {
        let reading = reading("city", &format!("s{id}"), now(), 1.0);
        fixture.append(id, &reading).await;
    }
    fixture.folder.wait_covered().await;
    job.stop().await.unwrap();
    assert_eq!(figures(&fixture.verify().await), (2, 1, 0, Some(1)));
}

/// A log from before anything was said of schemas: the registry is asked, and what it says is kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_says_nothing_is_told() {
    let fixture = Fixture::new().await;
    let id = fixture.register().await;
    let one = reading("city", "a", now(), 1.0);
    let key = reading_key(&one.tenant, &one.sensor_id);
    let log_id = LogId {
        id: "an-old-one".to_owned(),
    };
    fixture
        .folder
        .append_tick_record(&TickRecord::LogId(log_id))
        .await;
    fixture.begin(1).await;
    fixture.append(id, &one).await;
    fixture.append(4_000_000_000, &one).await;
    let ends = vec![PartitionEnd {
        topic: Topic::Readings.name().to_owned(),
        partition: partition_of(&key, PARTITIONS),
        end: 2,
    }];
    let tick = now();
    fixture
        .folder
        .append_tick_record(&TickRecord::Tick(Tick {
            attempt: 1,
            tick,
            ends,
        }))
        .await;
    let job = fixture.start().await;
    fixture.folder.wait_covered().await;
    job.stop().await.unwrap();
    let said = fixture.verdicts().await;
    assert_eq!(said.len(), 1, "{said:?}");
    let (_, said) = &said[0];
    assert_eq!((said.attempt, said.tick), (2, tick));
    assert_eq!(said.known[0].id, id);
    assert_eq!(said.unknown, [4_000_000_000]);
    assert_eq!(figures(&fixture.verify().await), (2, 1, 0, Some(1)));
}

/// As many ids as a hostile producer writes: records of `ticks` stay small enough for any log.
#[tokio::test(flavor = "multi_thread")]
async fn more_unknown_ids_than_fit_into_a_record() {
    const IDS: u32 = 30_000;
    let fixture = Fixture::new().await;
    let first = 3_000_000_000;
    let record = |id: u32| {
        let value = [&[0][..], &id.to_be_bytes(), b"?"].concat();
        (Topic::Readings, b"city/a".to_vec(), value)
    };
    let records = (first..first + IDS).map(record).collect();
    fixture.folder.append(records).await;
    let job = fixture.start().await;
    fixture.folder.wait_covered().await;
    job.stop().await.unwrap();
    let said = fixture.verdicts().await;
    assert!(said.iter().all(|(bytes, _)| *bytes < 64 << 10));
    let unknown: usize = said.iter().map(|(_, said)| said.unknown.len()).sum();
    assert_eq!(unknown, IDS as usize);
    let rejected = Some(i64::from(IDS));
    assert_eq!(
        figures(&fixture.verify().await),
        (i64::from(IDS), 0, 0, rejected)
    );
}

/// An id of ours that the log has for something else: somebody mixed up registries.
#[tokio::test(flavor = "multi_thread")]
async fn another_registry_is_refused() {
    let fixture = Fixture::new().await;
    fixture.start().await.stop().await.unwrap();
    let one = reading("city", "a", now(), 1.0);
    let bytes = fixture.folder.codec.encode_to_vec(&one);
    let (own, _) = openinfra_schemas::codec::unframe(&bytes).unwrap();
    fixture.begin(9).await;
    fixture.say(9, own, r#""string""#).await;
    let job = fixture.start().await;
    fixture.folder.append_readings(&[one]).await;
    let failed = tokio::time::timeout(Duration::from_secs(60), job.failed());
    let error = failed.await.unwrap();
    assert!(
        matches!(error, JobError::OtherSchema { id, subject: "readings-value" } if id == own),
        "{error}"
    );
}
