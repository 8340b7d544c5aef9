//! Why a handler could not answer, in the terms of its caller.
//!
//! Causes are logged here, once; the caller is told which part does not answer and when to try again.

use axum::response::{IntoResponse, Response};
use openinfra_http::problem::{Problem, Slug};
use openinfra_log::LogError;
use openinfra_store::StoreError;

use crate::{
    app::JobUnavailable,
    entities::{Violation, WriteError},
    routes::image_to_json,
};

/// What a handler fails with. [`ApiError::into_problem`] is what its caller is told.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error(transparent)]
    Problem(#[from] Problem),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Job(#[from] JobUnavailable),
    #[error(transparent)]
    Write(#[from] WriteError),
    /// What we wrote ourselves does not read.
    #[error("{what} does not read: {source}")]
    Stored {
        what: &'static str,
        source: serde_json::Error,
    },
}

impl ApiError {
    /// There is no such thing in the caller's tenant.
    pub fn not_found(what: &str, id: &str) -> Self {
        Self::Problem(Problem::new(Slug::NotFound).detail(format!("{what} {id:?} does not exist")))
    }

    /// Whether it is not known if the request had its effect.
    pub fn is_unresolved(&self) -> bool {
        matches!(self, Self::Write(WriteError::Unresolved { .. }))
    }

    /// The same trouble, met after the request had its effect: no longer "nothing was taken".
    pub fn after_write(self) -> Self {
        match self {
            Self::Store(error) => Self::Write(WriteError::from(error).unresolved()),
            other => other,
        }
    }

    /// The problem that the caller is told.
    pub fn into_problem(self) -> Problem {
        let unavailable = |part: &str| {
            Problem::new(Slug::Unavailable)
                .detail(format!("the {part} does not answer"))
                .with("part", part)
                .retry_after(1)
        };
        let full = |part| unavailable(part).with("reason", "storage_full");
        match self {
            Self::Problem(problem) => problem,
            Self::Store(StoreError::Unavailable(cause)) => {
                tracing::warn!(%cause, "the store is unavailable");
                unavailable("store")
            }
            Self::Store(StoreError::StorageFull) => full("store"),
            Self::Log(LogError::Unavailable(cause)) => {
                tracing::warn!(%cause, "the log is unavailable");
                unavailable("log")
            }
            Self::Log(LogError::StorageFull) => full("log"),
            Self::Write(error) => write_problem(error),
            Self::Job(error) => {
                tracing::warn!(%error, "the job is unavailable");
                unavailable("job")
            }
            other => {
                tracing::error!(error = %other, "a request failed");
                Problem::new(Slug::Internal)
            }
        }
    }
}

fn write_problem(error: WriteError) -> Problem {
    let detail = error.to_string();
    match error {
        WriteError::Conflict { existing, .. } => {
            let existing = image_to_json(&existing);
            let id = existing.get("sensor_id").cloned().unwrap_or_default();
            Problem::new(Slug::Conflict)
                .detail(detail)
                .with("field", "sensor_id")
                .with("existing_id", id)
        }
        WriteError::Stale { current, .. } => Problem::new(Slug::PreconditionFailed)
            .detail(detail)
            .with("current_version", current.version)
            .with("current", image_to_json(&current)),
        WriteError::NotFound { .. } => Problem::new(Slug::NotFound).detail(detail),
        WriteError::Validation(violations) => {
            let problem = Problem::new(Slug::ValidationFailed).detail(detail);
            violations.into_iter().fold(problem, violated)
        }
        WriteError::Geometry(violation) => {
            let problem = Problem::new(Slug::GeometryInvalid)
                .detail(detail)
                .with("reason", violation.code)
                .with("pointer", violation.pointer.clone());
            violated(problem, violation)
        }
        WriteError::Unavailable {
            part,
            storage_full,
            cause,
        } => {
            tracing::warn!(part = part.as_str(), ?cause, "a write was not finished");
            let problem = Problem::new(Slug::Unavailable)
                .detail(detail)
                .with("part", part.as_str())
                .retry_after(1);
            match storage_full {
                true => problem.with("reason", "storage_full"),
                false => problem,
            }
        }
        WriteError::Unresolved { part, cause } => {
            tracing::warn!(part = part.as_str(), ?cause, "a write is left to the relay");
            Problem::new(Slug::RequestTimeout)
                .detail(format!(
                    "{detail}: read before you send it again, or send a POST again with the same \
                     Idempotency-Key"
                ))
                .with("part", part.as_str())
                .with("outcome", "unknown")
                .retry_after(1)
        }
        WriteError::Unreadable { .. } => {
            tracing::error!(%detail, "an entity cannot be read");
            Problem::new(Slug::Internal)
        }
    }
}

fn violated(problem: Problem, violation: Violation) -> Problem {
    problem.error(violation.pointer, violation.code, violation.detail)
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.into_problem().into_response()
    }
}
