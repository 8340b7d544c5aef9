//! How far the views are, their rows as of one tick, and whether they are what the log says.

use std::{collections::BTreeMap, io, sync::Arc};

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{HeaderValue, header},
    response::Response,
};
use openinfra_schemas::Topic;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::{App, AppState, Difference, Verification},
    dump::{Dump, Emit, View, dump_view},
    error::ApiError,
    extract::{
        Allowed, AnyOne, ApiPath, ApiQuery, NoQuery,
        permission::{ManagePlatform, ViewOperations},
    },
    fresh::{Fresh, Progress},
    openapi::Problems,
    settings::Finality,
    wire::Ts,
};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list_views))
}

pub(crate) fn long_router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_view_rows))
        .routes(routes!(verify_views))
}

/// The topics that views are made of.
const INPUTS: [Topic; 3] = [Topic::Readings, Topic::Entities, Topic::Ledger];
/// How many chunks of a stream wait for a slow client.
const WAITING_CHUNKS: usize = 8;

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

#[derive(Debug, Clone, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ViewRowsQuery {
    /// Whether to leave out what depends on when and where a record came.
    #[serde(default)]
    by_content: bool,
}

/// Whether the views equal a batch recomputation of the log.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct VerifyResponse {
    pub equal: bool,
    /// The first rows that differ.
    pub differing: Vec<DifferenceResponse>,
    pub as_of: Ts,
}

/// A row that differs.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct DifferenceResponse {
    pub view: String,
    pub key: String,
    /// What the log gives; null: no such row.
    pub expected: Option<Value>,
    /// What the store has; null: no such row.
    pub found: Option<Value>,
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

/// Streams all rows of a view in key order, as of one tick, one JSON object a line.
///
/// No tick is written while it runs: a client that reads slowly holds the views back, for ten minutes at
/// most.
#[utoipa::path(
    get,
    path = "/api/v1/views/{name}/rows",
    tag = "views",
    params(("name" = String, Path, description = "The view"), ViewRowsQuery),
    responses(
        (status = 200, description = "Its rows", content_type = "application/x-ndjson", body = String),
        Problems,
    ),
    security(("api_key" = []), ("bearer" = [])),
)]
async fn list_view_rows(
    State(app): State<AppState>,
    caller: Allowed<ViewOperations>,
    ApiPath(name): ApiPath<String>,
    ApiQuery(query): ApiQuery<ViewRowsQuery>,
    _waited: Fresh,
) -> Result<Response, ApiError> {
    let view = View::parse(&name).ok_or_else(|| ApiError::not_found("view", &name))?;
    let held = app.ops.hold().await?;
    // Read while held: the tick that the rows are of.
    let fresh = Fresh::now(&app).await?;
    let dump = Dump {
        view,
        by_content: query.by_content,
        tenant: Some(caller.tenant().clone()),
        partitions: app.partitions(),
        as_of: fresh.as_of()?,
    };
    let (sender, receiver) = mpsc::channel(WAITING_CHUNKS);
    tokio::spawn(stream(Arc::clone(&app), dump, held, sender));
    let chunks = futures::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|chunk| (chunk, receiver))
    });
    let mut response = Response::new(Body::from_stream(chunks));
    let ndjson = HeaderValue::from_static("application/x-ndjson");
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, ndjson);
    Ok(fresh.stamp(response))
}

/// Compares all views with a batch recomputation of the log.
#[utoipa::path(
    post,
    path = "/api/v1/views/verify",
    tag = "views",
    responses(
        (status = 200, description = "Whether they are equal, and where they are not", body = VerifyResponse),
        Problems,
    ),
    security(("api_key" = []), ("bearer" = [])),
)]
async fn verify_views(
    State(app): State<AppState>,
    _caller: Allowed<ManagePlatform>,
    _: ApiQuery<NoQuery>,
    fresh: Fresh,
) -> Result<Response, ApiError> {
    let verification = app.ops.verify().await?;
    Ok(fresh.json(VerifyResponse::from(verification)))
}

type Chunk = Result<Bytes, io::Error>;

/// Sends the rows; an error in the middle breaks the answer off, so that it cannot be taken for whole.
async fn stream(app: Arc<App>, dump: Dump, held: Box<dyn Send>, sender: mpsc::Sender<Chunk>) {
    let mut emit = Channel(sender.clone());
    let rows = dump_view(&*app.store, &dump, &mut emit);
    let result = tokio::time::timeout(app.config.long_timeout, rows).await;
    drop(held);
    let broken = match result {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the time for it is over".to_owned(),
    };
    tracing::warn!(view = dump.view.name(), %broken, "a stream of rows broke off");
    // Nobody may be there to hear it.
    let _ = sender.send(Err(io::Error::other(broken))).await;
}

struct Channel(mpsc::Sender<Chunk>);

#[async_trait::async_trait]
impl Emit for Channel {
    async fn lines(&mut self, lines: Vec<u8>) -> io::Result<()> {
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.0.send(Ok(Bytes::from(lines))).await.map_err(gone)
    }
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

impl From<Verification> for VerifyResponse {
    fn from(verification: Verification) -> Self {
        Self {
            equal: verification.equal,
            as_of: Ts(verification.as_of),
            differing: verification
                .differing
                .into_iter()
                .map(DifferenceResponse::from)
                .collect(),
        }
    }
}

impl From<Difference> for DifferenceResponse {
    fn from(difference: Difference) -> Self {
        Self {
            view: difference.view,
            key: difference.key,
            expected: difference.expected,
            found: difference.found,
        }
    }
}
