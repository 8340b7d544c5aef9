//! The embedded log and store pass what every implementation must pass.

#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

use openinfra_embedded::{Embedded, Options};

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
