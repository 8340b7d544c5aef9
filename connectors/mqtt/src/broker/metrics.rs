//! The counters of one broker client.
//!
//! How many readings were accepted and refused is counted once for all connectors, by the intake; here
//! messages are. The label `broker` is the client's name, and the connector of the two `openinfra_ingest_…`
//! metrics is `broker-NAME`, as a second client registers its own.

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry, core::Collector,
};

/// Handles, resolved once so that counting is one atomic addition.
pub(crate) struct Metrics {
    /// 1 while there is a connection.
    pub connected: IntGauge,
    /// Filters that the broker has granted.
    pub subscriptions: IntGauge,
    pub subscriptions_refused: IntCounter,
    pub unsubscribed: IntCounter,
    pub connects_accepted: IntCounter,
    pub connects_failed: IntCounter,
    pub lost: IntCounter,
    pub sessions_lost: IntCounter,
    pub received: IntCounter,
    pub redelivered: IntCounter,
    pub acknowledged: IntCounter,
    pub refused: IntCounter,
    /// Committed after their connection was gone: the broker sends them again.
    pub unacknowledged: IntCounter,
    pub commit_retries: IntCounter,
    /// PUBLISH read to PUBACK handed over, in seconds.
    pub ack_seconds: Histogram,
    /// Messages taken and not yet committed.
    pub in_flight: IntGauge,
}

const ACK_BUCKETS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

impl Metrics {
    /// Creates and registers the metrics; fails when `registry` has a client of this name already.
    pub fn new(registry: &Registry, name: &str) -> prometheus::Result<Self> {
        let opts = |metric: &str, help: &str| Opts::new(metric, help).const_label("broker", name);
        let gauge = |metric, help| register(registry, IntGauge::with_opts(opts(metric, help))?);
        let counter = |metric, help| register(registry, IntCounter::with_opts(opts(metric, help))?);
        let connects = register(
            registry,
            IntCounterVec::new(
                opts(
                    "openinfra_broker_connects_total",
                    "Attempts to connect to the broker, by outcome",
                ),
                &["outcome"],
            )?,
        )?;
        let messages = register(
            registry,
            IntCounterVec::new(
                opts(
                    "openinfra_broker_messages_total",
                    "Messages of the broker, by what became of them",
                ),
                &["kind"],
            )?,
        )?;
        let connector = format!("broker-{name}");
        let ack = HistogramOpts::new(
            "openinfra_ingest_ack_seconds",
            "Time from reading a message to acknowledging it, in seconds",
        )
        .const_label("connector", &connector)
        .buckets(ACK_BUCKETS.to_vec());
        let in_flight = Opts::new(
            "openinfra_ingest_inflight",
            "Messages taken and not yet committed",
        )
        .const_label("connector", &connector);
        Ok(Self {
            connected: gauge(
                "openinfra_broker_connected",
                "Whether there is a connection to the broker",
            )?,
            subscriptions: gauge(
                "openinfra_broker_subscriptions",
                "Topic filters that the broker has granted",
            )?,
            subscriptions_refused: counter(
                "openinfra_broker_subscriptions_refused_total",
                "Times that the broker refused a topic filter",
            )?,
            unsubscribed: counter(
                "openinfra_broker_unsubscribed_total",
                "Subscriptions of earlier settings that were ended",
            )?,
            connects_accepted: connects.with_label_values(&["accepted"]),
            connects_failed: connects.with_label_values(&["failed"]),
            lost: counter(
                "openinfra_broker_connections_lost_total",
                "Connections to the broker that ended against our will",
            )?,
            sessions_lost: counter(
                "openinfra_broker_sessions_lost_total",
                "Times that the broker knew the session no more after a reconnect",
            )?,
            received: messages.with_label_values(&["received"]),
            redelivered: messages.with_label_values(&["redelivered"]),
            acknowledged: messages.with_label_values(&["acknowledged"]),
            refused: messages.with_label_values(&["refused"]),
            unacknowledged: messages.with_label_values(&["unacknowledged"]),
            commit_retries: counter(
                "openinfra_broker_commit_retries_total",
                "Times that the log did not take a batch, which is then offered again",
            )?,
            ack_seconds: register(registry, Histogram::with_opts(ack)?)?,
            in_flight: register(registry, IntGauge::with_opts(in_flight)?)?,
        })
    }
}

fn register<M: Collector + Clone + 'static>(
    registry: &Registry,
    metric: M,
) -> prometheus::Result<M> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}
