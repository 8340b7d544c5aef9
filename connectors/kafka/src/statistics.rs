//! The client's own statistics, as far as they say something to an operator.
//!
//! What a newcomer would get wrong: librdkafka counts from the start of each client. A new producer starts
//! at zero, so only what is added since the last look goes into our counters.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::metrics::Metrics;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Statistics {
    msg_cnt: i64,
    msg_size: i64,
    brokers: BTreeMap<String, Broker>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Broker {
    nodename: String,
    nodeid: i64,
    state: String,
    txerrs: u64,
    rxerrs: u64,
    req_timeouts: u64,
    rtt: Window,
    throttle: Window,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Window {
    max: i64,
    avg: i64,
    cnt: i64,
}

/// What was seen last of one client.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Send, receive and timeout errors by broker.
    errors: BTreeMap<String, [u64; 3]>,
    down: BTreeSet<String>,
}

impl Seen {
    /// Takes a look of the client's statistics over into the metrics, and says in the process's log which
    /// broker went and which came.
    pub(crate) fn take(&mut self, statistics: &Statistics, metrics: &Metrics) {
        metrics.queue_records.set(statistics.msg_cnt);
        metrics.queue_bytes.set(statistics.msg_size);
        let mut up = BTreeSet::new();
        let mut down = BTreeSet::new();
        let mut throttle = 0;
        for broker in statistics.brokers.values() {
            match broker.state.as_str() {
                "UP" | "UPDATE" => up.insert(broker.nodename.clone()),
                "DOWN" | "TRY_CONNECT" => down.insert(broker.nodename.clone()),
                // Not needed so far, or about to connect.
                _ => false,
            };
            throttle = throttle.max(broker.throttle.max);
            self.count(broker, metrics);
        }
        // An address from the configuration and the broker behind it have a connection each.
        down.retain(|name| !name.is_empty() && !up.contains(name));
        metrics.brokers_up.set(up.len() as i64);
        metrics.brokers_down.set(down.len() as i64);
        metrics.throttle.set(throttle as f64 / 1e3);
        for broker in down.difference(&self.down) {
            tracing::warn!(broker, "a Kafka broker is down");
        }
        for broker in self.down.difference(&down).filter(|b| up.contains(*b)) {
            tracing::info!(broker, "a Kafka broker is back");
        }
        // Whoever is connecting at this moment stays what it was.
        self.down = self.down.difference(&up).chain(&down).cloned().collect();
    }

    fn count(&mut self, broker: &Broker, metrics: &Metrics) {
        if broker.nodeid < 0 {
            return;
        }
        let name = broker.nodename.as_str();
        if broker.rtt.cnt > 0 {
            let seconds = broker.rtt.avg as f64 / 1e6;
            metrics.broker_rtt.with_label_values(&[name]).set(seconds);
        }
        let now = [broker.txerrs, broker.rxerrs, broker.req_timeouts];
        let last = self.errors.insert(name.to_owned(), now).unwrap_or_default();
        for ((kind, now), last) in ["send", "receive", "timeout"].iter().zip(now).zip(last) {
            let counter = metrics.broker_errors.with_label_values(&[name, kind]);
            counter.inc_by(now.saturating_sub(last));
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;

    use super::*;

    fn statistics(state: &str, errors: u64) -> Statistics {
        let text = format!(
            r#"{{"msg_cnt": 3, "msg_size": 70, "brokers": {{
                "k:9092/bootstrap": {{"nodename": "k:9092", "nodeid": -1, "state": "DOWN"}},
                "k:9092/1": {{"nodename": "k:9092", "nodeid": 1, "state": "{state}",
                    "txerrs": {errors}, "rtt": {{"avg": 1500, "cnt": 4}}}},
                "k:9093/2": {{"nodename": "k:9093", "nodeid": 2, "state": "INIT"}} }} }}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn statistics_become_metrics() {
        let metrics = Metrics::new(&Registry::new()).unwrap();
        let mut seen = Seen::default();
        seen.take(&statistics("UP", 2), &metrics);
        assert_eq!(metrics.queue_records.get(), 3);
        assert_eq!(metrics.queue_bytes.get(), 70);
        assert_eq!(
            (metrics.brokers_up.get(), metrics.brokers_down.get()),
            (1, 0)
        );
        let rtt = metrics.broker_rtt.with_label_values(&["k:9092"]).get();
        assert!((rtt - 0.0015).abs() < 1e-9);
        seen.take(&statistics("DOWN", 5), &metrics);
        assert_eq!(
            (metrics.brokers_up.get(), metrics.brokers_down.get()),
            (0, 1)
        );
        let errors = |kind| {
            metrics
                .broker_errors
                .with_label_values(&["k:9092", kind])
                .get()
        };
        assert_eq!((errors("send"), errors("timeout")), (5, 0));
    }

    #[test]
    fn a_new_client_counts_from_zero() {
        let metrics = Metrics::new(&Registry::new()).unwrap();
        Seen::default().take(&statistics("UP", 2), &metrics);
        Seen::default().take(&statistics("UP", 1), &metrics);
        let errors = metrics.broker_errors.with_label_values(&["k:9092", "send"]);
        assert_eq!(errors.get(), 3);
    }

    #[test]
    fn who_is_connecting_stays_down_until_it_is_up() {
        let metrics = Metrics::new(&Registry::new()).unwrap();
        let mut seen = Seen::default();
        for state in ["DOWN", "CONNECT", "TRY_CONNECT"] {
            seen.take(&statistics(state, 0), &metrics);
            assert!(seen.down.contains("k:9092"), "{state}");
        }
        seen.take(&statistics("UP", 0), &metrics);
        assert!(seen.down.is_empty());
    }
}
