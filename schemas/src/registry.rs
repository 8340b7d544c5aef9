//! What a schema registry does for us.

pub mod conformance;

use async_trait::async_trait;

/// The id of a schema, as it stands in each record's frame.
pub type SchemaId = u32;

/// Why a registry did not answer with a schema.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No schema has this id, for sure: the registry itself said so. The record that carries it is
    /// `schema_rejected`. An answer that leaves it open, such as a proxy's 404, is
    /// [`Unavailable`](Self::Unavailable).
    #[error("schema id {0} is not registered")]
    UnknownId(SchemaId),
    /// What stands under the id is of another kind, such as JSON Schema: as good as unknown, and for ever.
    #[error("schema id {id} is no Avro schema but {kind}")]
    NotAvro { id: SchemaId, kind: String },
    /// The schema cannot read what its predecessors wrote.
    #[error("schema for subject {subject} is not backward compatible: {reason}")]
    Incompatible { subject: String, reason: String },
    #[error("schema for subject {subject} does not parse: {reason}")]
    Unparsable { subject: String, reason: String },
    /// It may answer later. Nothing may be said of a record meanwhile: whoever reads it waits.
    #[error("the schema registry did not answer: {0}")]
    Unavailable(String),
}

/// Keeps schemas under stable ids.
///
/// An id is given once and for ever: the same schema text under the same subject gets the id that it
/// has. A schema is registered only when it is BACKWARD compatible with the subject's newest: it can
/// read every record written with that one.
#[async_trait]
pub trait Registry: Send + Sync {
    /// Registers a schema under a subject, or finds it there.
    async fn register(&self, subject: &str, schema: &str) -> Result<SchemaId, RegistryError>;

    /// The text of a schema.
    async fn schema(&self, id: SchemaId) -> Result<String, RegistryError>;
}

/// A registry whose contents can be gone through, so that it can be served to others.
#[async_trait]
pub trait RegistryCatalog: Registry {
    /// All subjects, in order of their names.
    async fn subjects(&self) -> Result<Vec<String>, RegistryError>;

    /// The schema ids of a subject's versions 1, 2, 3 and so on; none when there is no such subject.
    async fn versions(&self, subject: &str) -> Result<Vec<SchemaId>, RegistryError>;
}
