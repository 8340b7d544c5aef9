//! The two ingest routes: one sensor's messages, and batches of many sensors'.
//!
//! What a newcomer would get wrong: 202 is not "will be looked at": it is answered after the log has all
//! of it, refused items included. And whoever is refused as a whole (401, 403, 413, 429, 503) may send
//! the same again: nothing of it was taken.

mod answer;
mod body;
mod credentials;
mod query;
mod room;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    thread::available_parallelism,
    time::SystemTime,
};

use axum::{
    body::Body,
    extract::{ConnectInfo, Path, Request, State, rejection::PathRejection},
    http::{Extensions, HeaderMap},
    response::Response,
};
use bytes::Bytes;
use openinfra_intake::{Delivery, Format, Intake, Principal, Room, Verdict};
use openinfra_log::{AppendBatch, WriteToken};
use openinfra_schemas::{Reason, time::Millis};
use tokio::sync::Semaphore;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::problem::{Problem, ProblemBody, Slug};

pub use answer::{IngestAnswer, RejectedItem};
use body::{Encoding, Unreadable};

/// The largest body, before inflating and after, in bytes; an operator may set less.
pub const MAX_BODY_BYTES: usize = 10 * 1024 * 1024;
/// Bodies above this are read on a thread that may block, in bytes.
const INLINE_BYTES: usize = 64 * 1024;

const SOURCE: &str = "http";

/// What the ingest routes need.
#[derive(Clone)]
pub struct HttpIngest {
    pub intake: Arc<dyn Intake>,
    /// Large bodies that may be read as readings at once: one for each processor. What they turn out to
    /// take is known only afterwards, so that there may not be any number of them.
    readers: Arc<Semaphore>,
    /// See [`HttpIngest::bounded`].
    max_body_bytes: usize,
}

impl HttpIngest {
    pub fn new(intake: Arc<dyn Intake>) -> Self {
        let readers = available_parallelism().map_or(1, usize::from);
        Self {
            intake,
            readers: Arc::new(Semaphore::new(readers)),
            max_body_bytes: MAX_BODY_BYTES,
        }
    }

    /// Takes bodies of at most so many bytes, before inflating and after; never more than [`MAX_BODY_BYTES`].
    #[must_use]
    pub fn bounded(mut self, max_body_bytes: usize) -> Self {
        self.max_body_bytes = max_body_bytes.min(MAX_BODY_BYTES);
        self
    }
}

/// The routes. They bound their bodies themselves: a smaller limit around them would be in their way. The
/// client's address is taken from [`ConnectInfo`] where the server provides it.
pub fn router(state: HttpIngest) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(ingest_sensor_data))
        .routes(routes!(ingest_batch))
        .with_state(state)
}

/// Takes one sensor's message or messages.
///
/// The body is `{value, timestamp?, quality?, event_id?, unit?, battery?, rssi?}`, or
/// `{timestamp?, readings: {quantity: value}}` for the sensors `{id}:{quantity}`, or an array of either.
/// Without a timestamp a reading has the time at which it was received. Other keys, `metadata` among them,
/// are passed over: devices send what they send, and cannot be changed.
#[utoipa::path(
    post,
    path = "/api/v1/iot/sensors/{id}/data",
    tag = "ingest",
    operation_id = "ingest_sensor_data",
    params(
        ("id" = String, Path, description = "The sensor's id, percent-encoded (`/` as `%2F`)"),
        ("trust_recv" = Option<bool>, Query, description = "Take the receive time from the body, or the event time where it has none; needs `trust_receive_time`"),
    ),
    request_body(
        content((serde_json::Value = "application/json")),
        description = "A message or an array of messages; may be `Content-Encoding: gzip`, at most 10 MiB inflated",
    ),
    responses(
        (status = 202, description = "The log has all of it: readings, and in the ledger what was rejected", body = IngestAnswer, headers(("OpenInfra-Token" = String, description = "For `OpenInfra-After` of a later read"))),
        (status = 400, description = "Unknown parameter, or a body that is no JSON (the ledger has it)", body = ProblemBody<'static>, content_type = "application/problem+json"),
        (status = 401, description = "No or wrong credentials", body = ProblemBody<'static>, content_type = "application/problem+json"),
        (status = 403, description = "Not a sensor of this key, or `trust_recv` without the permission", body = ProblemBody<'static>, content_type = "application/problem+json"),
        (status = 413, description = "More than 10 MiB, before or after inflating; nothing was taken", body = ProblemBody<'static>, content_type = "application/problem+json"),
        (status = 415, description = "Not JSON, or an encoding other than gzip", body = ProblemBody<'static>, content_type = "application/problem+json"),
        (status = 422, description = "Everything was rejected; the ledger has it", body = ProblemBody<'static>, content_type = "application/problem+json"),
        (status = 429, description = "Over the key's rate; nothing was taken", body = ProblemBody<'static>, content_type = "application/problem+json"),
        (status = 503, description = "The log did not confirm it, or there is no room for it, or the key cannot be checked: send the same again. What a device sent with a time counts once", body = ProblemBody<'static>, content_type = "application/problem+json"),
    ),
    security(("api_key" = []), ("bearer" = [])),
)]
async fn ingest_sensor_data(
    State(state): State<HttpIngest>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let visit = Visit::new(&state, request).await?;
    let Path(id) = id.map_err(|_| {
        Problem::new(Slug::MalformedRequest)
            .detail("the sensor id in the path is not percent-encoded UTF-8")
            .error("id", "encoding", "expected percent-encoded UTF-8")
    })?;
    body::check_type(&visit.headers, &[body::JSON])?;
    visit.ingest(Format::SensorJson, Some(id)).await
}

/// Takes readings of many sensors.
///
/// The body is `{"readings": [{sensor_id, value, timestamp?, quality?, event_id?, unit?}]}` or one such
/// reading a line, at most 10,000. Other keys are passed over, as of one sensor's messages.
#[utoipa::path(
    post,
    path = "/api/v1/iot/sensors/batch-ingest",
    tag = "ingest",
    operation_id = "ingest_batch",
    params(
        ("trust_recv" = Option<bool>, Query, description = "Take the receive time from each reading's `recv_ts`, or its event time where it has none; needs `trust_receive_time`"),
    ),
    request_body(
        content(
            (serde_json::Value = "application/json"),
            (String = "application/x-ndjson"),
        ),
        description = "May be `Content-Encoding: gzip`, at most 10 MiB inflated",
    ),
    responses(
        (status = 202, description = "The log has all of it: readings, and in the ledger what was rejected", body = IngestAnswer, headers(("OpenInfra-Token" = String, description = "For `OpenInfra-After` of a later read"))),
        (status = 400, description = "Unknown parameter, or a body that is no JSON (the ledger has it)", body = ProblemBody<'static>, content_type = "application/problem+json"),
        (status = 401, description = "No or wrong credentials", body = ProblemBody<'static>, content_type = "application/problem+json"),
        (status = 403, description = "No sensors of this key, or `trust_recv` without the permission", body = ProblemBody<'static>, content_type = "application/problem+json"),
        (status = 413, description = "More than 10 MiB, before or after inflating; nothing was taken", body = ProblemBody<'static>, content_type = "application/problem+json"),
        (status = 415, description = "Neither JSON nor NDJSON, or an encoding other than gzip", body = ProblemBody<'static>, content_type = "application/problem+json"),
        (status = 422, description = "Everything was rejected, as more than 10,000 readings are; the ledger has it", body = ProblemBody<'static>, content_type = "application/problem+json"),
        (status = 429, description = "Over the key's rate; nothing was taken", body = ProblemBody<'static>, content_type = "application/problem+json"),
        (status = 503, description = "The log did not confirm it, or there is no room for it, or the key cannot be checked: send the same again. What a device sent with a time counts once", body = ProblemBody<'static>, content_type = "application/problem+json"),
    ),
    security(("api_key" = []), ("bearer" = [])),
)]
async fn ingest_batch(
    State(state): State<HttpIngest>,
    request: Request,
) -> Result<Response, Problem> {
    let visit = Visit::new(&state, request).await?;
    let format = match body::check_type(&visit.headers, &[body::JSON, body::NDJSON])? {
        body::NDJSON => Format::Ndjson,
        _ => Format::BatchJson,
    };
    visit.ingest(format, None).await
}

/// One request whose sender is known and may do what it asks for.
struct Visit {
    state: HttpIngest,
    who: Arc<Principal>,
    trust_recv: bool,
    headers: HeaderMap,
    body: Body,
}

/// A body as it was read and what became of it, not yet in the log.
struct Taken {
    batch: AppendBatch,
    verdict: Verdict,
    room: Room,
}

impl Visit {
    async fn new(state: &HttpIngest, request: Request) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let shown = credentials::of(&parts.headers, address(&parts.extensions))?;
        let who = state
            .intake
            .authenticate(&shown)
            .await
            .map_err(credentials::problem)?;
        let trust_recv = query::trust_recv(parts.uri.query())?;
        if trust_recv && !who.may_trust_recv {
            return Err(credentials::lacks(openinfra_intake::TRUST_RECEIVE_TIME));
        }
        Ok(Self {
            state: state.clone(),
            who,
            trust_recv,
            headers: parts.headers,
            body,
        })
    }

    async fn ingest(mut self, format: Format, sensor: Option<String>) -> Result<Response, Problem> {
        let encoding = Encoding::of(&self.headers)?;
        // One is taken before the body is read: a flood is refused unread. The others follow.
        self.admit(1)?;
        let mut room = self.state.intake.budget().room();
        let body = std::mem::take(&mut self.body);
        let most = self.state.max_body_bytes;
        let bytes = body::read(&self.headers, body, encoding, most, &mut room).await?;
        room::before_reading(&mut room, &bytes, encoding).await?;
        let delivered = Delivered {
            intake: Arc::clone(&self.state.intake),
            who: Arc::clone(&self.who),
            format,
            sensor,
            trust_recv: self.trust_recv,
            recv_ts: now(),
            encoding,
            bytes,
            most,
            room,
        };
        let taken = delivered.take(&self.state.readers).await?;
        let others = taken.batch.len().saturating_sub(1);
        self.admit(u32::try_from(others).unwrap_or(u32::MAX))?;
        let places = taken.batch.places();
        let appended = self
            .state
            .intake
            .commit(taken.batch, taken.room)
            .await
            .map_err(answer::not_committed)?;
        let token = WriteToken::from_places(&places, &appended);
        Ok(answer::answer(&taken.verdict, format, &token))
    }

    fn admit(&self, readings: u32) -> Result<(), Problem> {
        let admitted = self.state.intake.admit(&self.who, readings);
        admitted.map_err(answer::rate_limited)
    }
}

/// A body and all that is needed to read it, on whichever thread.
struct Delivered {
    intake: Arc<dyn Intake>,
    who: Arc<Principal>,
    format: Format,
    sensor: Option<String>,
    trust_recv: bool,
    recv_ts: Millis,
    encoding: Encoding,
    bytes: Bytes,
    /// The most that it may inflate to, in bytes.
    most: usize,
    room: Room,
}

impl Delivered {
    async fn take(self, readers: &Arc<Semaphore>) -> Result<Taken, Problem> {
        if self.bytes.len() <= INLINE_BYTES && self.encoding == Encoding::Identity {
            return self.take_now();
        }
        let reader = Arc::clone(readers).acquire_owned().await;
        let taking = tokio::task::spawn_blocking(move || {
            let _reader = reader.expect("nobody closes the semaphore");
            self.take_now()
        });
        match taking.await {
            Ok(taken) => taken,
            Err(error) => {
                tracing::error!(%error, "reading an ingest body ended early");
                Err(Problem::new(Slug::Internal))
            }
        }
    }

    fn take_now(mut self) -> Result<Taken, Problem> {
        let mut batch = AppendBatch::default();
        let verdict = match self.encoding.inflate(&self.bytes, self.most) {
            Ok(payload) => self
                .intake
                .take(&self.who, &self.delivery(&payload), &mut batch),
            Err(Unreadable::TooLarge) => return Err(body::too_large(self.most)),
            Err(Unreadable::Corrupt(why)) => {
                let detail = format!("the body is not what its content encoding says: {why}");
                let delivery = self.delivery(&self.bytes);
                let reason = Reason::Undecodable;
                self.intake
                    .refuse(&self.who, &delivery, reason, &detail, &mut batch);
                answer::refused_whole(reason, detail)
            }
        };
        // The body is let go of here; from now on there are the records.
        room::after_reading(&mut self.room, &batch)?;
        let room = self.room;
        Ok(Taken {
            batch,
            verdict,
            room,
        })
    }

    fn delivery<'a>(&'a self, payload: &'a [u8]) -> Delivery<'a> {
        Delivery {
            source: SOURCE,
            origin: match self.format {
                Format::SensorJson => "/api/v1/iot/sensors/{id}/data",
                Format::BatchJson | Format::Ndjson => "/api/v1/iot/sensors/batch-ingest",
            },
            format: self.format,
            sensor: self.sensor.as_deref(),
            tenant: None,
            payload,
            recv_ts: self.recv_ts,
            trust_recv: self.trust_recv,
        }
    }
}

fn address(extensions: &Extensions) -> Option<IpAddr> {
    extensions
        .get::<ConnectInfo<SocketAddr>>()
        .map(|info| info.0.ip())
}

fn now() -> Millis {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as Millis)
}
