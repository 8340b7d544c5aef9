//! One client's connection: a loop over its socket, its commits and its clocks, in one task.
//!
//! What a newcomer would get wrong: the loop never waits for a commit. It reads on, up to its bounds,
//! and answers pings meanwhile; PUBACKs are written in the order of the messages, when the commit of
//! their burst returned. When the connection ends, commits in flight are waited for, because a message
//! of QoS 0 has nobody to send it again.

use std::{io, sync::Arc, time::Duration};

use mqtt_protocol_core::mqtt::{common::Cursor, result_code::DisconnectReasonCode};
use openinfra_intake::CommitError;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    error::Violation,
    flight::{Burst, Flight},
    handshake::Accepted,
    inbound::{Decoder, Inbound, Version},
    metrics::Metrics,
    outbound::Output,
    sessions::Session,
};

/// The read buffer grows from the first to the second while reads fill it, so that thousands of idle
/// clients cost little and a busy one is read in few calls.
const READ_BUFFER_BYTES: (usize, usize) = (4 * 1024, 64 * 1024);
/// Reading pauses while so much is to be written: a client that takes no answers gets no questions in.
const UNWRITTEN_BYTES: usize = 256 * 1024;
/// How long to read and discard after our last word, so that closing does not reset the connection
/// before the client has read it.
const LINGER: Duration = Duration::from_secs(1);

/// What a connection needs of the listener.
pub(crate) struct Shared {
    pub config: Config,
    pub metrics: Arc<Metrics>,
    pub stop: CancellationToken,
}

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Close {
    #[error("the client said DISCONNECT")]
    Disconnected,
    #[error("the client closed the connection")]
    Closed,
    #[error("the connection failed")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Violation(#[from] Violation),
    #[error("nothing came for one and a half times the keep-alive")]
    KeepAlive,
    #[error("a newer connection has the same client id")]
    TakenOver,
    #[error("the server stops")]
    Stopping,
    #[error("the log does not take messages; send them again")]
    Log(#[from] CommitError),
    #[error("the client takes no answers")]
    Stalled,
    #[error("the server is short of room, and the rest of a packet does not come")]
    Dawdling,
}

impl Close {
    fn code(&self) -> Option<DisconnectReasonCode> {
        match self {
            Self::Disconnected | Self::Closed | Self::Io(_) | Self::Stalled => None,
            Self::Violation(violation) => Some(violation.code()),
            Self::KeepAlive => Some(DisconnectReasonCode::KeepAliveTimeout),
            Self::TakenOver => Some(DisconnectReasonCode::SessionTakenOver),
            Self::Stopping => Some(DisconnectReasonCode::ServerShuttingDown),
            Self::Log(_) | Self::Dawdling => Some(DisconnectReasonCode::ServerBusy),
        }
    }

    /// Whether an operator has to hear of it; devices fall silent, come again and leave every day.
    pub fn is_for_cause(&self) -> bool {
        match self {
            Self::Violation(_) | Self::Log(_) | Self::Stalled | Self::Dawdling => true,
            Self::Disconnected
            | Self::Closed
            | Self::Io(_)
            | Self::KeepAlive
            | Self::TakenOver
            | Self::Stopping => false,
        }
    }

    /// Whether the client is gone of its own will; what it sent before still counts.
    fn by_client(&self) -> bool {
        matches!(self, Self::Disconnected | Self::Closed | Self::Io(_))
    }
}

pub(crate) struct Connection<S> {
    shared: Arc<Shared>,
    session: Session,
    reader: ReadHalf<S>,
    writer: WriteHalf<S>,
    version: Version,
    keep_alive: Option<Duration>,
    decoder: Decoder,
    buffer: Vec<u8>,
    flight: Flight,
    output: Output,
    /// When the last whole packet came, or reading went on after a pause of ours.
    heard_at: Instant,
    /// Whether the bounds kept the loop from reading when it last looked.
    paused: bool,
    /// What was read has no room in the budget of all: it is parked, and nothing more is read, until it has.
    starved: bool,
    /// When to ask again for the admission of what is parked.
    admit_at: Option<Instant>,
}

/// What the loop woke up for.
enum Wake {
    Ending(Close),
    Committed(Burst, Result<(), CommitError>),
    Written(io::Result<()>),
    Clock,
    Room,
    Read(io::Result<usize>),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub fn new(
        shared: Arc<Shared>,
        session: Session,
        stream: S,
        accepted: &Accepted,
        flight: Flight,
    ) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        let keep_alive = (accepted.keep_alive_s > 0)
            .then(|| Duration::from_millis(u64::from(accepted.keep_alive_s) * 1500));
        Self {
            decoder: Decoder::new(accepted.version, shared.config.max_packet_bytes),
            output: Output::new(
                accepted.version,
                accepted.reason_strings,
                accepted.max_packet_bytes,
            ),
            version: accepted.version,
            shared,
            session,
            reader,
            writer,
            keep_alive,
            buffer: vec![0; READ_BUFFER_BYTES.0],
            flight,
            heard_at: Instant::now(),
            paused: false,
            starved: false,
            admit_at: None,
        }
    }

    /// Runs the connection to its end; `early` is what came with CONNECT.
    pub async fn run(mut self, early: &[u8]) -> Close {
        let close = match self.received(early) {
            Ok(()) => self.serve().await,
            Err(close) => close,
        };
        self.finish(close).await
    }

    async fn serve(&mut self) -> Close {
        loop {
            let step = match self.wake().await {
                Wake::Ending(close) => Err(close),
                Wake::Committed(burst, result) => self.committed(&burst, result),
                Wake::Written(result) => result.map_err(Close::from),
                Wake::Clock => self.clock(),
                Wake::Room => {
                    self.launch();
                    Ok(())
                }
                Wake::Read(Ok(0)) => Err(Close::Closed),
                Wake::Read(Ok(n)) => self.read(n),
                Wake::Read(Err(error)) => Err(error.into()),
            };
            if let Err(close) = step {
                return close;
            }
        }
    }

    async fn wake(&mut self) -> Wake {
        let may_read = self.may_read();
        if self.paused && may_read {
            // A pause of ours was not the client's silence.
            self.heard_at = Instant::now();
        }
        self.paused = !may_read;
        let deadline = self.deadline(may_read);
        let unwritten = self.output.pending() > 0;
        let (starved, partial) = (self.starved, self.decoder.partial_bytes());
        tokio::select! {
            biased;
            () = self.shared.stop.cancelled() => Wake::Ending(Close::Stopping),
            () = self.session.taken_over.cancelled() => Wake::Ending(Close::TakenOver),
            woken = self.flight.next(starved.then_some(partial)) => match woken {
                Some((burst, result)) => Wake::Committed(burst, result),
                None => Wake::Room,
            },
            result = self.output.write(&mut self.writer, &self.shared.metrics), if unwritten => {
                Wake::Written(result)
            }
            result = self.reader.read(&mut self.buffer), if may_read => Wake::Read(result),
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => Wake::Clock,
        }
    }

    /// Whether the bounds allow to read more.
    fn may_read(&self) -> bool {
        let held = self.flight.held();
        let window = usize::from(self.shared.config.receive_maximum);
        // A v5 client knows its window and stops by itself; it must still be able to ping.
        let full = match self.version {
            Version::V3_1_1 => held.messages >= window,
            Version::V5 => held.messages > window,
        };
        !full
            && !self.starved
            && !self.flight.has_parked()
            && held.bytes < self.shared.config.in_flight_bytes
            && self.output.pending() < UNWRITTEN_BYTES
    }

    /// When the loop has to look at its clocks, if at all.
    fn deadline(&self, may_read: bool) -> Option<Instant> {
        let silent = self
            .keep_alive
            .filter(|_| may_read)
            .map(|k| self.heard_at + k);
        let stalled = self
            .output
            .stalled_since
            .map(|s| s + self.shared.config.write_timeout());
        let dawdling = self.dawdling_at().filter(|_| may_read);
        [silent, stalled, dawdling, self.admit_at]
            .into_iter()
            .flatten()
            .min()
    }

    /// When a client that keeps all others waiting with half a packet has had its time.
    fn dawdling_at(&self) -> Option<Instant> {
        let keeps = self.flight.has_lane() && self.decoder.partial_bytes() > 0;
        keeps.then(|| self.heard_at + self.shared.config.packet_timeout())
    }

    fn clock(&mut self) -> Result<(), Close> {
        let now = Instant::now();
        let config = &self.shared.config;
        if self
            .output
            .stalled_since
            .is_some_and(|s| now >= s + config.write_timeout())
        {
            return Err(Close::Stalled);
        }
        if self.may_read() && self.keep_alive.is_some_and(|k| now >= self.heard_at + k) {
            return Err(Close::KeepAlive);
        }
        if self.may_read() && self.dawdling_at().is_some_and(|at| now >= at) {
            return Err(Close::Dawdling);
        }
        if self.admit_at.is_some_and(|at| now >= at) {
            self.launch();
        }
        Ok(())
    }

    fn read(&mut self, n: usize) -> Result<(), Close> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let result = self.received(&buffer[..n]);
        let size = buffer.len();
        if n == size && size < READ_BUFFER_BYTES.1 {
            buffer.resize(size * 2, 0);
        } else if n * 16 < size && size > READ_BUFFER_BYTES.0 {
            buffer.truncate(size / 2);
            buffer.shrink_to_fit();
        }
        self.buffer = buffer;
        result
    }

    /// Decodes what came, and starts to commit the messages in it as one burst.
    fn received(&mut self, bytes: &[u8]) -> Result<(), Close> {
        let read_at = Instant::now();
        let mut data = Cursor::new(bytes);
        let mut publishes = 0;
        let outcome = loop {
            match self.decoder.next(&mut data) {
                Ok(Some(packet)) => {
                    self.heard_at = read_at;
                    publishes += u64::from(matches!(packet, Inbound::Publish(_)));
                    if let Err(close) = self.packet(packet, read_at) {
                        break Err(close);
                    }
                }
                Ok(None) => break Ok(()),
                Err(violation) => break Err(violation.into()),
            }
        };
        self.shared.metrics.publish.inc_by(publishes);
        // What stood before the packet that ended the connection is taken all the same.
        self.launch();
        outcome
    }

    fn packet(&mut self, packet: Inbound, read_at: Instant) -> Result<(), Close> {
        match packet {
            Inbound::Publish(publish) => {
                let window = usize::from(self.shared.config.receive_maximum);
                let full = self.flight.held().unacknowledged >= window;
                if full && self.version == Version::V5 && publish.packet_id().is_some() {
                    return Err(Violation::ReceiveMaximum.into());
                }
                self.flight.park(publish, read_at);
                return Ok(());
            }
            Inbound::Ping => {
                self.shared.metrics.ping.inc();
                self.output.pingresp();
                return Ok(());
            }
            Inbound::Subscribe { packet_id, filters } => self.output.suback(packet_id, filters),
            Inbound::Unsubscribe { packet_id, filters } => self.output.unsuback(packet_id, filters),
            Inbound::Disconnect => return Err(Close::Disconnected),
        }
        self.shared.metrics.other.inc();
        Ok(())
    }

    /// Starts to commit what is parked, as far as it has room and is admitted.
    fn launch(&mut self) {
        self.starved = !self.flight.try_cover(self.decoder.partial_bytes());
        self.admit_at = None;
        if self.starved {
            return;
        }
        if let Err(wait) = self.flight.launch() {
            self.admit_at = Some(Instant::now() + wait.retry_after.max(Duration::from_millis(1)));
        }
        // What was launched may have taken the room for the rest with it.
        self.starved = !self.flight.try_cover(self.decoder.partial_bytes());
    }

    fn committed(&mut self, burst: &Burst, result: Result<(), CommitError>) -> Result<(), Close> {
        result?;
        self.output.pubacks(&burst.acks, burst.read_at);
        Ok(())
    }

    /// Waits for what is in flight, says why the connection ends, and closes it.
    async fn finish(mut self, close: Close) -> Close {
        let close = self.drain(close).await;
        if !matches!(close, Close::Io(_) | Close::Stalled) {
            if let Some(code) = close.code() {
                self.output.disconnect(code, &close.to_string());
            }
            // A client that is gone, or takes nothing, is no fault of ours to report.
            let last = self.output.write(&mut self.writer, &self.shared.metrics);
            let _ = timeout(LINGER, last).await;
            let _ = timeout(LINGER, self.writer.shutdown()).await;
        }
        if !close.by_client() {
            let _ = timeout(LINGER, discard(&mut self.reader, &mut self.buffer)).await;
        }
        close
    }

    /// Waits for what is in flight: as long as it takes when the client left, bounded otherwise.
    async fn drain(&mut self, close: Close) -> Close {
        if matches!(close, Close::Log(_)) {
            return close;
        }
        if !close.by_client() {
            self.flight.launch_all();
        }
        let until = Instant::now() + self.shared.config.drain_timeout();
        let mut stopping = self.shared.stop.is_cancelled();
        while !self.flight.is_empty() {
            let bounded = stopping || !close.by_client();
            let stop = self.shared.stop.clone();
            let starved = self.starved.then_some(self.decoder.partial_bytes());
            let again = self.admit_at.filter(|_| self.flight.has_parked());
            tokio::select! {
                biased;
                woken = self.flight.next(starved) => match woken {
                    Some((burst, result)) => {
                        if let Err(failed) = self.committed(&burst, result) {
                            return failed;
                        }
                    }
                    None => self.launch(),
                },
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    self.flight.launch_all();
                }
                () = sleep_until(again.unwrap_or_else(Instant::now)), if again.is_some() => self.launch(),
                () = sleep_until(until), if bounded => return close,
            }
        }
        close
    }
}

async fn discard<R: AsyncRead + Unpin>(reader: &mut R, buffer: &mut [u8]) {
    while reader.read(buffer).await.is_ok_and(|n| n > 0) {}
}
