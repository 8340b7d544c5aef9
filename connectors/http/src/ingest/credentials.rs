//! Who sends: `X-API-Key`, or `Authorization: Bearer`.
//!
//! What a newcomer would get wrong: credentials that cannot be read are not the same as none. In dev mode
//! none are needed, yet a wrong or unreadable key is refused all the same.

use std::net::IpAddr;

use axum::http::{HeaderMap, header};
use openinfra_intake::{AuthError, Credentials};

use crate::problem::{Problem, Slug};

const API_KEY: &str = "x-api-key";

/// What the request shows.
pub fn of(headers: &HeaderMap, address: Option<IpAddr>) -> Result<Credentials, Problem> {
    let key = headers.get(API_KEY).map(|value| value.as_bytes());
    let bearer = match headers.get(header::AUTHORIZATION) {
        Some(value) => Some(bearer(value.as_bytes()).ok_or_else(unreadable)?),
        None => None,
    };
    let secret = match key.or(bearer) {
        Some(bytes) => Some(std::str::from_utf8(bytes).map_err(|_| unreadable())?.trim()),
        None => None,
    };
    Ok(Credentials {
        username: None,
        secret: secret.map(str::to_owned),
        address,
    })
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(rest)
}

fn unreadable() -> Problem {
    Problem::new(Slug::Unauthenticated)
        .detail("credentials are read from X-API-Key, or from Authorization with the scheme Bearer")
}

/// What an [`AuthError`] is answered with.
pub fn problem(error: AuthError) -> Problem {
    match error {
        AuthError::Missing => Problem::new(Slug::Unauthenticated)
            .detail("send a key as X-API-Key, or as Authorization: Bearer"),
        AuthError::Wrong => Problem::new(Slug::InvalidCredentials),
        AuthError::Forbidden(permission) => lacks(permission),
        AuthError::Unavailable(_) => Problem::new(Slug::Unavailable)
            .detail("credentials cannot be checked now; nothing was taken")
            .with("part", "store")
            .with("reason", "unavailable")
            .retry_after(1),
    }
}

/// 403: the permission is missing.
pub fn lacks(permission: &str) -> Problem {
    Problem::new(Slug::Forbidden)
        .detail(format!("the key does not hold the permission {permission}"))
        .with("required_permission", permission)
}
