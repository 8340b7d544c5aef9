//! Bytes from a client to the packets that a server may see.
//!
//! The wire format is `mqtt-protocol-core`'s: its packet builder cuts packets (and refuses too large ones
//! before it makes room for them), its packet types parse them. Its connection state machine is left out:
//! for each message it allocates several event lists, and what a server that holds no session has to
//! know is two counters. What a newcomer would get wrong: the crate does not look at the reserved flags
//! of the fixed header, and takes packet identifier 0; that is checked here.

use mqtt_protocol_core::mqtt::{
    common::Cursor,
    connection::{PacketBuildResult, PacketBuilder, PacketData, RawPacket},
    packet::{Property, Qos, v3_1_1, v5_0},
};

use crate::error::Violation;

/// What a message takes beside its bytes and those of its record.
const MESSAGE_BYTES: usize = 256;

/// The protocol a client chose in CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V3_1_1,
    V5,
}

/// A packet that a connected client may send.
pub(crate) enum Inbound {
    Publish(Publish),
    /// With the number of topic filters.
    Subscribe {
        packet_id: u16,
        filters: usize,
    },
    /// With the number of topic filters.
    Unsubscribe {
        packet_id: u16,
        filters: usize,
    },
    Ping,
    Disconnect,
}

/// A PUBLISH of QoS 0 or 1, of either version.
pub(crate) enum Publish {
    V3_1_1(v3_1_1::Publish),
    V5(v5_0::Publish),
}

impl Publish {
    pub fn topic(&self) -> &str {
        match self {
            Self::V3_1_1(packet) => packet.topic_name(),
            Self::V5(packet) => packet.topic_name(),
        }
    }

    pub fn payload(&self) -> &[u8] {
        match self {
            Self::V3_1_1(packet) => packet.payload().as_slice(),
            Self::V5(packet) => packet.payload().as_slice(),
        }
    }

    /// What the PUBACK has to name; none for QoS 0.
    pub fn packet_id(&self) -> Option<u16> {
        match self {
            Self::V3_1_1(packet) => packet.packet_id(),
            Self::V5(packet) => packet.packet_id(),
        }
    }

    /// What it weighs against the connection's bound of bytes in flight.
    pub fn size_bytes(&self) -> usize {
        self.topic().len() + self.payload().len()
    }

    /// What it takes in the budget of all: itself, its record, and what stands around both.
    pub fn room_bytes(&self) -> usize {
        2 * self.size_bytes() + MESSAGE_BYTES
    }

    fn qos(&self) -> Qos {
        match self {
            Self::V3_1_1(packet) => packet.qos(),
            Self::V5(packet) => packet.qos(),
        }
    }

    fn checked(self) -> Result<Self, Violation> {
        if self.qos() == Qos::ExactlyOnce {
            return Err(Violation::Qos);
        }
        if self.packet_id() == Some(0) {
            return Err(Violation::Protocol("packet identifier 0"));
        }
        if let Self::V5(packet) = &self {
            let alias = |p: &Property| matches!(p, Property::TopicAlias(_));
            if packet.props().iter().any(alias) {
                return Err(Violation::TopicAlias);
            }
        }
        if self.topic().is_empty() {
            return Err(Violation::Protocol("an empty topic"));
        }
        Ok(self)
    }
}

/// Cuts and parses one client's bytes; keeps what is left of a packet for the next read.
pub(crate) struct Decoder {
    builder: PacketBuilder,
    version: Version,
    /// Bytes of a packet that is not whole yet.
    partial: usize,
}

impl Decoder {
    pub fn new(version: Version, max_packet_bytes: u32) -> Self {
        Self {
            builder: PacketBuilder::with_maximum_packet_size(max_packet_bytes),
            version,
            partial: 0,
        }
    }

    /// The next whole packet in `data`; none when all of it is used up.
    pub fn next(&mut self, data: &mut Cursor<&[u8]>) -> Result<Option<Inbound>, Violation> {
        let from = data.position();
        match feed(&mut self.builder, data)? {
            Some(raw) => {
                self.partial = 0;
                self.parse(&raw).map(Some)
            }
            None => {
                self.partial += (data.position() - from) as usize;
                Ok(None)
            }
        }
    }

    /// Bytes kept of a packet that is not whole yet.
    pub fn partial_bytes(&self) -> usize {
        self.partial
    }

    fn parse(&self, raw: &RawPacket) -> Result<Inbound, Violation> {
        let reserved = match raw.packet_type() {
            PUBLISH => raw.flags(),
            SUBSCRIBE | UNSUBSCRIBE | PUBREL => 0b0010,
            _ => 0,
        };
        if raw.flags() != reserved {
            return Err(Violation::Malformed);
        }
        match raw.packet_type() {
            PUBLISH => Ok(Inbound::Publish(self.publish(raw)?)),
            SUBSCRIBE => self.subscribe(raw),
            UNSUBSCRIBE => self.unsubscribe(raw),
            PINGREQ if raw.remaining_length() == 0 => Ok(Inbound::Ping),
            DISCONNECT => {
                if self.version == Version::V5 {
                    raw.parse_exact(v5_0::Disconnect::parse)?;
                } else if raw.remaining_length() > 0 {
                    return Err(Violation::Malformed);
                }
                Ok(Inbound::Disconnect)
            }
            0 | PINGREQ => Err(Violation::Malformed),
            CONNECT => Err(Violation::Protocol("a second CONNECT")),
            _ => Err(Violation::Protocol(
                "a packet that clients of this server do not send",
            )),
        }
    }

    fn publish(&self, raw: &RawPacket) -> Result<Publish, Violation> {
        let PacketData::Publish(bytes) = &raw.data else {
            return Err(Violation::Malformed);
        };
        let publish = match self.version {
            Version::V3_1_1 => {
                Publish::V3_1_1(v3_1_1::Publish::parse(raw.flags(), bytes.clone())?.0)
            }
            Version::V5 => Publish::V5(v5_0::Publish::parse(raw.flags(), bytes.clone())?.0),
        };
        publish.checked()
    }

    fn subscribe(&self, raw: &RawPacket) -> Result<Inbound, Violation> {
        let (packet_id, filters) = match self.version {
            Version::V3_1_1 => {
                let packet = raw.parse_exact(v3_1_1::Subscribe::parse)?;
                (packet.packet_id(), packet.entries().len())
            }
            Version::V5 => {
                let packet = raw.parse_exact(v5_0::Subscribe::parse)?;
                (packet.packet_id(), packet.entries().len())
            }
        };
        check_request(packet_id, filters)?;
        Ok(Inbound::Subscribe { packet_id, filters })
    }

    fn unsubscribe(&self, raw: &RawPacket) -> Result<Inbound, Violation> {
        let (packet_id, filters) = match self.version {
            Version::V3_1_1 => {
                let packet = raw.parse_exact(v3_1_1::Unsubscribe::parse)?;
                (packet.packet_id(), packet.entries().len())
            }
            Version::V5 => {
                let packet = raw.parse_exact(v5_0::Unsubscribe::parse)?;
                (packet.packet_id(), packet.entries().len())
            }
        };
        check_request(packet_id, filters)?;
        Ok(Inbound::Unsubscribe { packet_id, filters })
    }
}

/// Cuts the next whole packet out of `data`; none when all of it is used up.
pub(crate) fn feed(
    builder: &mut PacketBuilder,
    data: &mut Cursor<&[u8]>,
) -> Result<Option<RawPacket>, Violation> {
    // The builder says that it is incomplete once for the header and once for the body.
    while (data.position() as usize) < data.get_ref().len() {
        match builder.feed(data) {
            PacketBuildResult::Complete(raw) => return Ok(Some(raw)),
            PacketBuildResult::Incomplete => {}
            PacketBuildResult::Error(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

fn check_request(packet_id: u16, filters: usize) -> Result<(), Violation> {
    if packet_id == 0 {
        return Err(Violation::Protocol("packet identifier 0"));
    }
    if filters == 0 {
        return Err(Violation::Protocol("no topic filter"));
    }
    Ok(())
}

pub(crate) const CONNECT: u8 = 1;
const PUBLISH: u8 = 3;
const PUBREL: u8 = 6;
const SUBSCRIBE: u8 = 8;
const UNSUBSCRIBE: u8 = 10;
const PINGREQ: u8 = 12;
const DISCONNECT: u8 = 14;
