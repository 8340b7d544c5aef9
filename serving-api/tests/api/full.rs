//! A disk without space: whoever writes is told so, readiness says it, and reading goes on.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use openinfra_api::Config;
use openinfra_log::{AppendBatch, Appended, Fetch, Log, LogError, LogRecord};
use openinfra_schemas::Topic;
use openinfra_store::{
    Batch, ConditionalBatch, Freshness, Outcome, Range, RawRow, RowKey, Store, StoreError,
};
use serde_json::{Value, json};

use crate::app::{Answer, Setup, TestApp};

const SENSORS: &str = "/api/v1/iot/sensors";

/// A log or a store that refuses writes while it is full.
struct Bounded<T: ?Sized> {
    inner: Arc<T>,
    full: Arc<AtomicBool>,
}

impl<T: ?Sized> Bounded<T> {
    fn room<E>(&self, full: E) -> Result<&T, E> {
        match self.full.load(Ordering::SeqCst) {
            true => Err(full),
            false => Ok(&self.inner),
        }
    }
}

#[async_trait]
impl Store for Bounded<dyn Store> {
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
        self.room(StoreError::StorageFull)?.write(batch).await
    }

    async fn write_if(&self, batch: ConditionalBatch) -> Result<Outcome, StoreError> {
        self.room(StoreError::StorageFull)?.write_if(batch).await
    }
}

#[async_trait]
impl Log for Bounded<dyn Log> {
    fn partitions(&self, topic: Topic) -> i32 {
        self.inner.partitions(topic)
    }

    async fn append(&self, batch: AppendBatch) -> Result<Appended, LogError> {
        self.room(LogError::StorageFull)?.append(batch).await
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

/// An application, and what fills its log and its store.
async fn bounded() -> (TestApp, Arc<AtomicBool>, Arc<AtomicBool>) {
    bounded_with(|_| ()).await
}

async fn bounded_with(config: fn(&mut Config)) -> (TestApp, Arc<AtomicBool>, Arc<AtomicBool>) {
    let (log, store) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
    let (full_log, full_store) = (Arc::clone(&log), Arc::clone(&store));
    let setup = Setup {
        log: Box::new(|inner| {
            let full = full_log;
            Arc::new(Bounded { inner, full })
        }),
        store: Box::new(|inner| {
            let full = full_store;
            Arc::new(Bounded { inner, full })
        }),
        config,
        ..Setup::default()
    };
    (TestApp::with(setup).await, log, store)
}

async fn post(app: &TestApp, headers: &[(&str, &str)]) -> Answer {
    let body = json!({"sensor_id": "s1"});
    app.call("POST", SENSORS, headers, Some(body)).await
}

fn assert_full(answer: &Answer, status: u16, slug: &str, part: &str) {
    let problem = answer.problem(status, slug);
    assert_eq!(problem["part"], part, "{problem}");
    assert_eq!(problem["reason"], "storage_full", "{problem}");
    assert_eq!(answer.header("retry-after"), "30", "{problem}");
}

/// What readiness says of a part.
async fn check(app: &TestApp, name: &str) -> (u16, Value) {
    let answer = app.get("/health/ready").await;
    let checks = answer.json()["checks"].take();
    let of_part = checks.as_array().unwrap().iter();
    let mut of_part = of_part.filter(|check| check["name"] == name).cloned();
    (answer.status.as_u16(), of_part.next().unwrap())
}

#[tokio::test]
async fn a_full_store_is_told_from_one_that_does_not_answer() {
    let (app, _, store) = bounded().await;
    store.store(true, Ordering::SeqCst);
    for headers in [&[][..], &[("idempotency-key", "k1")]] {
        assert_full(&post(&app, headers).await, 503, "unavailable", "store");
    }
    let (status, check) = check(&app, "store").await;
    assert_eq!((status, &check["status"]), (503, &json!("unavailable")));
    let detail = check["detail"].as_str().unwrap();
    assert!(detail.starts_with("storage_full: "), "{detail}");
    // What is there is read as before.
    app.ok(SENSORS).await;
    store.store(false, Ordering::SeqCst);
    assert_eq!(post(&app, &[]).await.status, 201);
    assert_eq!(app.get("/health/ready").await.status, 200);
}

#[tokio::test]
async fn a_full_log_is_told_where_a_write_may_still_stand() {
    let (app, log, _) = bounded().await;
    log.store(true, Ordering::SeqCst);
    assert_full(&post(&app, &[]).await, 408, "request-timeout", "log");
    let (status, check) = check(&app, "log").await;
    assert_eq!(status, 503);
    let detail = check["detail"].as_str().unwrap();
    assert!(detail.starts_with("storage_full: "), "{detail}");
}

#[tokio::test]
async fn what_a_process_does_without_leaves_it_ready() {
    let (app, log, store) = bounded_with(|config| config.needs.store = false).await;
    store.store(true, Ordering::SeqCst);
    let (status, shown) = check(&app, "store").await;
    assert_eq!((status, &shown["status"]), (200, &json!("unavailable")));
    assert_eq!(shown["required"], false);
    log.store(true, Ordering::SeqCst);
    assert_eq!(check(&app, "log").await.0, 503);

    let (app, log, store) = bounded_with(|config| config.needs.log = false).await;
    log.store(true, Ordering::SeqCst);
    let (status, shown) = check(&app, "log").await;
    assert_eq!((status, &shown["status"]), (200, &json!("unavailable")));
    store.store(true, Ordering::SeqCst);
    assert_eq!(check(&app, "store").await.0, 503);
}
