//! What one connection has read and not yet got into the log.
//!
//! Messages wait twice: parked, until there is room in the budget of all connections and the client's rate
//! admits them, and in flight, until the commit of their burst returned. Both count against the
//! connection's bounds, and reading pauses at a bound; so a client that sends too much is held back by TCP,
//! and nothing is dropped.

use std::{collections::VecDeque, future::poll_fn, sync::Arc, task::Poll};

use futures::{StreamExt, future::BoxFuture, stream::FuturesOrdered};
use mqtt_protocol_core::mqtt::result_code::PubackReasonCode;
use openinfra_intake::{CommitError, Intake, Principal, Room, TooMany, Verdict};
use openinfra_log::AppendBatch;
use openinfra_schemas::{Reason, time::Millis};
use tokio::time::Instant;

use crate::{
    admission::Admission,
    inbound::Publish,
    metrics::Metrics,
    outbound::Ack,
    take::{Message, Taken, now, take},
};

/// The messages of one connection between the socket and the log.
pub(crate) struct Flight {
    intake: Arc<dyn Intake>,
    who: Arc<Principal>,
    trust_recv: bool,
    metrics: Arc<Metrics>,
    parked: VecDeque<Publish>,
    parked_since: Instant,
    /// What the parked ones take of the budget.
    parked_room: usize,
    /// For the parked ones and the packet that is not whole yet.
    room: Room,
    admission: Admission,
    commits: FuturesOrdered<BoxFuture<'static, (Burst, Result<(), CommitError>)>>,
    held: Load,
}

/// What is held for a client: parked and in flight together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Load {
    /// QoS 0 and 1.
    pub messages: usize,
    /// QoS 1 only.
    pub unacknowledged: usize,
    pub bytes: usize,
}

/// Messages that are committed together.
pub(crate) struct Burst {
    pub read_at: Instant,
    pub acks: Vec<Ack>,
    load: Load,
    /// Given back when the log has answered.
    room: usize,
}

impl Flight {
    pub fn new(
        intake: Arc<dyn Intake>,
        who: Arc<Principal>,
        trust_recv: bool,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            room: intake.budget().room(),
            intake,
            who,
            trust_recv,
            metrics,
            parked: VecDeque::new(),
            parked_since: Instant::now(),
            parked_room: 0,
            admission: Admission::default(),
            commits: FuturesOrdered::new(),
            held: Load::default(),
        }
    }

    pub fn held(&self) -> Load {
        self.held
    }

    pub fn has_parked(&self) -> bool {
        !self.parked.is_empty()
    }

    pub fn is_empty(&self) -> bool {
        self.parked.is_empty() && self.commits.is_empty()
    }

    /// Holds a message that was read at `read_at` until [`launch`](Self::launch) takes it.
    pub fn park(&mut self, publish: Publish, read_at: Instant) {
        if self.parked.is_empty() {
            self.parked_since = read_at;
        }
        self.held.messages += 1;
        self.held.unacknowledged += usize::from(publish.packet_id().is_some());
        self.held.bytes += publish.size_bytes();
        self.parked_room += publish.room_bytes();
        self.parked.push_back(publish);
    }

    /// Takes room for all that is parked and `partial` bytes of the next packet, if there is any now.
    pub fn try_cover(&mut self, partial: usize) -> bool {
        self.room.try_resize(self.parked_room + partial)
    }

    /// Whether all other connections may be waiting for this one.
    pub fn has_lane(&self) -> bool {
        self.room.has_lane()
    }

    /// Takes the parked messages that are admitted now, and starts to commit them as one batch. An
    /// error says when to call again for those that are left.
    pub fn launch(&mut self) -> Result<(), TooMany> {
        let mut batch = AppendBatch::default();
        let mut burst = Burst {
            read_at: self.parked_since,
            acks: Vec::with_capacity(self.parked.len()),
            load: Load::default(),
            room: 0,
        };
        let recv_ts = now();
        let outcome = loop {
            if self.parked.is_empty() {
                break Ok(());
            }
            let waiting = self.parked.len();
            let intake = self.intake.as_ref();
            match self.admission.admitted(intake, &self.who, waiting) {
                Ok(messages) => {
                    for _ in 0..messages {
                        self.take_next(recv_ts, &mut batch, &mut burst);
                    }
                }
                Err(wait) => break Err(wait),
            }
        };
        self.commit(batch, burst);
        outcome
    }

    /// Like [`launch`](Self::launch), for the end of a connection: takes all, admitted or not.
    pub fn launch_all(&mut self) {
        let mut batch = AppendBatch::default();
        let mut burst = Burst {
            read_at: self.parked_since,
            acks: Vec::with_capacity(self.parked.len()),
            load: Load::default(),
            room: 0,
        };
        let recv_ts = now();
        while self.has_parked() {
            self.take_next(recv_ts, &mut batch, &mut burst);
        }
        self.commit(batch, burst);
    }

    /// The next burst whose commit returned, in the order they were launched; or none, when the bytes of
    /// `starved` and what is parked have got room. Waits for ever without either. Cancel-safe.
    pub async fn next(
        &mut self,
        starved: Option<usize>,
    ) -> Option<(Burst, Result<(), CommitError>)> {
        let wanted = self.parked_room + starved.unwrap_or(0);
        let (commits, room) = (&mut self.commits, &mut self.room);
        let committed = poll_fn(|cx| match commits.poll_next_unpin(cx) {
            Poll::Ready(Some(committed)) => Poll::Ready(committed),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        });
        let (burst, result) = tokio::select! {
            biased;
            committed = committed => committed,
            () = room.resize(wanted), if starved.is_some() => return None,
        };
        self.held.messages -= burst.load.messages;
        self.held.unacknowledged -= burst.load.unacknowledged;
        self.held.bytes -= burst.load.bytes;
        self.metrics.in_flight.sub(burst.load.messages as i64);
        Some((burst, result))
    }

    fn take_next(&mut self, recv_ts: Millis, batch: &mut AppendBatch, burst: &mut Burst) {
        let Some(publish) = self.parked.pop_front() else {
            return;
        };
        let (verdict, code) = self.take(&publish, recv_ts, batch);
        self.admission.took(&verdict);
        self.parked_room -= publish.room_bytes();
        burst.room += publish.room_bytes();
        burst.load.messages += 1;
        burst.load.bytes += publish.size_bytes();
        if let Some(packet_id) = publish.packet_id() {
            burst.load.unacknowledged += 1;
            burst.acks.push(Ack {
                packet_id,
                code,
                text: (code != PubackReasonCode::Success).then(|| explain(&verdict)),
            });
        }
    }

    fn take(
        &self,
        publish: &Publish,
        recv_ts: Millis,
        batch: &mut AppendBatch,
    ) -> (Verdict, PubackReasonCode) {
        let message = Message {
            topic: publish.topic(),
            payload: publish.payload(),
            recv_ts,
            trust_recv: self.trust_recv,
        };
        match take(self.intake.as_ref(), &self.who, message, batch) {
            Taken::NoSensor(verdict) => (verdict, PubackReasonCode::TopicNameInvalid),
            Taken::Judged(verdict) => {
                let code = code(&verdict);
                (verdict, code)
            }
        }
    }

    fn commit(&mut self, batch: AppendBatch, burst: Burst) {
        if burst.load.messages == 0 {
            return;
        }
        self.metrics.in_flight.add(burst.load.messages as i64);
        let intake = Arc::clone(&self.intake);
        let room = self.room.split(burst.room);
        self.commits.push_back(Box::pin(async move {
            // A message of no readings, an empty array, leaves nothing to append.
            let result = match batch.is_empty() {
                true => Ok(()),
                false => intake.commit(batch, room).await.map(|_| ()),
            };
            (burst, result)
        }));
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let committing = self.held.messages - self.parked.len();
        self.metrics.in_flight.sub(committing as i64);
    }
}

/// What a v5 client hears. A message with one refused reading among good ones is refused too: the
/// client would not learn of it otherwise, and sending it again does no harm.
fn code(verdict: &Verdict) -> PubackReasonCode {
    let Some(first) = verdict.rejected.first() else {
        return PubackReasonCode::Success;
    };
    if verdict.forbidden > 0 || first.reason == Reason::UnknownTenant {
        PubackReasonCode::NotAuthorized
    } else {
        PubackReasonCode::PayloadFormatInvalid
    }
}

fn explain(verdict: &Verdict) -> String {
    let Some(first) = verdict.rejected.first() else {
        return String::new();
    };
    let items = verdict.accepted + verdict.rejected.len();
    match items {
        1 => format!("{}: {}", first.reason.as_str(), first.detail),
        _ => format!(
            "{} of {items} refused; item {}: {}: {}",
            verdict.rejected.len(),
            first.index,
            first.reason.as_str(),
            first.detail
        ),
    }
}
