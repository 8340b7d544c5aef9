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

/// Adds the tag to an answer; 304 without a body when the client has this version. What the answer's other
/// headers say, as of which tick it is among it, a 304 says too.
pub fn tagged(mut response: Response, version: i64, have: &IfNoneMatch) -> Response {
    response.headers_mut().insert(header::ETAG, etag(version));
    if !have.has(version) {
        return response;
    }
    let mut unchanged = StatusCode::NOT_MODIFIED.into_response();
    *unchanged.headers_mut() = std::mem::take(response.headers_mut());
    for of_the_body in [header::CONTENT_TYPE, header::CONTENT_LENGTH] {
        unchanged.headers_mut().remove(of_the_body);
    }
    unchanged
}
