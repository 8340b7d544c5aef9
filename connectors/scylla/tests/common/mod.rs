//! A real cluster for tests: its address from the environment, a keyspace for each suite.

#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]
#![allow(dead_code, reason = "each test binary uses a part")]

use std::{
    process,
    sync::atomic::{AtomicU32, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use openinfra_scylla::{Cluster, Config, Replication, SchemaOptions, ScyllaStore, migrate};
use openinfra_store::{
    Row, Table,
    conformance::{CounterRow, ItemRow, MarkRow},
};
use prometheus::Registry;
use scylla::client::{session::Session, session_builder::SessionBuilder};

pub mod proxy;
#[path = "../../../../tests/support/skip.rs"]
pub mod skip;

/// The tables that the conformance suite writes.
pub const SUITE_TABLES: [&Table; 3] = [ItemRow::TABLE, MarkRow::TABLE, CounterRow::TABLE];

/// `host:port` of the cluster; none, and a line on why, where there is none and none is required.
pub fn address() -> Option<String> {
    skip::server("OPENINFRA_TEST_CQL")
}

pub fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_millis() as i64
}

pub fn options() -> SchemaOptions {
    SchemaOptions {
        replication: Some(Replication::Simple(1)),
        keyspace_options: None,
        table_options: None,
    }
}

/// A keyspace that nobody used before; removed by [`Keyspace::remove`].
pub struct Keyspace {
    pub config: Config,
    pub session: Session,
}

impl Keyspace {
    /// Only a name: there is no such keyspace yet.
    pub async fn named(address: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("cql_test_{}_{}_{number}", now_ms(), process::id());
        let session = SessionBuilder::new().known_node(address);
        Self {
            config: Config::new(vec![address.to_owned()], name),
            session: session.build().await.unwrap(),
        }
    }

    /// Makes it with so many copies of each row, as nobody asks whether there are nodes for them.
    pub async fn create(&self, copies: u32) {
        let name = &self.config.keyspace;
        self.execute(&format!(
            "CREATE KEYSPACE \"{name}\" WITH replication = \
             {{'class': 'SimpleStrategy', 'replication_factor': {copies}}}"
        ))
        .await;
    }

    /// With the suite's tables.
    pub async fn for_suite(address: &str) -> Self {
        let keyspace = Self::named(address).await;
        keyspace.create(1).await;
        let cluster = keyspace.cluster().await;
        for table in SUITE_TABLES {
            cluster.create_table(table, None).await.unwrap();
        }
        keyspace
    }

    /// With the product's tables.
    pub async fn migrated(address: &str) -> Self {
        let keyspace = Self::named(address).await;
        migrate::migrate(&keyspace.cluster().await, &options())
            .await
            .unwrap();
        keyspace
    }

    pub async fn cluster(&self) -> Cluster {
        Cluster::connect(&self.config).await.unwrap()
    }

    pub async fn store(&self, tables: &[&'static Table]) -> ScyllaStore {
        ScyllaStore::open(&self.config, tables, &Registry::new())
            .await
            .unwrap()
    }

    pub async fn execute(&self, text: &str) {
        self.session.query_unpaged(text, ()).await.unwrap();
    }

    pub async fn remove(self) {
        let name = &self.config.keyspace;
        self.execute(&format!("DROP KEYSPACE IF EXISTS \"{name}\""))
            .await;
    }
}
