//! JSON bodies: read strictly, every wrong field pointed at.
//!
//! What cannot be read at all is 400 `malformed-request`; JSON of the wrong shape is 422
//! `validation-failed`.

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{FromRequest, Request},
    http::{HeaderMap, header},
};
use http_body_util::{BodyExt, Limited};
use openinfra_http::problem::{Problem, Slug};
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;

use super::strict;
use crate::app::AppState;

/// The body as `T`; the bytes as they came are kept, for what must be compared with a later request.
#[derive(Debug)]
pub struct ApiJson<T> {
    pub value: T,
    pub bytes: Bytes,
}

/// Any JSON body: for merge patches, which mean something only beside what they change.
pub type JsonBody = ApiJson<serde_json::Value>;

impl<T: DeserializeOwned> FromRequest<AppState> for ApiJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &AppState) -> Result<Self, Problem> {
        check_type(request.headers())?;
        let bytes = collect(request.into_body(), app.config.body_limit).await?;
        let value = parse(&bytes)?;
        Ok(Self { value, bytes })
    }
}

const ACCEPTED: [&str; 2] = ["application/json", "application/merge-patch+json"];

fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let given = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    if ACCEPTED
        .iter()
        .any(|accepted| essence.eq_ignore_ascii_case(accepted))
    {
        return Ok(());
    }
    let detail = match essence {
        "" => "Content-Type is missing".to_owned(),
        other => format!("Content-Type is {other:?}"),
    };
    Err(Problem::new(Slug::UnsupportedMediaType)
        .detail(detail)
        .with("accepted", ACCEPTED.to_vec()))
}

async fn collect(body: Body, limit: usize) -> Result<Bytes, Problem> {
    let too_large = || {
        Problem::new(Slug::PayloadTooLarge)
            .detail(format!("the body has more than {limit} bytes"))
            .with("limit_bytes", limit)
    };
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
        Err(error) => {
            tracing::debug!(%error, "a body broke off");
            Err(Problem::new(Slug::MalformedRequest).detail("the body broke off"))
        }
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    strict::check(bytes).map_err(|fault| {
        Problem::new(Slug::MalformedRequest)
            .detail(fault.detail.clone())
            .error(fault.pointer, fault.code, fault.detail)
    })?;
    let mut parser = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut parser).map_err(|error| wrong_shape(&error))
}

fn wrong_shape(error: &serde_path_to_error::Error<serde_json::Error>) -> Problem {
    let mut pointer = String::new();
    for segment in error.path() {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => pointer.push_str(&format!("/{}", strict::escape(key))),
            Segment::Enum { variant } => pointer.push_str(&format!("/{}", strict::escape(variant))),
            Segment::Unknown => {}
        }
    }
    let text = error.inner().to_string();
    // serde_json adds the place in the text, which the pointer says better.
    let message = text.split(" at line ").next().unwrap_or(&text);
    let code = if let Some(field) = quoted(message, "missing field ") {
        pointer.push_str(&format!("/{}", strict::escape(field)));
        "required"
    } else if message.starts_with("unknown field ") {
        "unknown_field"
    } else {
        "invalid"
    };
    Problem::new(Slug::ValidationFailed)
        .detail("a field of the body breaks its rule")
        .error(pointer, code, message)
}

fn quoted<'a>(message: &'a str, prefix: &str) -> Option<&'a str> {
    let rest = message.strip_prefix(prefix)?.strip_prefix('`')?;
    rest.split('`').next()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[serde(rename = "inner")]
        _inner: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[serde(rename = "n")]
        _n: i64,
    }

    fn check(text: &str, slug: Slug, pointer: &str, code: &str) {
        let problem = parse::<Outer>(text.as_bytes()).unwrap_err();
        assert_eq!(problem.slug(), slug, "{text}");
        let error = &problem.errors()[0];
        assert_eq!(
            (error.pointer.as_str(), error.code.as_str()),
            (pointer, code),
            "{text}"
        );
    }

    #[test]
    fn wrong_fields_are_pointed_at() {
        use Slug::{MalformedRequest, ValidationFailed};
        check(
            r#"{"inner": [{"n": "1"}]}"#,
            ValidationFailed,
            "/inner/0/n",
            "invalid",
        );
        check(
            r#"{"inner": [{"n": 1}, {}]}"#,
            ValidationFailed,
            "/inner/1/n",
            "required",
        );
        check(
            r#"{"inner": [], "x/y": 1}"#,
            ValidationFailed,
            "/x~1y",
            "unknown_field",
        );
        check(
            r#"{"inner": [{"n": 1, "n": 1}]}"#,
            MalformedRequest,
            "/inner/0/n",
            "duplicate_key",
        );
        check(r#"{"inner": ["#, MalformedRequest, "", "syntax");
    }
}
