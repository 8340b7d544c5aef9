//! Idempotency keys: the same request sent twice has one effect and one answer.
//!
//! A key is claimed by a conditional write before the work begins, so that of two requests at once one
//! works and the other is told to wait. What a newcomer would get wrong: the work goes on when its client
//! hangs up, else the claim would stand without an answer.

use std::future::Future;

use axum::{
    body::{Body, Bytes},
    http::{HeaderName, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
};
use http_body_util::BodyExt;
use openinfra_http::problem::{Problem, Slug};
use openinfra_intake::Principal;
use openinfra_schemas::{TenantId, time::Millis};
use openinfra_store::{
    Condition, ConditionalBatch, Freshness, Outcome, Row, Store, get_row,
    tables::entities::IdempotencyRow,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    app::{App, AppState},
    error::ApiError,
};

/// How long an answer is kept.
const KEPT_MS: Millis = 24 * 3_600_000;
/// A claim without an answer that is older was left by a crash.
const ABANDONED_MS: Millis = 60_000;

/// A request as far as another may be the same.
pub struct Request {
    tenant: TenantId,
    principal: String,
    route: &'static str,
    key: Option<String>,
    hash: Vec<u8>,
}

impl Request {
    pub fn new(
        principal: &Principal,
        route: &'static str,
        key: Option<String>,
        body: &[u8],
    ) -> Self {
        Self {
            tenant: principal.tenant.clone(),
            principal: principal.name.clone(),
            route,
            key,
            hash: Sha256::digest(body).to_vec(),
        }
    }

    fn claim(&self, key: &str, at: Millis) -> IdempotencyRow {
        IdempotencyRow {
            tenant: self.tenant.clone(),
            principal: self.principal.clone(),
            route: self.route.to_owned(),
            key: key.to_owned(),
            request_hash: self.hash.clone(),
            status: None,
            answer: None,
            at,
        }
    }
}

/// An answer as it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    headers: Vec<(String, String)>,
    body: String,
}

/// Does the work unless a request with the same key did it; without a key, always.
pub async fn once(
    app: &AppState,
    request: Request,
    work: impl Future<Output = Result<Response, ApiError>> + Send + 'static,
) -> Result<Response, ApiError> {
    let Some(key) = request.key.clone() else {
        return work.await;
    };
    let claim = request.claim(&key, app.now());
    if let Some(answer) = take(app, &request, &claim).await? {
        return Ok(answer);
    }
    let app = app.clone();
    let worker = tokio::spawn(async move {
        let response = work.await.unwrap_or_else(IntoResponse::into_response);
        keep(&app, claim, response).await
    });
    match worker.await {
        Ok(answer) => answer,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// Claims the key; the answer instead when there is one.
async fn take(
    app: &App,
    request: &Request,
    claim: &IdempotencyRow,
) -> Result<Option<Response>, ApiError> {
    let key = claim.key();
    let mut condition = Condition::Absent(key.clone());
    // Once to find the row, once more when it is free to be taken over.
    for _ in 0..3 {
        let mut batch = ConditionalBatch::new(vec![condition.clone()]);
        batch.put(claim);
        if app.store.write_if(batch).await? == Outcome::Applied {
            return Ok(None);
        }
        let found = get_row::<IdempotencyRow>(&*app.store, &key, Freshness::Linearizable).await?;
        let Some(found) = found else {
            condition = Condition::Absent(key.clone());
            continue;
        };
        let age = claim.at.saturating_sub(found.at);
        let free = age > KEPT_MS || (found.status.is_none() && age > ABANDONED_MS);
        if !free {
            return answer(request, &found).map(Some);
        }
        condition = Condition::Equals {
            key: key.clone(),
            column: "at",
            value: found.at,
        };
    }
    Err(in_progress().into())
}

fn answer(request: &Request, found: &IdempotencyRow) -> Result<Response, ApiError> {
    if found.request_hash != request.hash {
        let problem = Problem::new(Slug::IdempotencyKeyReused)
            .detail("this Idempotency-Key was sent with another body");
        return Err(problem.into());
    }
    let (Some(status), Some(kept)) = (found.status, &found.answer) else {
        return Err(in_progress().into());
    };
    let kept: Kept = serde_json::from_str(kept).map_err(|source| ApiError::Stored {
        what: "the first answer to an Idempotency-Key",
        source,
    })?;
    let status = u16::try_from(status).ok();
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    let mut response = Response::new(Body::from(kept.body));
    *response.status_mut() = status.unwrap_or(StatusCode::OK);
    for (name, value) in kept.headers {
        let name = HeaderName::try_from(name);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    let replayed = HeaderName::from_static("idempotency-replayed");
    let headers = response.headers_mut();
    headers.insert(replayed, HeaderValue::from_static("true"));
    Ok(response)
}

fn in_progress() -> Problem {
    Problem::new(Slug::IdempotencyInProgress)
        .detail("the first request with this Idempotency-Key has not been answered yet")
        .retry_after(1)
}

/// Writes the answer down; what may succeed another time leaves the key free.
async fn keep(
    app: &App,
    mut claim: IdempotencyRow,
    response: Response,
) -> Result<Response, ApiError> {
    let own = Condition::Equals {
        key: claim.key(),
        column: "at",
        value: claim.at,
    };
    let mut batch = ConditionalBatch::new(vec![own]);
    if response.status().is_server_error() {
        batch.remove(&claim.key());
        settle(&*app.store, batch).await;
        return Ok(response);
    }
    let (response, kept) = read(response).await;
    claim.status = Some(i32::from(response.status().as_u16()));
    claim.answer = Some(serde_json::to_string(&kept).expect("strings are always written"));
    batch.put(&claim);
    settle(&*app.store, batch).await;
    Ok(response)
}

/// The work is done whatever becomes of its record: a failure costs a repetition its first answer.
async fn settle(store: &dyn Store, batch: ConditionalBatch) {
    if let Err(error) = store.write_if(batch).await {
        tracing::warn!(%error, "the answer to an Idempotency-Key was not kept");
    }
}

async fn read(response: Response) -> (Response, Kept) {
    // The answer is kept without an instance: a repetition is a request of its own.
    let problem = response.extensions().get::<Problem>().cloned();
    let (parts, body) = response.into_parts();
    let bytes = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => Bytes::new(),
    };
    let headers = parts.headers.iter().filter_map(|(name, value)| {
        let value = value.to_str().ok()?;
        Some((name.as_str().to_owned(), value.to_owned()))
    });
    let kept = Kept {
        headers: headers.collect(),
        body: String::from_utf8_lossy(&bytes).into_owned(),
    };
    let mut response = Response::from_parts(parts, Body::from(bytes));
    if let Some(problem) = problem {
        response.extensions_mut().insert(problem);
    }
    (response, kept)
}
