//! What happens to every request and every answer, whichever route it takes.
//!
//! From the outside in: the request's id, the trace, the last word on problems, panics, the route. What a
//! newcomer would get wrong: axum answers 404 and 405 itself, in plain text; the last word turns whatever
//! left without a body of ours into a problem.

use std::{any::Any, time::Duration};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use openinfra_http::problem::{CONTENT_TYPE, Problem, Slug, name_instance};
use tracing::Instrument;
use uuid::Uuid;

use crate::{app::AppState, wire::negotiate::REGISTRY_JSON};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Names the request, logs it, and gives every answer its common headers.
pub(crate) async fn envelope(request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let trace = traceparent(request.headers());
    let span = tracing::info_span!(
        "request",
        id = %id,
        method = %request.method(),
        path = request.uri().path(),
    );
    let docs = is_docs(request.uri().path());
    let response = next.run(request).instrument(span.clone()).await;
    span.in_scope(|| tracing::debug!(status = response.status().as_u16(), "answered"));
    let mut response = name_instance(last_word(response), &id);
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, text(&id));
    headers.insert(TRACEPARENT, text(&trace));
    secure(headers, docs);
    response
}

/// The client's where it is a UUID, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let given = given.and_then(|id| Uuid::try_parse(id).ok());
    given.unwrap_or_else(Uuid::now_v7).to_string()
}

/// The client's `traceparent` where it is one, else the start of a trace that is not sampled.
fn traceparent(headers: &HeaderMap) -> String {
    let given = headers.get(TRACEPARENT).and_then(|t| t.to_str().ok());
    match given.filter(|text| is_traceparent(text)) {
        Some(text) => text.to_owned(),
        None => {
            let (trace, span) = (rand::random::<u128>(), rand::random::<u64>());
            format!("00-{trace:032x}-{span:016x}-00")
        }
    }
}

fn is_traceparent(text: &str) -> bool {
    let lengths = [2, 32, 16, 2];
    let parts: Vec<&str> = text.split('-').collect();
    parts.len() == 4
        && parts.iter().zip(lengths).all(|(part, length)| {
            part.len() == length
                && part
                    .bytes()
                    .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        })
}

fn text(value: &str) -> HeaderValue {
    HeaderValue::try_from(value).expect("hexadecimal digits and dashes are visible ASCII")
}

fn is_docs(path: &str) -> bool {
    path == "/docs" || path.starts_with("/docs/")
}

/// Nothing that a browser loads from us may load anything from elsewhere; the browser of the document
/// runs its own scripts and styles its own elements.
fn secure(headers: &mut HeaderMap, docs: bool) {
    let policy = if docs {
        "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; \
         frame-ancestors 'none'"
    } else {
        "default-src 'none'; frame-ancestors 'none'"
    };
    let fixed = [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !docs && !headers.contains_key(header::CACHE_CONTROL) {
        // An ETag is the entity's version, and says nothing of the status that is answered beside it: a
        // browser that revalidated by itself would show what is no longer so.
        let value = HeaderValue::from_static("private, no-store");
        headers.insert(header::CACHE_CONTROL, value);
    }
}

/// Makes a problem of an error that a library answered in its own way.
fn last_word(response: Response) -> Response {
    let status = response.status();
    let is_ours = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|t| t.as_bytes().starts_with(CONTENT_TYPE.as_bytes()));
    // 503 is how readiness answers; its body is not a problem but what was checked. And the registry's
    // protocol has errors of its own.
    let is_json = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|t| t.as_bytes().starts_with(b"application/json") || t == REGISTRY_JSON);
    if !(status.is_client_error() || status.is_server_error()) || is_ours || is_json {
        return response;
    }
    let allow = response.headers().get(header::ALLOW).cloned();
    problem_of(status, allow).into_response()
}

fn problem_of(status: StatusCode, allow: Option<HeaderValue>) -> Problem {
    match status {
        StatusCode::METHOD_NOT_ALLOWED => {
            let allow = allow.unwrap_or_else(|| HeaderValue::from_static(""));
            let methods = allow.to_str().unwrap_or_default().split(',');
            let methods: Vec<&str> = methods.map(str::trim).filter(|m| !m.is_empty()).collect();
            Problem::new(Slug::MethodNotAllowed)
                .detail(format!("the path takes {}", methods.join(", ")))
                .with("allowed", methods)
                .header(header::ALLOW, allow.clone())
        }
        StatusCode::NOT_FOUND => Problem::new(Slug::NotFound).detail("no route has this path"),
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(Slug::PayloadTooLarge),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Problem::new(Slug::UnsupportedMediaType),
        StatusCode::REQUEST_TIMEOUT => Problem::new(Slug::RequestTimeout),
        other if other.is_client_error() => Problem::new(Slug::MalformedRequest),
        _ => Problem::new(Slug::Internal),
    }
}

/// Bounds how long an answer may take to begin.
pub(crate) async fn timeout(State(app): State<AppState>, request: Request, next: Next) -> Response {
    within(app.config.timeout, request, next).await
}

/// As [`timeout`], for what works through everything there is.
pub(crate) async fn long_timeout(
    State(app): State<AppState>,
    request: Request,
    next: Next,
) -> Response {
    within(app.config.long_timeout, request, next).await
}

async fn within(limit: Duration, request: Request, next: Next) -> Response {
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(Slug::RequestTimeout)
            .detail(format!("no answer within {} ms", limit.as_millis()))
            .into_response(),
    }
}

/// What a handler that panicked answers.
pub(crate) fn panicked(cause: Box<dyn Any + Send>) -> Response {
    let text = cause
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| cause.downcast_ref::<String>().cloned());
    let cause = text.unwrap_or_else(|| "no message".to_owned());
    tracing::error!(%cause, "a handler panicked");
    Problem::new(Slug::Internal).into_response()
}
