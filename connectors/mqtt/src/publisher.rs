//! A publisher that keeps many QoS 1 messages in flight: MQTT 5, one connection, no session.
//!
//! What a newcomer would get wrong: `publish` returns when the message is on its way, not when it is
//! taken; that, the channel of [`Acked`] says. There is no reconnecting in here: when the connection is
//! lost, every tag that did not come over the channel has to be sent again over a new one.

mod config;
mod handshake;
mod session;
mod window;

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use mqtt_protocol_core::mqtt::{
    packet::{Qos, v5_0},
    result_code::DisconnectReasonCode,
};
use tokio::{
    net::TcpStream,
    sync::mpsc,
    task::{JoinHandle, consume_budget},
    time::timeout,
};
use tokio_rustls::TlsConnector;

pub use config::{PublisherConfig, PublisherTls};
use session::Session;

/// One message's PUBACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acked {
    /// As given to [`Publisher::publish`].
    pub tag: u64,
    /// 0 when the message was taken; from 0x80 on it was refused (the listener's README lists the codes).
    pub reason_code: u8,
    /// When it was put behind the others to be written.
    pub published_at: Instant,
    /// When its PUBACK was read.
    pub acked_at: Instant,
}

impl Acked {
    /// Whether the server took the message. One that it refused is not to be sent again as it is.
    pub fn accepted(&self) -> bool {
        self.reason_code < 0x80
    }

    /// From publishing to PUBACK, waiting for its turn included.
    pub fn latency(&self) -> Duration {
        self.acked_at.duration_since(self.published_at)
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("cannot connect to {address}")]
    Io {
        address: String,
        #[source]
        source: io::Error,
    },
    #[error("{address} did not answer within {after:?}")]
    Timeout { address: String, after: Duration },
    /// With the reason code of CONNACK, and the server's words if it had any.
    #[error("{address} refuses the connection with reason code 0x{code:02x}{}", detail(.text))]
    Refused {
        address: String,
        code: u8,
        text: Option<String>,
    },
    #[error("{address} does not speak MQTT 5")]
    Protocol { address: String },
    #[error("the settings cannot be sent: {0}")]
    Settings(String),
}

/// Why a message was not published.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PublishError {
    /// Connect anew, and send again what was not acknowledged, then this one.
    #[error("the connection is lost: {0}")]
    Lost(String),
    /// The connection goes on.
    #[error("the message takes {bytes} bytes, the server at most {limit}")]
    TooLarge { bytes: usize, limit: usize },
    /// The connection goes on.
    #[error("{0:?} is no topic to publish to")]
    Topic(String),
}

/// One connection to publish over. Messages of one publisher reach the server in the order of the calls.
pub struct Publisher {
    session: Arc<Session>,
    tasks: [JoinHandle<()>; 2],
    window: u16,
}

impl Publisher {
    /// Connects; acknowledgements come over the channel, which ends with the connection. It is not
    /// bounded, but never holds more than were published and not looked at.
    ///
    /// # Errors
    /// When there is no connection within the configured time, or the server refuses it.
    pub async fn connect(
        config: PublisherConfig,
    ) -> Result<(Self, mpsc::UnboundedReceiver<Acked>), ConnectError> {
        let after = config.connect_timeout;
        let address = config.address.clone();
        timeout(after, Self::connect_now(config))
            .await
            .unwrap_or(Err(ConnectError::Timeout { address, after }))
    }

    /// Publishes with QoS 1; waits while the window is full.
    ///
    /// # Errors
    /// The message was not published; see [`PublishError`].
    pub async fn publish(
        &mut self,
        topic: &str,
        payload: &[u8],
        tag: u64,
    ) -> Result<(), PublishError> {
        // A caller that never waits would starve the tasks that write and read.
        consume_budget().await;
        let id = self.session.claim(tag).await?;
        let packet = v5_0::Publish::builder().topic_name(topic).and_then(|p| {
            p.qos(Qos::AtLeastOnce)
                .packet_id(id)
                .payload(payload)
                .build()
        });
        let packet = match packet {
            Ok(packet) if packet.size() <= self.session.max_packet_bytes => packet,
            Ok(packet) => {
                self.session.give_back(id);
                return Err(PublishError::TooLarge {
                    bytes: packet.size(),
                    limit: self.session.max_packet_bytes,
                });
            }
            Err(_) => {
                self.session.give_back(id);
                return Err(PublishError::Topic(topic.to_owned()));
            }
        };
        self.session.put(&packet.to_continuous_buffer());
        Ok(())
    }

    /// Waits until everything published is acknowledged.
    ///
    /// # Errors
    /// When the connection is lost before.
    pub async fn drained(&mut self) -> Result<(), PublishError> {
        self.session.drained().await
    }

    /// How many messages may be in flight: what was asked for, as far as the server allows it.
    pub fn window(&self) -> u16 {
        self.window
    }

    /// Waits until everything is acknowledged, then says DISCONNECT.
    ///
    /// # Errors
    /// When the connection is lost before.
    pub async fn finish(mut self) -> Result<(), PublishError> {
        self.drained().await?;
        let disconnect = v5_0::Disconnect::builder()
            .reason_code(DisconnectReasonCode::NormalDisconnection)
            .build();
        if let Ok(packet) = disconnect {
            self.session.put(&packet.to_continuous_buffer());
            self.session.written().await;
        }
        Ok(())
    }

    async fn connect_now(
        config: PublisherConfig,
    ) -> Result<(Self, mpsc::UnboundedReceiver<Acked>), ConnectError> {
        let io_error = |source| ConnectError::Io {
            address: config.address.clone(),
            source,
        };
        let stream = TcpStream::connect(&config.address)
            .await
            .map_err(io_error)?;
        stream.set_nodelay(true).map_err(io_error)?;
        match &config.tls {
            None => Self::open(&config, stream).await,
            Some(tls) => {
                let name = rustls::pki_types::ServerName::try_from(tls.server_name.clone())
                    .map_err(|_| {
                        ConnectError::Settings(format!("{:?} is no server name", tls.server_name))
                    })?;
                let connector = TlsConnector::from(Arc::clone(&tls.config));
                let stream = connector.connect(name, stream).await.map_err(io_error)?;
                Self::open(&config, stream).await
            }
        }
    }

    async fn open<S: session::Stream>(
        config: &PublisherConfig,
        mut stream: S,
    ) -> Result<(Self, mpsc::UnboundedReceiver<Acked>), ConnectError> {
        let welcome = handshake::connect(config, &mut stream).await?;
        let window = config.window.clamp(1, welcome.receive_maximum);
        let (session, tasks, acks) = Session::start(stream, welcome, window);
        let publisher = Self {
            session,
            tasks,
            window,
        };
        Ok((publisher, acks))
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

fn detail(text: &Option<String>) -> String {
    text.as_ref()
        .map(|text| format!(": {text}"))
        .unwrap_or_default()
}
