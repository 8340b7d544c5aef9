//! How far the views are.

use std::collections::BTreeMap;

use axum::{extract::State, response::Response};
use openinfra_schemas::Topic;
use serde::Serialize;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::AppState,
    dump::View,
    error::ApiError,
    extract::{Allowed, AnyOne, ApiQuery, NoQuery},
    fresh::{Fresh, Progress},
    openapi::Problems,
    settings::Finality,
    wire::Ts,
};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list_views))
}

/// The topics that views are made of.
const INPUTS: [Topic; 3] = [Topic::Readings, Topic::Entities, Topic::Ledger];

/// How far the views are.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct ViewsResponse {
    /// The tick that all views are as of; null before the first.
    pub as_of: Option<Ts>,
    /// Whether every record that was in the log as the request came has reached the views.
    pub caught_up: bool,
    /// Records that the ledger accounts for: readings and refused messages, of all tenants.
    pub log_records: i64,
    /// Records that have not reached the views, changes of entities included.
    pub lag_records: i64,
    /// Hours that end here or before are final.
    pub final_through: Option<Ts>,
    pub views: BTreeMap<String, ViewResponse>,
}

/// How far one view is.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct ViewResponse {
    /// Rows of all tenants.
    pub rows: i64,
    pub as_of: Option<Ts>,
}

/// Lists the views and how far they are.
#[utoipa::path(
    get,
    path = "/api/v1/views",
    tag = "views",
    responses(
        (status = 200, description = "How far they are", body = ViewsResponse),
        Problems,
    ),
    security(("api_key" = []), ("bearer" = [])),
)]
async fn list_views(
    State(app): State<AppState>,
    caller: Allowed<AnyOne>,
    _: ApiQuery<NoQuery>,
    ends: LogEnds,
    fresh: Fresh,
) -> Result<Response, ApiError> {
    let progress = fresh.progress();
    let as_of = progress.map(|progress| Ts(progress.as_of));
    let lag = ends.lag(progress);
    let finality = match as_of {
        Some(Ts(tick)) => Some(Finality::of(&*app.store, caller.tenant(), tick).await?),
        None => None,
    };
    let views = View::ALL.iter().map(|view| {
        let name = view.name();
        let rows = progress.and_then(|p| p.rows.get(name).copied());
        let response = ViewResponse {
            rows: rows.unwrap_or(0),
            as_of,
        };
        (name.to_owned(), response)
    });
    Ok(fresh.json(ViewsResponse {
        as_of,
        caught_up: as_of.is_some() && lag == 0,
        log_records: ends.records,
        lag_records: lag,
        final_through: finality.map(|finality| Ts(finality.hours_through())),
        views: views.collect(),
    }))
}

/// The ends of the log as the request came: taken before the progress is read.
struct LogEnds {
    ends: Vec<(Topic, Vec<i64>)>,
    /// Records of `readings` and `ledger` that are kept.
    records: i64,
}

impl LogEnds {
    fn lag(&self, progress: Option<&Progress>) -> i64 {
        let partitions = self.ends.iter().flat_map(|(topic, ends)| {
            let topic = *topic;
            (0..).zip(ends).map(move |(partition, end)| {
                let reached = progress.map_or(0, |p| p.end(topic, partition));
                (end - reached).max(0)
            })
        });
        partitions.sum()
    }
}

impl axum::extract::FromRequestParts<AppState> for LogEnds {
    type Rejection = ApiError;

    async fn from_request_parts(
        _parts: &mut axum::http::request::Parts,
        app: &AppState,
    ) -> Result<Self, ApiError> {
        let mut ends = Vec::with_capacity(INPUTS.len());
        let mut records = 0;
        for topic in INPUTS {
            let of_topic = app.log.end_offsets(topic).await?;
            let starts = app.log.start_offsets(topic).await?;
            // The ledger accounts for readings and refused messages; changes of entities stand apart.
            if topic != Topic::Entities {
                records += of_topic.iter().sum::<i64>() - starts.iter().sum::<i64>();
            }
            ends.push((topic, of_topic));
        }
        Ok(Self { ends, records })
    }
}
