//! The view's rows as one list by start: open and cleared ones merged.
//!
//! An alert keeps its place when it clears, so that paging neither repeats nor skips it.

use openinfra_schemas::{
    TenantId,
    time::{Millis, month_of},
};
use openinfra_store::{
    Edge, KeyBuf, Range, Row, range_rows,
    tables::views::{AlertMonthRow, AlertRow},
};
use serde::{Deserialize, Serialize};

use crate::{app::App, error::ApiError, lists::walk::Rows, merge::Merge};

use super::{
    partition_of,
    query::{AlertState, ListAlertsQuery},
};

/// The month of the partition of open alerts.
const OPEN_MONTH: i32 = -1;
const CHUNK: usize = 256;

/// Where the list by start goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    start_ts: Millis,
    alert_id: String,
}

impl Position {
    fn of(row: &AlertRow) -> Self {
        Self {
            start_ts: row.start_ts,
            alert_id: row.alert_id.clone(),
        }
    }
}

/// The tenant's alerts of the wanted states and span, by start.
pub(super) struct AlertRows<'a> {
    rows: Merge<'a, AlertRow>,
    last: Option<Position>,
}

impl<'a> AlertRows<'a> {
    /// Begins behind `after`. Months do not overlap in start, so that merging all of them is going through
    /// one after the other.
    pub(super) async fn open(
        app: &'a App,
        tenant: &TenantId,
        query: &ListAlertsQuery,
        after: Option<&Position>,
    ) -> Result<Self, ApiError> {
        let mut places = Vec::new();
        if query.wants(AlertState::Cleared) {
            let months = months(app, tenant, query).await?;
            places.extend(months.into_iter().map(|month| ("cleared", month)));
        }
        if query.wants(AlertState::Open) {
            places.push(("open", OPEN_MONTH));
        }
        let descending = query.sort.reads_descending();
        let (from, to) = bounds(query, descending, after);
        let ranges = places.into_iter().map(|(state, month)| Range {
            from: from.clone(),
            to: to.clone(),
            descending,
            ..Range::partition(
                AlertRow::TABLE,
                partition_of(tenant, state, month).into_bytes(),
            )
        });
        Ok(Self {
            rows: Merge::new(&*app.store, ranges.collect(), CHUNK).await?,
            last: None,
        })
    }
}

impl Rows for AlertRows<'_> {
    type Row = AlertRow;
    type Position = Position;

    async fn next(&mut self) -> Result<Option<AlertRow>, ApiError> {
        while let Some(row) = self.rows.next().await? {
            // A row that moves from open to cleared may be met in both places; the cleared one comes first.
            let position = Some(Position::of(&row));
            if self.last != position {
                self.last = position;
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    fn position(row: &AlertRow) -> Position {
        Position::of(row)
    }
}

/// The clustering keys between which to look, behind a position.
fn bounds(query: &ListAlertsQuery, descending: bool, after: Option<&Position>) -> (Edge, Edge) {
    let at = |ts: Millis| KeyBuf::new().bigint(ts).into_bytes();
    let from = query
        .opened_from
        .map_or(Edge::Open, |ts| Edge::Before(at(ts.0)));
    let to = query
        .opened_to
        .map_or(Edge::Open, |ts| Edge::Before(at(ts.0)));
    let Some(after) = after else {
        return (from, to);
    };
    let last = KeyBuf::new().bigint(after.start_ts).text(&after.alert_id);
    let last = last.into_bytes();
    if descending {
        (from, Edge::Before(last))
    } else {
        (Edge::After(last), to)
    }
}

/// The months of the wanted span that have cleared alerts.
async fn months(
    app: &App,
    tenant: &TenantId,
    query: &ListAlertsQuery,
) -> Result<Vec<i32>, ApiError> {
    let partition = KeyBuf::new().text(tenant.as_str()).into_bytes();
    let month = |ts| KeyBuf::new().int(month_of(ts)).into_bytes();
    let range = Range {
        from: query
            .opened_from
            .map_or(Edge::Open, |ts| Edge::Before(month(ts.0))),
        to: query
            .opened_to
            .map_or(Edge::Open, |ts| Edge::After(month(ts.0))),
        ..Range::partition(AlertMonthRow::TABLE, partition)
    };
    let rows = range_rows::<AlertMonthRow>(&*app.store, &range).await?;
    Ok(rows.into_iter().map(|row| row.month).collect())
}
