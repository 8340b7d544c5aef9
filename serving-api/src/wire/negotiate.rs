//! `Accept`: which of a route's forms the client is answered in.
//!
//! What a route offers is what its description in the OpenAPI document says of its successes, so that a
//! form is offered by describing it, and no list of them stands beside the routes. What a newcomer would
//! get wrong: problems are answered as problems whatever is accepted; 406 is decided before the handler
//! runs, so that nothing is done whose answer nobody could read.

use std::{collections::HashMap, convert::Infallible, sync::Arc};

use axum::{
    extract::{FromRequestParts, MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, Method, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use openinfra_http::problem::{Problem, Slug};
use utoipa::openapi::{OpenApi, RefOr, path::Operation};

use crate::extract::malformed;

/// The form of answers when the client does not say, on every route that has it.
pub const JSON: &str = "application/json";

/// The form of the schema registry's protocol, which comes before [`JSON`] where a route has both.
pub const REGISTRY_JSON: &str = "application/vnd.schemaregistry.v1+json";

/// The form in which the answer is wanted: one that the route offers.
///
/// An argument of handlers that can answer in several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted(Arc<str>);

impl Wanted {
    /// Whether it is this media type.
    pub fn is(&self, media_type: &str) -> bool {
        &*self.0 == media_type
    }
}

impl<S: Sync> FromRequestParts<S> for Wanted {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let wanted = parts.extensions.get().cloned();
        Ok(wanted.unwrap_or_else(|| Self(JSON.into())))
    }
}

/// The forms of each route's successes, by path and method.
#[derive(Debug, Default)]
pub struct Offers(HashMap<(String, Method), Vec<Arc<str>>>);

impl Offers {
    /// As a document describes them.
    pub fn of(document: &OpenApi) -> Self {
        let mut offers = HashMap::new();
        for (path, item) in &document.paths.paths {
            for (method, operation) in [
                (Method::GET, &item.get),
                (Method::HEAD, &item.get),
                (Method::POST, &item.post),
                (Method::PUT, &item.put),
                (Method::PATCH, &item.patch),
                (Method::DELETE, &item.delete),
            ] {
                let forms = operation.as_ref().map(forms).unwrap_or_default();
                if !forms.is_empty() {
                    offers.insert((path.clone(), method), forms);
                }
            }
        }
        Self(offers)
    }
}

/// The media types of an operation's successes, the one to prefer first.
fn forms(operation: &Operation) -> Vec<Arc<str>> {
    let mut forms: Vec<Arc<str>> = Vec::new();
    for (status, response) in &operation.responses.responses {
        let RefOr::T(response) = response else {
            continue;
        };
        let content = response.content.keys().filter(|_| status.starts_with('2'));
        for form in content {
            if !forms.iter().any(|known| **known == **form) {
                forms.push(form.as_str().into());
            }
        }
    }
    let place = |form: &str| {
        [REGISTRY_JSON, JSON]
            .iter()
            .position(|known| *known == form)
    };
    forms.sort_by_key(|form| place(form).unwrap_or(usize::MAX));
    forms
}

/// Answers 406 when the client accepts none of the route's forms, else tells the handler the best.
pub(crate) async fn negotiate(
    State(offers): State<Arc<Offers>>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = request.extensions().get::<MatchedPath>();
    let route = path.map(|path| (path.as_str().to_owned(), request.method().clone()));
    let Some(offered) = route.and_then(|route| offers.0.get(&route)) else {
        return next.run(request).await;
    };
    let chosen = match Accept::of(request.headers()) {
        Ok(accept) => accept.best(offered),
        Err(problem) => return problem.into_response(),
    };
    let Some(chosen) = chosen else {
        return not_acceptable(offered).into_response();
    };
    request.extensions_mut().insert(Wanted(Arc::clone(chosen)));
    let mut response = next.run(request).await;
    if offered.len() > 1 {
        let accept = HeaderValue::from_static("accept");
        response.headers_mut().append(header::VARY, accept);
    }
    response
}

fn not_acceptable(offered: &[Arc<str>]) -> Problem {
    let offered: Vec<&str> = offered.iter().map(|form| &**form).collect();
    Problem::new(Slug::NotAcceptable)
        .detail(format!("the route answers with {}", offered.join(" or ")))
        .with("allowed", offered)
}

/// The media ranges of `Accept`, each with its weight in thousandths.
#[derive(Debug, PartialEq)]
struct Accept(Vec<(String, u16)>);

impl Accept {
    /// Parameters other than the weight are passed over: no form here has any that tells it from another.
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut ranges = Vec::new();
        for value in headers.get_all(header::ACCEPT) {
            let text = value.to_str().map_err(|_| unreadable())?;
            for element in text.split(',').map(str::trim).filter(|e| !e.is_empty()) {
                ranges.push(range(element).ok_or_else(unreadable)?);
            }
        }
        Ok(Self(ranges))
    }

    /// The offered form of the greatest weight; of equal ones the first.
    fn best<'a>(&self, offered: &'a [Arc<str>]) -> Option<&'a Arc<str>> {
        let weighed = offered.iter().map(|form| (self.weight(form), form));
        let accepted = weighed.filter(|(weight, _)| *weight > 0);
        // Of equal ones `max_by_key` would take the last.
        accepted
            .rev()
            .max_by_key(|(weight, _)| *weight)
            .map(|(_, form)| form)
    }

    /// The weight of the narrowest range that the form is in; of no header at all, the full one.
    fn weight(&self, form: &str) -> u16 {
        if self.0.is_empty() {
            return FULL;
        }
        let (kind, _) = form.split_once('/').unwrap_or((form, ""));
        let of = |wanted: &str| {
            let found = self.0.iter().find(|(range, _)| range == wanted);
            found.map(|(_, weight)| *weight)
        };
        let narrowest = of(form).or_else(|| of(&format!("{kind}/*")));
        narrowest.or_else(|| of("*/*")).unwrap_or(0)
    }
}

const FULL: u16 = 1_000;

/// A media range, in lower case, and its weight.
fn range(element: &str) -> Option<(String, u16)> {
    let mut parts = element.split(';').map(str::trim);
    let range = parts.next()?.to_ascii_lowercase();
    // What Java's own client sends for "anything".
    let range = if range == "*" {
        "*/*".to_owned()
    } else {
        range
    };
    let (kind, subtype) = range.split_once('/')?;
    if kind.is_empty() || subtype.is_empty() || (kind == "*" && subtype != "*") {
        return None;
    }
    let weight = parts.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then_some(value)
    });
    let weight = weight.map_or(Some(FULL), weight_of)?;
    Some((range, weight))
}

/// A weight between 0 and 1, in thousandths.
pub(crate) fn weight_of(text: &str) -> Option<u16> {
    let weight: f32 = text.trim().parse().ok()?;
    (0.0..=1.0)
        .contains(&weight)
        .then_some((weight * f32::from(FULL)).round() as u16)
}

fn unreadable() -> Problem {
    malformed("Accept", "is no list of media ranges")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best(accept: &str, offered: &[&str]) -> Result<Option<String>, Slug> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_str(accept).unwrap());
        let offered: Vec<Arc<str>> = offered.iter().map(|form| (*form).into()).collect();
        let accept = Accept::of(&headers).map_err(|problem| problem.slug())?;
        Ok(accept.best(&offered).map(|form| (**form).to_owned()))
    }

    #[test]
    fn the_best_of_what_is_offered_is_taken() {
        let both = &[JSON, "application/geo+json"][..];
        for (accept, wanted) in [
            ("", Some(JSON)),
            ("*/*", Some(JSON)),
            ("*; q=.2", Some(JSON)),
            ("application/*", Some(JSON)),
            ("application/json; charset=utf-8", Some(JSON)),
            ("APPLICATION/JSON", Some(JSON)),
            ("application/geo+json", Some("application/geo+json")),
            (
                "text/html, application/geo+json;q=0.1",
                Some("application/geo+json"),
            ),
            ("application/json;q=0.5, */*", Some("application/geo+json")),
            (
                "application/json;q=0, application/*",
                Some("application/geo+json"),
            ),
            ("text/html", None),
            ("application/problem+json", None),
            ("*/*;q=0", None),
        ] {
            let wanted = Ok(wanted.map(str::to_owned));
            assert_eq!(best(accept, both), wanted, "{accept}");
        }
    }

    #[test]
    fn what_is_no_list_of_media_ranges_is_refused() {
        for accept in ["json", "*/json", "a/b;q=2", "a/b;q=x", "/"] {
            assert_eq!(
                best(accept, &[JSON]),
                Err(Slug::MalformedRequest),
                "{accept}"
            );
        }
    }
}
