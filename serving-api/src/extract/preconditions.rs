//! The headers under which a request is to count: versions and idempotency keys.
//!
//! `If-Match: *` would mean "whatever stands there", which is the lost update that the header is to
//! prevent; it is refused.

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, header, request::Parts},
};
use openinfra_http::problem::{Problem, Slug};

/// `If-Match`: the version that a change is meant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IfMatch(pub i64);

/// What a PUT is to find: the version that it replaces, or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutCondition {
    /// `If-Match`: this version stands there.
    Stands(i64),
    /// `If-None-Match: *`: nothing stands there, and the PUT creates it.
    Absent,
}

/// `If-None-Match` of a read: the versions that the client has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IfNoneMatch(Vec<i64>);

/// `Idempotency-Key`, when there is one: 1 to 128 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(pub Option<String>);

impl IfNoneMatch {
    /// Whether the client has this version, so that 304 answers it.
    pub fn has(&self, version: i64) -> bool {
        self.0.contains(&version)
    }
}

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let Some(text) = single(&parts.headers, header::IF_MATCH)? else {
            let detail = "send If-Match with the version that the change is meant for";
            return Err(Problem::new(Slug::PreconditionRequired).detail(detail));
        };
        one_version(text).map(Self)
    }
}

impl<S: Sync> FromRequestParts<S> for PutCondition {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let stands = single(&parts.headers, header::IF_MATCH)?;
        let absent = single(&parts.headers, header::IF_NONE_MATCH)?;
        match (stands, absent) {
            (Some(text), None) => one_version(text).map(Self::Stands),
            (None, Some("*")) => Ok(Self::Absent),
            (None, Some(other)) => {
                let detail = format!("of a PUT is *, for create only, not {other:?}");
                Err(malformed("If-None-Match", &detail))
            }
            (Some(_), Some(_)) => {
                let detail = "asks for nothing to be there, and If-Match for a version";
                Err(malformed("If-None-Match", detail))
            }
            (None, None) => {
                let detail = "send If-Match with the version that the change is meant for, or \
                              If-None-Match: * to create";
                Err(Problem::new(Slug::PreconditionRequired).detail(detail))
            }
        }
    }
}

impl<S: Sync> FromRequestParts<S> for IfNoneMatch {
    type Rejection = Problem;

    /// Tags that are not ours match nothing, so they are passed over.
    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let values = parts.headers.get_all(header::IF_NONE_MATCH).iter();
        let tags = values.filter_map(|value| value.to_str().ok());
        let tags = tags.flat_map(|text| text.split(','));
        // A weak comparison, as RFC 9110 has it for this header.
        let versions = tags.filter_map(|tag| version(tag.trim().trim_start_matches("W/")));
        Ok(Self(versions.collect()))
    }
}

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let name = HeaderName::from_static("idempotency-key");
        let Some(key) = single(&parts.headers, name)? else {
            return Ok(Self(None));
        };
        let visible = key.bytes().all(|byte| byte.is_ascii_graphic());
        if visible && (1..=128).contains(&key.len()) {
            Ok(Self(Some(key.to_owned())))
        } else {
            let detail = "has 1 to 128 visible ASCII characters";
            Err(malformed("Idempotency-Key", detail))
        }
    }
}

fn one_version(text: &str) -> Result<i64, Problem> {
    version(text).ok_or_else(|| {
        let detail = format!("is one version, \"v7\", not {text:?}");
        malformed("If-Match", &detail)
    })
}

fn version(tag: &str) -> Option<i64> {
    let digits = tag.strip_prefix("\"v")?.strip_suffix('"')?;
    digits.bytes().all(|b| b.is_ascii_digit()).then_some(())?;
    digits.parse().ok()
}

fn single(headers: &HeaderMap, name: HeaderName) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all(&name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(malformed(name.as_str(), "is given twice"));
    }
    match value.to_str() {
        Ok(text) => Ok(Some(text.trim())),
        Err(_) => Err(malformed(name.as_str(), "holds what is not visible ASCII")),
    }
}

/// A header that cannot be read.
pub(crate) fn malformed(header: &str, detail: &str) -> Problem {
    Problem::new(Slug::MalformedRequest)
        .detail(format!("the header {header} {detail}"))
        .error(header, "header", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_strong_tags_of_ours() {
        for (tag, wanted) in [
            ("\"v7\"", Some(7)),
            ("\"v0\"", Some(0)),
            ("W/\"v7\"", None),
            ("*", None),
            ("v7", None),
            ("\"v-7\"", None),
            ("\"v7\", \"v8\"", None),
        ] {
            assert_eq!(version(tag), wanted, "{tag}");
        }
    }
}
