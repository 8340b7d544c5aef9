//! One alert by its id, wherever its row stands.

use axum::{extract::State, response::Response};
use openinfra_schemas::TenantId;
use openinfra_store::{
    Freshness, KeyBuf, Row, RowKey, get_row,
    tables::views::{AlertByIdRow, AlertRow},
};

use crate::{
    app::{App, AppState},
    error::ApiError,
    extract::{Allowed, ApiPath, ApiQuery, NoQuery, permission::ViewAlerts},
    fresh::Fresh,
    openapi::Problems,
};

use super::{partition_of, response::AlertResponse};

/// Finds an alert.
#[utoipa::path(
    get,
    path = "/api/v1/alerts/{id}",
    tag = "alerts",
    params(("id" = String, Path, description = "The alert's id")),
    responses(
        (status = 200, description = "The alert", body = AlertResponse),
        Problems,
    ),
    security(("api_key" = []), ("bearer" = [])),
)]
pub(super) async fn find_alert(
    State(app): State<AppState>,
    caller: Allowed<ViewAlerts>,
    ApiPath(id): ApiPath<String>,
    _: ApiQuery<NoQuery>,
    fresh: Fresh,
) -> Result<Response, ApiError> {
    fresh.as_of()?;
    // Its row moves when it clears: between reading where it is and reading it, it may have.
    for _ in 0..3 {
        if let Some(row) = find(&app, caller.tenant(), &id).await? {
            return Ok(fresh.json(AlertResponse::from(row)));
        }
    }
    Err(ApiError::not_found("alert", &id))
}

async fn find(app: &App, tenant: &TenantId, id: &str) -> Result<Option<AlertRow>, ApiError> {
    let partition = KeyBuf::new().text(tenant.as_str()).text(id);
    let key = RowKey::new(AlertByIdRow::TABLE, &partition, &KeyBuf::new());
    let place = get_row::<AlertByIdRow>(&*app.store, &key, Freshness::Acknowledged).await?;
    let Some(place) = place else {
        return Ok(None);
    };
    let partition = partition_of(tenant, &place.state, place.month);
    let clustering = KeyBuf::new().bigint(place.start_ts).text(id);
    let key = RowKey::new(AlertRow::TABLE, &partition, &clustering);
    Ok(get_row(&*app.store, &key, Freshness::Acknowledged).await?)
}
