//! What librdkafka has to say besides answers: errors, log lines, statistics.
//!
//! It repeats itself: a broker that is down is reported at every attempt to reach it. Here the newest is
//! kept, to go along with the error of whoever waits, and the process's log gets one line.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use rdkafka::{
    ClientContext, config::RDKafkaLogLevel, consumer::ConsumerContext, error::KafkaError,
    types::RDKafkaErrorCode as Code,
};

use crate::{
    error::{Class, class},
    metrics::Metrics,
};

/// What all clients of one log report to.
#[derive(Debug)]
pub(crate) struct Reports {
    pub(crate) metrics: Metrics,
    /// The newest complaint since something worked.
    last: Mutex<Option<(Code, String)>>,
    complained: AtomicBool,
}

impl Reports {
    pub(crate) fn new(metrics: Metrics) -> Arc<Self> {
        Arc::new(Self {
            metrics,
            last: Mutex::new(None),
            complained: AtomicBool::new(false),
        })
    }

    /// What the clients said last, if nothing has worked since.
    pub(crate) fn heard(&self) -> Option<(Code, String)> {
        self.last.lock().ok()?.clone()
    }

    pub(crate) fn heard_text(&self) -> Option<String> {
        self.heard().map(|(_, text)| text)
    }

    /// Something worked.
    pub(crate) fn well(&self) {
        // Read first: this is called for every batch.
        if self.complained.load(Relaxed) && self.complained.swap(false, Relaxed) {
            if let Ok(mut last) = self.last.lock() {
                *last = None;
            }
            tracing::info!("Kafka answers again");
        }
    }

    pub(crate) fn complain(&self, error: &KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
        let denied = class(code) == Class::Denied;
        let Ok(mut last) = self.last.lock() else {
            return;
        };
        let was_denied = last
            .as_ref()
            .is_some_and(|(c, _)| class(*c) == Class::Denied);
        // That nobody can be reached follows from a refused password, not the other way round.
        if denied || !was_denied {
            *last = Some((code, reason.to_owned()));
        }
        drop(last);
        let first = !self.complained.swap(true, Relaxed);
        if denied && !was_denied {
            tracing::error!(%code, reason, "Kafka refuses us");
        } else if first {
            tracing::warn!(%code, reason, "trouble with Kafka");
        } else {
            tracing::debug!(%code, reason, "trouble with Kafka");
        }
    }
}

/// The context of consumers and of the client that asks.
#[derive(Debug, Clone)]
pub(crate) struct Events(pub(crate) Arc<Reports>);

impl ClientContext for Events {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.complain(&error, reason);
    }

    fn stats_raw(&self, _: &[u8]) {}
}

impl ConsumerContext for Events {}

/// Whatever matters comes as an error, too; these lines are for who looks closely.
pub(crate) fn log_line(level: RDKafkaLogLevel, facility: &str, message: &str) {
    tracing::debug!(target: "librdkafka", ?level, facility, message);
}
