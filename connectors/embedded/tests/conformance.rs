//! The embedded log and store pass what every implementation must pass.

#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

use std::sync::Arc;

use openinfra_embedded::{Embedded, Options};
use openinfra_schemas::registry::Registry;

/// So small that chunks, groups and memtables fill up all the time.
fn small() -> Options {
    Options {
        partitions: 3,
        memtable_bytes: 64 << 10,
        group_bytes: 2 << 10,
        chunk_bytes: 256,
        ..Options::default()
    }
}

async fn check_log(options: Options) {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let embedded = Embedded::open(folder.path(), options.clone()).unwrap();
        openinfra_log::conformance::run(&embedded.log()).await;
    }
}

async fn check_store(options: Options) {
    let folder = tempfile::tempdir().unwrap();
    for run in 0..2i64 {
        let embedded = Embedded::open(folder.path(), options.clone()).unwrap();
        let name = format!("run {run}");
        openinfra_store::conformance::Suite::new(embedded.store(), &name, 1 + run * 1_000_000)
            .run()
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_log_conforms() {
    check_log(Options::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_log_conforms_with_small_chunks() {
    check_log(small()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_store_conforms() {
    check_store(Options::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_store_conforms_with_small_memtables() {
    check_store(small()).await;
}

#[tokio::test]
async fn the_registry_conforms() {
    let folder = tempfile::tempdir().unwrap();
    for run in ["one", "two"] {
        let embedded = Embedded::open(folder.path(), small()).unwrap();
        let registry: Arc<dyn Registry> = embedded.registry();
        openinfra_schemas::registry::conformance::run(&registry, run).await;
    }
}

#[tokio::test]
async fn the_registry_can_be_gone_through() {
    let folder = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(folder.path(), small()).unwrap();
    let registry = embedded.registry();
    assert!(registry.subjects().await.unwrap().is_empty());
    assert!(registry.versions("a").await.unwrap().is_empty());
    for (subject, schema) in [
        ("b", r#""int""#),
        ("a", r#""string""#),
        ("a-long", r#""int""#),
        ("b", r#""long""#),
    ] {
        registry.register(subject, schema).await.unwrap();
    }
    let subjects = registry.subjects().await.unwrap();
    assert_eq!(subjects, ["a", "a-long", "b"]);
    assert_eq!(registry.versions("a").await.unwrap(), [2]);
    assert_eq!(registry.versions("b").await.unwrap(), [1, 3]);
    assert!(registry.versions("c").await.unwrap().is_empty());
}
