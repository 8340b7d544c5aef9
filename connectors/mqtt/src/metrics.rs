//! The listener's own counters: connections, packets, acknowledgement latency.
//!
//! How many messages were received, accepted and refused is counted once for all connectors, by the
//! intake; counting here too would double it. The two `openinfra_ingest_…` metrics carry the connector
//! as a constant label, so that other connectors can register theirs under the same names.

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry, core::Collector,
};

/// Handles, resolved once so that counting is one atomic addition.
pub(crate) struct Metrics {
    pub connections: IntGauge,
    pub connects: IntCounterVec,
    /// PUBLISH read to PUBACK written, in seconds.
    pub ack_seconds: Histogram,
    /// Messages taken and not yet committed.
    pub in_flight: IntGauge,
    pub publish: IntCounter,
    pub puback: IntCounter,
    pub ping: IntCounter,
    pub other: IntCounter,
}

const ACK_BUCKETS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

impl Metrics {
    /// Creates and registers the metrics; fails when `registry` has them already.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let packets = register(
            registry,
            IntCounterVec::new(
                Opts::new(
                    "openinfra_mqtt_packets_total",
                    "MQTT packets read and acknowledgements written, by kind",
                ),
                &["kind"],
            )?,
        )?;
        let ack = HistogramOpts::new(
            "openinfra_ingest_ack_seconds",
            "Time from reading a message to acknowledging it, in seconds",
        )
        .const_label("connector", "mqtt")
        .buckets(ACK_BUCKETS.to_vec());
        let in_flight = Opts::new(
            "openinfra_ingest_inflight",
            "Messages taken and not yet committed",
        )
        .const_label("connector", "mqtt");
        Ok(Self {
            connections: register(
                registry,
                IntGauge::new("openinfra_mqtt_connections", "MQTT clients connected now")?,
            )?,
            connects: register(
                registry,
                IntCounterVec::new(
                    Opts::new(
                        "openinfra_mqtt_connects_total",
                        "MQTT connection attempts, by outcome",
                    ),
                    &["outcome"],
                )?,
            )?,
            ack_seconds: register(registry, Histogram::with_opts(ack)?)?,
            in_flight: register(registry, IntGauge::with_opts(in_flight)?)?,
            publish: packets.with_label_values(&["publish"]),
            puback: packets.with_label_values(&["puback"]),
            ping: packets.with_label_values(&["pingreq"]),
            other: packets.with_label_values(&["other"]),
        })
    }

    pub fn connect(&self, outcome: &'static str) {
        self.connects.with_label_values(&[outcome]).inc();
    }
}

fn register<M: Collector + Clone + 'static>(
    registry: &Registry,
    metric: M,
) -> prometheus::Result<M> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}
