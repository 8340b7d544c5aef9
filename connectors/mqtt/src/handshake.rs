//! From an accepted connection to its CONNACK.
//!
//! What a newcomer would get wrong: a client may send messages before it has seen CONNACK. They are left
//! in [`Accepted::early`] and must be read first.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use mqtt_protocol_core::mqtt::{
    common::Cursor,
    connection::{PacketBuilder, RawPacket},
    packet::{
        AssignedClientIdentifier, MaximumPacketSize, MaximumQos, Property, ReasonString,
        ReceiveMaximum, RetainAvailable, ServerKeepAlive, SessionExpiryInterval,
        SharedSubscriptionAvailable, SubscriptionIdentifierAvailable, TopicAliasMaximum,
        WildcardSubscriptionAvailable, v3_1_1, v5_0,
    },
    result_code::{ConnectReasonCode, ConnectReturnCode, MqttError},
};
use openinfra_intake::{
    AuthError, Credentials, INGEST_READINGS, Intake, Principal, TRUST_RECEIVE_TIME,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::{
    complaints::shown,
    config::Config,
    inbound::{self, Version},
    sessions::{Session, Sessions},
};

/// CONNECT is taken before anybody is known; this holds three strings of a kilobyte and a will.
const CONNECT_BYTES: u32 = 64 * 1024;

/// A client that may go on.
pub(crate) struct Accepted {
    pub who: Arc<Principal>,
    pub version: Version,
    pub client_id: String,
    /// Seconds; none is never.
    pub keep_alive_s: u16,
    /// Whether the client wants reason strings in PUBACK.
    pub reason_strings: bool,
    /// The client's own limit, in bytes.
    pub max_packet_bytes: u32,
    /// Take receive times from the payloads.
    pub trust_recv: bool,
    /// Bytes that came with CONNECT.
    pub early: Vec<u8>,
}

/// Why a client may not go on; it has been told, as far as there are words for it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the connection failed before CONNECT")]
    Io(#[from] io::Error),
    #[error("the client closed before CONNECT")]
    Closed,
    #[error("no CONNECT that can be read: {0}")]
    Unreadable(&'static str),
    #[error("the protocol version is not 3.1.1 or 5")]
    Version,
    #[error("CONNECT breaks the protocol: {0}")]
    Protocol(&'static str),
    #[error("{source}")]
    Auth {
        client_id: String,
        source: AuthError,
    },
}

impl Refused {
    /// The outcome that is counted.
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Io(_) | Self::Closed => "closed",
            Self::Unreadable(_) | Self::Version | Self::Protocol(_) => "protocol_error",
            Self::Auth {
                source: AuthError::Missing | AuthError::Forbidden(_),
                ..
            } => "not_authorized",
            Self::Auth {
                source: AuthError::Wrong,
                ..
            } => "bad_credentials",
            Self::Auth {
                source: AuthError::Unavailable(_),
                ..
            } => "unavailable",
        }
    }

    /// Empty when it is not known.
    pub fn client_id(&self) -> &str {
        match self {
            Self::Auth { client_id, .. } => client_id,
            _ => "",
        }
    }

    /// Whether the client was refused, rather than gone by itself.
    pub fn is_for_cause(&self) -> bool {
        !matches!(self, Self::Io(_) | Self::Closed)
    }

    fn v3_1_1(&self) -> Option<ConnectReturnCode> {
        match self {
            Self::Version => Some(ConnectReturnCode::UnacceptableProtocolVersion),
            Self::Auth {
                source: AuthError::Missing | AuthError::Forbidden(_),
                ..
            } => Some(ConnectReturnCode::NotAuthorized),
            Self::Auth {
                source: AuthError::Wrong,
                ..
            } => Some(ConnectReturnCode::BadUserNameOrPassword),
            Self::Auth {
                source: AuthError::Unavailable(_),
                ..
            } => Some(ConnectReturnCode::ServerUnavailable),
            Self::Protocol(NO_CLIENT_ID) => Some(ConnectReturnCode::IdentifierRejected),
            Self::Io(_) | Self::Closed | Self::Unreadable(_) | Self::Protocol(_) => None,
        }
    }

    fn v5(&self) -> Option<ConnectReasonCode> {
        match self {
            Self::Version => Some(ConnectReasonCode::UnsupportedProtocolVersion),
            Self::Unreadable(_) => Some(ConnectReasonCode::MalformedPacket),
            Self::Protocol(NO_AUTH_METHODS) => Some(ConnectReasonCode::BadAuthenticationMethod),
            Self::Protocol(_) => Some(ConnectReasonCode::ProtocolError),
            Self::Auth {
                source: AuthError::Missing | AuthError::Forbidden(_),
                ..
            } => Some(ConnectReasonCode::NotAuthorized),
            Self::Auth {
                source: AuthError::Wrong,
                ..
            } => Some(ConnectReasonCode::BadUserNameOrPassword),
            Self::Auth {
                source: AuthError::Unavailable(_),
                ..
            } => Some(ConnectReasonCode::ServerUnavailable),
            Self::Io(_) | Self::Closed => None,
        }
    }
}

const NO_CLIENT_ID: &str = "a client id is needed to resume a session";
const NO_AUTH_METHODS: &str = "authentication methods are not supported";

/// Reads CONNECT, authenticates, answers. The caller bounds the time.
pub(crate) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    address: SocketAddr,
    intake: &dyn Intake,
    sessions: &Arc<Sessions>,
    config: &Config,
) -> Result<(Accepted, Session), Refused> {
    let (raw, early) = read_connect(stream, config).await?;
    // Protocol name and level lie at the same place in every version.
    let level = raw.data_as_slice().get(6).copied();
    let named = raw.data_as_slice().starts_with(b"\0\x04MQTT");
    let version = match level {
        Some(4) if named => Version::V3_1_1,
        Some(5) if named => Version::V5,
        Some(level) if named && level > 5 => {
            return refuse(stream, Version::V5, Refused::Version).await;
        }
        Some(_) => return refuse(stream, Version::V3_1_1, Refused::Version).await,
        None => return Err(Refused::Unreadable("CONNECT is too short")),
    };
    let asked = match Asked::read(version, &raw) {
        Ok(asked) => asked,
        Err(refused) => return refuse(stream, version, refused).await,
    };
    let who = match admit(&asked, address, intake).await {
        Ok(who) => who,
        Err(source) => {
            let client_id = asked.client_id;
            return refuse(stream, version, Refused::Auth { client_id, source }).await;
        }
    };
    if asked.has_will {
        let client_id = shown(&asked.client_id);
        tracing::info!(%address, ?client_id, "MQTT client has a will, which is ignored");
    }
    let accepted = asked.accepted(who, early, config);
    // Before CONNACK: whoever connects again on reading it must find this connection to take over.
    let session = sessions.open(&accepted.who, &accepted.client_id);
    let connack = match version {
        Version::V3_1_1 => v3_1_1::Connack::builder()
            .session_present(false)
            .return_code(ConnectReturnCode::Accepted)
            .build()
            .map(|p| p.to_continuous_buffer()),
        Version::V5 => connack(&accepted, asked.client_id.is_empty(), config),
    };
    let connack = connack.map_err(|_| Refused::Protocol("no CONNACK fits"))?;
    stream.write_all(&connack).await?;
    stream.flush().await?;
    Ok((accepted, session))
}

async fn read_connect<S: AsyncRead + Unpin>(
    stream: &mut S,
    config: &Config,
) -> Result<(RawPacket, Vec<u8>), Refused> {
    let limit = config.max_packet_bytes.min(CONNECT_BYTES);
    let mut builder = PacketBuilder::with_maximum_packet_size(limit);
    let mut buffer = [0; 2048];
    let mut first = true;
    loop {
        let n = stream.read(&mut buffer).await?;
        if n == 0 {
            return Err(Refused::Closed);
        }
        // Whoever does not begin with CONNECT gets no further bytes read.
        if first && buffer[0] != inbound::CONNECT << 4 {
            return Err(Refused::Unreadable("the first packet is no CONNECT"));
        }
        first = false;
        let mut data = Cursor::new(&buffer[..n]);
        match inbound::feed(&mut builder, &mut data) {
            Ok(Some(raw)) => return Ok((raw, data.remaining_slice().to_vec())),
            Ok(None) => {}
            Err(_) => return Err(Refused::Unreadable("CONNECT is malformed or too large")),
        }
    }
}

async fn admit(
    asked: &Asked,
    address: SocketAddr,
    intake: &dyn Intake,
) -> Result<Arc<Principal>, AuthError> {
    let credentials = Credentials {
        username: asked.username.clone(),
        secret: asked.password.clone(),
        address: Some(address.ip()),
    };
    let who = intake.authenticate(&credentials).await?;
    if !who.may(INGEST_READINGS) {
        return Err(AuthError::Forbidden(INGEST_READINGS));
    }
    if asked.trust_recv && !who.may_trust_recv {
        return Err(AuthError::Forbidden(TRUST_RECEIVE_TIME));
    }
    Ok(who)
}

async fn refuse<S: AsyncWrite + Unpin>(
    stream: &mut S,
    version: Version,
    refused: Refused,
) -> Result<(Accepted, Session), Refused> {
    let connack = match version {
        Version::V3_1_1 => refused.v3_1_1().map(|code| {
            v3_1_1::Connack::builder()
                .session_present(false)
                .return_code(code)
                .build()
                .map(|p| p.to_continuous_buffer())
        }),
        Version::V5 => refused.v5().map(|code| {
            let text = ReasonString::new(refused.to_string())?;
            v5_0::Connack::builder()
                .session_present(false)
                .reason_code(code)
                .props(vec![Property::ReasonString(text)])
                .build()
                .map(|p| p.to_continuous_buffer())
        }),
    };
    if let Some(Ok(bytes)) = connack {
        // Whoever does not stay to hear it was refused all the same.
        if stream.write_all(&bytes).await.is_ok() {
            let _ = stream.flush().await;
        }
    }
    Err(refused)
}

/// What CONNECT asks for, in either version.
struct Asked {
    version: Version,
    client_id: String,
    username: Option<String>,
    password: Option<String>,
    keep_alive_s: u16,
    reason_strings: bool,
    max_packet_bytes: u32,
    trust_recv: bool,
    has_will: bool,
}

impl Asked {
    fn read(version: Version, raw: &RawPacket) -> Result<Self, Refused> {
        // The crate looks at neither the reserved flags of the header nor those of CONNECT.
        let flags = raw.data_as_slice().get(7).copied().unwrap_or_default();
        if raw.flags() != 0 || flags & 1 != 0 || flags & 0b0001_1000 == 0b0001_1000 {
            return Err(Refused::Unreadable("a reserved flag is set in CONNECT"));
        }
        match version {
            Version::V3_1_1 => Self::v3_1_1(raw),
            Version::V5 => Self::v5(raw),
        }
    }

    fn v3_1_1(raw: &RawPacket) -> Result<Self, Refused> {
        let packet = raw
            .parse_exact(v3_1_1::Connect::parse)
            .map_err(unreadable)?;
        if packet.client_id().is_empty() && !packet.clean_session() {
            return Err(Refused::Protocol(NO_CLIENT_ID));
        }
        Ok(Self {
            version: Version::V3_1_1,
            client_id: packet.client_id().to_owned(),
            username: packet.user_name().map(str::to_owned),
            password: packet.password().map(text),
            keep_alive_s: packet.keep_alive(),
            reason_strings: false,
            max_packet_bytes: u32::MAX,
            trust_recv: false,
            has_will: packet.will_flag(),
        })
    }

    fn v5(raw: &RawPacket) -> Result<Self, Refused> {
        let packet = raw.parse_exact(v5_0::Connect::parse).map_err(unreadable)?;
        let mut asked = Self {
            version: Version::V5,
            client_id: packet.client_id().to_owned(),
            username: packet.user_name().map(str::to_owned),
            password: packet.password().map(text),
            keep_alive_s: packet.keep_alive(),
            reason_strings: true,
            max_packet_bytes: u32::MAX,
            trust_recv: false,
            has_will: packet.will_flag(),
        };
        for property in packet.props() {
            match property {
                Property::RequestProblemInformation(p) => asked.reason_strings = p.val() == 1,
                Property::MaximumPacketSize(p) => asked.max_packet_bytes = p.val(),
                Property::AuthenticationMethod(_) => {
                    return Err(Refused::Protocol(NO_AUTH_METHODS));
                }
                Property::UserProperty(p) if p.key() == "trust_recv" => {
                    asked.trust_recv = p.val() == "true";
                }
                _ => {}
            }
        }
        Ok(asked)
    }

    fn accepted(&self, who: Arc<Principal>, early: Vec<u8>, config: &Config) -> Accepted {
        let max = config.keep_alive_max_s;
        let keep_alive_s = match (self.version, self.keep_alive_s) {
            (_, 0) => max,
            (Version::V3_1_1, asked) => asked,
            (Version::V5, asked) => asked.min(max),
        };
        let client_id = match self.client_id.as_str() {
            "" => assigned_client_id(),
            asked => asked.to_owned(),
        };
        Accepted {
            who,
            version: self.version,
            client_id,
            keep_alive_s,
            reason_strings: self.reason_strings,
            max_packet_bytes: self.max_packet_bytes,
            trust_recv: self.trust_recv,
            early,
        }
    }
}

fn unreadable(_: MqttError) -> Refused {
    Refused::Unreadable("CONNECT is malformed")
}

/// A password that is not UTF-8 cannot be one of ours; whatever stands for it is wrong as well.
fn text(password: &[u8]) -> String {
    String::from_utf8_lossy(password).into_owned()
}

fn connack(accepted: &Accepted, assigned: bool, config: &Config) -> Result<Vec<u8>, MqttError> {
    let mut props = vec![
        Property::ReceiveMaximum(ReceiveMaximum::new(config.receive_maximum)?),
        Property::MaximumQos(MaximumQos::new(1)?),
        Property::RetainAvailable(RetainAvailable::new(0)?),
        Property::MaximumPacketSize(MaximumPacketSize::new(config.max_packet_bytes)?),
        Property::TopicAliasMaximum(TopicAliasMaximum::new(0)?),
        Property::SessionExpiryInterval(SessionExpiryInterval::new(0)?),
        Property::WildcardSubscriptionAvailable(WildcardSubscriptionAvailable::new(0)?),
        Property::SubscriptionIdentifierAvailable(SubscriptionIdentifierAvailable::new(0)?),
        Property::SharedSubscriptionAvailable(SharedSubscriptionAvailable::new(0)?),
        Property::ServerKeepAlive(ServerKeepAlive::new(accepted.keep_alive_s)?),
    ];
    if assigned {
        let id = AssignedClientIdentifier::new(accepted.client_id.as_str())?;
        props.push(Property::AssignedClientIdentifier(id));
    }
    v5_0::Connack::builder()
        .session_present(false)
        .reason_code(ConnectReasonCode::Success)
        .props(props)
        .build()
        .map(|p| p.to_continuous_buffer())
}

/// Unlike any other of this process; no session survives it, so that is enough.
fn assigned_client_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("openinfra-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
