//! Alerts: episodes in which a rule's condition held.
//!
//! Open ones stand in one partition, cleared ones in the month they were opened in, each by the episode's
//! start; the list merges the two. An alert keeps its place in the list when it clears, so that paging
//! neither repeats nor skips it. The built-in rule has no delays: an episode starts when it is raised, so
//! that the order by start is the order by `raised_at`.

use std::ops::Bound;

use axum::{extract::State, response::Response};
use openinfra_schemas::{
    TenantId, Topic,
    time::{Millis, month_of},
};
use openinfra_store::{
    Freshness, KeyBuf, Range, Row, RowKey, get_row, range_rows,
    tables::views::{AlertByIdRow, AlertMonthRow, AlertRow},
};
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::{App, AppState},
    error::ApiError,
    extract::{Allowed, ApiPath, ApiQuery, NoQuery, malformed_parameter, permission::ViewAlerts},
    fresh::Fresh,
    lists::{self, List, MAX_COUNTED, MAX_SCANNED, Page},
    merge::Merge,
    openapi::Problems,
    wire::{Severity, Ts},
};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_alerts))
        .routes(routes!(find_alert))
}

/// The month of the partition of open alerts.
const OPEN_MONTH: i32 = -1;
const CHUNK: usize = 256;

/// An alert.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct AlertResponse {
    /// UUIDv5 of tenant, rule, sensor and start.
    pub alert_id: String,
    pub rule_id: String,
    pub rule_version: i64,
    /// `sensor`.
    pub source_type: &'static str,
    /// `threshold_exceeded`.
    #[serde(rename = "type")]
    pub type_: &'static str,
    pub sensor_id: String,
    pub asset_id: Option<String>,
    /// The highest level raised now, or when it cleared.
    pub severity: String,
    pub max_severity: String,
    /// `open` or `cleared`.
    pub state: String,
    /// `active`: nobody has acted on it.
    pub status: &'static str,
    pub title: String,
    pub trigger_value: Option<f64>,
    /// The limit that the trigger passed.
    pub threshold: Option<f64>,
    /// Where the reading that raised it stands in the log.
    pub trigger_pos: PositionResponse,
    pub last_value: Option<f64>,
    /// Readings evaluated while it was open.
    pub count: i64,
    pub start_ts: Ts,
    pub raised_at: Ts,
    pub end_ts: Option<Ts>,
    /// `provisional` while it is open, else `final`.
    pub finality: &'static str,
    /// The tick that found it.
    pub detected_at: Ts,
}

/// A place in the log.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct PositionResponse {
    pub topic: &'static str,
    pub partition: i32,
    pub offset: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum AlertState {
    Open,
    Cleared,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, utoipa::ToSchema)]
enum Sort {
    #[default]
    #[serde(rename = "-raised_at")]
    Newest,
    #[serde(rename = "raised_at")]
    Oldest,
}

/// Several values of one parameter are joined by commas: any of them.
#[derive(Debug, Clone, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListAlertsQuery {
    #[param(style = Form, explode = false, inline)]
    state: Option<Vec<AlertState>>,
    #[param(style = Form, explode = false, inline)]
    severity: Option<Vec<Severity>>,
    /// This severity or a worse one.
    #[param(inline)]
    min_severity: Option<Severity>,
    #[param(style = Form, explode = false)]
    sensor_id: Option<Vec<String>>,
    /// The same as `sensor_id`.
    #[param(style = Form, explode = false)]
    sensor: Option<Vec<String>>,
    #[param(style = Form, explode = false)]
    asset_id: Option<Vec<String>>,
    #[param(style = Form, explode = false)]
    rule_id: Option<Vec<String>>,
    /// Started at or after.
    #[param(value_type = Option<String>, format = DateTime)]
    opened_from: Option<Ts>,
    /// Started before.
    #[param(value_type = Option<String>, format = DateTime)]
    opened_to: Option<Ts>,
    #[serde(default)]
    #[param(inline)]
    sort: Sort,
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

/// Lists alerts, the newest first.
#[utoipa::path(
    get,
    path = "/api/v1/alerts",
    tag = "alerts",
    params(ListAlertsQuery),
    responses(
        (status = 200, description = "A page", body = Page<AlertResponse>),
        Problems,
    ),
    security(("api_key" = []), ("bearer" = [])),
)]
async fn list_alerts(
    State(app): State<AppState>,
    caller: Allowed<ViewAlerts>,
    ApiQuery(query): ApiQuery<ListAlertsQuery>,
    fresh: Fresh,
) -> Result<Response, ApiError> {
    let as_of = fresh.as_of()?;
    let query = query.without_alias()?;
    let limit = lists::limit(query.limit, 50, 1_000)?;
    let tenant = caller.tenant();
    let list = List {
        app: &app,
        route: "alerts",
        tenant: tenant.as_str(),
        filters: query.identity(),
    };
    let after = list.position::<Position>(query.cursor.as_deref())?;
    let found = scan(&app, tenant, &query, after, limit).await?;
    let next = found.next.map(|position| list.cursor(&position));
    let total = match query.count {
        true => Some(count(&app, tenant, &query).await?),
        false => None,
    };
    let items: Vec<_> = found.rows.into_iter().map(AlertResponse::from).collect();
    match &query.fields {
        None => Ok(fresh.json(Page::new(items, next, as_of).counted(total))),
        Some(fields) => {
            let items = lists::select(items, fields, FIELDS, COMPACT)?;
            Ok(fresh.json(Page::new(items, next, as_of).counted(total)))
        }
    }
}

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
async fn find_alert(
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

const FIELDS: &[&str] = &[
    "alert_id",
    "rule_id",
    "rule_version",
    "source_type",
    "type",
    "sensor_id",
    "asset_id",
    "severity",
    "max_severity",
    "state",
    "status",
    "title",
    "trigger_value",
    "threshold",
    "trigger_pos",
    "last_value",
    "count",
    "start_ts",
    "raised_at",
    "end_ts",
    "finality",
    "detected_at",
];
const COMPACT: &[&str] = &[
    "rule_id",
    "source_type",
    "type",
    "sensor_id",
    "asset_id",
    "severity",
    "state",
    "status",
    "title",
    "start_ts",
];

impl ListAlertsQuery {
    fn without_alias(mut self) -> Result<Self, ApiError> {
        match (&self.sensor_id, self.sensor.take()) {
            (Some(_), Some(_)) => {
                let detail = "is another name of sensor_id; give one of them";
                Err(malformed_parameter("sensor", "duplicate", detail).into())
            }
            (None, alias @ Some(_)) => {
                self.sensor_id = alias;
                Ok(self)
            }
            (_, None) => Ok(self),
        }
    }

    fn identity(&self) -> String {
        let filters = Self {
            fields: None,
            count: false,
            limit: None,
            cursor: None,
            ..self.clone()
        };
        format!("{filters:?}")
    }

    fn wants(&self, state: AlertState) -> bool {
        self.state
            .as_ref()
            .is_none_or(|wanted| wanted.contains(&state))
    }

    fn passes(&self, row: &AlertRow) -> bool {
        let any = |wanted: &Option<Vec<String>>, value: Option<&str>| {
            wanted.as_ref().is_none_or(|wanted| {
                value.is_some_and(|value| wanted.iter().any(|one| one == value))
            })
        };
        let severity = Severity::parse(&row.severity);
        any(&self.sensor_id, Some(row.sensor_id.as_str()))
            && any(&self.asset_id, row.asset_id.as_deref())
            && any(&self.rule_id, Some(&row.rule_id))
            && self
                .severity
                .as_ref()
                .is_none_or(|wanted| severity.is_some_and(|severity| wanted.contains(&severity)))
            && self
                .min_severity
                .is_none_or(|least| severity >= Some(least))
    }

    /// The clustering keys between which to look, behind a position.
    fn bounds(&self, after: Option<&Position>) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
        let at = |ts: Ts| KeyBuf::new().bigint(ts.0).into_bytes();
        let from = self
            .opened_from
            .map_or(Bound::Unbounded, |ts| Bound::Included(at(ts)));
        let to = self
            .opened_to
            .map_or(Bound::Unbounded, |ts| Bound::Excluded(at(ts)));
        let Some(after) = after else {
            return (from, to);
        };
        let behind = KeyBuf::new().bigint(after.start_ts).text(&after.alert_id);
        let behind = Bound::Excluded(behind.into_bytes());
        match self.sort {
            Sort::Newest => (from, behind),
            Sort::Oldest => (behind, to),
        }
    }
}

/// Where a list goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    start_ts: Millis,
    alert_id: String,
}

impl Position {
    fn of(row: &AlertRow) -> Self {
        Self {
            start_ts: row.start_ts,
            alert_id: row.alert_id.clone(),
        }
    }
}

struct Found {
    rows: Vec<AlertRow>,
    next: Option<Position>,
}

async fn scan(
    app: &App,
    tenant: &TenantId,
    query: &ListAlertsQuery,
    after: Option<Position>,
    limit: usize,
) -> Result<Found, ApiError> {
    let mut rows = stream(app, tenant, query, after.as_ref()).await?;
    let mut found = Vec::new();
    let mut last = after;
    for _ in 0..MAX_SCANNED {
        let Some(row) = rows.next().await? else {
            return Ok(Found {
                rows: found,
                next: None,
            });
        };
        // A row that moves from open to cleared may be met in both places; the cleared one stays.
        if last.as_ref() == Some(&Position::of(&row)) {
            continue;
        }
        if query.passes(&row) && found.len() == limit {
            break;
        }
        last = Some(Position::of(&row));
        if query.passes(&row) {
            found.push(row);
        }
    }
    Ok(Found {
        rows: found,
        next: last,
    })
}

async fn count(app: &App, tenant: &TenantId, query: &ListAlertsQuery) -> Result<usize, ApiError> {
    let mut rows = stream(app, tenant, query, None).await?;
    let mut total = 0;
    let mut last = None;
    while let Some(row) = rows.next().await? {
        let position = Some(Position::of(&row));
        total += usize::from(position != last && query.passes(&row));
        last = position;
        if total >= MAX_COUNTED {
            break;
        }
    }
    Ok(total)
}

/// The tenant's alerts of the wanted states, in order, behind a position.
///
/// Months do not overlap in start, so that merging all of them is going through one after the other.
async fn stream<'a>(
    app: &'a App,
    tenant: &TenantId,
    query: &ListAlertsQuery,
    after: Option<&Position>,
) -> Result<Merge<'a, AlertRow>, ApiError> {
    let mut places = Vec::new();
    if query.wants(AlertState::Cleared) {
        let months = months(app, tenant, query).await?;
        places.extend(months.into_iter().map(|month| ("cleared", month)));
    }
    if query.wants(AlertState::Open) {
        places.push(("open", OPEN_MONTH));
    }
    let (from, to) = query.bounds(after);
    let ranges = places.into_iter().map(|(state, month)| Range {
        from: from.clone(),
        to: to.clone(),
        descending: query.sort == Sort::Newest,
        ..Range::partition(
            AlertRow::TABLE,
            partition_of(tenant, state, month).into_bytes(),
        )
    });
    Ok(Merge::new(&*app.store, ranges.collect(), CHUNK).await?)
}

/// The months of the wanted span that have cleared alerts.
async fn months(
    app: &App,
    tenant: &TenantId,
    query: &ListAlertsQuery,
) -> Result<Vec<i32>, ApiError> {
    let partition = KeyBuf::new().text(tenant.as_str()).into_bytes();
    let month = |ts| KeyBuf::new().int(month_of(ts)).into_bytes();
    let range = Range {
        from: query
            .opened_from
            .map_or(Bound::Unbounded, |ts| Bound::Included(month(ts.0))),
        to: query
            .opened_to
            .map_or(Bound::Unbounded, |ts| Bound::Included(month(ts.0))),
        ..Range::partition(AlertMonthRow::TABLE, partition)
    };
    let rows = range_rows::<AlertMonthRow>(&*app.store, &range).await?;
    Ok(rows.into_iter().map(|row| row.month).collect())
}

fn partition_of(tenant: &TenantId, state: &str, month: i32) -> KeyBuf {
    KeyBuf::new().text(tenant.as_str()).text(state).int(month)
}

impl From<AlertRow> for AlertResponse {
    fn from(row: AlertRow) -> Self {
        let title = title(&row);
        Self {
            source_type: "sensor",
            type_: "threshold_exceeded",
            status: "active",
            title,
            finality: if row.state == "open" {
                "provisional"
            } else {
                "final"
            },
            trigger_pos: PositionResponse {
                topic: Topic::Readings.name(),
                partition: row.trigger_partition,
                offset: row.trigger_offset,
            },
            alert_id: row.alert_id,
            rule_id: row.rule_id,
            rule_version: row.rule_version,
            sensor_id: row.sensor_id.to_string(),
            asset_id: row.asset_id,
            severity: row.severity,
            max_severity: row.max_severity,
            state: row.state,
            trigger_value: row.trigger_value,
            threshold: row.threshold,
            last_value: row.last_value,
            count: row.count,
            start_ts: Ts(row.start_ts),
            raised_at: Ts(row.raised_at),
            end_ts: row.end_ts.map(Ts),
            detected_at: Ts(row.detected_at),
        }
    }
}

fn title(row: &AlertRow) -> String {
    match (row.trigger_value, row.threshold) {
        (Some(value), Some(limit)) if value > limit => {
            format!("{} above {limit}: {value}", row.sensor_id)
        }
        (Some(value), Some(limit)) => format!("{} below {limit}: {value}", row.sensor_id),
        _ => format!("{} outside its limits", row.sensor_id),
    }
}
