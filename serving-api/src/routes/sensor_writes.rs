//! Registering, configuring and removing sensors.
//!
//! A write answers when it is in the log, and with a token: the views have it a tick later, and a read
//! that carries the token waits for that.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use openinfra_log::WriteToken;
use openinfra_schemas::{Sensor, SensorId, TenantId};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{
    app::{App, AppState},
    entities::{Change, NewSensor, SensorFields, Written},
    error::ApiError,
    etag::etag,
    extract::{
        Allowed, ApiQuery, IdempotencyKey, IfMatch, JsonBody, NoQuery, PutCondition, SensorPath,
        permission::ManageIot,
    },
    idempotency::{Request, once},
    openapi::Problems,
};

use super::sensors::{CreateSensorBody, SensorBody, SensorResponse, written};

/// The header with which every write answers.
pub const TOKEN: HeaderName = HeaderName::from_static("openinfra-token");

/// All but what RFC 3986 leaves as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Registers a sensor.
#[utoipa::path(
    post,
    path = "/api/v1/iot/sensors",
    tag = "sensors",
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 128 visible ASCII characters; the same key and body have one effect and one answer for 24 hours"),
    ),
    request_body = CreateSensorBody,
    responses(
        (status = 201, description = "Registered", body = SensorResponse, headers(
            ("Location" = String, description = "The sensor's path"),
            ("ETag" = String, description = "Its version"),
            ("OpenInfra-Token" = String, description = "For `OpenInfra-After` of a later read"),
        )),
        Problems,
    ),
    security(("api_key" = []), ("bearer" = [])),
)]
pub(crate) async fn create_sensor(
    State(app): State<AppState>,
    caller: Allowed<ManageIot>,
    _: ApiQuery<NoQuery>,
    IdempotencyKey(key): IdempotencyKey,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let request = Request::new(caller.principal(), "create_sensor", key, &body.bytes);
    let caller = Arc::new(caller);
    once(&app, request, {
        let app = app.clone();
        move |change| {
            let (app, caller) = (app.clone(), Arc::clone(&caller));
            let new = NewSensor::from_json(&body.value);
            async move { created(&app, &caller, new?, &change).await }
        }
    })
    .await
}

async fn created(
    app: &App,
    caller: &Allowed<ManageIot>,
    new: NewSensor,
    change: &Change,
) -> Result<Response, ApiError> {
    let (actor, tenant) = (caller.actor(), caller.tenant());
    let done = app
        .entities
        .create_sensor_once(actor, tenant, new, change)
        .await?;
    created_as(app, tenant, &done).await
}

/// 201, and where the sensor is.
async fn created_as(
    app: &App,
    tenant: &TenantId,
    done: &Written<Sensor>,
) -> Result<Response, ApiError> {
    let body = answer(app, tenant, done).await?;
    let mut response = (StatusCode::CREATED, Json(body)).into_response();
    let location = HeaderValue::try_from(path_of(&done.entity.sensor_id))
        .expect("a percent-encoded path is visible ASCII");
    response.headers_mut().insert(header::LOCATION, location);
    Ok(wrote(response, done.version, &done.token))
}

/// The body of a write's answer.
async fn answer(
    app: &App,
    tenant: &TenantId,
    done: &Written<Sensor>,
) -> Result<SensorResponse, ApiError> {
    let body = written(app, tenant, &done.entity, done.version).await;
    body.map_err(ApiError::after_write)
}

/// Replaces what was written of a sensor, or registers it; absent fields get their default.
#[utoipa::path(
    put,
    path = "/api/v1/iot/sensors/{id}",
    tag = "sensors",
    params(
        ("id" = String, Path, description = "The sensor's id, percent-encoded"),
        ("If-Match" = Option<String>, Header, description = "The version that the change is meant for: `\"v7\"`; this or `If-None-Match` is required"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: create only; 412 when the sensor is registered"),
    ),
    request_body = SensorBody,
    responses(
        (status = 200, description = "As it stands now", body = SensorResponse),
        (status = 201, description = "Registered: `If-None-Match: *`", body = SensorResponse, headers(
            ("Location" = String, description = "The sensor's path"),
        )),
        Problems,
    ),
    security(("api_key" = []), ("bearer" = [])),
)]
pub(crate) async fn update_sensor(
    State(app): State<AppState>,
    caller: Allowed<ManageIot>,
    SensorPath(id): SensorPath,
    _: ApiQuery<NoQuery>,
    condition: PutCondition,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let fields = SensorFields::from_json(&body.value, &id)?;
    let (actor, tenant) = (caller.actor(), caller.tenant());
    match condition {
        PutCondition::Stands(version) => {
            let done = app
                .entities
                .update_sensor(actor, tenant, &id, version, fields)
                .await?;
            let body = answer(&app, tenant, &done).await?;
            Ok(wrote(Json(body).into_response(), done.version, &done.token))
        }
        PutCondition::Absent => {
            let sensor_id = id;
            let new = NewSensor { sensor_id, fields };
            let done = app
                .entities
                .create_sensor_if_absent(actor, tenant, new)
                .await?;
            created_as(&app, tenant, &done).await
        }
    }
}

/// Changes some of what was written of a sensor: an RFC 7396 merge patch.
#[utoipa::path(
    patch,
    path = "/api/v1/iot/sensors/{id}",
    tag = "sensors",
    params(
        ("id" = String, Path, description = "The sensor's id, percent-encoded"),
        ("If-Match" = String, Header, description = "The version that the change is meant for: `\"v7\"`"),
    ),
    request_body(
        content((SensorBody = "application/merge-patch+json"), (SensorBody = "application/json")),
        description = "Null sets a field to its default",
    ),
    responses(
        (status = 200, description = "As it stands now", body = SensorResponse),
        Problems,
    ),
    security(("api_key" = []), ("bearer" = [])),
)]
pub(crate) async fn patch_sensor(
    State(app): State<AppState>,
    caller: Allowed<ManageIot>,
    SensorPath(id): SensorPath,
    _: ApiQuery<NoQuery>,
    IfMatch(version): IfMatch,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let (actor, tenant) = (caller.actor(), caller.tenant());
    let done = app
        .entities
        .patch_sensor(actor, tenant, &id, version, &body.value)
        .await?;
    let body = answer(&app, tenant, &done).await?;
    Ok(wrote(Json(body).into_response(), done.version, &done.token))
}

/// Removes a sensor; its history stays, and its id may be registered again.
#[utoipa::path(
    delete,
    path = "/api/v1/iot/sensors/{id}",
    tag = "sensors",
    params(
        ("id" = String, Path, description = "The sensor's id, percent-encoded"),
        ("If-Match" = String, Header, description = "The version that the change is meant for: `\"v7\"`"),
    ),
    responses((status = 204, description = "Removed"), Problems),
    security(("api_key" = []), ("bearer" = [])),
)]
pub(crate) async fn delete_sensor(
    State(app): State<AppState>,
    caller: Allowed<ManageIot>,
    SensorPath(id): SensorPath,
    _: ApiQuery<NoQuery>,
    IfMatch(version): IfMatch,
) -> Result<Response, ApiError> {
    let (actor, tenant) = (caller.actor(), caller.tenant());
    let done = app
        .entities
        .delete_sensor(actor, tenant, &id, version)
        .await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().insert(TOKEN, token(&done.token));
    Ok(response)
}

/// Adds version and token of a write to its answer.
pub(super) fn wrote(mut response: Response, version: i64, written: &WriteToken) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::ETAG, etag(version));
    headers.insert(TOKEN, token(written));
    response
}

fn token(token: &WriteToken) -> HeaderValue {
    HeaderValue::try_from(token.to_string()).expect("a token is visible ASCII")
}

fn path_of(id: &SensorId) -> String {
    let segment = utf8_percent_encode(id.as_str(), SEGMENT);
    format!("/api/v1/iot/sensors/{segment}")
}
