//! What was asked for at the broker, and what it granted.
//!
//! Asked for again at each connection, as the broker may have forgotten the session, and as the settings may
//! have changed; what they named before is `leaving`'s. What a newcomer would get wrong: a refusal is no error of the connection; it stands in the
//! answer, filter by filter, and one that nobody looks at means silence for ever.

use std::{sync::Arc, time::Duration};

use rumqttc::v5::{
    AsyncClient,
    mqttbytes::{
        QoS,
        v5::{Filter, RetainForwardRule, SubAck, SubscribeReasonCode},
    },
};
use tokio::time::Instant;

use super::{backoff::Backoff, metrics::Metrics};

/// How long the broker may take to answer before it is asked again.
const ANSWER: Duration = Duration::from_secs(10);
/// The pauses after a refusal, the first and the longest.
const REFUSED: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

pub(crate) struct Subscription {
    broker: String,
    metrics: Arc<Metrics>,
    filters: Vec<String>,
    /// Indexes of those that are not granted yet, in the order they were asked for.
    open: Vec<usize>,
    /// When to ask for the open ones; none while there is no connection, or nothing is open.
    ask_at: Option<Instant>,
    /// The answers that were in the log last, so that a refusal stands there once.
    said: Vec<Option<SubscribeReasonCode>>,
    backoff: Backoff,
}

impl Subscription {
    pub fn new(broker: String, filters: Vec<String>, metrics: Arc<Metrics>) -> Self {
        Self {
            broker,
            metrics,
            said: vec![None; filters.len()],
            filters,
            open: Vec::new(),
            ask_at: None,
            backoff: Backoff::new(REFUSED.0, REFUSED.1),
        }
    }

    /// There is a new connection: all is to be asked for.
    pub fn connected(&mut self) {
        self.open = (0..self.filters.len()).collect();
        self.ask_at = Some(Instant::now());
        self.backoff.reset();
        self.metrics.subscriptions.set(0);
    }

    pub fn disconnected(&mut self) {
        self.ask_at = None;
        self.metrics.subscriptions.set(0);
    }

    /// When [`ask`](Self::ask) wants to be called.
    pub fn ask_at(&self) -> Option<Instant> {
        self.ask_at
    }

    /// Asks for what is open. Retained messages are not wanted: they came before, and would come again at
    /// each connection.
    pub fn ask(&mut self, client: &AsyncClient) {
        let filters = self.open.iter().map(|&index| {
            let mut filter = Filter::new(&self.filters[index], QoS::AtLeastOnce);
            filter.retain_forward_rule = RetainForwardRule::Never;
            filter
        });
        // Requests go out in order, so a full channel is one whose PUBACKs go out first.
        let asked = client.try_subscribe_many(filters.collect::<Vec<_>>());
        let again = match asked {
            Ok(()) => ANSWER,
            Err(_) => Duration::from_millis(100),
        };
        self.ask_at = Some(Instant::now() + again);
    }

    /// The broker's answer to what was asked last; returns the filters that it refuses now.
    pub fn answered(&mut self, answer: &SubAck) -> Option<Vec<String>> {
        if answer.return_codes.len() != self.open.len() {
            // To an earlier question: the one to the last is still to come, or is asked for again.
            return None;
        }
        let mut refused = Vec::new();
        for (&index, &code) in self.open.iter().zip(&answer.return_codes) {
            let is_news = self.said[index].replace(code) != Some(code);
            let (broker, filter) = (&self.broker, &self.filters[index]);
            match code {
                SubscribeReasonCode::Success(QoS::AtMostOnce) => {
                    if is_news {
                        tracing::warn!(
                            broker,
                            filter,
                            "the MQTT broker grants QoS 0 only: messages may be lost on their way"
                        );
                    }
                }
                SubscribeReasonCode::Success(_) => {}
                _ => {
                    self.metrics.subscriptions_refused.inc();
                    refused.push(index);
                    if is_news {
                        tracing::error!(
                            broker,
                            filter,
                            reason = ?code,
                            "the MQTT broker refuses the subscription; asking again from time to time"
                        );
                    }
                }
            }
        }
        self.open = refused;
        let granted = self.filters.len() - self.open.len();
        self.metrics.subscriptions.set(granted as i64);
        self.ask_at = (!self.open.is_empty()).then(|| Instant::now() + self.backoff.pause());
        let refused = self.open.iter().map(|&index| self.filters[index].clone());
        Some(refused.collect())
    }
}
