//! The level of compatibility: BACKWARD for every subject, and it cannot be lowered.
//!
//! It can be "set" all the same, as clients see to it that it is what they need.

use axum::Json;
use serde::{Deserialize, Serialize};

use super::{Catalog, Hints, Refusals, Refused};
use crate::extract::{
    Allowed, ApiJson, ApiPath, ApiQuery,
    permission::{ManagePlatform, ViewOperations},
};

const LEVEL: &str = "BACKWARD";

/// The level in force.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct LevelResponse {
    #[serde(rename = "compatibilityLevel")]
    #[schema(example = "BACKWARD")]
    level: &'static str,
}

/// The level that is wanted, or was set.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub(super) struct LevelBody {
    #[schema(example = "BACKWARD")]
    compatibility: String,
}

/// Tells the level of compatibility.
#[utoipa::path(
    get,
    path = "/registry/config",
    tag = "registry",
    responses(
        (status = 200, description = "The level", content(
            (LevelResponse = "application/vnd.schemaregistry.v1+json"),
            (LevelResponse = "application/json"),
        )),
        Refusals,
    ),
    security(("api_key" = []), ("bearer" = [])),
)]
pub(super) async fn find_level(
    _: Allowed<ViewOperations>,
    _: Catalog,
    _: ApiQuery<Hints>,
) -> Json<LevelResponse> {
    Json(LevelResponse { level: LEVEL })
}

/// Tells the level of compatibility of a subject, whether it is there or not.
#[utoipa::path(
    get,
    path = "/registry/config/{subject}",
    tag = "registry",
    params(("subject" = String, Path, description = "The topic's name and `-value`")),
    responses(
        (status = 200, description = "The level", content(
            (LevelResponse = "application/vnd.schemaregistry.v1+json"),
            (LevelResponse = "application/json"),
        )),
        Refusals,
    ),
    security(("api_key" = []), ("bearer" = [])),
)]
pub(super) async fn find_subject_level(
    _: Allowed<ViewOperations>,
    _: Catalog,
    _: ApiPath<String>,
    _: ApiQuery<Hints>,
) -> Json<LevelResponse> {
    Json(LevelResponse { level: LEVEL })
}

/// Takes the level that is in force anyway.
#[utoipa::path(
    put,
    path = "/registry/config",
    tag = "registry",
    request_body = LevelBody,
    responses(
        (status = 200, description = "The level", content(
            (LevelBody = "application/vnd.schemaregistry.v1+json"),
            (LevelBody = "application/json"),
        )),
        Refusals,
    ),
    security(("api_key" = []), ("bearer" = [])),
)]
pub(super) async fn update_level(
    _: Allowed<ManagePlatform>,
    _: Catalog,
    _: ApiQuery<Hints>,
    body: ApiJson<LevelBody>,
) -> Result<Json<LevelBody>, Refused> {
    keep(body.value)
}

/// Takes the level that is in force anyway, for a subject.
#[utoipa::path(
    put,
    path = "/registry/config/{subject}",
    tag = "registry",
    params(("subject" = String, Path, description = "The topic's name and `-value`")),
    request_body = LevelBody,
    responses(
        (status = 200, description = "The level", content(
            (LevelBody = "application/vnd.schemaregistry.v1+json"),
            (LevelBody = "application/json"),
        )),
        Refusals,
    ),
    security(("api_key" = []), ("bearer" = [])),
)]
pub(super) async fn update_subject_level(
    _: Allowed<ManagePlatform>,
    _: Catalog,
    _: ApiPath<String>,
    _: ApiQuery<Hints>,
    body: ApiJson<LevelBody>,
) -> Result<Json<LevelBody>, Refused> {
    keep(body.value)
}

fn keep(body: LevelBody) -> Result<Json<LevelBody>, Refused> {
    match body.compatibility.as_str() {
        LEVEL => Ok(Json(body)),
        other => Err(Refused::invalid_level(other)),
    }
}
