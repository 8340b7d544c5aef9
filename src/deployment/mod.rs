//! Where log, schemas and store are, opened by this process; and what is made of them.
//!
//! Each is embedded, in one data folder, or a server of its own. What a newcomer would get wrong: one
//! process has a folder open at a time, so that every command with `--data` fails while a server runs on
//! it; the error says so and names the way around.

mod folder;
mod place;
mod store;

use std::{sync::Arc, time::Duration};

use openinfra_api::{Schemas, entities::Entities};
use openinfra_embedded::Embedded;
use openinfra_ingest::Ingest;
use openinfra_intake::Keys;
use openinfra_kafka::{KafkaLog, config::Topics};
use openinfra_log::Log;
use openinfra_registry::RegistryClient;
use openinfra_schemas::{
    Codec,
    registry::{Registry, RegistryError},
};
use openinfra_store::Store;
use tokio_util::sync::CancellationToken;

use crate::{
    clock,
    config::Config,
    exit::{self, Failure},
};

pub use place::{LogPlace, RegistryPlace, StorePlace, without_credentials};
pub use store::StoreAlone;

/// How often the registry is asked whether it answers.
const REGISTRY_LOOK: Duration = Duration::from_secs(10);

/// Log, store and codec, open.
pub struct Deployment {
    /// Open when any of the parts is in it.
    embedded: Option<Embedded>,
    pub log: Arc<dyn Log>,
    pub store: Arc<dyn Store>,
    pub codec: Arc<Codec>,
    /// Where schemas are, as the API tells it.
    pub schemas: Schemas,
    /// Where they are, when that is not in the folder.
    registry: Option<Arc<RegistryClient>>,
}

/// What views are made from and of. Cheap to clone.
#[derive(Clone)]
pub struct Parts {
    pub log: Arc<dyn Log>,
    pub store: Arc<dyn Store>,
    pub codec: Arc<Codec>,
}

impl Deployment {
    /// Log, store and codec together.
    pub fn parts(&self) -> Parts {
        Parts {
            log: Arc::clone(&self.log),
            store: Arc::clone(&self.store),
            codec: Arc::clone(&self.codec),
        }
    }

    /// Opens what the configuration names. A data folder is made where there is none, and so are topics; a
    /// keyspace is not.
    ///
    /// # Errors
    /// With [`exit::UNKNOWN`], as nothing can be said about what is in it.
    pub async fn open(config: &Config, metrics: &prometheus::Registry) -> Result<Self, Failure> {
        let embedded = match config.needs_folder() {
            true => Some(folder::open(&config.data).await?),
            false => None,
        };
        let folder = || embedded.as_ref().expect("it is open where it is needed");
        let log: Arc<dyn Log> = match &config.kafka {
            None => folder().log(),
            Some(kafka) => Arc::new(
                KafkaLog::open(kafka.clone(), metrics)
                    .await
                    .map_err(unknown)?,
            ),
        };
        let store = store::open(config, embedded.as_ref(), metrics).await?;
        let client = match &config.registry {
            None => None,
            Some(registry) => {
                let client = RegistryClient::new(registry).map_err(unknown)?;
                Some(Arc::new(client.metered(metrics).map_err(unknown)?))
            }
        };
        let (registry, schemas): (Arc<dyn Registry>, _) = match &client {
            None => (folder().registry(), Schemas::Own(folder().registry())),
            Some(client) => {
                let elsewhere = Schemas::Elsewhere(client.url().to_owned());
                (Arc::clone(client) as Arc<dyn Registry>, elsewhere)
            }
        };
        let codec = Codec::open(registry).await.map_err(not_registered)?;
        Ok(Self {
            log,
            store,
            codec: Arc::new(codec),
            schemas,
            registry: client,
            embedded,
        })
    }

    /// As [`Deployment::open`], for who wants to read: neither a folder nor topics are made.
    pub async fn open_existing(config: &Config) -> Result<Self, Failure> {
        if config.needs_folder() {
            folder::expect(config)?;
        }
        let mut config = config.clone();
        if let Some(kafka) = &mut config.kafka
            && kafka.topics == Topics::Create
        {
            kafka.topics = Topics::Check;
        }
        Self::open(&config, &prometheus::Registry::new()).await
    }

    /// The API keys in it.
    pub fn keys(&self) -> Keys {
        Keys::new(Arc::clone(&self.store))
    }

    /// Reads and writes of entities, by the wall clock.
    pub fn entities(&self) -> Entities {
        let (store, log) = (Arc::clone(&self.store), Arc::clone(&self.log));
        Entities::new(store, log, Arc::clone(&self.codec), Arc::new(clock::now))
    }

    /// The way into its log.
    pub fn ingest(
        &self,
        keys: Keys,
        config: openinfra_ingest::Config,
        metrics: &prometheus::Registry,
    ) -> Arc<Ingest> {
        let (log, codec) = (Arc::clone(&self.log), Arc::clone(&self.codec));
        Ingest::new(log, codec, keys, config, metrics)
    }

    /// Tells in metrics and log whether the registry answers, until `stop`.
    pub fn watch_registry(&self, stop: CancellationToken) -> impl Future<Output = ()> + 'static {
        let registry = self.registry.clone();
        async move {
            match registry {
                Some(registry) => {
                    stop.run_until_cancelled(registry.watch(REGISTRY_LOOK))
                        .await;
                }
                None => stop.cancelled().await,
            }
        }
    }

    /// Commits and syncs what was asked for before.
    pub async fn close(self) -> Result<(), anyhow::Error> {
        drop((self.log, self.store, self.codec, self.schemas));
        folder::close(self.embedded).await
    }
}

fn not_registered(error: RegistryError) -> anyhow::Error {
    let what = match &error {
        RegistryError::Incompatible { .. } => {
            "the schemas cannot be registered: what stands under a subject is somebody else's, or of a newer \
             version of this program; name other subjects (--topic-prefix, or subject_prefix in [registry]), or \
             run that version"
        }
        _ => "the schemas",
    };
    anyhow::Error::new(error).context(what)
}

fn unknown(error: impl Into<anyhow::Error>) -> Failure {
    Failure::new(exit::UNKNOWN, error)
}
