//! SIGINT and SIGTERM: the first asks to finish, the second ends the process.
//!
//! What a newcomer would get wrong: ending at once is safe, too. What was acknowledged is in the log.

use std::io::Write;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// 128 + SIGINT, as a shell has it.
const ABORTED: i32 = 130;

/// A token that the first signal cancels; the second one ends the process.
pub fn cancel_on_signal(say: &'static str) -> CancellationToken {
    let token = CancellationToken::new();
    let cancel = token.clone();
    tokio::spawn(async move {
        let (Ok(mut int), Ok(mut term)) = (
            signal(SignalKind::interrupt()),
            signal(SignalKind::terminate()),
        ) else {
            tracing::warn!("signals cannot be received here; the process ends at the first one");
            return;
        };
        any(&mut int, &mut term).await;
        // Who ran it may have closed standard error, as a pipe that the same signal ended.
        let _ = writeln!(std::io::stderr(), "openinfra: {say}");
        cancel.cancel();
        any(&mut int, &mut term).await;
        std::process::exit(ABORTED);
    });
    token
}

async fn any(int: &mut Signal, term: &mut Signal) {
    tokio::select! {
        _ = int.recv() => (),
        _ = term.recv() => (),
    }
}
