//! Sensors: those that people registered, and those that only sent.
//!
//! The list is the view `sensor_index`, as of its tick; one sensor read by its id is the entity as it
//! stands now, beside what the views say of it.

use axum::{extract::State, response::Response};
use openinfra_schemas::{
    Sensor, SensorId, TenantId,
    key::{reading_key, sensor_bucket},
};
use openinfra_store::{
    Freshness, KeyBuf, Range, Row, RowKey, get_row, get_rows,
    tables::views::{LatestReadingRow, SENSOR_INDEX_SHARDS, SensorIndexRow, SensorStatusRow},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::{App, AppState},
    entities::{SensorFields, Stored},
    error::ApiError,
    etag::tagged,
    extract::{Allowed, ApiQuery, IfNoneMatch, SensorPath, permission::ViewTelemetry},
    fresh::Fresh,
    lists::{self, List, MAX_COUNTED, MAX_SCANNED, Page},
    merge::Merge,
    openapi::Problems,
    wire::Ts,
};

use super::{sensor_data::ReadingResponse, sensor_writes};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_sensors, sensor_writes::create_sensor))
        .routes(routes!(
            find_sensor,
            sensor_writes::update_sensor,
            sensor_writes::patch_sensor,
            sensor_writes::delete_sensor
        ))
}

/// A sensor.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct SensorResponse {
    /// The device's own id.
    pub sensor_id: String,
    /// What was written of it: absent fields have their default.
    #[serde(flatten)]
    #[schema(value_type = SensorBody)]
    pub fields: Value,
    /// Whether anyone wrote the entity; otherwise it only sent, and has defaults.
    pub registered: bool,
    /// `never_seen`, `online` or `offline`.
    pub status: String,
    /// Whether its newest reading is older than `max_age_ms`.
    pub stale: bool,
    /// Greatest receive time of any of its messages.
    pub last_recv_at: Option<Ts>,
    /// With `include=latest`: its newest reading by event time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest: Option<ReadingResponse>,
    #[serde(flatten)]
    pub stamp: Stamp,
}

/// A sensor as it was written, without what the views say of it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct EntityResponse {
    sensor_id: String,
    #[serde(flatten)]
    fields: Value,
    #[serde(flatten)]
    stamp: Stamp,
}

impl EntityResponse {
    pub(crate) fn new(sensor: &Sensor, version: i64) -> Self {
        Self {
            sensor_id: sensor.sensor_id.to_string(),
            fields: SensorFields::from(sensor).to_json(),
            stamp: Stamp::new(sensor, version),
        }
    }
}

/// Who wrote an entity, when, and how often; absent when nobody did.
#[derive(Debug, Clone, Default, Serialize, utoipa::ToSchema)]
pub struct Stamp {
    /// From 1; the entity tag is `"v<version>"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Ts>,
    /// An opaque id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Ts>,
    /// An opaque id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_by: Option<String>,
}

impl Stamp {
    fn new(sensor: &Sensor, version: i64) -> Self {
        Self {
            version: Some(version),
            created_at: Some(Ts(sensor.created_at)),
            created_by: Some(sensor.created_by.clone()),
            updated_at: Some(Ts(sensor.updated_at)),
            updated_by: Some(sensor.updated_by.clone()),
        }
    }
}

/// What a sensor is registered with.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[allow(
    dead_code,
    reason = "describes the body; the write path reads it itself"
)]
pub struct CreateSensorBody {
    /// The device's own id: 1 to 256 bytes, no control characters, no `+` or `#`.
    sensor_id: String,
    #[serde(flatten)]
    fields: SensorBody,
}

/// What may be written of a sensor.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[allow(
    dead_code,
    reason = "describes the body; the write path reads it itself"
)]
pub struct SensorBody {
    /// At most 64 characters.
    sensor_type: Option<String>,
    /// At most 32 characters; `measurement_unit` is read too.
    unit: Option<String>,
    /// Opaque.
    asset_id: Option<String>,
    location: Option<GeoPoint>,
    thresholds: Option<ThresholdsBody>,
    /// At least 60,000; by default 3 reporting intervals, at least a minute, or 15 minutes.
    offline_timeout_ms: Option<i64>,
    /// Age from which its newest reading is stale.
    max_age_ms: Option<i64>,
    /// At least 10.
    reporting_interval_ms: Option<i64>,
}

/// A GeoJSON point; `{longitude, latitude}` is read too.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[allow(
    dead_code,
    reason = "describes the body; the write path reads it itself"
)]
pub struct GeoPoint {
    /// `Point`.
    #[serde(rename = "type")]
    type_: String,
    /// Longitude, latitude, and height where it is known.
    coordinates: Vec<f64>,
}

/// The limits of the built-in rule; 0 is a limit like any other.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[allow(
    dead_code,
    reason = "describes the body; the write path reads it itself"
)]
pub struct ThresholdsBody {
    warning_min: Option<f64>,
    warning_max: Option<f64>,
    critical_min: Option<f64>,
    critical_max: Option<f64>,
    /// How far a value must come back inside before its alert clears.
    deadband: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    NeverSeen,
    Online,
    Offline,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Include {
    Latest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, utoipa::ToSchema)]
pub enum Sort {
    #[default]
    #[serde(rename = "sensor_id")]
    Ascending,
    #[serde(rename = "-sensor_id")]
    Descending,
}

/// Several values of one parameter are joined by commas: any of them.
#[derive(Debug, Clone, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListSensorsQuery {
    #[param(style = Form, explode = false, inline)]
    status: Option<Vec<Status>>,
    #[param(style = Form, explode = false)]
    sensor_type: Option<Vec<String>>,
    #[param(style = Form, explode = false)]
    asset_id: Option<Vec<String>>,
    registered: Option<bool>,
    stale: Option<bool>,
    has_asset_id: Option<bool>,
    has_sensor_type: Option<bool>,
    has_location: Option<bool>,
    has_thresholds: Option<bool>,
    /// At or after.
    #[param(value_type = Option<String>, format = DateTime)]
    updated_from: Option<Ts>,
    /// Before.
    #[param(value_type = Option<String>, format = DateTime)]
    updated_to: Option<Ts>,
    /// Words that parts of the id begin with, whatever their case.
    q: Option<String>,
    #[serde(default)]
    #[param(inline)]
    sort: Sort,
    #[param(style = Form, explode = false, inline)]
    include: Option<Vec<Include>>,
    /// Fields to answer, dotted within objects, or `@compact`.
    #[param(style = Form, explode = false)]
    fields: Option<Vec<String>>,
    /// Whether to count all that pass.
    #[serde(default)]
    count: bool,
    /// 1 to 1,000; 50 by default.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct FindSensorQuery {
    #[param(style = Form, explode = false, inline)]
    include: Option<Vec<Include>>,
}

/// Lists sensors, registered or only seen.
#[utoipa::path(
    get,
    path = "/api/v1/iot/sensors",
    tag = "sensors",
    params(ListSensorsQuery),
    responses(
        (status = 200, description = "A page, by sensor id", body = Page<SensorResponse>),
        Problems,
    ),
    security(("api_key" = []), ("bearer" = [])),
)]
async fn list_sensors(
    State(app): State<AppState>,
    caller: Allowed<ViewTelemetry>,
    ApiQuery(query): ApiQuery<ListSensorsQuery>,
    fresh: Fresh,
) -> Result<Response, ApiError> {
    let as_of = fresh.as_of()?;
    let limit = lists::limit(query.limit, 50, 1_000)?;
    let tenant = caller.tenant();
    let list = List {
        app: &app,
        route: "sensors",
        tenant: tenant.as_str(),
        filters: query.identity(),
    };
    let after = list.position::<String>(query.cursor.as_deref())?;
    let found = scan(&app, tenant, &query, after.as_deref(), limit).await?;
    let next = found.next.map(|id| list.cursor(&id));
    let with_latest = query.includes_latest();
    let items = with_views(&app, tenant, found.rows, with_latest).await?;
    let total = match query.count {
        true => Some(count(&app, tenant, &query).await?),
        false => None,
    };
    match &query.fields {
        None => Ok(fresh.json(Page::new(items, next, as_of).counted(total))),
        Some(fields) => {
            let items = lists::select(items, fields, FIELDS, COMPACT)?;
            Ok(fresh.json(Page::new(items, next, as_of).counted(total)))
        }
    }
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
async fn find_sensor(
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

const FIELDS: &[&str] = &[
    "sensor_id",
    "sensor_type",
    "unit",
    "asset_id",
    "location",
    "thresholds",
    "offline_timeout_ms",
    "max_age_ms",
    "reporting_interval_ms",
    "registered",
    "status",
    "stale",
    "last_recv_at",
    "latest",
    "version",
    "created_at",
    "created_by",
    "updated_at",
    "updated_by",
];
const COMPACT: &[&str] = &["sensor_id", "sensor_type", "unit", "asset_id", "status"];

impl ListSensorsQuery {
    fn includes_latest(&self) -> bool {
        self.include.as_ref().is_some_and(|i| !i.is_empty())
    }

    /// What a cursor is bound to.
    fn identity(&self) -> String {
        let filters = Self {
            include: None,
            fields: None,
            count: false,
            limit: None,
            cursor: None,
            ..self.clone()
        };
        format!("{filters:?}")
    }

    fn passes(&self, row: &SensorIndexRow) -> bool {
        let any = |wanted: &Option<Vec<String>>, value: &Option<String>| {
            wanted
                .as_ref()
                .is_none_or(|wanted| value.as_ref().is_some_and(|value| wanted.contains(value)))
        };
        let is = |wanted: Option<bool>, value: bool| wanted.is_none_or(|wanted| wanted == value);
        let status = self
            .status
            .as_ref()
            .is_none_or(|wanted| wanted.iter().any(|status| status.as_str() == row.status));
        status
            && any(&self.sensor_type, &row.sensor_type)
            && any(&self.asset_id, &row.asset_id)
            && is(self.registered, row.registered)
            && is(self.stale, row.stale)
            && is(self.has_asset_id, row.asset_id.is_some())
            && is(self.has_sensor_type, row.sensor_type.is_some())
            && self
                .updated_from
                .is_none_or(|from| row.updated_at >= from.0)
            && self.updated_to.is_none_or(|to| row.updated_at < to.0)
            && self
                .q
                .as_ref()
                .is_none_or(|q| has_words(row.sensor_id.as_str(), q))
            && self.passes_body(row)
    }

    /// The filters for which the entity must be read.
    fn passes_body(&self, row: &SensorIndexRow) -> bool {
        if self.has_location.is_none() && self.has_thresholds.is_none() {
            return true;
        }
        let sensor = entity_of(row).ok().flatten();
        let has = |wanted: Option<bool>, test: fn(&Sensor) -> bool| {
            wanted.is_none_or(|wanted| wanted == sensor.as_ref().is_some_and(test))
        };
        has(self.has_location, |sensor| sensor.location.is_some())
            && has(self.has_thresholds, |sensor| sensor.thresholds.is_some())
    }
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Self::NeverSeen => "never_seen",
            Self::Online => "online",
            Self::Offline => "offline",
        }
    }
}

/// Whether each word of `q` begins a word of the id.
fn has_words(id: &str, q: &str) -> bool {
    let id = id.to_lowercase();
    let words = |text: &str| -> Vec<String> {
        text.split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let have = words(&id);
    let wanted = q.to_lowercase();
    id.starts_with(&wanted)
        || words(&wanted)
            .iter()
            .all(|word| have.iter().any(|part| part.starts_with(word)))
}

struct Found {
    rows: Vec<SensorIndexRow>,
    /// The last id looked at, when there may be more behind it.
    next: Option<String>,
}

async fn scan(
    app: &App,
    tenant: &TenantId,
    query: &ListSensorsQuery,
    after: Option<&str>,
    limit: usize,
) -> Result<Found, ApiError> {
    let mut rows = index(app, tenant, query.sort, after, limit + 1).await?;
    let mut found = Found {
        rows: Vec::new(),
        next: None,
    };
    let mut last = None;
    for _ in 0..MAX_SCANNED {
        let Some(row) = rows.next().await? else {
            return Ok(found);
        };
        if query.passes(&row) {
            if found.rows.len() == limit {
                found.next = last;
                return Ok(found);
            }
            last = Some(row.sensor_id.to_string());
            found.rows.push(row);
        } else {
            last = Some(row.sensor_id.to_string());
        }
    }
    found.next = last;
    Ok(found)
}

async fn count(app: &App, tenant: &TenantId, query: &ListSensorsQuery) -> Result<usize, ApiError> {
    let mut rows = index(app, tenant, query.sort, None, 1_000).await?;
    let mut total = 0;
    while let Some(row) = rows.next().await? {
        total += usize::from(query.passes(&row));
        if total >= MAX_COUNTED {
            break;
        }
    }
    Ok(total)
}

/// The tenant's sensors by id, behind `after`.
async fn index<'a>(
    app: &'a App,
    tenant: &TenantId,
    sort: Sort,
    after: Option<&str>,
    chunk: usize,
) -> Result<Merge<'a, SensorIndexRow>, ApiError> {
    use std::ops::Bound::{Excluded, Unbounded};
    let behind = after.map(|id| KeyBuf::new().text(id).into_bytes());
    let behind = behind.map_or(Unbounded, Excluded);
    let ranges = (0..SENSOR_INDEX_SHARDS).map(|shard| {
        let partition = KeyBuf::new().text(tenant.as_str()).int(shard).into_bytes();
        let all = Range::partition(SensorIndexRow::TABLE, partition);
        match sort {
            Sort::Ascending => Range {
                from: behind.clone(),
                ..all
            },
            Sort::Descending => Range {
                to: behind.clone(),
                ..all.descending()
            },
        }
    });
    Ok(Merge::new(&*app.store, ranges.collect(), chunk).await?)
}

fn entity_of(row: &SensorIndexRow) -> Result<Option<Sensor>, ApiError> {
    row.body
        .as_deref()
        .map(serde_json::from_str)
        .transpose()
        .map_err(|source| ApiError::Stored {
            what: "a sensor of the list",
            source,
        })
}

/// Adds what `latest_reading` says to rows of the list.
async fn with_views(
    app: &App,
    tenant: &TenantId,
    rows: Vec<SensorIndexRow>,
    include_latest: bool,
) -> Result<Vec<SensorResponse>, ApiError> {
    let keys: Vec<RowKey> = rows
        .iter()
        .map(|row| sensor_key(LatestReadingRow::TABLE, tenant, row.bucket, &row.sensor_id))
        .collect();
    let latest = get_rows::<LatestReadingRow>(&*app.store, &keys).await?;
    rows.into_iter()
        .zip(latest)
        .map(|(row, latest)| {
            let entity = entity_of(&row)?;
            let views = Views {
                status: row.status.clone(),
                stale: row.stale,
                known: true,
                latest,
            };
            Ok(match entity {
                Some(sensor) => views.of_entity(&sensor, row.version, include_latest),
                None => views.alone(&row.sensor_id, include_latest),
            })
        })
        .collect()
}

/// What the views say of one sensor.
struct Views {
    status: String,
    stale: bool,
    /// Whether any view has the sensor.
    known: bool,
    latest: Option<LatestReadingRow>,
}

impl Views {
    async fn of(app: &App, tenant: &TenantId, id: &SensorId) -> Result<Self, ApiError> {
        let bucket = bucket_of(app, tenant, id);
        let key = sensor_key(SensorStatusRow::TABLE, tenant, bucket, id);
        let status = get_row::<SensorStatusRow>(&*app.store, &key, Freshness::Acknowledged).await?;
        let key = sensor_key(LatestReadingRow::TABLE, tenant, bucket, id);
        let latest =
            get_row::<LatestReadingRow>(&*app.store, &key, Freshness::Acknowledged).await?;
        Ok(Self {
            known: status.is_some() || latest.is_some(),
            stale: status.as_ref().is_some_and(|s| s.stale_since.is_some()),
            status: status.map_or_else(|| "never_seen".to_owned(), |status| status.status),
            latest,
        })
    }

    fn is_empty(&self) -> bool {
        !self.known
    }

    fn beside(&self, stored: &Stored<Sensor>, include_latest: bool) -> SensorResponse {
        self.of_entity(&stored.entity, stored.version, include_latest)
    }

    fn of_entity(&self, sensor: &Sensor, version: i64, include_latest: bool) -> SensorResponse {
        SensorResponse {
            fields: SensorFields::from(sensor).to_json(),
            registered: true,
            stamp: Stamp::new(sensor, version),
            ..self.alone(&sensor.sensor_id, include_latest)
        }
    }

    fn alone(&self, id: &SensorId, include_latest: bool) -> SensorResponse {
        let latest = self.latest.as_ref();
        SensorResponse {
            sensor_id: id.to_string(),
            fields: Value::Object(serde_json::Map::new()),
            registered: false,
            status: self.status.clone(),
            stale: self.stale,
            last_recv_at: latest.map(|row| Ts(row.last_recv_ts)),
            latest: latest.filter(|_| include_latest).map(ReadingResponse::from),
            stamp: Stamp::default(),
        }
    }
}

/// The answer to a write: what the views say of the sensor comes with its next read.
pub(super) async fn written(
    app: &App,
    tenant: &TenantId,
    sensor: &Sensor,
    version: i64,
) -> Result<SensorResponse, ApiError> {
    let views = Views::of(app, tenant, &sensor.sensor_id).await?;
    Ok(views.of_entity(sensor, version, false))
}

/// The bucket that a sensor's rows are in.
pub(super) fn bucket_of(app: &App, tenant: &TenantId, id: &SensorId) -> i32 {
    sensor_bucket(&reading_key(tenant, id), app.partitions())
}

/// The key of a sensor's row in a table that has one for each.
pub(super) fn sensor_key(
    table: &'static openinfra_store::Table,
    tenant: &TenantId,
    bucket: i32,
    id: &SensorId,
) -> RowKey {
    let partition = KeyBuf::new().text(tenant.as_str()).int(bucket);
    RowKey::new(table, &partition, &KeyBuf::new().text(id.as_str()))
}
