//! The health of what sensors stand on. Assets are opaque ids so far: one exists when a sensor names it.

use axum::{extract::State, response::Response};
use openinfra_schemas::key::partition_of;
use openinfra_store::{
    Freshness, KeyBuf, Row, RowKey, get_row,
    tables::views::{ASSET_SHARDS, AssetHealthRow},
};
use serde::Serialize;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::AppState,
    error::ApiError,
    extract::{Allowed, ApiPath, ApiQuery, NoQuery, permission::ViewAllAssets},
    fresh::Fresh,
    openapi::Problems,
    wire::Ts,
};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(find_asset_health))
}

/// What an asset's sensors say of it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct AssetHealthResponse {
    pub asset_id: String,
    /// The worst severity of its open alerts.
    pub worst_severity: Option<String>,
    pub open_alerts: OpenAlerts,
    pub sensors: AssetSensors,
    pub as_of: Ts,
}

/// Open alerts by severity.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct OpenAlerts {
    pub info: i64,
    pub low: i64,
    pub medium: i64,
    pub high: i64,
    pub critical: i64,
}

/// Sensors by status; a stale one is counted under its status too.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct AssetSensors {
    pub total: i64,
    pub online: i64,
    pub offline: i64,
    pub stale: i64,
    pub never_seen: i64,
}

/// Finds an asset's health.
#[utoipa::path(
    get,
    path = "/api/v1/assets/{id}/health",
    tag = "assets",
    params(("id" = String, Path, description = "The asset's id, percent-encoded")),
    responses(
        (status = 200, description = "Its health", body = AssetHealthResponse),
        Problems,
    ),
    security(("api_key" = []), ("bearer" = [])),
)]
async fn find_asset_health(
    State(app): State<AppState>,
    caller: Allowed<ViewAllAssets>,
    ApiPath(id): ApiPath<String>,
    _: ApiQuery<NoQuery>,
    fresh: Fresh,
) -> Result<Response, ApiError> {
    let as_of = fresh.as_of()?;
    let shard = partition_of(id.as_bytes(), ASSET_SHARDS);
    let partition = KeyBuf::new().text(caller.tenant().as_str()).int(shard);
    let key = RowKey::new(AssetHealthRow::TABLE, &partition, &KeyBuf::new().text(&id));
    let row = get_row::<AssetHealthRow>(&*app.store, &key, Freshness::Acknowledged).await?;
    let row = row.ok_or_else(|| ApiError::not_found("asset", &id))?;
    Ok(fresh.json(AssetHealthResponse {
        asset_id: row.asset_id,
        worst_severity: row.worst_severity,
        open_alerts: OpenAlerts {
            info: row.alerts_info,
            low: row.alerts_low,
            medium: row.alerts_medium,
            high: row.alerts_high,
            critical: row.alerts_critical,
        },
        sensors: AssetSensors {
            total: row.sensors_total,
            online: row.sensors_online,
            offline: row.sensors_offline,
            stale: row.sensors_stale,
            never_seen: row.sensors_never_seen,
        },
        as_of: Ts(as_of),
    }))
}
