//! How long a sender goes on when the other side does not take what it has.
//!
//! What a newcomer would get wrong: time counts from the last progress, not from the start; a server
//! that restarts in the middle of a long replay costs nothing but that time.

use std::time::{Duration, Instant};

use super::{Context, Fatal};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The patience left for one batch.
#[derive(Debug)]
pub struct Patience {
    limit: Duration,
    since: Option<Instant>,
    pause: Duration,
}

impl Patience {
    pub fn new(limit: Duration) -> Self {
        Self {
            limit,
            since: None,
            pause: FIRST_PAUSE,
        }
    }

    /// Waits before the next attempt: as long as the server asked, else a little longer each time.
    ///
    /// # Errors
    /// When there was no progress for too long, or the replay was cancelled.
    pub async fn wait(
        &mut self,
        context: &Context,
        why: &str,
        after: Option<Duration>,
    ) -> Result<(), Fatal> {
        let since = *self.since.get_or_insert_with(Instant::now);
        if since.elapsed() >= self.limit {
            return Err(Fatal::GaveUp {
                after: self.limit,
                why: why.to_owned(),
            });
        }
        context.say_trouble(why);
        let pause = after.unwrap_or(self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            () = context.cancel.cancelled() => Err(Fatal::Cancelled),
        }
    }
}
