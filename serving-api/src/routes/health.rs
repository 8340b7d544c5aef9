//! Whether the process lives, takes input and answers; and what it counts.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use openinfra_log::{AppendBatch, LogError};
use openinfra_store::{Batch, StoreError, WriteClass};
use prometheus::{Encoder, TextEncoder};
use serde::Serialize;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::{App, AppState},
    error::ApiError,
    extract::{ApiQuery, NoQuery},
    fresh::Progress,
};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(find_liveness))
        .routes(routes!(find_liveness_alias))
        .routes(routes!(find_readiness))
        .routes(routes!(find_readiness_alias))
        .routes(routes!(list_metrics))
}

/// How long a part that the process needs may take to answer a check.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);
/// And one that it does not: whoever asks may wait a second, and that part must not cost an answer.
const OPTIONAL_TIMEOUT: Duration = Duration::from_millis(400);

/// What was checked.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct HealthResponse {
    /// `ok` or `unavailable`.
    pub status: &'static str,
    pub checks: Vec<CheckResponse>,
}

/// One part.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct CheckResponse {
    pub name: &'static str,
    /// `ok` or `unavailable`.
    pub status: &'static str,
    /// Whether the process is ready only while this is `ok`.
    pub required: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Whether the process lives.
#[utoipa::path(
    get,
    path = "/health/live",
    tag = "operations",
    responses((status = 200, description = "It does", body = HealthResponse)),
    security(()),
)]
async fn find_liveness(_: ApiQuery<NoQuery>) -> Response {
    answer(Vec::new())
}

/// The same as `/health/live`.
#[utoipa::path(
    get,
    path = "/livez",
    tag = "operations",
    responses((status = 200, description = "It lives", body = HealthResponse)),
    security(()),
)]
async fn find_liveness_alias(_: ApiQuery<NoQuery>) -> Response {
    answer(Vec::new())
}

/// Whether the process can do its work.
///
/// One that takes readings needs the log, one that answers the API the store, others both. Parts that it does not
/// need are told of too. How far the views are, `/api/v1/views` says.
#[utoipa::path(
    get,
    path = "/health/ready",
    tag = "operations",
    responses(
        (status = 200, description = "It is ready", body = HealthResponse),
        (status = 503, description = "A part that this process needs does not answer, or the process is stopping", body = HealthResponse),
    ),
    security(()),
)]
async fn find_readiness(State(app): State<AppState>, _: ApiQuery<NoQuery>) -> Response {
    readiness(&app).await
}

/// The same as `/health/ready`.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "operations",
    responses(
        (status = 200, description = "It is ready", body = HealthResponse),
        (status = 503, description = "A part that this process needs does not answer, or the process is stopping", body = HealthResponse),
    ),
    security(()),
)]
async fn find_readiness_alias(State(app): State<AppState>, _: ApiQuery<NoQuery>) -> Response {
    readiness(&app).await
}

/// Everything that is counted, as Prometheus reads it.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "operations",
    responses((status = 200, description = "Metrics", body = String, content_type = "text/plain")),
    security(()),
)]
async fn list_metrics(State(app): State<AppState>, _: ApiQuery<NoQuery>) -> Response {
    let encoder = TextEncoder::new();
    let mut text = Vec::new();
    encoder
        .encode(&app.registry.gather(), &mut text)
        .expect("a vector takes all bytes, and gathered metrics are complete");
    let content_type = HeaderValue::from_static(prometheus::TEXT_FORMAT);
    ([(header::CONTENT_TYPE, content_type)], text).into_response()
}

async fn readiness(app: &App) -> Response {
    let serving = match app.draining.is_cancelled() {
        true => Err("the process is stopping".to_owned()),
        false => Ok(()),
    };
    let needs = app.config.needs;
    // An empty batch appends nothing, and is refused when the log takes no input.
    let log = check("log", needs.log, async {
        Ok(app.log.append(AppendBatch::default()).await.map(drop)?)
    });
    let store = check("store", needs.store, async {
        Progress::read(&*app.store, app.config.generation).await?;
        // As the log: an empty batch writes nothing, and is refused when nothing is written any more.
        Ok(app.store.write(Batch::new(WriteClass::Durable)).await?)
    });
    let (log, store) = tokio::join!(log, store);
    answer(vec![("serving", true, serving), log, store])
}

/// The name of a part, whether the process needs it, and what is wrong with it.
type Check = (&'static str, bool, Result<(), String>);

async fn check(
    part: &'static str,
    required: bool,
    asked: impl Future<Output = Result<(), ApiError>>,
) -> Check {
    let patience = match required {
        true => CHECK_TIMEOUT,
        false => OPTIONAL_TIMEOUT,
    };
    let found = match tokio::time::timeout(patience, asked).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            if required {
                tracing::warn!(part, %error, "the process is not ready");
            }
            Err(detail(&error).to_owned())
        }
        Err(_) => Err(format!("no answer within {} ms", patience.as_millis())),
    };
    (part, required, found)
}

/// What is said to anybody of a part that erred; the cause is in the process's log.
fn detail(error: &ApiError) -> &'static str {
    match error {
        full if full.is_storage_full() => {
            "storage_full: nothing more is written; restart when it has space"
        }
        ApiError::Log(LogError::Refused(_)) | ApiError::Store(StoreError::Refused(_)) => {
            "refused: somebody has to put a setting or a right in order; the process's log says which"
        }
        _ => "does not answer",
    }
}

fn answer(checks: Vec<Check>) -> Response {
    let word = |ok: bool| if ok { "ok" } else { "unavailable" };
    let ok = checks
        .iter()
        .all(|(_, required, result)| !required || result.is_ok());
    let code = if ok {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let checks = checks
        .into_iter()
        .map(|(name, required, result)| CheckResponse {
            name,
            status: word(result.is_ok()),
            required,
            detail: result.err(),
        });
    let body = HealthResponse {
        status: word(ok),
        checks: checks.collect(),
    };
    (code, Json(body)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_told_from_what_somebody_has_to_look_at() {
        let why = || "secret".to_owned();
        for (error, expected) in [
            (ApiError::Log(LogError::StorageFull), "storage_full: "),
            (ApiError::Log(LogError::Refused(why())), "refused: "),
            (ApiError::Store(StoreError::Refused(why())), "refused: "),
            (
                ApiError::Log(LogError::Unavailable(why())),
                "does not answer",
            ),
        ] {
            let said = detail(&error);
            assert!(said.starts_with(expected), "{said}");
        }
    }
}
