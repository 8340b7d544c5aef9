//! A view's rows in key order, as of one tick: all of them as lines, or a page of them as a list.
//!
//! Lines hold the job's ticks while they run; a page holds them only while it is read, so that two pages
//! may be of two ticks.

use std::{io, sync::Arc};

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use openinfra_http::problem::Problem;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::{App, AppState, Hold, JobUnavailable},
    dump::{Dump, DumpError, Emit, Place, View, dump_view, page_of},
    error::ApiError,
    extract::{Allowed, ApiPath, ApiQuery, malformed_parameter, permission::ViewOperations},
    fresh::Fresh,
    lists::{self, List},
    openapi::Problems,
    wire::{Ts, negotiate::Wanted},
};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list_view_rows))
}

/// Why rows that were read are not of one tick.
const LOST: &str = "the hold was lost while rows were read";
/// How many chunks of a stream wait for a slow client.
const WAITING_CHUNKS: usize = 8;
const NDJSON: &str = "application/x-ndjson";

#[derive(Debug, Clone, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ViewRowsQuery {
    /// Whether to leave out what depends on when and where a record came.
    #[serde(default)]
    by_content: bool,
    /// Asks for a list: 1 to 10,000; 1,000 by default.
    limit: Option<u32>,
    /// Asks for a list: `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Some rows of a view.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ViewRowsPage {
    #[schema(value_type = Vec<Object>)]
    items: Vec<Box<RawValue>>,
    /// Give it back as `cursor` for the next page; null: this was the last.
    next_cursor: Option<String>,
    /// The tick that these rows are as of.
    as_of: Ts,
}

/// Lists the rows of a view in key order, as of one tick: a page with `limit` or `cursor`, or where
/// `application/json` is accepted by name, else all of them, one JSON object a line.
///
/// No tick is written while lines are sent: a client that reads slowly holds the views back, for ten
/// minutes at most. A page is of the tick it says; the next one may be of a later tick.
#[utoipa::path(
    get,
    path = "/api/v1/views/{name}/rows",
    tag = "views",
    params(("name" = String, Path, description = "The view"), ViewRowsQuery),
    responses(
        (status = 200, description = "Its rows", content(
            (String = "application/x-ndjson"),
            (ViewRowsPage = "application/json"),
        )),
        Problems,
    ),
    security(("api_key" = []), ("bearer" = [])),
)]
async fn list_view_rows(
    State(app): State<AppState>,
    caller: Allowed<ViewOperations>,
    ApiPath(name): ApiPath<String>,
    ApiQuery(query): ApiQuery<ViewRowsQuery>,
    wanted: Wanted,
    headers: HeaderMap,
    _waited: Fresh,
) -> Result<Response, ApiError> {
    let view = View::parse(&name).ok_or_else(|| ApiError::not_found("view", &name))?;
    let limit = lists::limit(query.limit, 1_000, 10_000)?;
    let wants_page = query.wants_page(&wanted)? || accepts_json_by_name(&headers);
    let list = List {
        app: &app,
        route: "view_rows",
        tenant: caller.tenant().as_str(),
        filters: format!("{view:?} {}", query.by_content),
    };
    let after: Option<Place> = list.position(query.cursor.as_deref())?;
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
    if wanted.is(NDJSON) || !wants_page {
        return Ok(fresh.stamp(lines(&app, dump, held)));
    }
    let read = page_of(&*app.store, &dump, caller.tenant(), after.as_ref(), limit).await;
    if held.is_lost() {
        return Err(JobUnavailable(LOST.to_owned()).into());
    }
    drop(held);
    let page = read.map_err(|error| match error {
        DumpError::Read(error) => error,
        DumpError::Write(error) => unreachable!("a page is kept in memory: {error}"),
    })?;
    Ok(fresh.json(ViewRowsPage {
        next_cursor: page.next.map(|place| list.cursor(&place)),
        items: page.items,
        as_of: Ts(dump.as_of),
    }))
}

impl ViewRowsQuery {
    /// Errs where a page is asked for as lines, which have nowhere to say how it goes on.
    fn wants_page(&self, wanted: &Wanted) -> Result<bool, Problem> {
        let given = [
            ("limit", self.limit.is_some()),
            ("cursor", self.cursor.is_some()),
        ];
        match given.into_iter().find(|(_, is_given)| *is_given) {
            Some((name, _)) if wanted.is(NDJSON) => {
                let detail = "is of the list, which is application/json; lines are all rows";
                Err(malformed_parameter(name, "not_applicable", detail))
            }
            given => Ok(given.is_some()),
        }
    }
}

/// Whether the client names JSON as what it reads. Anything (`*/*`) is not a name: lines are the form of
/// old, which clients that say nothing expect.
fn accepts_json_by_name(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).into_iter();
    let accepted = accepted.filter_map(|value| value.to_str().ok());
    let mut ranges = accepted.flat_map(|value| value.split(','));
    ranges.any(|range| {
        let name = range.split(';').next().unwrap_or_default().trim();
        name.eq_ignore_ascii_case("application/json")
    })
}

/// All rows, sent as they are read.
fn lines(app: &AppState, dump: Dump, held: Box<dyn Hold>) -> Response {
    let (sender, receiver) = mpsc::channel(WAITING_CHUNKS);
    tokio::spawn(stream(Arc::clone(app), dump, held, sender));
    let chunks = futures::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|chunk| (chunk, receiver))
    });
    let mut response = Response::new(Body::from_stream(chunks));
    let ndjson = HeaderValue::from_static(NDJSON);
    response.headers_mut().insert(header::CONTENT_TYPE, ndjson);
    response
}

type Chunk = Result<Bytes, io::Error>;

/// Sends the rows; an error in the middle breaks the answer off, so that it cannot be taken for whole.
async fn stream(app: Arc<App>, dump: Dump, held: Box<dyn Hold>, sender: mpsc::Sender<Chunk>) {
    let mut emit = Channel(sender.clone());
    let rows = dump_view(&*app.store, &dump, &mut emit);
    let result = tokio::time::timeout(app.config.long_timeout, rows).await;
    let lost = held.is_lost();
    drop(held);
    let broken = match result {
        Ok(Ok(())) if !lost => return,
        Ok(Ok(())) => LOST.to_owned(),
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
