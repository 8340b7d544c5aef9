//! The loop over one broker: its connection, the commits, the acknowledgements, the clocks, in one task.
//!
//! The MQTT library is polled in the same task that hands it PUBACKs, by calls that do not wait, so neither
//! can wait for the other. What a newcomer would get wrong about that library: a poll that is dropped may have
//! taken a PUBACK and not written it, so a poll is kept until it is ready, whatever else happens meanwhile;
//! and messages that it had read before a connection was lost come out after, up to the next CONNACK.

use std::{collections::VecDeque, pin::pin, sync::Arc, time::Duration};

use openinfra_intake::Intake;
use rumqttc::Outgoing;
use rumqttc::v5::{
    AsyncClient, ConnectionError, Event, EventLoop,
    mqttbytes::{
        QoS,
        v5::{ConnAck, Packet, Publish},
    },
};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    backoff::Backoff,
    hold::{Burst, Hold, Receipt},
    leaving::Leaving,
    memory::Memory,
    metrics::Metrics,
    options::Settings,
    outage::{Outage, STABLE},
    reason,
    subscription::Subscription,
};

/// The first pause between attempts to connect.
const RECONNECT_FIRST: Duration = Duration::from_millis(100);
/// Beside the PUBACKs of a full window: SUBSCRIBE and DISCONNECT.
const OTHER_REQUESTS: usize = 16;
/// How long the broker may take to close after our DISCONNECT, and to take what is written before it.
const LINGER: Duration = Duration::from_secs(2);

/// A client and what it holds.
pub(crate) struct Link {
    settings: Settings,
    metrics: Arc<Metrics>,
    client: AsyncClient,
    hold: Hold,
    subscription: Subscription,
    leaving: Leaving,
    outage: Outage,
    backoff: Backoff,
    /// Counts connections, so that no packet id is acknowledged on another than its own.
    connection: u64,
    /// Since when; none from the loss of a connection to the next CONNACK.
    connected: Option<Instant>,
    /// When to connect again.
    retry_at: Option<Instant>,
    /// Packet ids of the current connection whose messages are in the log, in the order they came.
    acks: VecDeque<u16>,
    stopping: bool,
}

impl Link {
    pub fn new(
        settings: Settings,
        intake: Arc<dyn Intake>,
        memory: Memory,
        metrics: Arc<Metrics>,
    ) -> (Self, EventLoop) {
        let config = &settings.config;
        let requests = usize::from(config.receive_maximum) + OTHER_REQUESTS;
        let (client, events) = AsyncClient::new(settings.mqtt(), requests);
        let subscription =
            Subscription::new(config.name.clone(), config.filters(), Arc::clone(&metrics));
        let link = Self {
            hold: Hold::new(&settings, intake, Arc::clone(&metrics)),
            subscription,
            leaving: Leaving::new(&config.name, memory, Arc::clone(&metrics)),
            outage: Outage::new(&config.name, settings.address(), &settings.client_id),
            backoff: Backoff::new(RECONNECT_FIRST, config.reconnect_max()),
            connection: 0,
            connected: None,
            retry_at: None,
            acks: VecDeque::new(),
            stopping: false,
            client,
            metrics,
            settings,
        };
        (link, events)
    }

    /// Runs until `cancel`, then to a clean end.
    pub async fn run(mut self, mut events: EventLoop, cancel: &CancellationToken) {
        let filters = self.settings.config.filters();
        tokio::select! {
            () = cancel.cancelled() => return,
            () = self.leaving.remember(&filters) => {}
        }
        while let Some(event) = self.next_event(&mut events, cancel.cancelled()).await {
            self.happened(event, &mut events);
        }
        self.finish(&mut events).await;
    }

    /// What the connection has next; commits and acknowledgements go on meanwhile. None when `end` is there, or
    /// nothing is left to wait for at the end.
    async fn next_event(
        &mut self,
        events: &mut EventLoop,
        end: impl Future<Output = ()>,
    ) -> Option<Result<Event, ConnectionError>> {
        let mut poll = pin!(events.poll());
        let mut end = pin!(end);
        loop {
            if self.stopping && self.hold.is_empty() {
                return None;
            }
            self.hand_over();
            let (ask_at, retry_at) = (self.subscription.ask_at(), self.retry_at);
            let leave_at = self.leaving.ask_at().filter(|_| !self.stopping);
            let may_poll = match (self.stopping, self.connected.is_some()) {
                (true, connected) => connected,
                (false, true) => self.hold.may_read(),
                (false, false) => retry_at.is_none(),
            };
            tokio::select! {
                biased;
                () = &mut end => return None,
                burst = self.hold.next() => self.committed(burst),
                () = at(ask_at), if ask_at.is_some() => self.subscription.ask(&self.client),
                () = at(leave_at), if leave_at.is_some() => self.leaving.ask(&self.client),
                () = at(retry_at), if retry_at.is_some() => self.retry_at = None,
                event = &mut poll, if may_poll => return Some(event),
            }
        }
    }

    fn happened(&mut self, event: Result<Event, ConnectionError>, events: &mut EventLoop) {
        // Who sends is alive. The answer to a ping stands behind all that the broker has sent before, which can be
        // more than a keep-alive's worth: some brokers take no notice of the receive maximum. To hang up then
        // would have all of it sent again.
        if matches!(event, Ok(Event::Incoming(_))) {
            events.state.await_pingresp = false;
        }
        match event {
            Ok(Event::Incoming(Packet::ConnAck(answer))) => self.connected(&answer),
            Ok(Event::Incoming(Packet::Publish(publish))) => self.received(publish),
            Ok(Event::Incoming(Packet::SubAck(answer))) => {
                if let Some(refused) = self.subscription.answered(&answer) {
                    self.leaving.granted(refused);
                }
            }
            Ok(Event::Outgoing(Outgoing::Unsubscribe(packet_id))) => self.leaving.sent(packet_id),
            Ok(Event::Incoming(Packet::UnsubAck(answer))) => self.leaving.answered(&answer),
            Ok(_) => {}
            Err(error) => {
                self.lost(&error);
                // Requests of the connection that was; the next begins with its own.
                events.pending.clear();
            }
        }
    }

    fn connected(&mut self, answer: &ConnAck) {
        let name = &self.settings.config.name;
        self.connection += 1;
        self.connected = Some(Instant::now());
        self.retry_at = None;
        self.acks.clear();
        self.metrics.connected.set(1);
        self.metrics.connects_accepted.inc();
        self.outage.over(answer.session_present);
        if self.connection > 1 && !answer.session_present {
            self.metrics.sessions_lost.inc();
            tracing::warn!(
                broker = name,
                client_id = self.settings.client_id,
                "the MQTT broker does not know the session any more; what it kept for this client is lost"
            );
        }
        self.subscription.connected();
    }

    fn received(&mut self, publish: Publish) {
        // Without an acknowledgement the broker sends it again to who comes next.
        if self.stopping {
            return;
        }
        self.metrics.received.inc();
        self.metrics.redelivered.inc_by(u64::from(publish.dup));
        let acknowledgeable = self.connected.is_some() && publish.qos == QoS::AtLeastOnce;
        let receipt = acknowledgeable.then(|| Receipt {
            connection: self.connection,
            packet_id: publish.pkid,
            read_at: Instant::now(),
        });
        self.hold.park(publish, receipt);
    }

    fn lost(&mut self, error: &ConnectionError) {
        let stood = self.connected.take().map(|since| since.elapsed());
        let owed = self.acks.len() as u64;
        self.metrics.unacknowledged.inc_by(owed);
        self.acks.clear();
        self.subscription.disconnected();
        self.leaving.disconnected();
        self.metrics.connected.set(0);
        match stood {
            Some(stood) => {
                self.metrics.lost.inc();
                if stood >= STABLE {
                    self.backoff.reset();
                }
            }
            None => self.metrics.connects_failed.inc(),
        }
        let reason = reason::of(error, &self.settings.client_id);
        self.outage.failed(stood, &reason);
        self.retry_at = Some(Instant::now() + self.backoff.pause());
    }

    fn committed(&mut self, burst: Burst) {
        let connected = self.connected.is_some();
        for receipt in burst.receipts {
            if connected && receipt.connection == self.connection {
                let waited = receipt.read_at.elapsed();
                self.metrics.ack_seconds.observe(waited.as_secs_f64());
                self.acks.push_back(receipt.packet_id);
            } else {
                self.metrics.unacknowledged.inc();
            }
        }
    }

    /// Gives PUBACKs to the library, as many as it takes now. It takes a whole window, so it is full only when
    /// the broker sends more than it may; polling empties it.
    fn hand_over(&mut self) {
        while let Some(&packet_id) = self.acks.front() {
            let message = Publish {
                qos: QoS::AtLeastOnce,
                pkid: packet_id,
                ..Publish::default()
            };
            if self.client.try_ack(&message).is_err() {
                return;
            }
            self.acks.pop_front();
            self.metrics.acknowledged.inc();
        }
    }

    /// Waits for what is in flight, acknowledges it, and takes leave of the broker. No UNSUBSCRIBE: the session
    /// is to keep what comes until the next start.
    async fn finish(mut self, events: &mut EventLoop) {
        self.stopping = true;
        self.hold.stop();
        let end = Instant::now() + self.settings.config.drain_timeout();
        while let Some(event) = self.next_event(events, sleep_until(end)).await {
            self.happened(event, events);
        }
        if self.connected.is_some() {
            let _ = timeout(LINGER, self.leave(events)).await;
        }
        self.metrics.connected.set(0);
        self.metrics.subscriptions.set(0);
    }

    /// Says DISCONNECT behind the last PUBACK, and reads until the broker closes: to close with bytes unread would
    /// reset the connection, and could take the PUBACKs with it.
    async fn leave(&mut self, events: &mut EventLoop) {
        let mut said = false;
        loop {
            self.hand_over();
            if !said && self.acks.is_empty() {
                said = self.client.try_disconnect().is_ok();
            }
            if events.poll().await.is_err() {
                return;
            }
        }
    }
}

async fn at(time: Option<Instant>) {
    sleep_until(time.unwrap_or_else(Instant::now)).await;
}
