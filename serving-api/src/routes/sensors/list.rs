//! The list of sensors.

use axum::{extract::State, response::Response};

use crate::{
    app::AppState,
    error::ApiError,
    extract::{Allowed, ApiQuery, permission::ViewTelemetry},
    fresh::Fresh,
    lists::{
        self, FeatureCollection, GEO_JSON, List, Page,
        walk::{self, Best},
    },
    openapi::Problems,
    wire::negotiate::Wanted,
};

use super::{
    query::ListSensorsQuery,
    response::{FIELDS, SensorResponse},
    rows::{SensorRows, responses},
};

/// How many rows of each shard are read at once when all are looked at.
const CHUNK: usize = 256;

/// Lists sensors, registered or only seen.
#[utoipa::path(
    get,
    path = "/api/v1/iot/sensors",
    tag = "sensors",
    params(ListSensorsQuery),
    responses(
        (status = 200, description = "A page, by sensor id unless sorted otherwise", content(
            (Page<SensorResponse> = "application/json"),
            (FeatureCollection = "application/geo+json"),
        )),
        Problems,
    ),
    security(("api_key" = []), ("bearer" = [])),
)]
pub(super) async fn list_sensors(
    State(app): State<AppState>,
    caller: Allowed<ViewTelemetry>,
    ApiQuery(query): ApiQuery<ListSensorsQuery>,
    wanted: Wanted,
    fresh: Fresh,
) -> Result<Response, ApiError> {
    let as_of = fresh.as_of()?;
    query.check()?;
    let limit = lists::limit(query.limit, 50, 1_000)?;
    let tenant = caller.tenant();
    let list = List {
        app: &app,
        route: "sensors",
        tenant: tenant.as_str(),
        filters: query.identity(),
    };
    let open = async |after: Option<&str>, wanted| {
        SensorRows::open(&app, tenant, &query, after, wanted).await
    };
    let cursor = query.cursor.as_deref();
    let passes = |row: &_| query.passes(row);
    let (rows, next) = match query.sort.key() {
        None => {
            let after: Option<String> = list.position(cursor)?;
            let mut rows = open(after.as_deref(), limit + 1).await?;
            list.sealed(walk::first(&mut rows, limit, passes).await?)
        }
        Some((key, descending)) => {
            let best = Best::new(limit, descending, list.position(cursor)?);
            let mut rows = open(None, CHUNK).await?;
            list.sealed(walk::best(&mut rows, best, passes, |row| key.rank(row)).await?)
        }
    };
    let total = match query.count {
        true => Some(walk::count(&mut open(None, CHUNK).await?, passes).await?),
        false => None,
    };
    let items = responses(&app, tenant, rows, query.includes_latest()).await?;
    let page = Page::new(items, next, as_of).counted(total);
    let fields = query.fields.as_deref();
    if wanted.is(GEO_JSON) {
        return Ok(page.features("sensor_id", &FIELDS, fields)?.answer(&fresh));
    }
    page.answer(&fresh, &FIELDS, fields)
}
