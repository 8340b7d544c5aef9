//! Runs a verification away from the threads that answer requests.
//!
//! What a newcomer would get wrong: somebody has to hold the job meanwhile, or nobody may run one. This
//! only computes.

use anyhow::Context as _;
use openinfra_verify::{Options, Report, verify};
use serde_json::Value;
use tokio::runtime::Handle;

use crate::folder::Parts;

/// Compares all views with a batch recomputation of the log.
///
/// # Errors
/// When no comparison was possible.
pub async fn run(parts: Parts, options: Options) -> Result<Report, anyhow::Error> {
    let runtime = Handle::current();
    let computing = move || {
        let Parts { log, store, codec } = &parts;
        runtime.block_on(verify(&**log, &**store, codec, options))
    };
    let report = tokio::task::spawn_blocking(computing)
        .await
        .context("the verification")?;
    Ok(report?)
}

/// A row of a report as JSON; a text that is none stays one.
pub fn row(text: String) -> Value {
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}
