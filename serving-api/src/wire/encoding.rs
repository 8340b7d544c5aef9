//! `Accept-Encoding`: answers are compressed for whoever takes them so.
//!
//! What a newcomer would get wrong: an answer with an `ETag` is left as it is. Its tag is strong, so that
//! one tag may not name several sequences of bytes, and the tag has to be the version alone, which
//! `If-Match` gives back; such answers are single entities and small. No answer holds a secret next to
//! what its request said, so that its compressed length gives nothing away.

use axum::{
    extract::Request,
    http::{Extensions, HeaderMap, HeaderValue, StatusCode, Version, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use openinfra_http::problem::{Problem, Slug};
use tower_http::{
    CompressionLevel,
    compression::{
        CompressionLayer,
        predicate::{And, Predicate, SizeAbove},
    },
};

use super::negotiate::weight_of;
use crate::extract::malformed;

/// What answers can be encoded with; of those that a client likes equally, the first is taken.
const CODINGS: [&str; 3] = ["zstd", "br", "gzip"];
/// Shorter ones gain nothing.
const SMALLEST: u64 = 256;

type May = fn(StatusCode, Version, &HeaderMap, &Extensions) -> bool;

/// Compresses answers as [`choose`] has decided.
pub(crate) fn compression() -> CompressionLayer<And<SizeAbove, May>> {
    // A problem has its last word still to come, from the layer around this one.
    let may: May =
        |status, _, headers, _| status.is_success() && !headers.contains_key(header::ETAG);
    CompressionLayer::new()
        .quality(CompressionLevel::Fastest)
        .compress_when(SizeAbove::new(SMALLEST).and(may))
}

/// Leaves one coding of those that the client takes, or answers 406 when there is none.
///
/// The layer that compresses would decide that only after the request had its effect.
pub(crate) async fn choose(mut request: Request, next: Next) -> Response {
    match chosen(request.headers()) {
        Ok(Some(coding)) => {
            let coding = HeaderValue::from_static(coding);
            request
                .headers_mut()
                .insert(header::ACCEPT_ENCODING, coding);
        }
        Ok(None) => {
            request.headers_mut().remove(header::ACCEPT_ENCODING);
        }
        Err(problem) => return problem.into_response(),
    }
    next.run(request).await
}

/// None: the answer as it is.
fn chosen(headers: &HeaderMap) -> Result<Option<&'static str>, Problem> {
    let given = weights(headers)?;
    let of = |coding: &str| {
        let find = |name: &str| given.iter().find(|(known, _)| known == name);
        find(coding)
            .or_else(|| find("*"))
            .map(|(_, weight)| *weight)
    };
    let codings = CODINGS.iter().rev();
    let liked = codings.map(|coding| (of(coding).unwrap_or(0), Some(*coding)));
    // Where nothing is said of it, the plain form is taken as the last resort.
    let plain = of("identity").filter(|_| names(&given, "identity"));
    let plain = plain.unwrap_or(if of("*") == Some(0) { 0 } else { 1 });
    let best = std::iter::once((plain, None)).chain(liked);
    match best.max_by_key(|(weight, _)| *weight) {
        Some((weight, coding)) if weight > 0 => Ok(coding),
        _ => Err(Problem::new(Slug::NotAcceptable)
            .detail("Accept-Encoding leaves no form of the answer")
            .with("allowed", [&CODINGS[..], &["identity"]].concat())),
    }
}

fn names(given: &[(String, u16)], coding: &str) -> bool {
    given.iter().any(|(known, _)| known == coding)
}

/// The codings that the header names, in lower case, with their weights in thousandths.
fn weights(headers: &HeaderMap) -> Result<Vec<(String, u16)>, Problem> {
    let unreadable = || malformed("Accept-Encoding", "is no list of codings");
    let mut weights = Vec::new();
    for value in headers.get_all(header::ACCEPT_ENCODING) {
        let text = value.to_str().map_err(|_| unreadable())?;
        for element in text.split(',').map(str::trim).filter(|e| !e.is_empty()) {
            let (coding, parameter) = element.split_once(';').unwrap_or((element, "q=1"));
            let (_, weight) = parameter.split_once('=').ok_or_else(unreadable)?;
            let weight = weight_of(weight).ok_or_else(unreadable)?;
            weights.push((coding.trim().to_ascii_lowercase(), weight));
        }
    }
    Ok(weights)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(given: &str, wanted: Result<Option<&str>, Slug>) {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_str(given).unwrap();
        headers.insert(header::ACCEPT_ENCODING, value);
        let chosen = chosen(&headers).map_err(|problem| problem.slug());
        assert_eq!(chosen, wanted, "{given}");
    }

    #[test]
    fn the_coding_that_the_client_likes_best_is_taken() {
        check("", Ok(None));
        check("gzip", Ok(Some("gzip")));
        check("gzip, deflate, br, zstd", Ok(Some("zstd")));
        check("gzip;q=1.0, br;q=0.5", Ok(Some("gzip")));
        check("br;q=0.5, identity", Ok(None));
        check("GZIP ; q=0.3", Ok(Some("gzip")));
        check("deflate", Ok(None));
        check("*", Ok(Some("zstd")));
        check("zstd;q=0, *;q=0.2", Ok(Some("br")));
        check("identity;q=0, gzip;q=0.001", Ok(Some("gzip")));
        check("*;q=0, identity;q=0.1", Ok(None));
    }

    #[test]
    fn who_takes_nothing_is_told_so() {
        check("identity;q=0", Err(Slug::NotAcceptable));
        check("*;q=0", Err(Slug::NotAcceptable));
        check("gzip;q=0, identity;q=0", Err(Slug::NotAcceptable));
        check("gzip;q=x", Err(Slug::MalformedRequest));
        check("gzip;q", Err(Slug::MalformedRequest));
    }
}
