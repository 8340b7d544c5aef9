//! Whether the views are what the log says: compared with a batch recomputation, row by row.
//!
//! No tick is written meanwhile. Requests at one time share one comparison; it stops when nobody waits for
//! it any more.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use openinfra_http::problem::{Problem, Slug};
use serde::Serialize;
use serde_json::Value;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::{App, AppState},
    error::ApiError,
    extract::{Allowed, ApiQuery, IdempotencyKey, NoQuery, permission::ManagePlatform},
    fresh::{Fresh, stamp},
    idempotency::{Request, once},
    openapi::Problems,
    verification::{Difference, LedgerCheck, Verification, ViewCheck},
    wire::Ts,
};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(verify_views))
}

/// Whether the views equal a batch recomputation of the log.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct VerifyResponse {
    /// Whether no row differs, and all records are accounted for.
    pub equal: bool,
    /// The tick that both sides are as of.
    pub as_of: Ts,
    /// The first rows that differ.
    pub differing: Vec<DifferenceResponse>,
    /// How each view compares, by the name of the store's table.
    pub views: BTreeMap<String, ViewCheckResponse>,
    pub ledger: LedgerCheckResponse,
}

/// A row that differs.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct DifferenceResponse {
    pub view: String,
    pub key: String,
    /// What the log gives; null: no such row.
    pub expected: Option<Value>,
    /// What the store has; null: no such row.
    pub found: Option<Value>,
}

/// How one view compares.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct ViewCheckResponse {
    /// Rows that the log gives.
    pub rows_expected: u64,
    /// Rows found in the store.
    pub rows_stored: u64,
    /// Rows that are on one side only, or differ in a value.
    pub differing: u64,
}

/// What became of every record, as recomputed.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct LedgerCheckResponse {
    /// Whether each source's records are the sum of what became of them.
    pub conserved: bool,
    pub log_records: i64,
    pub accepted: i64,
    pub duplicates: i64,
    pub corrections: i64,
    /// By reason; reasons without any are left out.
    pub refused: BTreeMap<String, i64>,
}

/// Compares all views with a batch recomputation of the log.
///
/// Whoever asks while a comparison runs is given its answer. It stops when nobody waits for it any more,
/// unless an Idempotency-Key says that somebody will come back for the answer; after ten minutes it stops
/// in any case.
#[utoipa::path(
    post,
    path = "/api/v1/views/verify",
    tag = "views",
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 128 visible ASCII characters; the same key has one answer for 24 hours"),
    ),
    responses(
        (status = 200, description = "Whether they are equal, and where they are not", body = VerifyResponse),
        Problems,
    ),
    security(("api_key" = []), ("bearer" = [])),
)]
async fn verify_views(
    State(app): State<AppState>,
    caller: Allowed<ManagePlatform>,
    _: ApiQuery<NoQuery>,
    IdempotencyKey(key): IdempotencyKey,
    fresh: Fresh,
) -> Result<Response, ApiError> {
    let limit = app.config.long_timeout;
    let request = Request::new(caller.principal(), "verify_views", key, b"").within(limit);
    let since = fresh.progress().map(|progress| progress.as_of);
    once(&app, request, {
        let app = app.clone();
        move |_| {
            let app = app.clone();
            async move {
                // With a key nobody need be there to wait, and no limit of a request's ends it.
                let verified = app.verifications.run(&app.ops, since);
                match tokio::time::timeout(limit, verified).await {
                    Ok(found) => Ok(answer(&*found?)),
                    Err(_) => Err(too_long(&app)),
                }
            }
        }
    })
    .await
}

fn answer(found: &Verification) -> Response {
    let body = Json(VerifyResponse::from(found.clone()));
    stamp(body.into_response(), found.as_of)
}

fn too_long(app: &App) -> ApiError {
    let limit = app.config.long_timeout.as_millis();
    Problem::new(Slug::RequestTimeout)
        .detail(format!(
            "the comparison did not end within {limit} ms; it was stopped"
        ))
        .into()
}

impl From<Verification> for VerifyResponse {
    fn from(found: Verification) -> Self {
        let differing = found.differing.into_iter().map(DifferenceResponse::from);
        let views = found.views.into_iter();
        Self {
            equal: found.equal,
            as_of: Ts(found.as_of),
            differing: differing.collect(),
            views: views.map(|(name, view)| (name, view.into())).collect(),
            ledger: found.ledger.into(),
        }
    }
}

impl From<Difference> for DifferenceResponse {
    fn from(difference: Difference) -> Self {
        Self {
            view: difference.view,
            key: difference.key,
            expected: difference.expected,
            found: difference.found,
        }
    }
}

impl From<ViewCheck> for ViewCheckResponse {
    fn from(view: ViewCheck) -> Self {
        Self {
            rows_expected: view.rows_expected,
            rows_stored: view.rows_stored,
            differing: view.differing,
        }
    }
}

impl From<LedgerCheck> for LedgerCheckResponse {
    fn from(ledger: LedgerCheck) -> Self {
        Self {
            conserved: ledger.conserved,
            log_records: ledger.log_records,
            accepted: ledger.accepted,
            duplicates: ledger.duplicates,
            corrections: ledger.corrections,
            refused: ledger.refused,
        }
    }
}
