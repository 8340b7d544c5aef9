//! A data folder opened by this process, and what is made of it.
//!
//! What a newcomer would get wrong: one process has a folder open at a time, so that every command with
//! `--data` fails while a server runs on it; the error says so and names the way around.

use std::{path::Path, sync::Arc};

use anyhow::Context as _;
use openinfra_api::entities::Entities;
use openinfra_embedded::{Embedded, OpenError, Options};
use openinfra_ingest::Ingest;
use openinfra_intake::Keys;
use openinfra_log::Log;
use openinfra_schemas::{Codec, registry::RegistryCatalog};
use openinfra_store::Store;

use crate::{
    clock,
    exit::{self, Failure},
};

/// Log, store and codec of one folder.
pub struct OpenFolder {
    embedded: Embedded,
    pub log: Arc<dyn Log>,
    pub store: Arc<dyn Store>,
    pub codec: Arc<Codec>,
}

/// What views are made from and of. Cheap to clone.
#[derive(Clone)]
pub struct Parts {
    pub log: Arc<dyn Log>,
    pub store: Arc<dyn Store>,
    pub codec: Arc<Codec>,
}

impl OpenFolder {
    /// Log, store and codec together.
    pub fn parts(&self) -> Parts {
        Parts {
            log: Arc::clone(&self.log),
            store: Arc::clone(&self.store),
            codec: Arc::clone(&self.codec),
        }
    }

    /// Opens a folder, or makes it where there is none.
    ///
    /// # Errors
    /// With [`exit::UNKNOWN`], as nothing can be said about what is in it.
    pub async fn open(dir: &Path) -> Result<Self, Failure> {
        let owned = dir.to_owned();
        // Opening reads journals, and blocks meanwhile.
        let opened =
            tokio::task::spawn_blocking(move || Embedded::open(&owned, Options::default()))
                .await
                .context("opening the data folder")?;
        let embedded = opened.map_err(refused)?;
        let codec = Codec::open(embedded.registry())
            .await
            .with_context(|| format!("the schemas in {}", dir.display()))?;
        Ok(Self {
            log: embedded.log(),
            store: embedded.store(),
            codec: Arc::new(codec),
            embedded,
        })
    }

    /// As [`OpenFolder::open`], for who wants to read: a folder that is not there is not made.
    pub async fn open_existing(dir: &Path) -> Result<Self, Failure> {
        if dir.join("format.json").is_file() {
            return Self::open(dir).await;
        }
        let error = anyhow::anyhow!(
            "{} is no data folder: it holds no format.json",
            dir.display()
        );
        Err(Failure::new(exit::UNKNOWN, error))
    }

    /// The schemas in it.
    pub fn registry(&self) -> Arc<dyn RegistryCatalog> {
        self.embedded.registry()
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

    /// Commits and syncs what was asked for before.
    pub async fn close(self) -> Result<(), anyhow::Error> {
        drop((self.log, self.store, self.codec));
        let embedded = self.embedded;
        let closed = tokio::task::spawn_blocking(move || embedded.close()).await?;
        closed.context("closing the data folder")
    }
}

fn refused(error: OpenError) -> Failure {
    let locked = matches!(error, OpenError::Locked(_));
    let error = anyhow::Error::new(error);
    let error = if locked {
        error.context(
            "a server has the folder open; talk to it (views: --url http://HOST:PORT, replay: --to \
             http://HOST:PORT), or stop it first",
        )
    } else {
        error
    };
    Failure::new(exit::UNKNOWN, error)
}
