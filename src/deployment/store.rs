//! The store by itself: all that API keys need.
//!
//! What a newcomer would get wrong: [`Deployment`](super::Deployment) would do, and a leaked key could then not be
//! revoked while Kafka or the registry is away.

use std::sync::Arc;

use openinfra_embedded::Embedded;
use openinfra_intake::Keys;
use openinfra_scylla::ScyllaStore;
use openinfra_store::{Store, tables};

use super::{folder, unknown};
use crate::{config::Config, exit::Failure};

/// A store, open. Of log and registry nothing is asked, and no folder is made for them.
pub struct StoreAlone {
    /// Open when the store is in it.
    embedded: Option<Embedded>,
    store: Arc<dyn Store>,
}

impl StoreAlone {
    /// Opens the store that the configuration names. Where it is embedded a data folder is made when there is
    /// none; a keyspace is not.
    ///
    /// # Errors
    /// With [`exit::UNKNOWN`](crate::exit::UNKNOWN), as nothing can be said about what is in it.
    pub async fn open(config: &Config) -> Result<Self, Failure> {
        let embedded = match config.cql {
            None => Some(folder::open(&config.data).await?),
            Some(_) => None,
        };
        let store = open(config, embedded.as_ref(), &prometheus::Registry::new()).await?;
        Ok(Self { embedded, store })
    }

    /// As [`StoreAlone::open`], without making a folder.
    pub async fn open_existing(config: &Config) -> Result<Self, Failure> {
        if config.cql.is_none() {
            folder::expect(config)?;
        }
        Self::open(config).await
    }

    /// The API keys in it.
    pub fn keys(&self) -> Keys {
        Keys::new(Arc::clone(&self.store))
    }

    /// Commits and syncs what was asked for before.
    pub async fn close(self) -> Result<(), anyhow::Error> {
        drop(self.store);
        folder::close(self.embedded).await
    }
}

/// The store that the configuration names; `embedded` is open where that is the one.
pub(super) async fn open(
    config: &Config,
    embedded: Option<&Embedded>,
    metrics: &prometheus::Registry,
) -> Result<Arc<dyn Store>, Failure> {
    let Some(cql) = &config.cql else {
        return Ok(embedded.expect("it is open where it is needed").store());
    };
    let opened = ScyllaStore::open(cql, tables::ALL, metrics).await;
    Ok(Arc::new(opened.map_err(unknown)?))
}
