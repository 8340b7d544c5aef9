//! The ledger: what was refused and why, and what became of every record.

use std::{collections::BTreeMap, ops::Bound};

use axum::{extract::State, response::Response};
use base64::{Engine, prelude::BASE64_STANDARD};
use openinfra_schemas::{Reason, TenantId, Topic};
use openinfra_store::{
    KeyBuf, Range, Row, range_rows,
    tables::views::{LedgerRow, LedgerSummaryRow},
};
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::{App, AppState},
    error::ApiError,
    extract::{Allowed, ApiQuery, permission::ViewDataQuality},
    fresh::Fresh,
    lists::{self, List, MAX_SCANNED, Page},
    merge::Merge,
    openapi::Problems,
    wire::Ts,
};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_ledger))
        .routes(routes!(find_ledger_summary))
}

/// The topics whose records can be refused.
const TOPICS: [Topic; 2] = [Topic::Ledger, Topic::Readings];
/// How many partitions of the view are read at once.
const BATCH: usize = 64;
/// How many rows of one partition are read at once.
const CHUNK: usize = 256;

/// A record, or what never became one, that counts in no other view.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct LedgerResponse {
    /// `ledger`: refused by a connector; `readings`: by the job.
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub reason: String,
    /// What exactly was wrong.
    pub detail: String,
    /// The connector it came through.
    pub source: String,
    pub sensor_id: Option<String>,
    pub event_ts: Option<Ts>,
    pub recv_ts: Option<Ts>,
    /// The bytes as they were received.
    pub payload_base64: String,
    /// Null: nobody re-admitted it.
    pub readmitted_at: Option<Ts>,
}

/// What became of all records of a tenant: the counts add up to `log_records`.
#[derive(Debug, Clone, Default, Serialize, utoipa::ToSchema)]
pub struct LedgerSummaryResponse {
    #[serde(flatten)]
    pub all: Counts,
    /// With `by_source=true`: the same for each connector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by_source: Option<BTreeMap<String, Counts>>,
    pub as_of: Option<Ts>,
}

/// Records by what became of them.
#[derive(Debug, Clone, Default, Serialize, utoipa::ToSchema)]
pub struct Counts {
    /// Records of the log, counted as they were read.
    pub log_records: i64,
    pub accepted: i64,
    pub duplicates: i64,
    pub corrections: i64,
    /// By reason; all reasons are there.
    pub refused: BTreeMap<&'static str, i64>,
    /// Of the accepted, those whose time is ours: a resend of them counts again.
    pub server_ts: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum TopicName {
    Readings,
    Ledger,
}

/// Several values of one parameter are joined by commas: any of them.
#[derive(Debug, Clone, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListLedgerQuery {
    #[param(style = Form, explode = false, value_type = Option<Vec<String>>)]
    reason: Option<Vec<Reason>>,
    #[param(style = Form, explode = false)]
    source: Option<Vec<String>>,
    #[param(style = Form, explode = false)]
    sensor_id: Option<Vec<String>>,
    #[param(inline)]
    topic: Option<TopicName>,
    /// Received at or after.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Ts>,
    /// Received before.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<Ts>,
    /// 1 to 1,000; 50 by default.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

#[derive(Debug, Clone, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct LedgerSummaryQuery {
    /// Whether to give the counts of each connector too.
    #[serde(default)]
    by_source: bool,
}

/// Lists what was refused, by reason and place in the log.
#[utoipa::path(
    get,
    path = "/api/v1/ledger",
    tag = "ledger",
    params(ListLedgerQuery),
    responses(
        (status = 200, description = "A page", body = Page<LedgerResponse>),
        Problems,
    ),
    security(("api_key" = []), ("bearer" = [])),
)]
async fn list_ledger(
    State(app): State<AppState>,
    caller: Allowed<ViewDataQuality>,
    ApiQuery(query): ApiQuery<ListLedgerQuery>,
    fresh: Fresh,
) -> Result<Response, ApiError> {
    let as_of = fresh.as_of()?;
    let limit = lists::limit(query.limit, 50, 1_000)?;
    let tenant = caller.tenant();
    let list = List {
        app: &app,
        route: "ledger",
        tenant: tenant.as_str(),
        filters: query.identity(),
    };
    let after = list.position::<Place>(query.cursor.as_deref())?;
    let found = scan(&app, tenant, &query, after, limit).await?;
    let next = found.next.map(|place| list.cursor(&place));
    let items = found.rows.into_iter().map(LedgerResponse::from).collect();
    Ok(fresh.json(Page::new(items, next, as_of)))
}

/// Adds up what became of every record: `log_records` is the sum of the other counts.
#[utoipa::path(
    get,
    path = "/api/v1/ledger/summary",
    tag = "ledger",
    params(LedgerSummaryQuery),
    responses(
        (status = 200, description = "The counts", body = LedgerSummaryResponse),
        Problems,
    ),
    security(("api_key" = []), ("bearer" = [])),
)]
async fn find_ledger_summary(
    State(app): State<AppState>,
    caller: Allowed<ViewDataQuality>,
    ApiQuery(query): ApiQuery<LedgerSummaryQuery>,
    fresh: Fresh,
) -> Result<Response, ApiError> {
    let partition = KeyBuf::new().text(caller.tenant().as_str()).into_bytes();
    let range = Range::partition(LedgerSummaryRow::TABLE, partition);
    let rows = range_rows::<LedgerSummaryRow>(&*app.store, &range).await?;
    let mut all = Counts::none();
    let mut sources = BTreeMap::new();
    for row in &rows {
        let counts = Counts::from(row);
        all.add(&counts);
        sources.insert(row.source.clone(), counts);
    }
    Ok(fresh.json(LedgerSummaryResponse {
        all,
        by_source: query.by_source.then_some(sources),
        as_of: fresh.progress().map(|progress| Ts(progress.as_of)),
    }))
}

impl Counts {
    fn none() -> Self {
        Self {
            refused: Reason::ALL.into_iter().map(|r| (r.as_str(), 0)).collect(),
            ..Self::default()
        }
    }

    fn add(&mut self, other: &Self) {
        self.log_records += other.log_records;
        self.accepted += other.accepted;
        self.duplicates += other.duplicates;
        self.corrections += other.corrections;
        self.server_ts += other.server_ts;
        for (reason, count) in &other.refused {
            *self.refused.entry(reason).or_default() += count;
        }
    }
}

impl From<&LedgerSummaryRow> for Counts {
    fn from(row: &LedgerSummaryRow) -> Self {
        let refused = |reason| match reason {
            Reason::Undecodable => row.undecodable,
            Reason::Invalid => row.invalid,
            Reason::SchemaRejected => row.schema_rejected,
            Reason::UnknownTenant => row.unknown_tenant,
            Reason::LateBeyondHorizon => row.late_beyond_horizon,
            Reason::ClockFuture => row.clock_future,
            Reason::UnknownSensor => row.unknown_sensor,
        };
        Self {
            log_records: row.log_records,
            accepted: row.accepted,
            duplicates: row.duplicates,
            corrections: row.corrections,
            refused: Reason::ALL
                .into_iter()
                .map(|reason| (reason.as_str(), refused(reason)))
                .collect(),
            server_ts: row.server_ts,
        }
    }
}

impl ListLedgerQuery {
    fn identity(&self) -> String {
        let filters = Self {
            limit: None,
            cursor: None,
            ..self.clone()
        };
        format!("{filters:?}")
    }

    fn passes(&self, row: &LedgerRow) -> bool {
        let any = |wanted: &Option<Vec<String>>, value: Option<&String>| {
            wanted
                .as_ref()
                .is_none_or(|wanted| value.is_some_and(|value| wanted.contains(value)))
        };
        any(&self.source, Some(&row.source))
            && any(&self.sensor_id, row.sensor_id.as_ref())
            && self.from.is_none_or(|from| row.recv_ts >= Some(from.0))
            && self
                .to
                .is_none_or(|to| row.recv_ts.is_some_and(|at| at < to.0))
    }

    /// The partitions of the view to look through, in the list's order.
    fn places(&self, partitions: i32) -> Vec<Place> {
        let mut reasons: Vec<&str> = Reason::ALL
            .into_iter()
            .filter(|r| self.reason.as_ref().is_none_or(|wanted| wanted.contains(r)))
            .map(Reason::as_str)
            .collect();
        reasons.sort_unstable();
        let topics = TOPICS.into_iter().filter(|topic| match self.topic {
            Some(TopicName::Readings) => *topic == Topic::Readings,
            Some(TopicName::Ledger) => *topic == Topic::Ledger,
            None => true,
        });
        let topics: Vec<Topic> = topics.collect();
        let mut places = Vec::new();
        for reason in reasons {
            for topic in &topics {
                places.extend((0..partitions).map(|partition| Place {
                    reason: reason.to_owned(),
                    topic: topic.name().to_owned(),
                    partition,
                    after: None,
                }));
            }
        }
        places
    }
}

/// A partition of the view, and behind which offset to look in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Place {
    reason: String,
    topic: String,
    partition: i32,
    after: Option<i64>,
}

impl Place {
    fn range(&self, tenant: &TenantId, limit: usize) -> Range {
        let partition = KeyBuf::new()
            .text(tenant.as_str())
            .text(&self.reason)
            .text(&self.topic)
            .int(self.partition);
        let behind = |offset| KeyBuf::new().bigint(offset).into_bytes();
        Range {
            from: self
                .after
                .map_or(Bound::Unbounded, |offset| Bound::Excluded(behind(offset))),
            ..Range::partition(LedgerRow::TABLE, partition.into_bytes())
        }
        .limit(limit)
    }

    fn is_before(&self, other: &Self) -> bool {
        (&self.reason, &self.topic, self.partition) < (&other.reason, &other.topic, other.partition)
    }

    fn behind(row: &LedgerRow) -> Self {
        Self {
            reason: row.reason.clone(),
            topic: row.topic.clone(),
            partition: row.log_partition,
            after: Some(row.offset),
        }
    }
}

struct Found {
    rows: Vec<LedgerRow>,
    next: Option<Place>,
}

async fn scan(
    app: &App,
    tenant: &TenantId,
    query: &ListLedgerQuery,
    after: Option<Place>,
    limit: usize,
) -> Result<Found, ApiError> {
    let mut places = query.places(app.partitions());
    if let Some(after) = after {
        places.retain(|place| !place.is_before(&after));
        if let Some(first) = places.first_mut() {
            *first = after;
        }
    }
    let mut found = Vec::new();
    let mut last = None;
    let mut scanned = 0;
    for batch in places.chunks(BATCH) {
        // Most partitions are empty; those are passed over in one read.
        let ranges: Vec<Range> = batch.iter().map(|p| p.range(tenant, 1)).collect();
        let heads = app.store.range_many(&ranges).await?;
        let filled = batch.iter().zip(heads).filter(|(_, rows)| !rows.is_empty());
        for (place, _) in filled {
            let ranges = vec![place.range(tenant, CHUNK)];
            let mut rows = Merge::<LedgerRow>::new(&*app.store, ranges, CHUNK).await?;
            while let Some(row) = rows.next().await? {
                let passes = query.passes(&row);
                if scanned == MAX_SCANNED || (passes && found.len() == limit) {
                    return Ok(Found {
                        rows: found,
                        next: last,
                    });
                }
                scanned += 1;
                last = Some(Place::behind(&row));
                if passes {
                    found.push(row);
                }
            }
        }
    }
    Ok(Found {
        rows: found,
        next: None,
    })
}

impl From<LedgerRow> for LedgerResponse {
    fn from(row: LedgerRow) -> Self {
        Self {
            topic: row.topic,
            partition: row.log_partition,
            offset: row.offset,
            reason: row.reason,
            detail: row.detail,
            source: row.source,
            sensor_id: row.sensor_id,
            event_ts: row.event_ts.map(Ts),
            recv_ts: row.recv_ts.map(Ts),
            payload_base64: BASE64_STANDARD.encode(&row.payload),
            readmitted_at: None,
        }
    }
}
