//! Path segments, percent-decoded; an id that cannot be one names nothing, so it is 404.

use axum::{
    extract::{FromRequestParts, Path},
    http::request::Parts,
};
use openinfra_http::problem::{Problem, Slug};
use openinfra_schemas::SensorId;
use serde::de::DeserializeOwned;

/// The path's parameters as `T`.
#[derive(Debug, Clone)]
pub struct ApiPath<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for ApiPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(rejection) => {
                Err(Problem::new(Slug::MalformedRequest).detail(rejection.body_text()))
            }
        }
    }
}

/// The sensor that a path names; it may hold any number of `/`, percent-encoded.
#[derive(Debug, Clone)]
pub struct SensorPath(pub SensorId);

impl<S: Send + Sync> FromRequestParts<S> for SensorPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let ApiPath(id) = ApiPath::<String>::from_request_parts(parts, state).await?;
        match SensorId::parse(&id) {
            Ok(id) => Ok(Self(id)),
            Err(error) => Err(Problem::new(Slug::NotFound).detail(error.to_string())),
        }
    }
}
