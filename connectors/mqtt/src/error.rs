//! Why the listener cannot start, and why a connection ends.
//!
//! The codes of `Violation` are what a v5 client reads in DISCONNECT; v3.1.1 has no packet for it, so
//! there the connection is closed without a word.

use std::{io, net::SocketAddr, path::PathBuf};

use mqtt_protocol_core::mqtt::result_code::{DisconnectReasonCode, MqttError};

/// Why the listener cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("cannot listen on {address}")]
    Bind {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Two listeners on one registry.
    #[error("cannot register the listener's metrics")]
    Metrics(#[from] prometheus::Error),
    #[error("{field} is 0, but must be at least 1")]
    Zero { field: &'static str },
}

/// Why certificates or keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {file} as PEM {what}: {reason}")]
    Pem {
        file: PathBuf,
        what: &'static str,
        reason: String,
    },
    #[error("{0} holds no certificate")]
    NoCertificate(PathBuf),
    #[error("certificate and key cannot be used")]
    Unusable(#[from] rustls::Error),
    #[error("{0:?} is no server name")]
    ServerName(String),
}

/// What a client did that the protocol, or this listener, does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    #[error("a packet is malformed")]
    Malformed,
    #[error("{0}")]
    Protocol(&'static str),
    #[error("a packet is larger than the maximum packet size")]
    TooLarge,
    #[error("QoS 2 is not supported; publish with QoS 0 or 1")]
    Qos,
    #[error("more messages are unacknowledged than the receive maximum allows")]
    ReceiveMaximum,
    #[error("topic aliases are not supported")]
    TopicAlias,
}

impl Violation {
    /// The v5 reason code.
    pub fn code(self) -> DisconnectReasonCode {
        match self {
            Self::Malformed => DisconnectReasonCode::MalformedPacket,
            Self::Protocol(_) => DisconnectReasonCode::ProtocolError,
            Self::TooLarge => DisconnectReasonCode::PacketTooLarge,
            Self::Qos => DisconnectReasonCode::QosNotSupported,
            Self::ReceiveMaximum => DisconnectReasonCode::ReceiveMaximumExceeded,
            Self::TopicAlias => DisconnectReasonCode::TopicAliasInvalid,
        }
    }
}

impl From<MqttError> for Violation {
    fn from(error: MqttError) -> Self {
        match error {
            MqttError::PacketTooLarge => Self::TooLarge,
            MqttError::ProtocolError => Self::Protocol("a packet breaks the protocol"),
            _ => Self::Malformed,
        }
    }
}
