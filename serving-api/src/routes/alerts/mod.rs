//! Alerts: episodes in which a rule's condition held.
//!
//! Open ones stand in one partition, cleared ones in the month they were opened in, each by the episode's
//! start; the list merges the two. The built-in rule has no delays: an episode starts when it is raised, so
//! that the order by start is the order by `raised_at`.

mod find;
mod list;
mod query;
mod response;
mod rows;

use openinfra_schemas::TenantId;
use openinfra_store::KeyBuf;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::app::AppState;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list::list_alerts))
        .routes(routes!(find::find_alert))
}

/// The partition of the view that alerts of a state are in; open ones are in no month.
fn partition_of(tenant: &TenantId, state: &str, month: i32) -> KeyBuf {
    KeyBuf::new().text(tenant.as_str()).text(state).int(month)
}
