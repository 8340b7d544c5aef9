//! What the process tells about the registry: counters, and a line when it goes and one when it is back.
//!
//! What a newcomer would get wrong: that it refuses is an answer, and it is well then. Whoever waits for a
//! schema asks again and again, so the log's line comes once.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use prometheus::{IntCounterVec, IntGauge, Opts, Registry};

/// How requests ended, for whoever looks after the process.
#[derive(Debug)]
pub(crate) struct Reports {
    /// Requests by how they ended: `answered`, `refused`, `failed`; each repetition is one.
    requests: IntCounterVec,
    /// Whether the last request was answered, if only by a refusal.
    up: IntGauge,
    is_away: AtomicBool,
}

/// How one request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended<'a> {
    Answered,
    Refused,
    /// With the cause.
    Failed(&'a str),
}

impl Reports {
    pub(crate) fn new() -> Self {
        let requests = Opts::new(
            "openinfra_registry_requests_total",
            "Requests to the schema registry by how they ended",
        );
        let up = "Whether the last request to the schema registry was answered";
        Self {
            requests: IntCounterVec::new(requests, &["outcome"]).expect("names are legal"),
            up: IntGauge::new("openinfra_registry_up", up).expect("the name is legal"),
            is_away: AtomicBool::new(false),
        }
    }

    /// Errs when metrics of these names are there.
    pub(crate) fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.requests.clone()))?;
        registry.register(Box::new(self.up.clone()))
    }

    pub(crate) fn tell(&self, ended: Ended<'_>) {
        let (outcome, up) = match ended {
            Ended::Answered => ("answered", true),
            Ended::Refused => ("refused", true),
            Ended::Failed(_) => ("failed", false),
        };
        self.requests.with_label_values(&[outcome]).inc();
        self.up.set(up.into());
        let was_away = self.is_away.swap(!up, Relaxed);
        match ended {
            Ended::Failed(cause) if !was_away => {
                tracing::warn!(cause, "the schema registry does not answer");
            }
            Ended::Answered | Ended::Refused if was_away => {
                tracing::info!("the schema registry answers again");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_is_counted() {
        let (registry, reports) = (Registry::new(), Reports::new());
        reports.register(&registry).unwrap();
        reports.tell(Ended::Answered);
        reports.tell(Ended::Failed("connection refused"));
        reports.tell(Ended::Failed("connection refused"));
        assert_eq!(reports.up.get(), 0);
        assert!(reports.is_away.load(Relaxed));
        reports.tell(Ended::Refused);
        assert_eq!(reports.up.get(), 1);
        assert!(!reports.is_away.load(Relaxed));
        let counted = |outcome| reports.requests.with_label_values(&[outcome]).get();
        assert_eq!(["answered", "refused", "failed"].map(counted), [1, 1, 2]);
        assert_eq!(registry.gather().len(), 2);
    }
}
