//! The ledger: what was refused and why, and what became of every record.

mod list;
mod rows;
mod summary;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::app::AppState;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list::list_ledger))
        .routes(routes!(summary::find_ledger_summary))
}
