//! What a tenant decides about all its sensors: the horizon, the future guard, self-registration.
//!
//! There is always one: before anyone wrote it, it has its defaults at version 0, and `If-Match: "v0"`
//! writes the first.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use openinfra_schemas::TenantSettings;
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::AppState,
    entities::SettingsFields,
    error::ApiError,
    etag::tagged,
    extract::{
        Allowed, AnyOne, ApiQuery, IfMatch, IfNoneMatch, JsonBody, NoQuery, PutCondition,
        permission::ManageSettings,
    },
    openapi::Problems,
    wire::Ts,
};

use super::sensor_writes::wrote;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(
        find_tenant_settings,
        update_tenant_settings,
        patch_tenant_settings
    ))
}

/// A tenant's settings.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct SettingsResponse {
    /// A reading older than this when it was received is `late_beyond_horizon`.
    pub horizon_ms: i64,
    /// A reading further ahead than this when it was received is `clock_future`.
    pub future_guard_ms: i64,
    /// Whether a sensor that nobody registered is accepted.
    pub auto_register: bool,
    /// From 1; 0: nobody wrote them, these are the defaults.
    pub version: i64,
    pub created_at: Option<Ts>,
    pub created_by: Option<String>,
    pub updated_at: Option<Ts>,
    pub updated_by: Option<String>,
}

/// What may be written; absent fields of a replacement get their default.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[expect(
    dead_code,
    reason = "describes the body; the write path reads it itself"
)]
pub struct SettingsBody {
    /// 0 to 3,153,600,000,000 (36,500 days); 93,600,000 (26 hours) by default.
    horizon_ms: Option<i64>,
    /// 0 to 86,400,000 (a day); 300,000 (5 minutes) by default.
    future_guard_ms: Option<i64>,
    /// True by default.
    auto_register: Option<bool>,
}

impl SettingsResponse {
    pub(crate) fn new(settings: &TenantSettings, version: i64) -> Self {
        let written = version > 0;
        Self {
            horizon_ms: settings.horizon_ms,
            future_guard_ms: settings.future_guard_ms,
            auto_register: settings.auto_register,
            version,
            created_at: written.then_some(Ts(settings.created_at)),
            created_by: written.then(|| settings.created_by.clone()),
            updated_at: written.then_some(Ts(settings.updated_at)),
            updated_by: written.then(|| settings.updated_by.clone()),
        }
    }
}

/// Finds the tenant's settings as they stand now.
#[utoipa::path(
    get,
    path = "/api/v1/tenant/settings",
    tag = "tenant",
    responses(
        (status = 200, description = "The settings", body = SettingsResponse),
        (status = 304, description = "They are at the version that the client has"),
        Problems,
    ),
    security(("api_key" = []), ("bearer" = [])),
)]
async fn find_tenant_settings(
    State(app): State<AppState>,
    caller: Allowed<AnyOne>,
    _: ApiQuery<NoQuery>,
    have: IfNoneMatch,
) -> Result<Response, ApiError> {
    let stored = app.entities.settings(caller.tenant()).await?;
    let body = Json(SettingsResponse::new(&stored.entity, stored.version));
    Ok(tagged(body.into_response(), stored.version, &have))
}

/// Replaces the tenant's settings; in force from the next tick.
#[utoipa::path(
    put,
    path = "/api/v1/tenant/settings",
    tag = "tenant",
    params(
        ("If-Match" = Option<String>, Header, description = "The version that the change is meant for: `\"v0\"` before the first; this or `If-None-Match` is required"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: create only, as `\"v0\"` does"),
    ),
    request_body = SettingsBody,
    responses(
        (status = 200, description = "As they stand now", body = SettingsResponse),
        Problems,
    ),
    security(("api_key" = []), ("bearer" = [])),
)]
async fn update_tenant_settings(
    State(app): State<AppState>,
    caller: Allowed<ManageSettings>,
    _: ApiQuery<NoQuery>,
    condition: PutCondition,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let version = match condition {
        PutCondition::Stands(version) => version,
        PutCondition::Absent => 0,
    };
    let fields = SettingsFields::from_json(&body.value)?;
    let (actor, tenant) = (caller.actor(), caller.tenant());
    let done = app
        .entities
        .update_settings(actor, tenant, version, fields)
        .await?;
    let body = Json(SettingsResponse::new(&done.entity, done.version));
    Ok(wrote(body.into_response(), done.version, &done.token))
}

/// Changes some of the tenant's settings: an RFC 7396 merge patch.
#[utoipa::path(
    patch,
    path = "/api/v1/tenant/settings",
    tag = "tenant",
    params(("If-Match" = String, Header, description = "The version that the change is meant for: `\"v0\"` before the first")),
    request_body(
        content((SettingsBody = "application/merge-patch+json"), (SettingsBody = "application/json")),
        description = "Null sets a field to its default",
    ),
    responses(
        (status = 200, description = "As they stand now", body = SettingsResponse),
        Problems,
    ),
    security(("api_key" = []), ("bearer" = [])),
)]
async fn patch_tenant_settings(
    State(app): State<AppState>,
    caller: Allowed<ManageSettings>,
    _: ApiQuery<NoQuery>,
    IfMatch(version): IfMatch,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let (actor, tenant) = (caller.actor(), caller.tenant());
    let done = app
        .entities
        .patch_settings(actor, tenant, version, &body.value)
        .await?;
    let body = Json(SettingsResponse::new(&done.entity, done.version));
    Ok(wrote(body.into_response(), done.version, &done.token))
}
