//! What a publisher is told.

use std::{sync::Arc, time::Duration};

use rustls::ClientConfig;

/// Settings of one connection.
#[derive(Debug, Clone)]
pub struct PublisherConfig {
    /// `host:port`.
    pub address: String,
    /// Unlike that of any other client of the same key: a second connection ends the first.
    pub client_id: String,
    /// The API key's prefix; may be left out when the password is the whole key.
    pub username: Option<String>,
    /// The API key, or its secret part.
    pub password: Option<String>,
    /// Messages in flight, as far as the server allows.
    pub window: u16,
    /// Speak TLS.
    pub tls: Option<PublisherTls>,
    /// Ask the server to take receive times from the payloads; it has to allow that.
    pub trust_recv: bool,
    /// A server that says nothing for so long, and is pinged meanwhile, counts as gone, in seconds; 0: never.
    /// The server may set another time.
    pub keep_alive_s: u16,
    /// For TCP, TLS and CONNACK together.
    pub connect_timeout: Duration,
}

/// How to speak TLS.
#[derive(Debug, Clone)]
pub struct PublisherTls {
    /// See [`crate::tls::client`].
    pub config: Arc<ClientConfig>,
    /// The name that the server's certificate has to carry.
    pub server_name: String,
}

impl PublisherConfig {
    /// No credentials, no TLS, 1,000 messages in flight, a minute of
    /// silence, 10 seconds to connect.
    pub fn new(address: impl Into<String>, client_id: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            client_id: client_id.into(),
            username: None,
            password: None,
            window: 1000,
            tls: None,
            trust_recv: false,
            keep_alive_s: 60,
            connect_timeout: Duration::from_secs(10),
        }
    }
}
