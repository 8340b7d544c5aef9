//! What the process tells about itself: lines on standard error, filtered.
//!
//! A newcomer would look for results here; results go to standard output, so that a pipe gets nothing
//! else.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, filter::ParseError, fmt};

/// What libraries tell of their own business is left out unless it is asked for.
const QUIET: &str = "fjall=warn,lsm_tree=warn,scylla=error";

/// Starts logging. `OPENINFRA_LOG` wins over `RUST_LOG`, which wins over `filter`.
///
/// # Errors
/// When the filter that counts cannot be parsed; the message holds it.
pub fn start(filter: &str, json: bool) -> Result<(), LoggingError> {
    let text = ["OPENINFRA_LOG", "RUST_LOG"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|text| !text.is_empty()))
        .unwrap_or_else(|| format!("{QUIET},{filter}"));
    let filter = EnvFilter::try_new(&text).map_err(|source| LoggingError { text, source })?;
    let builder = fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // It would tell of a standard error that is closed on standard error, and panic.
        .log_internal_errors(false);
    // A second start is a test in the same process; the first one stays.
    let _ = if json {
        builder.json().flatten_event(true).try_init()
    } else {
        builder
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(true)
            .try_init()
    };
    Ok(())
}

/// The log filter does not parse.
#[derive(Debug, thiserror::Error)]
#[error(
    "log filter {text:?} is wrong ({source}); `info` or `warn,openinfra_views=debug` would be right"
)]
pub struct LoggingError {
    text: String,
    source: ParseError,
}
