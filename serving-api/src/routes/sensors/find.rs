//! One sensor by its id: the entity as it stands now, beside what the views say of it.

use axum::{extract::State, response::Response};
use serde::Deserialize;

use crate::{
    app::AppState,
    error::ApiError,
    etag::tagged,
    extract::{Allowed, ApiQuery, IfNoneMatch, SensorPath, permission::ViewTelemetry},
    fresh::Fresh,
    openapi::Problems,
};

use super::{response::SensorResponse, views::Views};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Include {
    Latest,
}

#[derive(Debug, Clone, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct FindSensorQuery {
    #[param(style = Form, explode = false, inline)]
    include: Option<Vec<Include>>,
}

/// Finds a sensor: the entity as it stands now, its status as of the views' tick.
#[utoipa::path(
    get,
    path = "/api/v1/iot/sensors/{id}",
    tag = "sensors",
    params(
        ("id" = String, Path, description = "The sensor's id, percent-encoded"),
        FindSensorQuery,
    ),
    responses(
        (status = 200, description = "The sensor", body = SensorResponse),
        (status = 304, description = "It is at the version that the client has"),
        Problems,
    ),
    security(("api_key" = []), ("bearer" = [])),
)]
pub(super) async fn find_sensor(
    State(app): State<AppState>,
    caller: Allowed<ViewTelemetry>,
    SensorPath(id): SensorPath,
    ApiQuery(query): ApiQuery<FindSensorQuery>,
    have: IfNoneMatch,
    fresh: Fresh,
) -> Result<Response, ApiError> {
    let tenant = caller.tenant();
    let stored = app.entities.find_sensor(tenant, &id).await?;
    let views = Views::of(&app, tenant, &id).await?;
    let include = query.include.is_some_and(|include| !include.is_empty());
    let sensor = match &stored {
        Some(stored) => views.beside(stored, include),
        None if views.is_empty() => return Err(ApiError::not_found("sensor", id.as_str())),
        None => views.alone(&id, include),
    };
    let response = fresh.json(sensor);
    Ok(match stored {
        Some(stored) => tagged(response, stored.version, &have),
        None => response,
    })
}
