//! Runs a verification away from the threads that answer requests.
//!
//! What a newcomer would get wrong: somebody has to hold the job meanwhile, or nobody may run one. This
//! only computes, and stops soon after its future is dropped.

use std::sync::Arc;

use anyhow::Context as _;
use openinfra_api::{Difference, LedgerCheck, Verification, ViewCheck};
use openinfra_log::Log;
use openinfra_store::Store;
use openinfra_verify::{Options, Report, ViewReport, verify};
use serde_json::Value;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::{deployment::Parts, stoppable::Stoppable};

/// Compares all views with a batch recomputation of the log.
///
/// # Errors
/// When no comparison was possible.
pub async fn run(parts: Parts, options: Options) -> Result<Verification, anyhow::Error> {
    let runtime = Handle::current();
    let stop = CancellationToken::new();
    let _stops_when_dropped = stop.clone().drop_guard();
    let computing = move || {
        let log: Stoppable<dyn Log> = Stoppable {
            inner: Arc::clone(&parts.log),
            stop: stop.clone(),
        };
        let store: Stoppable<dyn Store> = Stoppable {
            inner: Arc::clone(&parts.store),
            stop,
        };
        runtime.block_on(verify(&log, &store, &parts.codec, options))
    };
    let report = tokio::task::spawn_blocking(computing)
        .await
        .context("the verification")?;
    Ok(found(report?))
}

/// A report in the API's terms.
fn found(report: Report) -> Verification {
    let view = |(name, view): (String, ViewReport)| {
        let check = ViewCheck {
            rows_expected: view.rows_expected,
            rows_stored: view.rows_stored,
            differing: view.differing,
        };
        (name, check)
    };
    let difference = |found: openinfra_verify::Difference| Difference {
        view: found.view,
        key: found.key,
        expected: found.expected.map(row),
        found: found.stored.map(row),
    };
    Verification {
        as_of: report.as_of,
        equal: report.equal,
        differing: report.differing.into_iter().map(difference).collect(),
        views: report.views.into_iter().map(view).collect(),
        ledger: LedgerCheck {
            conserved: report.conserved,
            log_records: report.log_records,
            accepted: report.accepted,
            duplicates: report.duplicates,
            corrections: report.corrections,
            refused: report.refused,
        },
    }
}

/// A row of a report as JSON; a text that is none stays one.
fn row(text: String) -> Value {
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

#[cfg(test)]
mod tests;
