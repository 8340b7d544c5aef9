//! What is written to a client: packets encoded into one buffer, written as one.
//!
//! What a newcomer would get wrong: an acknowledgement is measured when its bytes have left the buffer,
//! not when they were put there; so the buffer remembers how far each burst of PUBACKs reaches.

use std::{collections::VecDeque, io};

use mqtt_protocol_core::mqtt::{
    packet::{Property, ReasonString, v3_1_1, v5_0},
    result_code::{
        DisconnectReasonCode, MqttError, PubackReasonCode, SubackReasonCode, SubackReturnCode,
        UnsubackReasonCode,
    },
};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    time::Instant,
};

use crate::{inbound::Version, metrics::Metrics};

/// The longest reason string sent, in bytes; people's clients print them in one line.
const REASON_STRING_BYTES: usize = 300;

/// A verdict on one PUBLISH, as the client hears it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ack {
    pub packet_id: u16,
    pub code: PubackReasonCode,
    /// For people; none when the message was taken.
    pub text: Option<String>,
}

/// The write side of one connection: what is encoded and not yet written.
pub(crate) struct Output {
    version: Version,
    /// Whether the client wants reason strings (v5: Request Problem Information).
    reason_strings: bool,
    /// The client's own limit, in bytes.
    max_packet_bytes: u32,
    buffer: Vec<u8>,
    written: usize,
    /// Bytes ever put into the buffer, and ever written from it.
    put_total: u64,
    written_total: u64,
    acks: VecDeque<AckMark>,
    /// Since when the client has taken nothing, while there is something to take.
    pub stalled_since: Option<Instant>,
}

/// PUBACKs that end at `end` of all bytes ever put.
struct AckMark {
    end: u64,
    read_at: Instant,
    count: usize,
}

impl Output {
    pub fn new(version: Version, reason_strings: bool, max_packet_bytes: u32) -> Self {
        Self {
            version,
            reason_strings,
            max_packet_bytes,
            buffer: Vec::new(),
            written: 0,
            put_total: 0,
            written_total: 0,
            acks: VecDeque::new(),
            stalled_since: None,
        }
    }

    /// Bytes still to be written.
    pub fn pending(&self) -> usize {
        self.buffer.len() - self.written
    }

    /// Writes all there is. Cancel-safe: what was written before the cancellation is not written again.
    pub async fn write<W: AsyncWrite + Unpin>(
        &mut self,
        to: &mut W,
        metrics: &Metrics,
    ) -> io::Result<()> {
        while self.written < self.buffer.len() {
            let n = to.write(&self.buffer[self.written..]).await?;
            if n == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.written += n;
            self.written_total += n as u64;
            self.stalled_since = Some(Instant::now());
            self.observe(metrics);
        }
        to.flush().await?;
        self.buffer.clear();
        self.written = 0;
        self.stalled_since = None;
        Ok(())
    }

    /// Acknowledges one burst, read at `read_at`.
    pub fn pubacks(&mut self, acks: &[Ack], read_at: Instant) {
        for ack in acks {
            self.puback(ack);
        }
        if !acks.is_empty() {
            self.acks.push_back(AckMark {
                end: self.put_total,
                read_at,
                count: acks.len(),
            });
        }
    }

    pub fn pingresp(&mut self) {
        let bytes = match self.version {
            Version::V3_1_1 => v3_1_1::Pingresp::builder()
                .build()
                .map(|p| p.to_continuous_buffer()),
            Version::V5 => v5_0::Pingresp::builder()
                .build()
                .map(|p| p.to_continuous_buffer()),
        };
        self.put(bytes);
    }

    /// Refuses every filter of a SUBSCRIBE: there is nothing to subscribe to.
    pub fn suback(&mut self, packet_id: u16, filters: usize) {
        let bytes = match self.version {
            Version::V3_1_1 => v3_1_1::Suback::builder()
                .packet_id(packet_id)
                .return_codes(vec![SubackReturnCode::Failure; filters])
                .build()
                .map(|p| p.to_continuous_buffer()),
            Version::V5 => v5_0::Suback::builder()
                .packet_id(packet_id)
                .reason_codes(vec![SubackReasonCode::ImplementationSpecificError; filters])
                .build()
                .map(|p| p.to_continuous_buffer()),
        };
        self.put(bytes);
    }

    pub fn unsuback(&mut self, packet_id: u16, filters: usize) {
        let bytes = match self.version {
            Version::V3_1_1 => v3_1_1::Unsuback::builder()
                .packet_id(packet_id)
                .build()
                .map(|p| p.to_continuous_buffer()),
            Version::V5 => v5_0::Unsuback::builder()
                .packet_id(packet_id)
                .reason_codes(vec![UnsubackReasonCode::NoSubscriptionExisted; filters])
                .build()
                .map(|p| p.to_continuous_buffer()),
        };
        self.put(bytes);
    }

    /// Says why the connection ends; v3.1.1 has no packet for that.
    pub fn disconnect(&mut self, code: DisconnectReasonCode, text: &str) {
        if self.version == Version::V3_1_1 {
            return;
        }
        let mut packet = v5_0::Disconnect::builder().reason_code(code);
        if let Some(text) = self.reason_string(text, true) {
            packet = packet.props(vec![text]);
        }
        self.put(packet.build().map(|p| p.to_continuous_buffer()));
    }

    fn puback(&mut self, ack: &Ack) {
        let bytes = match self.version {
            Version::V3_1_1 => v3_1_1::Puback::builder()
                .packet_id(ack.packet_id)
                .build()
                .map(|p| p.to_continuous_buffer()),
            Version::V5 => {
                let mut packet = v5_0::Puback::builder().packet_id(ack.packet_id);
                if ack.code != PubackReasonCode::Success {
                    packet = packet.reason_code(ack.code);
                    let text = ack.text.as_deref().unwrap_or_default();
                    if let Some(text) = self.reason_string(text, self.reason_strings) {
                        packet = packet.props(vec![text]);
                    }
                }
                packet.build().map(|p| p.to_continuous_buffer())
            }
        };
        self.put(bytes);
    }

    fn reason_string(&self, text: &str, wanted: bool) -> Option<Property> {
        // The packet around the string takes no more than 16 bytes.
        let room = (self.max_packet_bytes as usize).saturating_sub(16);
        if !wanted || text.is_empty() || room < REASON_STRING_BYTES {
            return None;
        }
        let end = text.floor_char_boundary(REASON_STRING_BYTES);
        ReasonString::new(&text[..end])
            .ok()
            .map(Property::ReasonString)
    }

    fn put(&mut self, packet: Result<Vec<u8>, MqttError>) {
        match packet {
            Ok(bytes) => {
                if self.pending() == 0 {
                    self.stalled_since = Some(Instant::now());
                }
                self.buffer.extend_from_slice(&bytes);
                self.put_total += bytes.len() as u64;
            }
            // Packet ids are checked when they come in; the rest is ours.
            Err(error) => tracing::error!(%error, "an MQTT packet could not be encoded"),
        }
    }

    fn observe(&mut self, metrics: &Metrics) {
        while let Some(mark) = self.acks.pop_front_if(|m| m.end <= self.written_total) {
            let seconds = mark.read_at.elapsed().as_secs_f64();
            for _ in 0..mark.count {
                metrics.ack_seconds.observe(seconds);
            }
            metrics.puback.inc_by(mark.count as u64);
        }
    }
}
