//! What the store does when answers do not come.

#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod common;

use std::{sync::Arc, time::Duration};

use openinfra_scylla::{Config, ScyllaStore};
use openinfra_store::{
    Batch, Condition, ConditionalBatch, Freshness, Outcome, Row, RowKey, Store, StoreError,
    WriteClass,
    conformance::{CounterRow, ItemRow},
    get_row,
};
use prometheus::Registry;
use tokio::time::{Instant, sleep};

use common::{
    Keyspace, SUITE_TABLES, address, now_ms,
    proxy::{Mode, Proxy},
};

/// How long anything may take to recover.
const PATIENCE: Duration = Duration::from_secs(60);

fn counter(version: i64) -> CounterRow {
    CounterRow {
        part: "unknown".to_owned(),
        name: "row".to_owned(),
        note: None,
        version,
        seen: None,
    }
}

fn item(number: i64) -> ItemRow {
    ItemRow {
        part: "unknown".to_owned(),
        bucket: 1,
        name: "row".to_owned(),
        at: 1,
        number,
        text: None,
        real: None,
        bytes: vec![],
        flag: false,
    }
}

async fn through(proxy: &Proxy, keyspace: &Keyspace) -> (Arc<ScyllaStore>, Registry) {
    let registry = Registry::new();
    let config = Config {
        contact_points: vec![proxy.address.to_string()],
        request_timeout_ms: 1_500,
        ..keyspace.config.clone()
    };
    let store = ScyllaStore::open(&config, &SUITE_TABLES, &registry).await;
    (Arc::new(store.unwrap()), registry)
}

/// Reads until the store answers.
async fn read<R: Row>(store: &dyn Store, key: &RowKey, freshness: Freshness) -> Option<R> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match get_row(store, key, freshness).await {
            Ok(row) => return row,
            Err(error) if Instant::now() > deadline => panic!("it does not recover: {error}"),
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

fn errors(registry: &Registry) -> f64 {
    let families = registry.gather();
    let family = families
        .iter()
        .find(|family| family.name() == "openinfra_store_errors_total");
    let metrics = family.unwrap().get_metric();
    metrics.iter().map(|m| m.get_counter().get_value()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_know_whether_a_batch_applied_finds_out_by_reading() {
    let Some(address) = address() else { return };
    let keyspace = Keyspace::for_suite(&address).await;
    let proxy = Proxy::before(&address).await;
    let (store, registry) = through(&proxy, &keyspace).await;

    let first = || {
        let mut batch = ConditionalBatch::new(vec![Condition::Absent(counter(0).key())]);
        batch.put(&counter(1));
        batch
    };
    // Its statement is prepared by then: what is swallowed is the answer to the batch.
    let mut other = counter(9);
    other.part = "other".to_owned();
    let mut warm = ConditionalBatch::new(vec![Condition::Absent(other.key())]);
    warm.put(&other);
    assert_eq!(store.write_if(warm).await.unwrap(), Outcome::Applied);

    let (answer, ()) = tokio::join!(
        store.write_if({
            proxy.set(Mode::Swallow);
            first()
        }),
        proxy.swallow_then_cut(Duration::from_millis(800)),
    );
    let error = answer.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    assert!(errors(&registry) >= 1.0);

    // It was applied, by the one request: who asks sees it, and who repeats it is refused by its own row.
    let found = read(&*store, &counter(0).key(), Freshness::Linearizable).await;
    assert_eq!(found, Some(counter(1)));
    let Outcome::Refused {
        condition: 0,
        current: Some(current),
    } = store.write_if(first()).await.unwrap()
    else {
        panic!("applied twice");
    };
    let key = counter(0).key();
    let current = CounterRow::decode(key.partition(), key.clustering(), &current).unwrap();
    assert_eq!(current, counter(1));
    keyspace.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_is_repeated_over_a_cut_connection() {
    let Some(address) = address() else { return };
    let keyspace = Keyspace::for_suite(&address).await;
    let proxy = Proxy::before(&address).await;
    let (store, _) = through(&proxy, &keyspace).await;
    let tick = now_ms();
    let mut batch = Batch::new(WriteClass::Tick(tick));
    batch.put(&item(1));
    let cut = proxy.swallow_then_cut(Duration::from_millis(300));
    let (first, ()) = tokio::join!(store.write(batch.clone()), cut);
    let deadline = Instant::now() + PATIENCE;
    let mut answer = first;
    while let Err(error) = answer {
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        assert!(Instant::now() < deadline, "it does not recover: {error}");
        sleep(Duration::from_millis(100)).await;
        answer = store.write(batch.clone()).await;
    }
    let found = read(&*store, &item(0).key(), Freshness::Acknowledged).await;
    assert_eq!(found, Some(item(1)));
    keyspace.remove().await;
}
