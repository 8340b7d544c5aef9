//! Topics, subjects and a keyspace of a test's own on real servers.
//!
//! A newcomer would look for what removes them. They stay, so that it can be looked at what a failed test
//! left; `tests/services/services wipe` removes all.

use std::{
    process,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use openinfra_kafka::KafkaLog;
use openinfra_log::Log;
use openinfra_registry::RegistryClient;
use openinfra_schemas::registry::Registry;
use openinfra_scylla::{Cluster, Replication, SchemaOptions, ScyllaStore, migrate};
use openinfra_store::{Store, tables};

use crate::PARTITIONS;

/// Where real servers are.
#[derive(Debug, Clone)]
pub struct Servers {
    /// `HOST:PORT` of brokers, with commas between them.
    pub kafka: String,
    /// Base address of the registry.
    pub registry: String,
    /// `HOST:PORT` of the database.
    pub cql: String,
}

impl Servers {
    /// The servers that tests are to run on; none when they run embedded. `OPENINFRA_TEST_DEPLOYMENT` says
    /// which, and `tests/services/services env` prints where the servers are.
    pub fn wanted() -> Option<Self> {
        match std::env::var("OPENINFRA_TEST_DEPLOYMENT").as_deref() {
            Err(_) | Ok("embedded") => None,
            Ok("cluster") => Some(Self::from_env()),
            Ok(other) => {
                panic!("OPENINFRA_TEST_DEPLOYMENT is {other:?}: embedded or cluster expected")
            }
        }
    }

    fn from_env() -> Self {
        let named = |name: &str| {
            std::env::var(name).unwrap_or_else(|_| {
                panic!("{name} is not set: eval \"$(tests/services/services env)\"")
            })
        };
        Self {
            kafka: named("OPENINFRA_TEST_KAFKA"),
            registry: named("OPENINFRA_TEST_REGISTRY"),
            cql: named("OPENINFRA_TEST_CQL"),
        }
    }
}

/// Log, store and registry on servers.
pub(crate) struct OnServers {
    servers: Servers,
    /// Topics and subjects have it with a dot behind it.
    keyspace: String,
}

impl OnServers {
    pub(crate) fn new(servers: Servers) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            servers,
            keyspace: format!("job_{}_{}_{number}", now.as_millis(), process::id()),
        }
    }

    fn prefix(&self) -> String {
        format!("{}.", self.keyspace)
    }

    pub(crate) async fn log(&self) -> Arc<dyn Log> {
        let config = openinfra_kafka::Config {
            brokers: self.servers.kafka.split(',').map(str::to_owned).collect(),
            topic_prefix: self.prefix(),
            partitions: PARTITIONS,
            ..openinfra_kafka::Config::default()
        };
        let metrics = prometheus::Registry::new();
        Arc::new(KafkaLog::open(config, &metrics).await.unwrap())
    }

    pub(crate) async fn store(&self) -> Arc<dyn Store> {
        let contact = vec![self.servers.cql.clone()];
        let config = openinfra_scylla::Config::new(contact, self.keyspace.as_str());
        let cluster = Cluster::connect(&config).await.unwrap();
        let options = SchemaOptions {
            replication: Some(Replication::Simple(1)),
            keyspace_options: None,
            table_options: None,
        };
        migrate::migrate(&cluster, &options).await.unwrap();
        let metrics = prometheus::Registry::new();
        let store = ScyllaStore::new(&cluster, tables::ALL, &metrics).await;
        Arc::new(store.unwrap())
    }

    pub(crate) fn registry(&self) -> Arc<dyn Registry> {
        let config = openinfra_registry::Config {
            subject_prefix: self.prefix(),
            ..openinfra_registry::Config::new(self.servers.registry.as_str())
        };
        Arc::new(RegistryClient::new(&config).unwrap())
    }
}
