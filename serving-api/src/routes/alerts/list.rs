//! The list of alerts.

use axum::{extract::State, response::Response};

use crate::{
    app::AppState,
    error::ApiError,
    extract::{Allowed, ApiQuery, permission::ViewAlerts},
    fresh::Fresh,
    lists::{
        self, List, Page,
        walk::{self, Best},
    },
    openapi::Problems,
};

use super::{
    query::ListAlertsQuery,
    response::{AlertResponse, FIELDS},
    rows::{AlertRows, Position},
};

/// Lists alerts, the newest first.
#[utoipa::path(
    get,
    path = "/api/v1/alerts",
    tag = "alerts",
    params(ListAlertsQuery),
    responses(
        (status = 200, description = "A page", body = Page<AlertResponse>),
        Problems,
    ),
    security(("api_key" = []), ("bearer" = [])),
)]
pub(super) async fn list_alerts(
    State(app): State<AppState>,
    caller: Allowed<ViewAlerts>,
    ApiQuery(query): ApiQuery<ListAlertsQuery>,
    fresh: Fresh,
) -> Result<Response, ApiError> {
    let as_of = fresh.as_of()?;
    let query = query.without_alias()?;
    let limit = lists::limit(query.limit, 50, 1_000)?;
    let tenant = caller.tenant();
    let list = List {
        app: &app,
        route: "alerts",
        tenant: tenant.as_str(),
        filters: query.identity(),
    };
    let open = async |after: Option<&Position>| AlertRows::open(&app, tenant, &query, after).await;
    let cursor = query.cursor.as_deref();
    let passes = |row: &_| query.passes(row);
    let (rows, next) = match query.sort.key() {
        None => {
            let after: Option<Position> = list.position(cursor)?;
            let mut rows = open(after.as_ref()).await?;
            list.sealed(walk::first(&mut rows, limit, passes).await?)
        }
        Some((key, descending)) => {
            let best = Best::new(limit, descending, list.position(cursor)?);
            let mut rows = open(None).await?;
            list.sealed(walk::best(&mut rows, best, passes, |row| key.rank(row)).await?)
        }
    };
    let total = match query.count {
        true => Some(walk::count(&mut open(None).await?, passes).await?),
        false => None,
    };
    let items = rows.into_iter().map(AlertResponse::from).collect();
    Page::new(items, next, as_of)
        .counted(total)
        .answer(&fresh, &FIELDS, query.fields.as_deref())
}
