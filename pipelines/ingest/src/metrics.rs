//! What is counted of the way into the log.
//!
//! At every instant received = accepted + rejected + failed + in flight, item by item: all four are
//! counted as a batch is committed, from tags that stand beside its records. What a newcomer would get
//! wrong: `accepted` means that the log has it; what it then counts as is the views' to say.

use std::{net::IpAddr, sync::Arc};

use openinfra_intake::{AuthError, Budget};
use openinfra_log::AppendBatch;
use openinfra_schemas::Reason;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    core::{Collector, Desc},
    proto::MetricFamily,
};

/// Connectors that are counted by name; any other is `other`.
const CONNECTORS: [&str; 4] = ["mqtt", "http", "file", "other"];
/// What a connector may judge.
const REASONS: [Reason; 4] = [
    Reason::Undecodable,
    Reason::Invalid,
    Reason::SchemaRejected,
    Reason::UnknownTenant,
];
/// Accepted, then one for each reason.
const OUTCOMES: usize = 1 + REASONS.len();

/// Behind 5 ms up to a week, and ahead: a device's clock may run fast.
const SKEW_BUCKETS: [f64; 16] = [
    -300.0, -5.0, -0.5, 0.0, 0.1, 0.5, 1.0, 5.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 21_600.0,
    93_600.0, 604_800.0,
];

pub struct Metrics {
    received: Vec<IntCounter>,
    /// By connector, then outcome.
    outcomes: Vec<IntCounter>,
    failed: Vec<IntCounter>,
    auth_failures: IntCounterVec,
    unauthenticated: IntCounterVec,
    throttled: IntCounter,
    skew: HistogramVec,
}

impl Metrics {
    /// Registers all of them; fails when the registry has them already.
    pub fn register(registry: &Registry, budget: &Arc<Budget>) -> prometheus::Result<Self> {
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counters.clone()))?;
            prometheus::Result::Ok(counters)
        };
        let received = counters(
            "openinfra_ingest_received_total",
            "Items offered to the log",
            &["connector"],
        )?;
        let accepted = counters(
            "openinfra_ingest_accepted_total",
            "Items that the log has as readings",
            &["connector"],
        )?;
        let rejected = counters(
            "openinfra_ingest_rejected_total",
            "Items that the log has as refused",
            &["connector", "reason"],
        )?;
        let failed = counters(
            "openinfra_ingest_failed_total",
            "Items that the log did not take: their sender was told, or hears nothing and sends again",
            &["connector"],
        )?;
        let auth_failures = counters(
            "openinfra_auth_failures_total",
            "Clients whose credentials were not good",
            &["reason"],
        )?;
        let unauthenticated = counters(
            "openinfra_ingest_unauthenticated_total",
            "Attempts of clients that did not authenticate",
            &["address_class"],
        )?;
        let throttled = IntCounter::new(
            "openinfra_ingest_throttled_total",
            "Times that a key was over its rate",
        )?;
        registry.register(Box::new(throttled.clone()))?;
        let skew = HistogramVec::new(
            HistogramOpts::new(
                "openinfra_event_time_skew_seconds",
                "Receive time less event time of readings that carry a time, sampled",
            )
            .buckets(SKEW_BUCKETS.to_vec()),
            &["connector"],
        )?;
        registry.register(Box::new(skew.clone()))?;
        registry.register(Box::new(InFlight {
            gauge: IntGauge::new(
                "openinfra_ingest_in_flight_bytes",
                "Bytes between the sockets and the log",
            )?,
            budget: Arc::clone(budget),
        }))?;
        let by_connector = |counters: &IntCounterVec| {
            CONNECTORS
                .map(|c| counters.with_label_values(&[c]))
                .to_vec()
        };
        let outcomes = CONNECTORS
            .iter()
            .flat_map(|connector| {
                let refused = REASONS
                    .map(|reason| rejected.with_label_values(&[*connector, reason.as_str()]));
                std::iter::once(accepted.with_label_values(&[*connector])).chain(refused)
            })
            .collect();
        Ok(Self {
            received: by_connector(&received),
            outcomes,
            failed: by_connector(&failed),
            auth_failures,
            unauthenticated,
            throttled,
            skew,
        })
    }

    /// Counts a batch as offered; what is returned counts how it ends.
    pub fn offer(&self, batch: &AppendBatch) -> Offered<'_> {
        let mut counts = [0; CONNECTORS.len() * OUTCOMES];
        for tag in batch.tags() {
            counts[usize::from(tag)] += 1;
        }
        for (connector, received) in self.received.iter().enumerate() {
            received.inc_by(counts[connector * OUTCOMES..][..OUTCOMES].iter().sum());
        }
        Offered {
            metrics: self,
            counts,
            committed: false,
        }
    }

    pub fn auth_failed(&self, error: &AuthError, address: Option<IpAddr>) {
        let reason = match error {
            AuthError::Missing => "missing",
            AuthError::Wrong => "wrong",
            AuthError::Unavailable(_) => "unavailable",
            AuthError::Forbidden(_) => "forbidden",
        };
        self.auth_failures.with_label_values(&[reason]).inc();
        if matches!(error, AuthError::Missing | AuthError::Wrong) {
            self.unauthenticated
                .with_label_values(&[address_class(address)])
                .inc();
        }
    }

    pub fn throttled(&self) {
        self.throttled.inc();
    }

    pub fn skew(&self, connector: &str, ms: i64) {
        self.skew
            .with_label_values(&[CONNECTORS[connector_index(connector)]])
            .observe(ms as f64 / 1e3);
    }
}

/// Asks the budget when it is asked itself.
struct InFlight {
    gauge: IntGauge,
    budget: Arc<Budget>,
}

impl Collector for InFlight {
    fn desc(&self) -> Vec<&Desc> {
        self.gauge.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.gauge
            .set(i64::try_from(self.budget.in_use()).unwrap_or(i64::MAX));
        self.gauge.collect()
    }
}

/// The tag of an accepted item.
pub fn accepted_tag(connector: &str) -> u16 {
    (connector_index(connector) * OUTCOMES) as u16
}

/// The tag of a refused item.
pub fn rejected_tag(connector: &str, reason: Reason) -> u16 {
    // What is no connector's to judge comes from none of ours; it counts as invalid.
    let reason = REASONS.iter().position(|r| *r == reason).unwrap_or(1);
    (connector_index(connector) * OUTCOMES + 1 + reason) as u16
}

fn connector_index(connector: &str) -> usize {
    CONNECTORS
        .iter()
        .position(|known| *known == connector)
        .unwrap_or(CONNECTORS.len() - 1)
}

/// A batch on its way into the log. Dropped without [`Offered::committed`], its items count as failed.
pub struct Offered<'a> {
    metrics: &'a Metrics,
    counts: [u64; CONNECTORS.len() * OUTCOMES],
    committed: bool,
}

impl Offered<'_> {
    pub fn committed(mut self) {
        self.committed = true;
    }
}

impl Drop for Offered<'_> {
    fn drop(&mut self) {
        for (index, count) in self
            .counts
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
        {
            let counter = if self.committed {
                &self.metrics.outcomes[index]
            } else {
                &self.metrics.failed[index / OUTCOMES]
            };
            counter.inc_by(*count);
        }
    }
}

fn address_class(address: Option<IpAddr>) -> &'static str {
    let private = match address.map(|a| a.to_canonical()) {
        None => return "unknown",
        Some(address) if address.is_loopback() => return "loopback",
        Some(IpAddr::V4(address)) => address.is_private() || address.is_link_local(),
        Some(IpAddr::V6(address)) => address.is_unique_local() || address.is_unicast_link_local(),
    };
    if private { "private" } else { "public" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_classes() {
        for (address, class) in [
            ("127.0.0.1", "loopback"),
            ("::1", "loopback"),
            ("::ffff:127.0.0.1", "loopback"),
            ("10.1.2.3", "private"),
            ("192.168.0.1", "private"),
            ("fd00::1", "private"),
            ("fe80::1", "private"),
            ("8.8.8.8", "public"),
            ("2001:4860::1", "public"),
        ] {
            assert_eq!(address_class(address.parse().ok()), class, "{address}");
        }
        assert_eq!(address_class(None), "unknown");
    }
}
