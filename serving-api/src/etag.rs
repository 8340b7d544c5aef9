//! Versions as entity tags: `"v7"`, strong, the same whatever view of the entity is asked for.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::extract::IfNoneMatch;

/// The tag of a version.
pub fn etag(version: i64) -> HeaderValue {
    HeaderValue::try_from(format!("\"v{version}\"")).expect("digits are visible ASCII")
}

/// Adds the tag to an answer; 304 without a body when the client has this version.
pub fn tagged(response: Response, version: i64, have: &IfNoneMatch) -> Response {
    let mut response = if have.has(version) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        response
    };
    response.headers_mut().insert(header::ETAG, etag(version));
    response
}
