//! A sensor's readings over time: the values themselves, or hourly aggregates of them.
//!
//! `readings` holds a row for each value that was ever taken; in force at an event time is the one of the
//! greatest offset. Days without readings are known beforehand, so that a long span costs what it holds.

use axum::{extract::State, response::Response};
use openinfra_http::problem::{Problem, Slug};
use openinfra_schemas::{
    SensorId, TenantId,
    time::{HOUR_MS, Millis, format_ts, hour_of},
};
use openinfra_store::{
    Freshness, Row, get_row,
    tables::views::{HourlyAggregateRow, LatestReadingRow, ReadingRow, SensorStatusRow},
};
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::{App, AppState},
    calendar::DAY_MS,
    error::ApiError,
    extract::{Allowed, ApiQuery, SensorPath, permission::ViewTelemetry},
    fresh::Fresh,
    history::{Place, Span, hours, readings},
    lists::{self, List, out_of_range},
    openapi::Problems,
    settings::Finality,
    wire::Ts,
};

use super::sensors::{bucket_of, sensor_key};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list_sensor_data))
}

/// A contribution is late from so long after its hour's end on.
const LATE_MS: Millis = 300_000;

/// One value of a sensor.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct ReadingResponse {
    pub event_ts: Ts,
    /// Null when the quality is BAD.
    pub value: Option<f64>,
    /// `GOOD`, `UNCERTAIN` or `BAD`.
    pub quality: &'static str,
    pub unit: Option<String>,
    pub recv_ts: Ts,
    /// `device`, or `server` when the device sent no time.
    pub ts_source: &'static str,
    /// Received 5 minutes or more after the end of its hour.
    pub late: bool,
    /// Whether another value stood here before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corrected: Option<bool>,
    pub battery_pct: Option<f64>,
    pub signal_dbm: Option<f64>,
}

/// An hour (UTC) of a sensor.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct AggregateResponse {
    pub sensor_id: String,
    /// Start of the hour.
    pub hour: Ts,
    /// Readings that are not BAD; when 0 the next seven are null.
    pub count: i64,
    pub sum: Option<f64>,
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub mean: Option<f64>,
    /// Of the population.
    pub stddev: Option<f64>,
    pub first: Option<f64>,
    pub last: Option<f64>,
    pub bad_count: i64,
    pub late_count: i64,
    /// Readings that the sensor's reporting interval lets expect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_count: Option<i64>,
    /// `count / expected_count`, at most 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coverage: Option<f64>,
    /// Whether nothing but an exception can change it any more.
    #[serde(rename = "final")]
    pub is_final: bool,
    /// When it was changed after it had been final.
    pub revised_at: Option<Ts>,
}

/// A page of readings or of hours.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct DataPage<T> {
    pub items: Vec<T>,
    pub next_cursor: Option<String>,
    pub as_of: Ts,
    /// With `granularity=hour`: hours that end here or before are final.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub final_through: Option<Ts>,
}

/// By the granularity that was asked for.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(untagged)]
enum DataResponse {
    Raw(DataPage<ReadingResponse>),
    Hour(DataPage<AggregateResponse>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum Granularity {
    #[default]
    Raw,
    Hour,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum Order {
    #[default]
    Asc,
    Desc,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "UPPERCASE")]
enum Quality {
    #[serde(alias = "good")]
    Good,
    #[serde(alias = "uncertain")]
    Uncertain,
    #[serde(alias = "bad")]
    Bad,
}

#[derive(Debug, Clone, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SensorDataQuery {
    /// Event times from here on; 24 hours before `to` by default.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Ts>,
    /// Event times before; just behind the newest reading by default.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<Ts>,
    #[serde(default)]
    #[param(inline)]
    granularity: Granularity,
    /// Any of these, joined by commas; of `raw` only.
    #[param(style = Form, explode = false, inline)]
    quality: Option<Vec<Quality>>,
    #[serde(default)]
    #[param(inline)]
    order: Order,
    /// 1 to 10,000; 1,000 by default.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Lists a sensor's readings, or its hours.
#[utoipa::path(
    get,
    path = "/api/v1/iot/sensors/{id}/data",
    tag = "sensors",
    params(("id" = String, Path, description = "The sensor's id, percent-encoded"), SensorDataQuery),
    responses(
        (status = 200, description = "A page of readings by event time, or of hours", body = DataResponse),
        Problems,
    ),
    security(("api_key" = []), ("bearer" = [])),
)]
async fn list_sensor_data(
    State(app): State<AppState>,
    caller: Allowed<ViewTelemetry>,
    SensorPath(id): SensorPath,
    ApiQuery(query): ApiQuery<SensorDataQuery>,
    fresh: Fresh,
) -> Result<Response, ApiError> {
    let as_of = fresh.as_of()?;
    let limit = lists::limit(query.limit, 1_000, 10_000)?;
    let tenant = caller.tenant();
    let place = Place {
        tenant: tenant.clone(),
        bucket: bucket_of(&app, tenant, &id),
        sensor_id: id,
    };
    let list = List {
        app: &app,
        route: "sensor_data",
        tenant: tenant.as_str(),
        filters: query.identity(&place.sensor_id),
    };
    let asked = asked(&app, &place, &query).await?;
    // A cursor carries the whole span: its defaults move with the newest reading.
    let span = list
        .position::<Span>(query.cursor.as_deref())?
        .unwrap_or(asked);
    match query.granularity {
        Granularity::Raw => {
            let wanted = query.quality.as_deref();
            let found =
                readings(&*app.store, &place, span, limit, |row| passes(wanted, row)).await?;
            if found.rows.is_empty() {
                newest(&app, &place).await?;
            }
            Ok(fresh.json(DataResponse::Raw(DataPage {
                items: found.rows.iter().map(raw).collect(),
                next_cursor: found.rest.map(|rest| list.cursor(&rest)),
                as_of: Ts(as_of),
                final_through: None,
            })))
        }
        Granularity::Hour => {
            let fresh = fresh.of_hours(&app).await?;
            let as_of = fresh.as_of()?;
            let finality = Finality::of(&*app.store, tenant, as_of).await?;
            let interval = interval_ms(&app, tenant, &place.sensor_id).await?;
            let found = hours(&*app.store, &place, span, limit).await?;
            if found.rows.is_empty() {
                newest(&app, &place).await?;
            }
            let items = found.rows.iter().map(|row| hour(row, finality, interval));
            Ok(fresh.json(DataResponse::Hour(DataPage {
                items: items.collect(),
                next_cursor: found.rest.map(|rest| list.cursor(&rest)),
                as_of: Ts(as_of),
                final_through: Some(Ts(finality.hours_through())),
            })))
        }
    }
}

impl SensorDataQuery {
    fn identity(&self, id: &SensorId) -> String {
        let Self {
            from,
            to,
            granularity,
            quality,
            order,
            ..
        } = self;
        format!("{id:?} {from:?} {to:?} {granularity:?} {quality:?} {order:?}")
    }
}

/// The span asked for; without a newest reading from which its end could be had, it ends with time.
async fn asked(app: &App, place: &Place, query: &SensorDataQuery) -> Result<Span, ApiError> {
    if query.granularity == Granularity::Hour && query.quality.is_some() {
        let detail = "is of granularity=raw only: hours count qualities apart";
        return Err(out_of_range("quality", detail).into());
    }
    let to = match query.to {
        Some(to) => to.0,
        None => newest(app, place)
            .await?
            .map_or(Millis::MAX, |newest| newest.event_ts + 1),
    };
    let from = query.from.map_or(to.saturating_sub(DAY_MS), |from| from.0);
    if from > to {
        let detail = format!("is not before to, which is {}", format_ts(to));
        return Err(Problem::new(Slug::MalformedRequest)
            .detail("from is after to")
            .error("from", "out_of_range", detail)
            .into());
    }
    let (from, to) = match query.granularity {
        Granularity::Raw => (from, to),
        // Hours that begin in the span; that of the newest reading is among them by default.
        Granularity::Hour if query.from.is_none() => (hour_of(from), to),
        Granularity::Hour => (from, to),
    };
    Ok(Span {
        from,
        to,
        descending: query.order == Order::Desc,
    })
}

/// The newest reading, if there is one; errs when there is no such sensor.
async fn newest(app: &App, place: &Place) -> Result<Option<LatestReadingRow>, ApiError> {
    let key = sensor_key(
        LatestReadingRow::TABLE,
        &place.tenant,
        place.bucket,
        &place.sensor_id,
    );
    let newest = get_row::<LatestReadingRow>(&*app.store, &key, Freshness::Acknowledged).await?;
    if newest.is_none() && !is_known(app, place).await? {
        return Err(ApiError::not_found("sensor", place.sensor_id.as_str()));
    }
    Ok(newest)
}

/// Whether there is such a sensor: registered, or heard of.
async fn is_known(app: &App, place: &Place) -> Result<bool, ApiError> {
    let (tenant, id) = (&place.tenant, &place.sensor_id);
    if app.entities.find_sensor(tenant, id).await?.is_some() {
        return Ok(true);
    }
    let key = sensor_key(SensorStatusRow::TABLE, tenant, place.bucket, id);
    let status = get_row::<SensorStatusRow>(&*app.store, &key, Freshness::Acknowledged).await?;
    Ok(status.is_some())
}

fn passes(wanted: Option<&[Quality]>, row: &ReadingRow) -> bool {
    let quality = match row.quality {
        openinfra_schemas::Quality::Good => Quality::Good,
        openinfra_schemas::Quality::Uncertain => Quality::Uncertain,
        openinfra_schemas::Quality::Bad => Quality::Bad,
    };
    wanted.is_none_or(|wanted| wanted.contains(&quality))
}

async fn interval_ms(app: &App, tenant: &TenantId, id: &SensorId) -> Result<Option<i64>, ApiError> {
    let stored = app.entities.find_sensor(tenant, id).await?;
    Ok(stored.and_then(|stored| stored.entity.reporting_interval_ms))
}

fn raw(reading: &crate::history::InForce) -> ReadingResponse {
    ReadingResponse {
        corrected: Some(reading.corrected),
        ..ReadingResponse::from(&reading.row)
    }
}

fn ts_source(device_ts: bool) -> &'static str {
    if device_ts { "device" } else { "server" }
}

fn is_late(event_ts: Millis, recv_ts: Millis) -> bool {
    recv_ts >= hour_of(event_ts) + HOUR_MS + LATE_MS
}

impl From<&ReadingRow> for ReadingResponse {
    fn from(row: &ReadingRow) -> Self {
        Self {
            event_ts: Ts(row.event_ts),
            value: row.value,
            quality: row.quality.as_str(),
            unit: row.unit.clone(),
            recv_ts: Ts(row.recv_ts),
            ts_source: ts_source(row.device_ts),
            late: is_late(row.event_ts, row.recv_ts),
            corrected: None,
            battery_pct: row.battery_pct,
            signal_dbm: row.signal_dbm,
        }
    }
}

impl From<&LatestReadingRow> for ReadingResponse {
    fn from(row: &LatestReadingRow) -> Self {
        Self {
            event_ts: Ts(row.event_ts),
            value: row.value,
            quality: row.quality.as_str(),
            unit: row.unit.clone(),
            recv_ts: Ts(row.recv_ts),
            ts_source: ts_source(row.device_ts),
            late: is_late(row.event_ts, row.recv_ts),
            corrected: None,
            battery_pct: row.battery_pct,
            signal_dbm: row.signal_dbm,
        }
    }
}

fn hour(row: &HourlyAggregateRow, finality: Finality, interval: Option<i64>) -> AggregateResponse {
    let expected = interval
        .filter(|ms| *ms > 0)
        .map(|ms| (HOUR_MS / ms).max(1));
    AggregateResponse {
        sensor_id: row.sensor_id.to_string(),
        hour: Ts(row.hour),
        count: row.count,
        sum: row.sum,
        min: row.min,
        max: row.max,
        mean: row.mean,
        stddev: row.stddev,
        first: row.first,
        last: row.last,
        bad_count: row.bad_count,
        late_count: row.late_count,
        expected_count: expected,
        coverage: expected.map(|expected| (row.count as f64 / expected as f64).min(1.0)),
        is_final: finality.is_final(row.hour + HOUR_MS),
        revised_at: row.revised_at.map(Ts),
    }
}
