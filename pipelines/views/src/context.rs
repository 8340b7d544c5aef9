//! What all parts of one instance share.
//!
//! Two tokens end things: `stop` asks the ticker and the reader to leave off, so that what is in flight
//! drains; `abort` asks everybody to leave off now.

use std::sync::{Arc, Mutex, atomic::AtomicI64};

use openinfra_log::{Fetch, Log, LogError, LogRecord};
use openinfra_schemas::Codec;
use openinfra_store::{Store, StoreError};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    Config, JobError, clock::Clock, ends::Ends, error::Halt, hold::Flow, judge::Judge,
    marks::Marks, metrics::Metrics, retry::Backoff, status::StatusCell,
};

/// One instance of the job, as its parts see it.
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) codec: Arc<Codec>,
    pub(crate) judge: Judge,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Metrics,
    pub(crate) flow: Flow,
    pub(crate) status: StatusCell,
    pub(crate) failure: Failure,
    pub(crate) stop: CancellationToken,
    /// Wakes the tick reader after an append.
    pub(crate) appended: Notify,
    /// The newest tick whose rows the store acknowledged, in this instance or before it.
    pub(crate) acknowledged: AtomicI64,
    /// When a view changes next though nothing arrives, as of the newest tick that ran on all workers.
    pub(crate) next_due: AtomicI64,
    /// What the views have.
    pub(crate) shown: Mutex<Shown>,
}

/// What the committed ticks cover.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) ends: Ends,
    pub(crate) marks: Marks,
}

/// The first failure of an instance, for all who wait for one.
#[derive(Debug)]
pub(crate) struct Failure {
    first: watch::Sender<Option<JobError>>,
    pub(crate) abort: CancellationToken,
}

impl Failure {
    pub(crate) fn new() -> Self {
        Self {
            first: watch::Sender::new(None),
            abort: CancellationToken::new(),
        }
    }

    /// Keeps the first failure, and ends the instance.
    pub(crate) fn report(&self, error: JobError) {
        self.first.send_if_modified(|first| {
            if first.is_some() {
                return false;
            }
            tracing::error!(error = %chain(&error), "the views job failed");
            *first = Some(error);
            true
        });
        self.abort.cancel();
    }

    /// What became of a part; an abort has its reason elsewhere.
    pub(crate) fn note(&self, result: Result<(), Halt>) {
        if let Err(Halt::Failed(error)) = result {
            self.report(error);
        }
    }

    pub(crate) fn get(&self) -> Option<JobError> {
        self.first.borrow().clone()
    }

    /// Waits for the first failure.
    pub(crate) async fn wait(&self) -> JobError {
        let mut first = self.first.subscribe();
        let failed = first.wait_for(Option::is_some).await;
        failed
            .ok()
            .and_then(|first| first.clone())
            .unwrap_or(JobError::Stopped)
    }
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

impl Context {
    pub(crate) fn abort(&self) -> &CancellationToken {
        &self.failure.abort
    }

    /// Looks at what the views have.
    pub(crate) fn shown<T>(&self, look: impl FnOnce(&mut Shown) -> T) -> T {
        look(&mut self.shown.lock().expect("no holder of the lock panics"))
    }

    /// Reads from the log, waiting for it as long as it is unavailable.
    pub(crate) async fn read(&self, fetch: Fetch) -> Result<Vec<LogRecord>, Halt> {
        let mut backoff = Backoff::new();
        loop {
            let answer = tokio::select! {
                () = self.abort().cancelled() => return Err(Halt::Aborted),
                answer = self.log.read(fetch) => answer,
            };
            match answer {
                Ok(records) => {
                    self.log_answered(&backoff);
                    return Ok(records);
                }
                Err(error) => self.wait_for_log(error, &mut backoff).await?,
            }
        }
    }

    /// After an error of the log: waits when it may pass, fails when it will not.
    pub(crate) async fn wait_for_log(
        &self,
        error: LogError,
        backoff: &mut Backoff,
    ) -> Result<(), Halt> {
        let is_news = self.status.trouble("log", &error);
        match &error {
            LogError::Unavailable(_) if is_news => {
                tracing::warn!(%error, "the views job waits for the log");
            }
            LogError::Unavailable(_) => {
                tracing::debug!(%error, "the views job still waits for the log");
            }
            LogError::StorageFull => tracing::error!(%error, "the views job waits for space"),
            LogError::Refused(_) => {
                tracing::error!(%error, "the views job waits until the log lets it in");
            }
            _ => return Err(error.into()),
        }
        self.metrics.log_retries.inc();
        backoff.pause(self.abort()).await
    }

    /// After an answer of the log: takes back what was said while waiting for it.
    pub(crate) fn log_answered(&self, backoff: &Backoff) {
        if backoff.has_paused() {
            self.answered("log");
        }
    }

    /// After an answer of any part: takes back what was said while waiting for it.
    pub(crate) fn answered(&self, part: &'static str) {
        if self.status.recovered(part) {
            tracing::info!(part, "the views job waits no longer");
        }
    }

    /// After an error of the store: waits when it may pass or an operator can put it right, fails when the
    /// rows are damaged.
    pub(crate) async fn wait_for_store(
        &self,
        error: StoreError,
        backoff: &mut Backoff,
    ) -> Result<(), Halt> {
        let is_news = self.status.trouble("store", &error);
        match &error {
            StoreError::Unavailable(_) if is_news => {
                tracing::warn!(%error, "the views job waits for the store");
            }
            StoreError::Unavailable(_) => {
                tracing::debug!(%error, "the views job still waits for the store");
            }
            StoreError::StorageFull => {
                tracing::error!(%error, "the views stand still until the store has space");
                backoff.slow_down();
            }
            StoreError::Refused(_) => {
                tracing::error!(
                    %error,
                    "the views stand still until somebody puts right what the store refuses"
                );
                backoff.slow_down();
            }
            _ => return Err(error.into()),
        }
        self.metrics.store_retries.inc();
        backoff.pause(self.abort()).await
    }
}
