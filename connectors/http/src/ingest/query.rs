//! The one parameter of the ingest routes.
//!
//! A parameter that the route does not have is an error: ignoring a misspelt `trust_recv` would date a
//! whole capture to today.

use crate::problem::{Problem, Slug};

const TRUST_RECV: &str = "trust_recv";

/// Whether receive times of the body are to be believed; false when nothing is said.
pub fn trust_recv(query: Option<&str>) -> Result<bool, Problem> {
    let mut trust = None;
    for pair in query
        .unwrap_or_default()
        .split('&')
        .filter(|p| !p.is_empty())
    {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if name != TRUST_RECV {
            let name: String = name.chars().take(64).collect();
            return Err(Problem::new(Slug::UnknownParameter)
                .detail(format!("this route has no parameter {name:?}"))
                .with("parameter", name)
                .with("known", vec![TRUST_RECV]));
        }
        let value = match value {
            "true" => true,
            "false" => false,
            _ => return Err(malformed("expected true or false")),
        };
        if trust.replace(value).is_some() {
            return Err(malformed("is given twice"));
        }
    }
    Ok(trust.unwrap_or(false))
}

fn malformed(detail: &str) -> Problem {
    Problem::new(Slug::MalformedRequest)
        .detail(format!("parameter {TRUST_RECV}: {detail}"))
        .error(TRUST_RECV, "invalid", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn true_false_or_nothing() {
        assert!(trust_recv(Some("trust_recv=true")).unwrap());
        assert!(!trust_recv(Some("trust_recv=false")).unwrap());
        assert!(!trust_recv(Some("")).unwrap());
        assert!(!trust_recv(None).unwrap());
    }

    #[test]
    fn all_else_is_an_error() {
        for (query, slug) in [
            ("trust_rcv=true", Slug::UnknownParameter),
            ("trust_recv=true&x=1", Slug::UnknownParameter),
            ("trust_recv=1", Slug::MalformedRequest),
            ("trust_recv", Slug::MalformedRequest),
            ("trust_recv=true&trust_recv=true", Slug::MalformedRequest),
        ] {
            assert_eq!(trust_recv(Some(query)).unwrap_err().slug(), slug, "{query}");
        }
    }
}
