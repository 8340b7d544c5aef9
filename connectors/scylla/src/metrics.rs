//! What the store shows of its requests.

use prometheus::{
    HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry,
    core::{Collector, GenericCounter},
};

use crate::error::Kind;

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Get,
    Range,
    Write,
    WriteIf,
}

impl Op {
    fn label(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Range => "range",
            Self::Write => "write",
            Self::WriteIf => "write_if",
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    seconds: HistogramVec,
    errors: IntCounterVec,
    retries: IntCounterVec,
    pub(crate) in_flight: IntGauge,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            seconds: HistogramVec::new(
                HistogramOpts::new(
                    "openinfra_store_op_seconds",
                    "How long a request to the store took, by its outcome: ok or error",
                )
                .const_label("backend", "cql")
                .buckets(vec![
                    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0,
                ]),
                &["op", "outcome"],
            )?,
            errors: IntCounterVec::new(
                Opts::new(
                    "openinfra_store_errors_total",
                    "Requests to the store that failed, by what failed",
                )
                .const_label("backend", "cql"),
                &["kind"],
            )?,
            retries: IntCounterVec::new(
                Opts::new(
                    "openinfra_store_op_retries_total",
                    "Requests to the store that were made again",
                )
                .const_label("backend", "cql"),
                &["op"],
            )?,
            in_flight: IntGauge::with_opts(
                Opts::new(
                    "openinfra_store_inflight",
                    "Requests to the store that are under way",
                )
                .const_label("backend", "cql"),
            )?,
        };
        for kind in Kind::ALL {
            metrics.errors.with_label_values(&[kind.label()]);
        }
        let collectors: [Box<dyn Collector>; 4] = [
            Box::new(metrics.seconds.clone()),
            Box::new(metrics.errors.clone()),
            Box::new(metrics.retries.clone()),
            Box::new(metrics.in_flight.clone()),
        ];
        for collector in collectors {
            registry.register(collector)?;
        }
        Ok(metrics)
    }

    pub(crate) fn observe(&self, op: Op, seconds: f64, error: Option<Kind>) {
        let outcome = if error.is_none() { "ok" } else { "error" };
        self.seconds
            .with_label_values(&[op.label(), outcome])
            .observe(seconds);
        if let Some(kind) = error {
            self.errors.with_label_values(&[kind.label()]).inc();
        }
    }

    pub(crate) fn retried(&self, op: Op) -> GenericCounter<prometheus::core::AtomicU64> {
        self.retries.with_label_values(&[op.label()])
    }
}
