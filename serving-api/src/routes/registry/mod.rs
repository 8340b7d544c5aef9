//! The schema registry: the part of Confluent's protocol that producers, consumers and their tools use.
//!
//! A newcomer would apply the conventions of our own API. The protocol is another's: its own content type,
//! its own errors ([`Refused`]), hints in the query that mean nothing here ([`Hints`]). What stands around
//! the routes to that end is [`face`]. A deployment whose schemas are kept elsewhere answers 404 with a
//! problem that says where.

mod face;
mod levels;
mod refused;
mod schemas;
mod subjects;

use std::sync::Arc;

use axum::{extract::FromRequestParts, http::request::Parts};
use openinfra_http::problem::{Problem, Slug};
use openinfra_schemas::{
    compatibility::canonical,
    registry::{RegistryCatalog, SchemaId},
};
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::app::{AppState, Schemas};

pub(crate) use face::face;
use refused::{Refusals, Refused};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(subjects::list_subjects))
        .routes(routes!(subjects::find_schema_in_subject))
        .routes(routes!(subjects::list_versions, subjects::register_schema))
        .routes(routes!(subjects::find_version))
        .routes(routes!(subjects::find_version_schema))
        .routes(routes!(schemas::find_schema))
        .routes(routes!(schemas::check_compatibility))
        .routes(routes!(levels::find_level, levels::update_level))
        .routes(routes!(
            levels::find_subject_level,
            levels::update_subject_level
        ))
}

/// The registry of this deployment.
struct Catalog(Arc<dyn RegistryCatalog>);

impl FromRequestParts<AppState> for Catalog {
    type Rejection = Problem;

    async fn from_request_parts(_: &mut Parts, app: &AppState) -> Result<Self, Problem> {
        match &app.schemas {
            Schemas::Own(catalog) => Ok(Self(Arc::clone(catalog))),
            Schemas::Elsewhere(address) => Err(Problem::new(Slug::NotFound)
                .detail(format!("schemas are kept by the registry at {address}"))
                .with("registry", address.as_str())),
        }
    }
}

impl Catalog {
    /// The ids of a subject's versions; there is one at least.
    async fn versions(&self, subject: &str) -> Result<Vec<SchemaId>, Refused> {
        let versions = self.0.versions(subject).await?;
        match versions.is_empty() {
            true => Err(Refused::no_subject(subject)),
            false => Ok(versions),
        }
    }

    /// The number and the schema's id of a version, which is a number or `latest`.
    async fn version(&self, subject: &str, version: &str) -> Result<(usize, SchemaId), Refused> {
        let number = match version {
            "latest" | "-1" => None,
            other => match other.parse::<usize>() {
                Ok(number) if number > 0 && i32::try_from(number).is_ok() => Some(number),
                _ => return Err(Refused::invalid_version(version)),
            },
        };
        let versions = self.versions(subject).await?;
        let number = number.unwrap_or(versions.len());
        match versions.get(number - 1) {
            Some(id) => Ok((number, *id)),
            None => Err(Refused::no_version(version)),
        }
    }
}

/// Path of a version.
#[derive(Debug, Deserialize)]
struct VersionPath {
    subject: String,
    version: String,
}

/// A schema on its way here. Other members that clients send, such as metadata, are passed over.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
struct SchemaBody {
    /// The schema's JSON, as a string.
    schema: String,
    /// `AVRO` where it is there.
    #[serde(default, rename = "schemaType")]
    kind: Option<String>,
    /// None may be given: a schema stands for itself.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    references: Option<Vec<serde_json::Value>>,
}

impl SchemaBody {
    /// The schema's text, which parses.
    fn avro(self) -> Result<String, Refused> {
        match self.kind.as_deref() {
            None | Some("AVRO") => {}
            Some(other) => {
                return Err(Refused::invalid_schema(&format!(
                    "its type is {other}; only AVRO is kept"
                )));
            }
        }
        if self.references.is_some_and(|all| !all.is_empty()) {
            return Err(Refused::invalid_schema(
                "it has references; a schema must hold all that it names",
            ));
        }
        match canonical(&self.schema) {
            Ok(_) => Ok(self.schema),
            Err(reason) => Err(Refused::invalid_schema(&reason)),
        }
    }
}

/// What clients of the protocol put into the query. Schemas are neither deleted nor joined here, so none of
/// it changes an answer; a parameter that is not of the protocol is refused.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hints {
    #[serde(rename = "defaultToGlobal")]
    _default_to_global: Option<String>,
    #[serde(rename = "deleted")]
    _deleted: Option<String>,
    #[serde(rename = "fetchMaxId")]
    _fetch_max_id: Option<String>,
    #[serde(rename = "format")]
    _format: Option<String>,
    #[serde(rename = "normalize")]
    _normalize: Option<String>,
    #[serde(rename = "subject")]
    _subject: Option<String>,
    #[serde(rename = "verbose")]
    _verbose: Option<String>,
}
