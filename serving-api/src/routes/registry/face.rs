//! What stands around the registry's routes, so that its clients meet what they know.
//!
//! They authenticate by name and password where our clients send a key; name bodies by the protocol's
//! content type; and read errors as `{error_code, message}`. Everything inside, limits and credentials
//! included, is as for every other route.

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use openinfra_http::problem::Problem;

use super::refused::RefusedBody;
use crate::{
    app::{AppState, Schemas},
    wire::negotiate::{JSON, REGISTRY_JSON, Wanted},
};

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Translates a request of the protocol into one of ours, and the answer back.
pub(crate) async fn face(
    State(app): State<AppState>,
    mut request: Request,
    next: Next,
) -> Response {
    let wanted = match request.extensions().get::<Wanted>() {
        Some(wanted) if wanted.is(JSON) => JSON,
        _ => REGISTRY_JSON,
    };
    let headers = request.headers_mut();
    take_password(headers);
    if is_of_protocol(headers) {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    }
    let mut response = next.run(request).await;
    // Where there is no registry, nothing may look like one's answer: a client would take it for its word.
    if matches!(app.schemas, Schemas::Elsewhere(_)) {
        return response;
    }
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        response = translate(&problem, response);
    }
    let content_type = response.headers().get(header::CONTENT_TYPE);
    if content_type.is_some_and(|t| t == JSON) {
        let wanted = HeaderValue::from_static(wanted);
        response.headers_mut().insert(header::CONTENT_TYPE, wanted);
    }
    response
}

/// Name and password as a key: a whole one in the password's place, or its two halves.
fn take_password(headers: &mut HeaderMap) {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return;
    };
    let pair = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"))
        .and_then(|(_, pair)| BASE64_STANDARD.decode(pair.trim()).ok())
        .and_then(|pair| String::from_utf8(pair).ok());
    let Some((name, password)) = pair.as_deref().and_then(|pair| pair.split_once(':')) else {
        return;
    };
    let key = match password.contains('.') {
        true => password.to_owned(),
        false => format!("{name}.{password}"),
    };
    if let Ok(mut key) = HeaderValue::try_from(key) {
        key.set_sensitive(true);
        headers.remove(header::AUTHORIZATION);
        headers.insert(API_KEY, key);
    }
}

/// Whether the body is named by a content type of the protocol.
fn is_of_protocol(headers: &HeaderMap) -> bool {
    let given = headers
        .get(header::CONTENT_TYPE)
        .and_then(|t| t.to_str().ok());
    let essence = given.and_then(|t| t.split(';').next()).unwrap_or_default();
    [
        REGISTRY_JSON,
        "application/vnd.schemaregistry+json",
        "application/octet-stream",
    ]
    .contains(&essence.trim())
}

/// A problem in the protocol's form, with the headers that it had.
fn translate(problem: &Problem, response: Response) -> Response {
    let (mut parts, _) = response.into_parts();
    let error_code = match parts.status {
        StatusCode::UNAUTHORIZED => 40_101,
        StatusCode::FORBIDDEN => 40_301,
        status => u32::from(status.as_u16()),
    };
    let body = Json(RefusedBody {
        error_code,
        message: problem.to_string(),
    });
    parts.headers.remove(header::CONTENT_LENGTH);
    let (of_body, body) = body.into_response().into_parts();
    parts.headers.extend(of_body.headers);
    Response::from_parts(parts, body)
}
