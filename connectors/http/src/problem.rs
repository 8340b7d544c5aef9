//! Problems: what every failed request is answered with (RFC 9457).
//!
//! A problem is for the caller: causes go to the log, never into it. What a newcomer would get wrong: do
//! not set `instance`; [`name_instance`] fills it from the request's id when the answer leaves, whoever
//! made it.

mod slug;

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Map, Value};

pub use slug::Slug;

/// The content type of every problem.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// Why a request failed, in its caller's terms. Made with [`Problem::new`], answered with `?`.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}{}", slug.as_str(), detail.as_deref().map(|d| format!(": {d}")).unwrap_or_default())]
pub struct Problem {
    slug: Slug,
    detail: Option<String>,
    errors: Vec<FieldError>,
    members: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// What is wrong with one field of a body, one parameter or one header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct FieldError {
    /// JSON pointer into the body; the name of a parameter or header where there is no body.
    pub pointer: String,
    /// A stable word, such as `required`, `out_of_range`, `unknown_field`.
    pub code: String,
    /// What is wrong, and what would be right.
    pub detail: String,
}

/// The body of a problem as it is written; some kinds have further members.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody<'a> {
    /// `/problems/<slug>`: a page about the kind of problem.
    #[serde(rename = "type")]
    type_: String,
    title: &'a str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    /// `urn:uuid:` and the request's id, as in `X-Request-Id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    errors: &'a [FieldError],
    #[serde(flatten)]
    members: &'a Map<String, Value>,
}

impl Problem {
    pub fn new(slug: Slug) -> Self {
        Self {
            slug,
            detail: None,
            errors: Vec::new(),
            members: Map::new(),
            headers: Vec::new(),
        }
    }

    /// What is wrong with this request, in a sentence for its sender.
    #[must_use]
    pub fn detail(mut self, text: impl Into<String>) -> Self {
        self.detail = Some(text.into());
        self
    }

    /// A further member of the body, as the kind of problem has it.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// One more field that is wrong.
    #[must_use]
    pub fn error(
        mut self,
        pointer: impl Into<String>,
        code: impl Into<String>,
        detail: impl Into<String>,
    ) -> Self {
        self.errors.push(FieldError {
            pointer: pointer.into(),
            code: code.into(),
            detail: detail.into(),
        });
        self
    }

    /// When to try again, in seconds: the header `Retry-After`.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        self.header(header::RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// A header of the answer.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    pub fn slug(&self) -> Slug {
        self.slug
    }

    pub fn status(&self) -> StatusCode {
        self.slug.status()
    }

    /// The fields that are wrong.
    pub fn errors(&self) -> &[FieldError] {
        &self.errors
    }

    fn body(&self, request_id: Option<&str>) -> Body {
        let body = ProblemBody {
            type_: format!("/problems/{}", self.slug.as_str()),
            title: self.slug.title(),
            status: self.slug.status().as_u16(),
            detail: self.detail.as_deref(),
            instance: request_id.map(|id| format!("urn:uuid:{id}")),
            errors: &self.errors,
            members: &self.members,
        };
        let bytes = serde_json::to_vec(&body).expect("strings and JSON values are always written");
        Body::from(bytes)
    }
}

impl IntoResponse for Problem {
    fn into_response(mut self) -> Response {
        if self.slug.status() == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"openinfra\"");
            self.headers.push((header::WWW_AUTHENTICATE, challenge));
        }
        let mut response = Response::new(self.body(None));
        *response.status_mut() = self.slug.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Fills `instance` when the answer is a [`Problem`]; any other answer passes as it is.
pub fn name_instance(mut response: Response, request_id: &str) -> Response {
    let Some(problem) = response.extensions_mut().remove::<Problem>() else {
        return response;
    };
    response.headers_mut().remove(header::CONTENT_LENGTH);
    *response.body_mut() = problem.body(Some(request_id));
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn json(response: Response) -> Value {
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice(&bytes).unwrap()
    }

    #[tokio::test]
    async fn the_body_is_as_the_rfc_has_it() {
        let problem = Problem::new(Slug::UnknownParameter)
            .detail("this route has no parameter \"colour\"")
            .with("parameter", "colour")
            .error("/a", "required", "is missing")
            .retry_after(7);
        let response = name_instance(problem.into_response(), "0190");
        assert_eq!(response.status(), 400);
        assert_eq!(response.headers()["content-type"], CONTENT_TYPE);
        assert_eq!(response.headers()["retry-after"], "7");
        assert_eq!(
            json(response).await,
            serde_json::json!({
                "type": "/problems/unknown-parameter",
                "title": "The route has no such query parameter",
                "status": 400,
                "detail": "this route has no parameter \"colour\"",
                "instance": "urn:uuid:0190",
                "errors": [{"pointer": "/a", "code": "required", "detail": "is missing"}],
                "parameter": "colour",
            })
        );
    }

    #[tokio::test]
    async fn who_is_not_known_is_told_how_to_say_so() {
        let response = Problem::new(Slug::Unauthenticated).into_response();
        assert!(response.headers().contains_key("www-authenticate"));
    }

    #[tokio::test]
    async fn other_answers_keep_their_body() {
        let response = name_instance("fine".into_response(), "0190");
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(&bytes[..], b"fine");
    }
}
