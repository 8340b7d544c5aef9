//! A progress bar, where a person looks.
//!
//! What a newcomer would get wrong: it follows what was acknowledged and what was read, and is drawn only
//! when standard error is a terminal; a log file gets nothing of it.

use std::{
    io::IsTerminal,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Context;

/// A bar that is being drawn, or none.
pub struct Progress {
    stop: CancellationToken,
    drawing: Option<JoinHandle<()>>,
}

/// Starts drawing when standard error is a terminal. `total`: the capture's bytes, where known.
pub fn start(total: Option<u64>, context: Arc<Context>) -> Progress {
    let stop = CancellationToken::new();
    let drawing = std::io::stderr()
        .is_terminal()
        .then(|| tokio::spawn(draw(total, context, stop.clone())));
    Progress { stop, drawing }
}

impl Progress {
    /// Takes the bar away.
    pub async fn finish(self) {
        self.stop.cancel();
        if let Some(drawing) = self.drawing {
            // A bar that panicked is no reason to fail.
            let _ = drawing.await;
        }
    }
}

async fn draw(total: Option<u64>, context: Arc<Context>, stop: CancellationToken) {
    let (bar, template) = match total {
        Some(total) => (
            ProgressBar::new(total),
            "{bar:30} {percent:>3} %  {msg}  (ETA {eta})",
        ),
        None => (ProgressBar::new_spinner(), "{spinner}  {msg}"),
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    let started = Instant::now();
    let mut before = (started, 0);
    while !stop.is_cancelled() {
        let tally = &context.tally;
        let (now, acknowledged) = (Instant::now(), tally.acknowledged.load(Relaxed));
        let rate = (acknowledged - before.1) as f64 / (now - before.0).as_secs_f64().max(0.001);
        before = (now, acknowledged);
        bar.set_position(tally.read_bytes.load(Relaxed));
        bar.set_message(format!(
            "{acknowledged} acknowledged, {rate:.0}/s, {} under way, {} rejected",
            tally.open(),
            tally.rejected.load(Relaxed),
        ));
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(500)) => (),
            () = stop.cancelled() => (),
        }
    }
    bar.finish_and_clear();
}
