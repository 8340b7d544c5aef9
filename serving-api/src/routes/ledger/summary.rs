//! What became of every record: counts that add up.

use std::collections::BTreeMap;

use axum::{extract::State, response::Response};
use openinfra_schemas::Reason;
use openinfra_store::{KeyBuf, Range, Row, range_rows, tables::views::LedgerSummaryRow};
use serde::{Deserialize, Serialize};

use crate::{
    app::AppState,
    error::ApiError,
    extract::{Allowed, ApiQuery, permission::ViewDataQuality},
    fresh::Fresh,
    openapi::Problems,
    wire::Ts,
};

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

#[derive(Debug, Clone, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct LedgerSummaryQuery {
    /// Whether to give the counts of each connector too.
    #[serde(default)]
    by_source: bool,
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
pub(super) async fn find_ledger_summary(
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
