//! Idempotency keys: the same request sent twice has one effect and one answer.
//!
//! A key is claimed by a conditional write before the work begins, so that of two requests at once one
//! works and the other is told to wait. What a newcomer would get wrong: the work goes on when its client
//! hangs up, else the claim would stand without an answer, and it goes on until its outcome is known. The
//! claim names the change that the work makes, so that whoever takes over a claim that a crash left tries
//! the same change again and finds what became of it. It names the process that works, too: where there
//! is but one, a claim of another is a crash's, and nobody has to wait until it is old.

use std::{
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

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
use tokio::{sync::Notify, time::sleep};

use crate::{
    app::{App, AppState},
    entities::Change,
    error::ApiError,
};

/// How long an answer is kept.
const KEPT_MS: Millis = 24 * 3_600_000;
/// How much of its time a request waits for an outcome that is not known. The rest is for its answer.
const PATIENCE: f64 = 0.9;
/// Between two tries of work whose outcome is not known.
const PAUSE: Duration = Duration::from_millis(500);

/// A request as far as another may be the same.
pub struct Request {
    tenant: TenantId,
    principal: String,
    route: &'static str,
    key: Option<String>,
    hash: Vec<u8>,
    /// How long the work may take, where that is long.
    within: Duration,
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
            within: Duration::ZERO,
        }
    }

    /// Says that the work may take as long as this.
    #[must_use]
    pub fn within(self, within: Duration) -> Self {
        Self { within, ..self }
    }

    /// Whether a crash must have left a claim that is as old as this.
    fn is_abandoned(&self, app: &App, found: &IdempotencyRow, age: Millis) -> bool {
        if found.status.is_some() {
            return false;
        }
        let of_another = found.process.as_deref() != Some(app.process.as_str());
        let after = self.within.saturating_add(app.config.abandoned_after);
        let after = Millis::try_from(after.as_millis()).unwrap_or(Millis::MAX);
        (app.config.sole_process && of_another) || age > after
    }

    fn claim(&self, key: &str, app: &App) -> IdempotencyRow {
        IdempotencyRow {
            tenant: self.tenant.clone(),
            principal: self.principal.clone(),
            route: self.route.to_owned(),
            key: key.to_owned(),
            request_hash: self.hash.clone(),
            status: None,
            answer: None,
            at: app.now(),
            change_id: Some(Change::new().id().to_owned()),
            process: Some(app.process.clone()),
        }
    }
}

/// An answer as it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    headers: Vec<(String, String)>,
    body: String,
}

/// Why the last attempt left open what became of the change.
#[derive(Debug, Default)]
struct Unresolved {
    error: Mutex<Option<ApiError>>,
    noted: Notify,
}

impl Unresolved {
    fn put(&self, error: ApiError) {
        *self.error.lock().expect("no holder of the lock panics") = Some(error);
        self.noted.notify_one();
    }

    /// The newest by then, or the first that comes later.
    async fn after(&self, patience: Duration) -> ApiError {
        sleep(patience).await;
        loop {
            let error = self
                .error
                .lock()
                .expect("no holder of the lock panics")
                .take();
            match error {
                Some(error) => return error,
                None => self.noted.notified().await,
            }
        }
    }
}

/// A key as it was taken.
enum Taken {
    /// The work is ours to do.
    Claimed(IdempotencyRow, Change),
    /// It was done.
    Answered(Response),
}

/// Does the work unless a request with the same key did it; without a key, always. With one, the work is
/// tried again until it is known what became of it, each time as the same change; who asked is told that it is
/// not known before the request's time is over.
pub async fn once<W, F>(app: &AppState, request: Request, work: W) -> Result<Response, ApiError>
where
    W: Fn(Change) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Response, ApiError>> + Send + 'static,
{
    let Some(key) = request.key.clone() else {
        return work(Change::new()).await;
    };
    let app = app.clone();
    let patience = request.within.max(app.config.timeout).mul_f64(PATIENCE);
    let unresolved = Arc::new(Unresolved::default());
    let said = Arc::clone(&unresolved);
    // From the claim on nothing depends on the client: one that hangs up leaves no claim without work.
    let mut worker = tokio::spawn(async move {
        let claim = request.claim(&key, &app);
        let (claim, mut change) = match take(&app, &request, claim).await? {
            Taken::Answered(answer) => return Ok(answer),
            Taken::Claimed(claim, change) => (claim, change),
        };
        let response = loop {
            match work(change.clone()).await {
                Err(error) if error.is_unresolved() => {
                    tracing::warn!(%error, "a request with an Idempotency-Key is tried again");
                    said.put(error);
                    change = change.again();
                    sleep(PAUSE).await;
                }
                answer => break answer.unwrap_or_else(IntoResponse::into_response),
            }
        };
        keep(&app, claim, response).await
    });
    let ended = tokio::select! {
        biased;
        ended = &mut worker => ended,
        error = unresolved.after(patience) => return Err(error),
    };
    match ended {
        Ok(answer) => answer,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// Claims the key; the answer instead when there is one.
async fn take(app: &App, request: &Request, mut claim: IdempotencyRow) -> Result<Taken, ApiError> {
    let key = claim.key();
    let mut condition = Condition::Absent(key.clone());
    let mut change = change_of(&claim);
    // Once to find the row, once more when it is free to be taken over.
    for _ in 0..3 {
        let mut batch = ConditionalBatch::new(vec![condition.clone()]);
        batch.put(&claim);
        if app.store.write_if(batch).await? == Outcome::Applied {
            return Ok(Taken::Claimed(claim, change));
        }
        let found = get_row::<IdempotencyRow>(&*app.store, &key, Freshness::Linearizable).await?;
        let Some(found) = found else {
            condition = Condition::Absent(key.clone());
            continue;
        };
        let age = claim.at.saturating_sub(found.at);
        if age <= KEPT_MS {
            if !request.is_abandoned(app, &found, age) || found.request_hash != request.hash {
                return answer(request, &found).map(Taken::Answered);
            }
            claim.change_id.clone_from(&found.change_id);
            change = change_of(&claim).again();
        }
        // Of two that take it over at once one must fail: its time tells the new claim from the old.
        claim.at = claim.at.max(found.at.saturating_add(1));
        condition = Condition::Equals {
            key: key.clone(),
            column: "at",
            value: found.at,
        };
    }
    Err(in_progress().into())
}

fn change_of(claim: &IdempotencyRow) -> Change {
    match &claim.change_id {
        Some(id) => Change::first(id.clone()),
        None => Change::new(),
    }
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
    if may_succeed_later(response.status()) {
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

/// Whether the work had no effect and may have one when it is asked for again.
fn may_succeed_later(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT
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

#[cfg(test)]
mod tests {
    use openinfra_log::LogError;

    use super::*;

    fn error(text: &str) -> ApiError {
        ApiError::Log(LogError::Unavailable(text.to_owned()))
    }

    #[tokio::test]
    async fn an_attempt_that_ends_late_is_still_the_answer() {
        let unresolved = Unresolved::default();
        let after = unresolved.after(Duration::ZERO);
        tokio::pin!(after);
        for _ in 0..10 {
            assert!(futures::poll!(&mut after).is_pending(), "none has ended");
            sleep(Duration::from_millis(1)).await;
        }
        unresolved.put(error("late"));
        assert!(after.await.to_string().contains("late"));
    }

    #[tokio::test]
    async fn the_newest_is_the_answer() {
        let unresolved = Unresolved::default();
        unresolved.put(error("first"));
        unresolved.put(error("second"));
        let told = unresolved.after(Duration::ZERO).await;
        assert!(told.to_string().contains("second"));
    }

    #[tokio::test]
    async fn until_patience_ends_the_work_may_still_succeed() {
        let unresolved = Unresolved::default();
        unresolved.put(error("first"));
        let after = unresolved.after(Duration::from_secs(3_600));
        tokio::pin!(after);
        assert!(futures::poll!(&mut after).is_pending());
    }
}
