//! The two tasks of a connection: one writes what has gathered, one reads PUBACKs.
//!
//! What a newcomer would get wrong: publishing writes nothing itself. It appends to a buffer that the
//! writing task takes as a whole, so that under load one system call carries hundreds of messages.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use mqtt_protocol_core::mqtt::{
    common::Cursor,
    connection::{PacketBuilder, RawPacket},
    packet::v5_0,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf},
    sync::{Notify, mpsc},
    task::JoinHandle,
    time::timeout,
};

use super::{
    Acked, PublishError,
    handshake::{MAX_INBOUND_BYTES, Welcome},
    window::Window,
};
use crate::inbound;

/// TCP, or TLS over it.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for T {}

const READ_BUFFER_BYTES: usize = 64 * 1024;
const PUBACK: u8 = 4;
const PINGRESP: u8 = 13;
const DISCONNECT: u8 = 14;

/// What publisher and tasks share.
pub(super) struct Session {
    pub max_packet_bytes: usize,
    state: Mutex<State>,
    /// There is something to write.
    wake_writer: Notify,
    /// A PUBACK came, or the connection is lost.
    acked: Notify,
    /// Everything is written, or the connection is lost.
    written: Notify,
}

struct State {
    window: Window,
    unwritten: Vec<u8>,
    /// The writing task has bytes of its own.
    writing: bool,
    lost: Option<String>,
}

impl Session {
    /// Starts the tasks. They end with the connection.
    pub fn start<S: Stream>(
        stream: S,
        welcome: Welcome,
        window: u16,
    ) -> (
        Arc<Self>,
        [JoinHandle<()>; 2],
        mpsc::UnboundedReceiver<Acked>,
    ) {
        let session = Arc::new(Self {
            max_packet_bytes: welcome.max_packet_bytes,
            state: Mutex::new(State {
                window: Window::new(window),
                unwritten: Vec::new(),
                writing: false,
                lost: None,
            }),
            wake_writer: Notify::new(),
            acked: Notify::new(),
            written: Notify::new(),
        });
        let (acks, receiver) = mpsc::unbounded_channel();
        let (reader, writer) = tokio::io::split(stream);
        // Twice as often as promised, so that a late timer does no harm.
        let ping_after = match welcome.keep_alive_s {
            0 => Duration::MAX,
            seconds => Duration::from_millis(u64::from(seconds) * 500),
        };
        let (reading, writing) = (Arc::clone(&session), Arc::clone(&session));
        let tasks = [
            tokio::spawn(async move {
                let reason = reading.read(reader, acks, ping_after).await;
                reading.lose(&reason);
            }),
            tokio::spawn(async move {
                if let Err(error) = writing.write(writer, ping_after).await {
                    writing.lose(&error.to_string());
                }
            }),
        ];
        (session, tasks, receiver)
    }

    /// An identifier for one more message; waits while the window is full.
    pub async fn claim(&self, tag: u64) -> Result<u16, PublishError> {
        let published_at = Instant::now();
        loop {
            {
                let mut state = self.lock();
                if let Some(reason) = &state.lost {
                    return Err(PublishError::Lost(reason.clone()));
                }
                if let Some(id) = state.window.claim(tag, published_at) {
                    return Ok(id);
                }
            }
            self.acked.notified().await;
        }
    }

    /// Frees an identifier that nothing was sent with.
    pub fn give_back(&self, id: u16) {
        self.lock().window.release(id);
    }

    /// Puts a packet behind those that are still to be written.
    pub fn put(&self, packet: &[u8]) {
        let mut state = self.lock();
        let first = state.unwritten.is_empty();
        state.unwritten.extend_from_slice(packet);
        drop(state);
        if first {
            self.wake_writer.notify_one();
        }
    }

    pub async fn drained(&self) -> Result<(), PublishError> {
        loop {
            {
                let state = self.lock();
                if state.window.in_flight() == 0 {
                    return Ok(());
                }
                if let Some(reason) = &state.lost {
                    return Err(PublishError::Lost(reason.clone()));
                }
            }
            self.acked.notified().await;
        }
    }

    /// Waits until all that was put is with the operating system, or the connection is lost.
    pub async fn written(&self) {
        loop {
            {
                let state = self.lock();
                if state.lost.is_some() || (state.unwritten.is_empty() && !state.writing) {
                    return;
                }
            }
            self.written.notified().await;
        }
    }

    async fn write<S: Stream>(
        &self,
        mut writer: WriteHalf<S>,
        ping_after: Duration,
    ) -> io::Result<()> {
        let mut bytes = Vec::new();
        loop {
            if timeout(ping_after, self.wake_writer.notified())
                .await
                .is_err()
            {
                self.put(&PINGREQ);
                continue;
            }
            {
                let mut state = self.lock();
                std::mem::swap(&mut bytes, &mut state.unwritten);
                state.writing = true;
            }
            writer.write_all(&bytes).await?;
            writer.flush().await?;
            bytes.clear();
            self.lock().writing = false;
            self.written.notify_one();
        }
    }

    /// Reads until the connection ends, and says why it did. A peer that is gone without a word closes
    /// nothing: one that says nothing is pinged, and one that then says nothing for as long again is gone.
    async fn read<S: Stream>(
        &self,
        mut reader: ReadHalf<S>,
        acks: mpsc::UnboundedSender<Acked>,
        ping_after: Duration,
    ) -> String {
        let mut builder = PacketBuilder::with_maximum_packet_size(MAX_INBOUND_BYTES);
        let mut buffer = vec![0; READ_BUFFER_BYTES];
        let mut pinged = false;
        loop {
            let n = match timeout(ping_after, reader.read(&mut buffer)).await {
                Ok(Ok(0)) => return "the server closed it".to_owned(),
                Ok(Ok(n)) => n,
                Ok(Err(error)) => return error.to_string(),
                Err(_) if pinged => return "the server does not answer pings".to_owned(),
                Err(_) => {
                    self.put(&PINGREQ);
                    pinged = true;
                    continue;
                }
            };
            pinged = false;
            let mut data = Cursor::new(&buffer[..n]);
            let acked_at = Instant::now();
            let ended = loop {
                match inbound::feed(&mut builder, &mut data) {
                    Ok(Some(raw)) => {
                        if let Err(reason) = self.packet(&raw, acked_at, &acks) {
                            break Some(reason);
                        }
                    }
                    Ok(None) => break None,
                    Err(violation) => break Some(violation.to_string()),
                }
            };
            self.acked.notify_one();
            if let Some(reason) = ended {
                return reason;
            }
        }
    }

    fn packet(
        &self,
        raw: &RawPacket,
        acked_at: Instant,
        acks: &mpsc::UnboundedSender<Acked>,
    ) -> Result<(), String> {
        match raw.packet_type() {
            PUBACK => {
                let puback = raw
                    .parse_exact(v5_0::Puback::parse)
                    .map_err(|_| "the server sent a malformed PUBACK")?;
                let slot = self.lock().window.release(puback.packet_id());
                let slot = slot.ok_or("the server acknowledged what was not sent")?;
                let acked = Acked {
                    tag: slot.tag,
                    reason_code: puback.reason_code().map_or(0, |code| code as u8),
                    published_at: slot.published_at,
                    acked_at,
                };
                // Whoever dropped the receiver does not want to know.
                let _ = acks.send(acked);
                Ok(())
            }
            PINGRESP => Ok(()),
            DISCONNECT => Err(match raw.parse_exact(v5_0::Disconnect::parse) {
                Ok(packet) => {
                    let code = packet.reason_code().map_or(0, |code| code as u8);
                    format!("the server ended it with reason code 0x{code:02x}")
                }
                Err(_) => "the server sent a malformed DISCONNECT".to_owned(),
            }),
            other => Err(format!("the server sent a packet of type {other}")),
        }
    }

    fn lose(&self, reason: &str) {
        let mut state = self.lock();
        if state.lost.is_none() {
            state.lost = Some(reason.to_owned());
        }
        drop(state);
        self.acked.notify_one();
        self.written.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("nothing panics while it holds the session")
    }
}

const PINGREQ: [u8; 2] = [0xC0, 0];
