//! The schema registry of a data folder.

use std::sync::Arc;

use async_trait::async_trait;
use openinfra_schemas::registry::{Registry, RegistryCatalog, RegistryError, SchemaId};

use crate::{committer::Request, handle::Handle, schemas};

/// Keeps schemas in the data folder. Ids count from 1 and the same schema has one id, under whatever
/// subject.
pub(crate) struct EmbeddedRegistry {
    pub(crate) handle: Arc<Handle>,
}

#[async_trait]
impl Registry for EmbeddedRegistry {
    async fn register(&self, subject: &str, schema: &str) -> Result<SchemaId, RegistryError> {
        let answer = self
            .handle
            .ask(|reply| Request::Register {
                subject: subject.to_owned(),
                schema: schema.to_owned(),
                reply,
            })
            .await;
        answer.map_err(schemas::unavailable)?
    }

    async fn schema(&self, id: SchemaId) -> Result<String, RegistryError> {
        schemas::find(self.handle.database(), id)
            .map_err(schemas::unavailable)?
            .ok_or(RegistryError::UnknownId(id))
    }
}

#[async_trait]
impl RegistryCatalog for EmbeddedRegistry {
    async fn subjects(&self) -> Result<Vec<String>, RegistryError> {
        schemas::subjects(self.handle.database()).map_err(schemas::unavailable)
    }

    async fn versions(&self, subject: &str) -> Result<Vec<SchemaId>, RegistryError> {
        schemas::versions(self.handle.database(), subject).map_err(schemas::unavailable)
    }
}
