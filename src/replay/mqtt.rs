//! Sends over MQTT with QoS 1: many messages in flight on each connection.
//!
//! What a newcomer would get wrong: after a lost connection everything unacknowledged goes out again, in
//! the order in which it went out first, before anything new. So a sensor's readings stay in order,
//! although some of them may arrive twice.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use openinfra_mqtt::publisher::{Acked, ConnectError, PublishError, Publisher, PublisherConfig};
use tokio::sync::mpsc::{Receiver, UnboundedReceiver};

use super::{Context, Fatal, patience::Patience, source::Item};

/// Messages in flight on one connection, as far as the server allows.
const WINDOW: u16 = 2_000;
/// A server that says nothing for so long, pings included, is gone: a replay goes on over a new connection.
const SILENCE_S: u16 = 30;

/// One connection, and what it has to see acknowledged.
pub struct Sender {
    config: PublisherConfig,
    context: Arc<Context>,
    next_tag: u64,
    /// The first tag that was never handed to a connection.
    unsent: u64,
    /// Sent, or to be sent again, in order.
    flight: BTreeMap<u64, Item>,
}

struct Connection {
    publisher: Publisher,
    acks: UnboundedReceiver<Acked>,
}

/// Why a connection does not go on.
enum Stop {
    /// Another one may.
    Lost(String),
    Fatal(Fatal),
}

impl From<Fatal> for Stop {
    fn from(fatal: Fatal) -> Self {
        Self::Fatal(fatal)
    }
}

impl Sender {
    pub fn new(
        host: &str,
        key: Option<&str>,
        trust_recv: bool,
        number: usize,
        context: Arc<Context>,
    ) -> Self {
        // A second connection with the same client id would end the first.
        let client_id = format!("replay-{}-{number}", uuid::Uuid::new_v4().simple());
        let config = PublisherConfig {
            password: key.map(str::to_owned),
            window: WINDOW,
            keep_alive_s: SILENCE_S,
            trust_recv,
            ..PublisherConfig::new(host, client_id)
        };
        Self {
            config,
            context,
            next_tag: 0,
            unsent: 0,
            flight: BTreeMap::new(),
        }
    }

    pub async fn run(mut self, mut chunks: Receiver<Vec<Item>>) -> Result<(), Fatal> {
        let mut patience = Patience::new(self.context.give_up_after);
        loop {
            let mut connection = self.connect(&mut patience).await?;
            match self
                .go_on(&mut connection, &mut chunks, &mut patience)
                .await
            {
                Ok(()) => {
                    // Everything is acknowledged; that the last word gets lost does no harm.
                    let _ = connection.publisher.finish().await;
                    return Ok(());
                }
                Err(Stop::Fatal(fatal)) => return Err(fatal),
                Err(Stop::Lost(why)) => {
                    self.settle_ready(&mut connection);
                    patience.wait(&self.context, &why, None).await?;
                }
            }
        }
    }

    async fn connect(&self, patience: &mut Patience) -> Result<Connection, Fatal> {
        loop {
            match Publisher::connect(self.config.clone()).await {
                Ok((publisher, acks)) => return Ok(Connection { publisher, acks }),
                Err(error) => {
                    let final_word = is_final(&error);
                    let why = format!("{:#}", anyhow::Error::new(error));
                    if final_word {
                        return Err(Fatal::Refused(why));
                    }
                    patience.wait(&self.context, &why, None).await?;
                }
            }
        }
    }

    /// Sends what was left, then what comes, until there is no more and all is acknowledged.
    async fn go_on(
        &mut self,
        connection: &mut Connection,
        chunks: &mut Receiver<Vec<Item>>,
        patience: &mut Patience,
    ) -> Result<(), Stop> {
        let left: Vec<u64> = self.flight.keys().copied().collect();
        for tag in left {
            self.publish(connection, tag).await?;
        }
        loop {
            tokio::select! {
                // What is done makes room before more is taken.
                biased;
                ack = connection.acks.recv() => match ack {
                    Some(ack) => {
                        // Progress: the next trouble is a new one.
                        *patience = Patience::new(self.context.give_up_after);
                        self.settle(ack);
                    }
                    None => return Err(Stop::Lost("the connection ended".to_owned())),
                },
                chunk = chunks.recv() => {
                    let Some(chunk) = chunk else { break };
                    self.publish_chunk(connection, chunk).await?;
                }
                () = self.context.cancel.cancelled() => return Err(Fatal::Cancelled.into()),
            }
        }
        let drained = tokio::select! {
            drained = connection.publisher.drained() => drained,
            () = self.context.cancel.cancelled() => return Err(Fatal::Cancelled.into()),
        };
        self.settle_ready(connection);
        drained.map_err(lost)
    }

    async fn publish_chunk(
        &mut self,
        connection: &mut Connection,
        chunk: Vec<Item>,
    ) -> Result<(), Stop> {
        self.context.tally.sending(chunk.len() as u64);
        let first = self.next_tag;
        self.next_tag += chunk.len() as u64;
        // All of them are on their way from here on, so that none is left out if the connection ends.
        self.flight.extend((first..).zip(chunk));
        for tag in first..self.next_tag {
            self.publish(connection, tag).await?;
            self.settle_ready(connection);
        }
        Ok(())
    }

    async fn publish(&mut self, connection: &mut Connection, tag: u64) -> Result<(), Stop> {
        let Some(item) = self.flight.get_mut(&tag) else {
            return Ok(());
        };
        item.due.get_or_insert_with(Instant::now);
        self.context.publish(std::slice::from_ref(item));
        // Looked for once, however often it is sent.
        item.probe = None;
        let topic = format!("sensors/{}/data", item.sensor);
        // It waits while the window is full, and a server may never make room.
        let published = tokio::select! {
            published = connection.publisher.publish(&topic, &item.body, tag) => published,
            () = self.context.cancel.cancelled() => return Err(Fatal::Cancelled.into()),
        };
        match published {
            Ok(()) if tag < self.unsent => {
                self.context.tally.resent.fetch_add(1, Relaxed);
                Ok(())
            }
            Ok(()) => {
                self.unsent = tag + 1;
                Ok(())
            }
            Err(error @ PublishError::Lost(_)) => Err(lost(error)),
            Err(error @ (PublishError::TooLarge { .. } | PublishError::Topic(_))) => {
                self.reject(tag, "unsendable", &error.to_string());
                Ok(())
            }
        }
    }

    /// Takes the acknowledgements that came, whether the connection still stands or not.
    fn settle_ready(&mut self, connection: &mut Connection) {
        while let Ok(ack) = connection.acks.try_recv() {
            self.settle(ack);
        }
    }

    fn settle(&mut self, ack: Acked) {
        if ack.reason_code == NO_MATCHING_SUBSCRIBERS {
            // A success to MQTT, and the end of the reading: the broker keeps it for nobody.
            let detail = "no client of the broker subscribes to its topic";
            self.reject(ack.tag, name_of(ack.reason_code), detail);
        } else if !ack.accepted() {
            self.reject(ack.tag, name_of(ack.reason_code), "refused by the server");
        } else if let Some(item) = self.flight.remove(&ack.tag) {
            let due = item.due.unwrap_or(ack.published_at);
            self.context
                .tally
                .acknowledge(std::iter::once(due), ack.acked_at);
        }
    }

    fn reject(&mut self, tag: u64, reason: &str, detail: &str) {
        if let Some(item) = self.flight.remove(&tag) {
            self.context
                .tally
                .reject(reason, || format!("line {}: {detail}", item.line));
        }
    }
}

fn lost(error: PublishError) -> Stop {
    Stop::Lost(error.to_string())
}

/// Whether trying again is of no use.
fn is_final(error: &ConnectError) -> bool {
    // Unavailable, busy, over quota, too fast: these pass.
    const PASSING: [u8; 4] = [0x88, 0x89, 0x97, 0x9f];
    match error {
        ConnectError::Refused { code, .. } => !PASSING.contains(code),
        ConnectError::Protocol { .. } | ConnectError::Settings(_) => true,
        ConnectError::Io { .. } | ConnectError::Timeout { .. } => false,
    }
}

const NO_MATCHING_SUBSCRIBERS: u8 = 0x10;

/// MQTT 5's names of the reason codes that a PUBACK may carry.
fn name_of(code: u8) -> &'static str {
    match code {
        NO_MATCHING_SUBSCRIBERS => "no_matching_subscribers",
        0x87 => "not_authorized",
        0x90 => "topic_name_invalid",
        0x97 => "quota_exceeded",
        0x99 => "payload_format_invalid",
        _ => "unspecified_error",
    }
}

#[cfg(test)]
mod tests;
