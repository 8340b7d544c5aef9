//! The store passes what every implementation must pass, on a real cluster.

mod common;

use std::sync::Arc;

use openinfra_store::conformance::Suite;

use common::{Keyspace, SUITE_TABLES, address, now_ms};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_store_conforms() {
    let Some(address) = address() else { return };
    let keyspace = Keyspace::for_suite(&address).await;
    for run in 0..2 {
        let store = Arc::new(keyspace.store(&SUITE_TABLES).await);
        let name = format!("run {run}");
        Suite::new(store, &name, now_ms()).run().await;
    }
    keyspace.remove().await;
}
