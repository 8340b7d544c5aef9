//! Why a handler could not answer, in the terms of its caller.
//!
//! Causes are logged here, once; the caller is told which part does not answer and when to try again. A
//! full disk is told from one that does not answer: waiting a second will not help.

use axum::response::{IntoResponse, Response};
use openinfra_http::problem::{Problem, Slug};
use openinfra_log::LogError;
use openinfra_store::StoreError;

use crate::{
    app::JobUnavailable,
    entities::{Violation, WriteError},
    routes::image_to_json,
};

/// When to try again what does not answer, in seconds.
const RETRY_S: u64 = 1;
/// When to try again what has no space, in seconds: somebody has to make some.
const RETRY_FULL_S: u64 = 30;

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

    /// Whether it failed because a disk is full.
    pub fn is_storage_full(&self) -> bool {
        match self {
            Self::Store(StoreError::StorageFull) | Self::Log(LogError::StorageFull) => true,
            Self::Write(error) => error.is_storage_full(),
            _ => false,
        }
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
        let full = self.is_storage_full();
        match self {
            Self::Problem(problem) => problem,
            Self::Store(error @ StoreError::Unavailable(_)) => {
                // The store itself has one line for all requests.
                tracing::debug!(%error, "a request needs the store, which does not answer");
                unavailable("store", full)
            }
            Self::Store(error @ StoreError::StorageFull) => {
                tracing::warn!(%error, "the store has no space");
                unavailable("store", full)
            }
            Self::Log(error @ (LogError::Unavailable(_) | LogError::StorageFull)) => {
                tracing::warn!(%error, "the log does not answer");
                unavailable("log", full)
            }
            Self::Store(StoreError::Refused(cause)) => {
                tracing::error!(%cause, "the store refuses us");
                unavailable("store", false)
            }
            Self::Log(LogError::Refused(cause)) => {
                tracing::error!(%cause, "the log refuses us");
                unavailable("log", false)
            }
            Self::Write(error) => write_problem(error),
            Self::Job(error) => {
                tracing::warn!(%error, "the job is unavailable");
                unavailable("job", false)
            }
            other => {
                tracing::error!(error = %other, "a request failed");
                Problem::new(Slug::Internal)
            }
        }
    }
}

fn unavailable(part: &str, full: bool) -> Problem {
    let what = if full {
        "has no space"
    } else {
        "does not answer"
    };
    let problem = Problem::new(Slug::Unavailable).detail(format!("the {part} {what}"));
    in_time(problem.with("part", part), full)
}

/// When to try again; a full disk is named.
fn in_time(problem: Problem, full: bool) -> Problem {
    match full {
        true => problem
            .with("reason", "storage_full")
            .retry_after(RETRY_FULL_S),
        false => problem.retry_after(RETRY_S),
    }
}

fn write_problem(error: WriteError) -> Problem {
    let detail = error.to_string();
    let full = error.is_storage_full();
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
        WriteError::Unavailable { part, cause, .. } => {
            tracing::warn!(part = part.as_str(), ?cause, "a write was not finished");
            let problem = Problem::new(Slug::Unavailable).detail(detail);
            in_time(problem.with("part", part.as_str()), full)
        }
        WriteError::Unresolved { part, cause } => {
            tracing::warn!(part = part.as_str(), ?cause, "a write is left to the relay");
            let problem = Problem::new(Slug::RequestTimeout)
                .detail(format!(
                    "{detail}: read before you send it again, or send a POST again with the same \
                     Idempotency-Key"
                ))
                .with("part", part.as_str())
                .with("outcome", "unknown");
            in_time(problem, full)
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
