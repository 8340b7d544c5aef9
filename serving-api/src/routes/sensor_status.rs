//! A sensor's health: whether it is heard of, how old its data are, and when it was silent.

use axum::{extract::State, response::Response};
use openinfra_schemas::{Sensor, entity, time::Millis};
use openinfra_store::{
    Edge, Freshness, KeyBuf, Range, Row, StoreError, get_row, range_rows,
    tables::views::{LatestReadingRow, OfflineEpisodeRow, SensorStatusRow},
};
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::{App, AppState},
    error::ApiError,
    extract::{Allowed, ApiQuery, SensorPath, permission::ViewTelemetry},
    fresh::Fresh,
    history::Place,
    openapi::Problems,
    wire::Ts,
};

use super::sensors::{bucket_of, heard_at, sensor_key};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(find_sensor_status))
}

/// How many episodes are answered, the newest first.
const EPISODES: usize = 100;

/// Connectivity and freshness of a sensor.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct SensorStatusResponse {
    pub sensor_id: String,
    /// `never_seen`, `online` or `offline`.
    pub status: String,
    /// Since when it has this status.
    pub since: Option<Ts>,
    /// Greatest receive time of any of its messages.
    pub last_recv_at: Option<Ts>,
    /// Event time of its newest reading.
    pub last_event_ts: Option<Ts>,
    /// From when on it is offline unless something comes before.
    pub deadline: Option<Ts>,
    pub offline_since: Option<Ts>,
    pub timeout_ms: i64,
    /// Why it is offline: `silent` or `never_reported`.
    pub reason: Option<String>,
    /// Since when its newest reading is older than `max_age_ms`.
    pub stale_since: Option<Ts>,
    pub battery_pct: Option<f64>,
    pub signal_dbm: Option<f64>,
    /// Silences longer than the timeout, newest first, at most 100.
    pub offline_episodes: Vec<EpisodeResponse>,
    pub as_of: Ts,
}

/// A silence that was longer than the timeout.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct EpisodeResponse {
    pub offline_since: Ts,
    /// Null: still silent.
    pub recovered_at: Option<Ts>,
    pub gap_ms: Option<i64>,
}

#[derive(Debug, Clone, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SensorStatusQuery {
    /// Episodes that last beyond this time.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Ts>,
    /// Episodes that begin before this time.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<Ts>,
}

/// Finds a sensor's health, with its newest offline episodes.
#[utoipa::path(
    get,
    path = "/api/v1/iot/sensors/{id}/status",
    tag = "sensors",
    params(("id" = String, Path, description = "The sensor's id, percent-encoded"), SensorStatusQuery),
    responses(
        (status = 200, description = "Its health", body = SensorStatusResponse),
        Problems,
    ),
    security(("api_key" = []), ("bearer" = [])),
)]
async fn find_sensor_status(
    State(app): State<AppState>,
    caller: Allowed<ViewTelemetry>,
    SensorPath(id): SensorPath,
    ApiQuery(query): ApiQuery<SensorStatusQuery>,
    fresh: Fresh,
) -> Result<Response, ApiError> {
    let as_of = fresh.as_of()?;
    let tenant = caller.tenant();
    let place = Place {
        tenant: tenant.clone(),
        bucket: bucket_of(&app, tenant, &id),
        sensor_id: id,
    };
    let status: Option<SensorStatusRow> = row(&app, &place).await?;
    let latest: Option<LatestReadingRow> = row(&app, &place).await?;
    let mut answer = match &status {
        Some(status) => of_row(status),
        None => unseen(&app, &place).await?,
    };
    let last_recv_ts = heard_at(latest.as_ref(), status.as_ref());
    answer.last_recv_at = last_recv_ts.map(Ts);
    answer.deadline = deadline(last_recv_ts, status.as_ref(), answer.timeout_ms).map(Ts);
    if let Some(latest) = latest {
        answer.last_event_ts = Some(Ts(latest.event_ts));
        answer.battery_pct = latest.battery_pct;
        answer.signal_dbm = latest.signal_dbm;
    }
    answer.offline_episodes = episodes(&app, &place, &query).await?;
    answer.as_of = Ts(as_of);
    Ok(fresh.json(answer))
}

async fn row<R: Row>(app: &App, place: &Place) -> Result<Option<R>, StoreError> {
    let key = sensor_key(R::TABLE, &place.tenant, place.bucket, &place.sensor_id);
    get_row(&*app.store, &key, Freshness::Acknowledged).await
}

fn of_row(row: &SensorStatusRow) -> SensorStatusResponse {
    SensorStatusResponse {
        status: row.status.clone(),
        since: Some(Ts(row.since)),
        offline_since: row.offline_since.map(Ts),
        reason: row.reason.clone(),
        stale_since: row.stale_since.map(Ts),
        ..blank(row.sensor_id.as_str(), row.timeout_ms)
    }
}

/// The timeout after its last message; of a sensor that never sent, after its registration.
fn deadline(
    last_recv_ts: Option<Millis>,
    status: Option<&SensorStatusRow>,
    timeout_ms: Millis,
) -> Option<Millis> {
    if let Some(last_recv_ts) = last_recv_ts {
        return Some(last_recv_ts.saturating_add(timeout_ms));
    }
    let status = status?;
    match status.offline_since {
        Some(passed) => Some(passed),
        None => (status.status == "never_seen").then(|| status.since.saturating_add(timeout_ms)),
    }
}

/// Registered, but not in the views yet: they are a tick behind.
async fn unseen(app: &App, place: &Place) -> Result<SensorStatusResponse, ApiError> {
    let id = place.sensor_id.as_str();
    let stored = app
        .entities
        .find_sensor(&place.tenant, &place.sensor_id)
        .await?
        .ok_or_else(|| ApiError::not_found("sensor", id))?;
    Ok(blank(id, timeout_ms(&stored.entity)))
}

/// The sensor's own, else from its pace, else the default.
fn timeout_ms(sensor: &Sensor) -> i64 {
    let paced = sensor
        .reporting_interval_ms
        .map(|ms| ms.saturating_mul(3).max(60_000));
    sensor
        .offline_timeout_ms
        .or(paced)
        .unwrap_or(entity::DEFAULT_OFFLINE_TIMEOUT_MS)
}

fn blank(id: &str, timeout_ms: i64) -> SensorStatusResponse {
    SensorStatusResponse {
        sensor_id: id.to_owned(),
        status: "never_seen".to_owned(),
        since: None,
        last_recv_at: None,
        last_event_ts: None,
        deadline: None,
        offline_since: None,
        timeout_ms,
        reason: None,
        stale_since: None,
        battery_pct: None,
        signal_dbm: None,
        offline_episodes: Vec::new(),
        as_of: Ts(0),
    }
}

/// Episodes that overlap the span. They do not overlap each other: once one ends before it, so do all
/// older ones.
async fn episodes(
    app: &App,
    place: &Place,
    query: &SensorStatusQuery,
) -> Result<Vec<EpisodeResponse>, StoreError> {
    let bucket = KeyBuf::new().text(place.tenant.as_str()).int(place.bucket);
    let sensor = KeyBuf::new().text(place.sensor_id.as_str());
    let all = Range::prefix(
        OfflineEpisodeRow::TABLE,
        bucket.into_bytes(),
        sensor.clone().into_bytes(),
    );
    let range = match query.to {
        Some(to) => Range {
            to: Edge::Before(sensor.bigint(to.0).into_bytes()),
            ..all
        },
        None => all,
    };
    let range = range.descending().limit(EPISODES);
    let rows = range_rows::<OfflineEpisodeRow>(&*app.store, &range).await?;
    let overlaps = |row: &OfflineEpisodeRow| match (query.from, row.recovered_at) {
        (Some(from), Some(recovered_at)) => recovered_at > from.0,
        _ => true,
    };
    let rows = rows.into_iter().take_while(overlaps);
    Ok(rows.map(EpisodeResponse::from).collect())
}

impl From<OfflineEpisodeRow> for EpisodeResponse {
    fn from(row: OfflineEpisodeRow) -> Self {
        Self {
            offline_since: Ts(row.offline_since),
            recovered_at: row.recovered_at.map(Ts),
            gap_ms: row.gap_ms,
        }
    }
}
