//! What an ingest request is answered with.
//!
//! What a newcomer would get wrong: a request of which everything was rejected is a problem to its sender
//! and yet durable: its answer carries the same members as a 202, token included.

use axum::{
    Json,
    http::{HeaderName, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
};
use openinfra_intake::{CommitError, Format, INGEST_READINGS, Rejection, TooMany, Verdict};
use openinfra_log::WriteToken;
use openinfra_schemas::Reason;
use serde::Serialize;

use crate::{
    problem::{Problem, Slug},
    rate_limit::RateLimit,
};

/// Header of the token that a later read may wait for.
const TOKEN: HeaderName = HeaderName::from_static("openinfra-token");

/// What became of a request's readings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct IngestAnswer {
    /// Readings that the log has. Which of them are duplicates the views will say.
    pub accepted: usize,
    /// Items that were rejected; they stand in the ledger.
    pub rejected: usize,
    /// For `OpenInfra-After`: a read that carries it sees these readings.
    pub token: String,
    /// The rejected items.
    pub errors: Vec<RejectedItem>,
}

/// One rejected item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct RejectedItem {
    /// Its place in the body, from 0.
    pub index: usize,
    /// `undecodable`, `invalid`, `schema_rejected` or `unknown_tenant`.
    pub reason: &'static str,
    /// What is wrong, and what would be right.
    pub detail: String,
}

/// The answer to what the log has.
pub fn answer(verdict: &Verdict, format: Format, token: &WriteToken) -> Response {
    let token = token.to_string();
    let header =
        HeaderValue::from_str(&token).expect("a token is of digits, letters, dots and dashes");
    let body = IngestAnswer {
        accepted: verdict.accepted,
        rejected: verdict.rejected.len(),
        token,
        errors: verdict.rejected.iter().map(rejected_item).collect(),
    };
    let mut response = match problem(verdict, format) {
        None => (StatusCode::ACCEPTED, Json(body)).into_response(),
        Some(problem) => with_members(problem, body).into_response(),
    };
    response.headers_mut().insert(TOKEN, header);
    response
}

fn rejected_item(rejection: &Rejection) -> RejectedItem {
    RejectedItem {
        index: rejection.index,
        reason: rejection.reason.as_str(),
        detail: rejection.detail.clone(),
    }
}

/// None when anything was accepted, or when there was nothing to reject.
fn problem(verdict: &Verdict, format: Format) -> Option<Problem> {
    let first = verdict.rejected.first()?;
    if verdict.accepted > 0 {
        return None;
    }
    let unreadable = verdict.rejected.len() == 1 && first.reason == Reason::Undecodable;
    let problem = if verdict.forbidden == verdict.rejected.len() {
        Problem::new(Slug::Forbidden)
            .detail(first.detail.clone())
            .with("required_permission", INGEST_READINGS)
    } else if unreadable && format != Format::Ndjson {
        Problem::new(Slug::MalformedRequest).detail(first.detail.clone())
    } else {
        Problem::new(Slug::ValidationFailed)
            .detail("every reading was rejected; the ledger has them")
    };
    Some(problem)
}

fn with_members(problem: Problem, body: IngestAnswer) -> Problem {
    let errors = serde_json::to_value(body.errors).expect("texts and numbers are always written");
    problem
        .with("accepted", body.accepted)
        .with("rejected", body.rejected)
        .with("token", body.token)
        .with("errors", errors)
}

/// The verdict on a body that was refused before anyone could look for items in it.
pub fn refused_whole(reason: Reason, detail: String) -> Verdict {
    Verdict {
        rejected: vec![Rejection {
            index: 0,
            reason,
            detail,
        }],
        ..Verdict::default()
    }
}

/// 429.
pub fn rate_limited(too_many: TooMany) -> Problem {
    let seconds = too_many.retry_after.as_secs_f64().ceil().max(1.0) as u64;
    let told = RateLimit {
        limit: u64::from(too_many.readings_per_s),
        remaining: 0,
        reset_s: seconds,
    };
    let problem = Problem::new(Slug::RateLimited)
        .detail("the key is over its rate of readings; nothing was taken")
        .with("retry_after_s", seconds)
        .with("scope", "key")
        .retry_after(seconds);
    let headers = told.headers().into_iter();
    headers.fold(problem, |problem, (name, value)| {
        problem.header(name, value)
    })
}

/// 503: the log did not confirm it, and may have it all the same.
pub fn not_committed(error: CommitError) -> Problem {
    tracing::warn!(%error, "readings were refused");
    let (reason, seconds) = match error {
        CommitError::Unavailable(_) => ("unavailable", 1),
        CommitError::StorageFull => ("storage_full", 30),
    };
    Problem::new(Slug::Unavailable)
        .detail("the log did not confirm it; it may have it all the same: send the same again")
        .with("part", "log")
        .with("reason", reason)
        .retry_after(seconds)
}
