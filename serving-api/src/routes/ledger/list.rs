//! The list of what was refused.

use axum::{extract::State, response::Response};
use base64::{Engine, prelude::BASE64_STANDARD};
use openinfra_schemas::{Reason, Topic};
use openinfra_store::tables::views::LedgerRow;
use serde::{Deserialize, Serialize};

use crate::{
    app::AppState,
    error::ApiError,
    extract::{Allowed, ApiQuery, permission::ViewDataQuality},
    fresh::Fresh,
    lists::{self, Fields, List, Page, is_any, is_within, walk},
    openapi::Problems,
    wire::Ts,
};

use super::rows::{LedgerRows, Place};

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

const FIELDS: Fields = Fields {
    known: &[
        "topic",
        "partition",
        "offset",
        "reason",
        "detail",
        "source",
        "sensor_id",
        "event_ts",
        "recv_ts",
        "payload_base64",
        "readmitted_at",
    ],
    compact: &["reason", "detail", "source", "sensor_id", "recv_ts"],
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum TopicName {
    Readings,
    Ledger,
}

/// Several values of one parameter are joined by commas: any of them.
#[derive(Debug, Clone, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListLedgerQuery {
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
    /// In the ledger since this tick or later.
    #[param(value_type = Option<String>, format = DateTime)]
    updated_from: Option<Ts>,
    /// In the ledger since before this tick.
    #[param(value_type = Option<String>, format = DateTime)]
    updated_to: Option<Ts>,
    /// Fields to answer, or `@compact`.
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
pub(super) async fn list_ledger(
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
    let open = |after: Option<&Place>| {
        LedgerRows::open(
            &app,
            tenant,
            |reason, topic| query.wants(reason, topic),
            after,
        )
    };
    let passes = |row: &_| query.passes(row);
    let after: Option<Place> = list.position(query.cursor.as_deref())?;
    let (rows, next) = list.sealed(walk::first(&mut open(after.as_ref()), limit, passes).await?);
    let total = match query.count {
        true => Some(walk::count(&mut open(None), passes).await?),
        false => None,
    };
    let items = rows.into_iter().map(LedgerResponse::from).collect();
    Page::new(items, next, as_of)
        .counted(total)
        .answer(&fresh, &FIELDS, query.fields.as_deref())
}

impl ListLedgerQuery {
    /// What a cursor is bound to.
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

    fn wants(&self, reason: Reason, topic: Topic) -> bool {
        is_any(self.reason.as_deref(), Some(&reason))
            && match self.topic {
                Some(TopicName::Readings) => topic == Topic::Readings,
                Some(TopicName::Ledger) => topic == Topic::Ledger,
                None => true,
            }
    }

    /// Whether a row is among those asked for; reason and topic are left to where rows are read.
    fn passes(&self, row: &LedgerRow) -> bool {
        is_any(self.source.as_deref(), Some(row.source.as_str()))
            && is_any(self.sensor_id.as_deref(), row.sensor_id.as_deref())
            && is_within(self.from, self.to, row.recv_ts)
            && is_within(self.updated_from, self.updated_to, Some(row.tick))
    }
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
