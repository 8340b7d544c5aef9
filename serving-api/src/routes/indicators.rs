//! The counts that a dashboard shows first. A count of 0 has no row, but is answered all the same.

use std::collections::BTreeMap;

use axum::{extract::State, response::Response};
use openinfra_store::{KeyBuf, Range, Row, range_rows, tables::views::IndicatorRow};
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::AppState,
    error::ApiError,
    extract::{Allowed, AnyOne, ApiQuery},
    fresh::Fresh,
    lists::out_of_range,
    openapi::Problems,
    wire::Ts,
};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list_indicators))
}

/// The indicators there are.
pub const NAMES: [&str; 11] = [
    "alerts_open",
    "alerts_open_critical",
    "alerts_open_high",
    "alerts_open_info",
    "alerts_open_low",
    "alerts_open_medium",
    "sensors_never_seen",
    "sensors_offline",
    "sensors_online",
    "sensors_stale",
    "sensors_total",
];

/// Counts by name.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct IndicatorsResponse {
    pub indicators: BTreeMap<String, i64>,
    pub as_of: Ts,
}

#[derive(Debug, Clone, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct IndicatorsQuery {
    /// Only these, joined by commas.
    #[param(style = Form, explode = false)]
    names: Option<Vec<String>>,
}

/// Lists the tenant's indicators.
#[utoipa::path(
    get,
    path = "/api/v1/indicators",
    tag = "views",
    params(IndicatorsQuery),
    responses(
        (status = 200, description = "Counts by name", body = IndicatorsResponse),
        Problems,
    ),
    security(("api_key" = []), ("bearer" = [])),
)]
async fn list_indicators(
    State(app): State<AppState>,
    caller: Allowed<AnyOne>,
    ApiQuery(query): ApiQuery<IndicatorsQuery>,
    fresh: Fresh,
) -> Result<Response, ApiError> {
    let as_of = fresh.as_of()?;
    let wanted = query.names.as_deref();
    let unknown = wanted.and_then(|names| names.iter().find(|n| !NAMES.contains(&n.as_str())));
    if let Some(name) = unknown {
        let detail = format!("is any of {}, not {name:?}", NAMES.join(", "));
        return Err(out_of_range("names", &detail).into());
    }
    let is_wanted = |name: &str| wanted.is_none_or(|names| names.iter().any(|n| n == name));
    let partition = KeyBuf::new().text(caller.tenant().as_str()).into_bytes();
    let range = Range::partition(IndicatorRow::TABLE, partition);
    let rows = range_rows::<IndicatorRow>(&*app.store, &range).await?;
    let zeros = NAMES.into_iter().map(|name| (name.to_owned(), 0));
    let mut indicators: BTreeMap<String, i64> = zeros.collect();
    indicators.extend(rows.into_iter().map(|row| (row.name, row.value)));
    indicators.retain(|name, _| is_wanted(name));
    Ok(fresh.json(IndicatorsResponse {
        indicators,
        as_of: Ts(as_of),
    }))
}
