//! The bodies of the registry's protocol, as far as we read and write them.

use serde::{Deserialize, Serialize};

/// How the protocol names its bodies.
pub(crate) const CONTENT_TYPE: &str = "application/vnd.schemaregistry.v1+json";

/// There is no such subject.
pub(crate) const NO_SUBJECT: u32 = 40_401;
/// The subject has no such version.
pub(crate) const NO_VERSION: u32 = 40_402;
/// There is no such schema: under this id, or in this subject.
pub(crate) const NO_SCHEMA: u32 = 40_403;
/// The subject has no level of compatibility of its own.
pub(crate) const NO_SUBJECT_LEVEL: u32 = 40_408;
/// The registry or the subject is read-only.
pub(crate) const NOT_PERMITTED: u32 = 42_205;

/// A schema on its way to the registry.
#[derive(Debug, Serialize)]
pub(crate) struct SchemaRequest<'a> {
    pub(crate) schema: &'a str,
    #[serde(rename = "schemaType")]
    pub(crate) kind: &'a str,
}

impl<'a> SchemaRequest<'a> {
    pub(crate) fn avro(schema: &'a str) -> Self {
        Self { schema, kind: AVRO }
    }
}

/// The kind of a schema that names none.
pub(crate) const AVRO: &str = "AVRO";

/// A schema as the registry gives it out.
#[derive(Debug, Deserialize)]
pub(crate) struct SchemaAnswer {
    pub(crate) schema: String,
    #[serde(rename = "schemaType")]
    pub(crate) kind: Option<String>,
}

impl SchemaAnswer {
    /// The text, or of what other kind it is.
    pub(crate) fn avro(self) -> Result<String, String> {
        match self.kind {
            Some(kind) if kind != AVRO => Err(kind),
            _ => Ok(self.schema),
        }
    }
}

/// The id of a schema that is registered.
#[derive(Debug, Deserialize)]
pub(crate) struct IdAnswer {
    pub(crate) id: u32,
}

/// A level of compatibility, as it is read.
#[derive(Debug, Deserialize)]
pub(crate) struct LevelAnswer {
    #[serde(rename = "compatibilityLevel")]
    pub(crate) level: String,
}

/// A level of compatibility, as it is set.
#[derive(Debug, Serialize)]
pub(crate) struct LevelRequest<'a> {
    #[serde(rename = "compatibility")]
    pub(crate) level: &'a str,
}

/// What a registry thinks of a schema.
#[derive(Debug, Deserialize)]
pub(crate) struct CompatibilityAnswer {
    #[serde(default)]
    pub(crate) messages: Vec<String>,
}

/// How the registry says no.
#[derive(Debug, Deserialize)]
pub(crate) struct ErrorAnswer {
    pub(crate) error_code: u32,
    #[serde(default)]
    pub(crate) message: String,
}
