//! CONNECT and the server's answer.

use mqtt_protocol_core::mqtt::{
    common::Cursor,
    connection::PacketBuilder,
    packet::{Property, UserProperty, v5_0},
    result_code::{ConnectReasonCode, MqttError},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{ConnectError, PublisherConfig, session::Stream};
use crate::inbound;

/// PUBACKs with a reason string are the largest thing a server sends here.
pub(super) const MAX_INBOUND_BYTES: u32 = 64 * 1024;
const CONNACK: u8 = 2;

/// What the server granted.
pub(super) struct Welcome {
    pub receive_maximum: u16,
    pub max_packet_bytes: usize,
    /// Seconds; none is never.
    pub keep_alive_s: u16,
}

/// Says CONNECT and reads the answer. The caller bounds the time.
pub(super) async fn connect<S: Stream>(
    config: &PublisherConfig,
    stream: &mut S,
) -> Result<Welcome, ConnectError> {
    let io_error = |source| ConnectError::Io {
        address: config.address.clone(),
        source,
    };
    let protocol = || ConnectError::Protocol {
        address: config.address.clone(),
    };
    let packet = packet(config).map_err(|e| ConnectError::Settings(e.to_string()))?;
    stream.write_all(&packet).await.map_err(io_error)?;
    stream.flush().await.map_err(io_error)?;

    let mut builder = PacketBuilder::with_maximum_packet_size(MAX_INBOUND_BYTES);
    loop {
        // Byte by byte as far as CONNACK goes would be slow for messages; this is one short packet, and
        // a server has nothing else to send before the first PUBLISH.
        let byte = stream.read_u8().await.map_err(io_error)?;
        let bytes = [byte];
        let raw =
            inbound::feed(&mut builder, &mut Cursor::new(&bytes[..])).map_err(|_| protocol())?;
        let Some(raw) = raw else { continue };
        if raw.packet_type() != CONNACK {
            return Err(protocol());
        }
        let connack = raw
            .parse_exact(v5_0::Connack::parse)
            .map_err(|_| protocol())?;
        return welcome(config, &connack);
    }
}

fn packet(config: &PublisherConfig) -> Result<Vec<u8>, MqttError> {
    let mut connect = v5_0::Connect::builder()
        .client_id(config.client_id.as_str())?
        .clean_start(true)
        .keep_alive(config.keep_alive_s);
    // The codec wants a user name wherever there is a password.
    let unnamed = config.password.as_ref().map(|_| "");
    if let Some(name) = config.username.as_deref().or(unnamed) {
        connect = connect.user_name(name)?;
    }
    if let Some(password) = &config.password {
        connect = connect.password(password.as_str())?;
    }
    if config.trust_recv {
        let wish = UserProperty::new("trust_recv", "true")?;
        connect = connect.props(vec![Property::UserProperty(wish)]);
    }
    Ok(connect.build()?.to_continuous_buffer())
}

fn welcome(config: &PublisherConfig, connack: &v5_0::Connack) -> Result<Welcome, ConnectError> {
    let mut welcome = Welcome {
        receive_maximum: u16::MAX,
        max_packet_bytes: usize::MAX,
        keep_alive_s: config.keep_alive_s,
    };
    let mut text = None;
    for property in connack.props() {
        match property {
            Property::ReceiveMaximum(p) => welcome.receive_maximum = p.val(),
            Property::MaximumPacketSize(p) => welcome.max_packet_bytes = p.val() as usize,
            Property::ServerKeepAlive(p) => welcome.keep_alive_s = p.val(),
            Property::ReasonString(p) => text = Some(p.val().to_owned()),
            _ => {}
        }
    }
    match connack.reason_code() {
        ConnectReasonCode::Success => Ok(welcome),
        code => Err(ConnectError::Refused {
            address: config.address.clone(),
            code: code as u8,
            text,
        }),
    }
}
