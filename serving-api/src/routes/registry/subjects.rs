//! Subjects and their versions.

use axum::{Json, http::header, response::IntoResponse};
use openinfra_schemas::{compatibility::canonical, registry::SchemaId};
use serde::Serialize;

use super::{Catalog, Hints, Refusals, Refused, SchemaBody, VersionPath};
use crate::extract::{
    Allowed, ApiJson, ApiPath, ApiQuery,
    permission::{ManagePlatform, ViewOperations},
};

/// The longest name of a subject, in bytes.
const MAX_SUBJECT_BYTES: usize = 255;

/// One version of a subject.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct VersionResponse {
    subject: String,
    /// Counts the subject's versions from 1.
    version: usize,
    /// Of the schema, in all subjects the same.
    #[schema(value_type = u32)]
    id: SchemaId,
    /// The schema's JSON, as a string.
    schema: String,
}

/// The id of a schema that is registered.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct IdResponse {
    #[schema(value_type = u32)]
    id: SchemaId,
}

/// Lists the subjects.
#[utoipa::path(
    get,
    path = "/registry/subjects",
    tag = "registry",
    responses(
        (status = 200, description = "Their names", content(
            (Vec<String> = "application/vnd.schemaregistry.v1+json"),
            (Vec<String> = "application/json"),
        )),
        Refusals,
    ),
    security(("api_key" = []), ("bearer" = [])),
)]
pub(super) async fn list_subjects(
    _: Allowed<ViewOperations>,
    catalog: Catalog,
    _: ApiQuery<Hints>,
) -> Result<Json<Vec<String>>, Refused> {
    Ok(Json(catalog.0.subjects().await?))
}

/// Lists the numbers of a subject's versions.
#[utoipa::path(
    get,
    path = "/registry/subjects/{subject}/versions",
    tag = "registry",
    params(("subject" = String, Path, description = "The topic's name and `-value`")),
    responses(
        (status = 200, description = "Their numbers", content(
            (Vec<usize> = "application/vnd.schemaregistry.v1+json"),
            (Vec<usize> = "application/json"),
        )),
        Refusals,
    ),
    security(("api_key" = []), ("bearer" = [])),
)]
pub(super) async fn list_versions(
    _: Allowed<ViewOperations>,
    catalog: Catalog,
    ApiPath(subject): ApiPath<String>,
    _: ApiQuery<Hints>,
) -> Result<Json<Vec<usize>>, Refused> {
    let versions = catalog.versions(&subject).await?;
    Ok(Json((1..=versions.len()).collect()))
}

/// Finds a version of a subject.
#[utoipa::path(
    get,
    path = "/registry/subjects/{subject}/versions/{version}",
    tag = "registry",
    params(
        ("subject" = String, Path, description = "The topic's name and `-value`"),
        ("version" = String, Path, description = "A number, or `latest`"),
    ),
    responses(
        (status = 200, description = "The version", content(
            (VersionResponse = "application/vnd.schemaregistry.v1+json"),
            (VersionResponse = "application/json"),
        )),
        Refusals,
    ),
    security(("api_key" = []), ("bearer" = [])),
)]
pub(super) async fn find_version(
    _: Allowed<ViewOperations>,
    catalog: Catalog,
    ApiPath(path): ApiPath<VersionPath>,
    _: ApiQuery<Hints>,
) -> Result<Json<VersionResponse>, Refused> {
    let (version, id) = catalog.version(&path.subject, &path.version).await?;
    Ok(Json(VersionResponse {
        subject: path.subject,
        version,
        id,
        schema: catalog.0.schema(id).await?,
    }))
}

/// Finds the bare schema of a version.
#[utoipa::path(
    get,
    path = "/registry/subjects/{subject}/versions/{version}/schema",
    tag = "registry",
    params(
        ("subject" = String, Path, description = "The topic's name and `-value`"),
        ("version" = String, Path, description = "A number, or `latest`"),
    ),
    responses(
        (status = 200, description = "The schema itself", content(
            (Object = "application/vnd.schemaregistry.v1+json"),
            (Object = "application/json"),
        )),
        Refusals,
    ),
    security(("api_key" = []), ("bearer" = [])),
)]
pub(super) async fn find_version_schema(
    _: Allowed<ViewOperations>,
    catalog: Catalog,
    ApiPath(path): ApiPath<VersionPath>,
    _: ApiQuery<Hints>,
) -> Result<impl IntoResponse, Refused> {
    let (_, id) = catalog.version(&path.subject, &path.version).await?;
    let schema = catalog.0.schema(id).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], schema))
}

/// Finds the version of a subject that a schema is.
#[utoipa::path(
    post,
    path = "/registry/subjects/{subject}",
    tag = "registry",
    params(("subject" = String, Path, description = "The topic's name and `-value`")),
    request_body = SchemaBody,
    responses(
        (status = 200, description = "The version", content(
            (VersionResponse = "application/vnd.schemaregistry.v1+json"),
            (VersionResponse = "application/json"),
        )),
        Refusals,
    ),
    security(("api_key" = []), ("bearer" = [])),
)]
pub(super) async fn find_schema_in_subject(
    _: Allowed<ViewOperations>,
    catalog: Catalog,
    ApiPath(subject): ApiPath<String>,
    _: ApiQuery<Hints>,
    body: ApiJson<SchemaBody>,
) -> Result<Json<VersionResponse>, Refused> {
    let wanted = canonical(&body.value.avro()?).map_err(|e| Refused::invalid_schema(&e))?;
    let versions = catalog.versions(&subject).await?;
    for (at, id) in versions.into_iter().enumerate() {
        let schema = catalog.0.schema(id).await?;
        if canonical(&schema).is_ok_and(|known| known == wanted) {
            return Ok(Json(VersionResponse {
                subject,
                version: at + 1,
                id,
                schema,
            }));
        }
    }
    Err(Refused::no_schema(&format!("in subject {subject:?}")))
}

/// Registers a schema under a subject, or finds it there; it must read what the newest version wrote.
#[utoipa::path(
    post,
    path = "/registry/subjects/{subject}/versions",
    tag = "registry",
    params(("subject" = String, Path, description = "The topic's name and `-value`")),
    request_body = SchemaBody,
    responses(
        (status = 200, description = "Its id", content(
            (IdResponse = "application/vnd.schemaregistry.v1+json"),
            (IdResponse = "application/json"),
        )),
        Refusals,
    ),
    security(("api_key" = []), ("bearer" = [])),
)]
pub(super) async fn register_schema(
    _: Allowed<ManagePlatform>,
    catalog: Catalog,
    ApiPath(subject): ApiPath<String>,
    _: ApiQuery<Hints>,
    body: ApiJson<SchemaBody>,
) -> Result<Json<IdResponse>, Refused> {
    check_name(&subject)?;
    let schema = body.value.avro()?;
    let id = catalog.0.register(&subject, &schema).await?;
    Ok(Json(IdResponse { id }))
}

/// What is looked for may have any name; what is kept may not.
fn check_name(subject: &str) -> Result<(), Refused> {
    if subject.is_empty() || subject.len() > MAX_SUBJECT_BYTES {
        return Err(Refused::invalid_subject(&format!(
            "its name has {} bytes, and may have 1 to {MAX_SUBJECT_BYTES}",
            subject.len()
        )));
    }
    if subject.chars().any(char::is_control) {
        return Err(Refused::invalid_subject(
            "its name holds control characters",
        ));
    }
    Ok(())
}
