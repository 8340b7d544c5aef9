//! Schemas by their ids, and whether one may follow another.

use axum::Json;
use openinfra_schemas::{compatibility::check_backward, registry::SchemaId};
use serde::Serialize;

use super::{Catalog, Hints, Refusals, Refused, SchemaBody, VersionPath};
use crate::extract::{Allowed, ApiJson, ApiPath, ApiQuery, permission::ViewOperations};

/// A schema.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct SchemaResponse {
    /// The schema's JSON, as a string.
    schema: String,
}

/// Whether a schema may follow a version.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct CompatibilityResponse {
    is_compatible: bool,
    /// Why not.
    messages: Vec<String>,
}

/// Finds a schema by the id that stands in each record.
#[utoipa::path(
    get,
    path = "/registry/schemas/ids/{id}",
    tag = "registry",
    params(("id" = u32, Path, description = "The schema's id")),
    responses(
        (status = 200, description = "The schema", content(
            (SchemaResponse = "application/vnd.schemaregistry.v1+json"),
            (SchemaResponse = "application/json"),
        )),
        Refusals,
    ),
    security(("api_key" = []), ("bearer" = [])),
)]
pub(super) async fn find_schema(
    _: Allowed<ViewOperations>,
    catalog: Catalog,
    ApiPath(id): ApiPath<String>,
    _: ApiQuery<Hints>,
) -> Result<Json<SchemaResponse>, Refused> {
    let number: SchemaId = id.parse().map_err(|_| Refused::no_schema(&id))?;
    let schema = catalog.0.schema(number).await?;
    Ok(Json(SchemaResponse { schema }))
}

/// Says whether a schema reads what a version wrote.
#[utoipa::path(
    post,
    path = "/registry/compatibility/subjects/{subject}/versions/{version}",
    tag = "registry",
    params(
        ("subject" = String, Path, description = "The topic's name and `-value`"),
        ("version" = String, Path, description = "A number, or `latest`"),
    ),
    request_body = SchemaBody,
    responses(
        (status = 200, description = "Whether it does", content(
            (CompatibilityResponse = "application/vnd.schemaregistry.v1+json"),
            (CompatibilityResponse = "application/json"),
        )),
        Refusals,
    ),
    security(("api_key" = []), ("bearer" = [])),
)]
pub(super) async fn check_compatibility(
    _: Allowed<ViewOperations>,
    catalog: Catalog,
    ApiPath(path): ApiPath<VersionPath>,
    _: ApiQuery<Hints>,
    body: ApiJson<SchemaBody>,
) -> Result<Json<CompatibilityResponse>, Refused> {
    let schema = body.value.avro()?;
    let (_, id) = catalog.version(&path.subject, &path.version).await?;
    let old = catalog.0.schema(id).await?;
    let messages: Vec<String> = check_backward(&schema, &old).err().into_iter().collect();
    Ok(Json(CompatibilityResponse {
        is_compatible: messages.is_empty(),
        messages,
    }))
}
