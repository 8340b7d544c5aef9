//! What the log on Kafka counts.
//!
//! Connections and queues are the producer's: it talks to every leader and is always there.

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    core::Collector,
};

/// Handles, resolved once so that counting is one atomic addition.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub produced: IntCounterVec,
    pub append_seconds: Histogram,
    pub refused: IntCounter,
    pub read_records: IntCounterVec,
    pub seeks: IntCounter,
    pub producers: IntCounter,
    pub queue_records: IntGauge,
    pub queue_bytes: IntGauge,
    pub brokers_up: IntGauge,
    pub brokers_down: IntGauge,
    pub broker_rtt: GaugeVec,
    pub broker_errors: IntCounterVec,
    pub throttle: Gauge,
}

const APPEND_BUCKETS: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0,
];

impl Metrics {
    /// Creates and registers the metrics; fails when `registry` has them already.
    pub(crate) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let counters = |name: &str, help: &str, labels: &[&str]| {
            register(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
        };
        let gauge = |name: &str, help: &str| register(registry, IntGauge::new(name, help)?);
        let counter = |name: &str, help: &str| register(registry, IntCounter::new(name, help)?);
        let append = HistogramOpts::new(
            "openinfra_kafka_append_seconds",
            "Time from handing a batch over to the last confirmation of its records, in seconds",
        )
        .buckets(APPEND_BUCKETS.to_vec());
        let rtt = Opts::new(
            "openinfra_kafka_broker_rtt_seconds",
            "Mean time from a request to its answer, by broker, in seconds",
        );
        Ok(Self {
            produced: counters(
                "openinfra_kafka_produce_total",
                "Records handed to the brokers, by topic and outcome",
                &["topic", "outcome"],
            )?,
            append_seconds: register(registry, Histogram::with_opts(append)?)?,
            refused: counter(
                "openinfra_kafka_appends_refused_total",
                "Appends refused until somebody puts a setting or a right in order",
            )?,
            read_records: counters(
                "openinfra_kafka_read_records_total",
                "Records read, by topic",
                &["topic"],
            )?,
            seeks: counter(
                "openinfra_kafka_seeks_total",
                "Reads that did not go on where a reader stood",
            )?,
            producers: counter(
                "openinfra_kafka_producer_restarts_total",
                "Producers replaced after an error they could not go on from",
            )?,
            queue_records: gauge(
                "openinfra_kafka_queue_records",
                "Records on their way to the brokers",
            )?,
            queue_bytes: gauge(
                "openinfra_kafka_queue_bytes",
                "Bytes of records on their way to the brokers",
            )?,
            brokers_up: gauge("openinfra_kafka_brokers_up", "Brokers connected to")?,
            brokers_down: gauge(
                "openinfra_kafka_brokers_down",
                "Brokers that are needed and cannot be connected to",
            )?,
            broker_rtt: register(registry, GaugeVec::new(rtt, &["broker"])?)?,
            broker_errors: counters(
                "openinfra_kafka_broker_errors_total",
                "Failed requests, by broker and kind: send, receive, timeout",
                &["broker", "kind"],
            )?,
            throttle: register(
                registry,
                Gauge::new(
                    "openinfra_kafka_throttle_seconds",
                    "Longest time a broker made us wait for our quota, lately, in seconds",
                )?,
            )?,
        })
    }
}

fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> prometheus::Result<C> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}
