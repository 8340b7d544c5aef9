//! Subscriptions that the session has from earlier settings, and that nobody wants any more.
//!
//! The broker keeps them with the session, whatever is subscribed beside them, and sends a message once for each
//! that fits. What a newcomer would get wrong is the order: one is left only after what stands in its place is
//! granted. Between the two a message comes twice; the other way round it would be nobody's.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use openinfra_store::StoreError;
use rumqttc::v5::{
    AsyncClient,
    mqttbytes::v5::{UnsubAck, UnsubAckReason},
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{backoff::Backoff, filter::overlap, memory::Memory, metrics::Metrics};

/// How long the broker may take to answer before it is asked again.
const ANSWER: Duration = Duration::from_secs(10);
/// The pauses after a refusal, or while the store is away: the first and the longest.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

pub(crate) struct Leaving {
    broker: String,
    memory: Memory,
    metrics: Arc<Metrics>,
    /// What the session may have still; the first is asked for next.
    old: VecDeque<String>,
    /// What it has no more, and stands in the memory.
    left: Vec<String>,
    /// What the broker does not grant now.
    refused: Vec<String>,
    /// The filter that was asked for last, and its packet once that is on its way.
    asked: Option<(String, Option<u16>)>,
    /// When to ask; none while there is no connection, or nothing is to be left.
    ask_at: Option<Instant>,
    backoff: Backoff,
    /// Crosses out what was left. Ends with this.
    forgetting: JoinSet<()>,
}

impl Leaving {
    pub fn new(broker: &str, memory: Memory, metrics: Arc<Metrics>) -> Self {
        Self {
            broker: broker.to_owned(),
            memory,
            metrics,
            old: VecDeque::new(),
            left: Vec::new(),
            refused: Vec::new(),
            asked: None,
            ask_at: None,
            backoff: Backoff::new(AGAIN.0, AGAIN.1),
            forgetting: JoinSet::new(),
        }
    }

    /// Writes down what will be subscribed, and finds what was before; goes on until the store answers.
    pub async fn remember(&mut self, filters: &[String]) {
        let kept = until_done(&self.broker, || self.memory.add(filters)).await;
        self.old = kept
            .into_iter()
            .filter(|filter| !filters.contains(filter))
            .collect();
        if !self.old.is_empty() {
            tracing::info!(
                broker = self.broker,
                filters = ?self.old,
                "subscriptions of earlier settings are left once the present ones are granted"
            );
        }
    }

    /// The broker has answered for all present filters, and does not grant these.
    pub fn granted(&mut self, refused: Vec<String>) {
        self.refused = refused;
        if self.asked.is_none() {
            self.backoff.reset();
            self.next();
        }
    }

    pub fn disconnected(&mut self) {
        self.asked = None;
        self.ask_at = None;
    }

    /// When [`ask`](Self::ask) wants to be called.
    pub fn ask_at(&self) -> Option<Instant> {
        self.ask_at
    }

    pub fn ask(&mut self, client: &AsyncClient) {
        let Some(filter) = self.old.iter().find(|old| self.may_leave(old)).cloned() else {
            self.ask_at = None;
            return;
        };
        let again = match client.try_unsubscribe(&filter) {
            Ok(()) => ANSWER,
            // PUBACKs go out first.
            Err(_) => Duration::from_millis(100),
        };
        self.asked = Some((filter, None));
        self.ask_at = Some(Instant::now() + again);
    }

    /// The question is on its way under this packet id.
    pub fn sent(&mut self, packet_id: u16) {
        if let Some((_, sent)) = &mut self.asked {
            *sent = Some(packet_id);
        }
    }

    /// The broker's answer.
    pub fn answered(&mut self, answer: &UnsubAck) {
        let Some((filter, _)) = self.asked.take_if(|(_, sent)| *sent == Some(answer.pkid)) else {
            // To an earlier question.
            return;
        };
        self.old.retain(|old| *old != filter);
        let gone = [
            UnsubAckReason::Success,
            UnsubAckReason::NoSubscriptionExisted,
        ];
        match answer.reasons.first() {
            Some(reason) if gone.contains(reason) => {
                self.metrics.unsubscribed.inc();
                tracing::info!(broker = self.broker, filter, "left a subscription");
                self.left.push(filter);
                self.next();
            }
            reason => {
                tracing::error!(
                    broker = self.broker,
                    filter,
                    ?reason,
                    "the MQTT broker does not end a subscription of earlier settings: what fits it comes \
                     twice; asking again from time to time"
                );
                // The others first.
                self.old.push_back(filter);
                self.ask_at = Some(Instant::now() + self.backoff.pause());
            }
        }
    }

    fn may_leave(&self, old: &str) -> bool {
        !self.refused.iter().any(|refused| overlap(refused, old))
    }

    fn next(&mut self) {
        let is_more = self.old.iter().any(|old| self.may_leave(old));
        self.ask_at = is_more.then(Instant::now);
        if is_more || self.left.is_empty() {
            return;
        }
        let (broker, memory) = (self.broker.clone(), self.memory.clone());
        let left = std::mem::take(&mut self.left);
        self.forgetting
            .spawn(async move { until_done(&broker, || memory.forget(&left)).await });
    }
}

async fn until_done<T, F: Future<Output = Result<T, StoreError>>>(
    broker: &str,
    work: impl Fn() -> F,
) -> T {
    let mut backoff = Backoff::new(AGAIN.0, AGAIN.1);
    loop {
        match work().await {
            Ok(done) => return done,
            Err(error) => tracing::warn!(
                broker,
                %error,
                "the store does not say what is subscribed at the MQTT broker; trying again"
            ),
        }
        sleep(backoff.pause()).await;
    }
}
