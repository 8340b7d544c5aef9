//! What an operator sets for the MQTT listener.
//!
//! Bounds are per connection unless the field says otherwise. What all of them hold together the intake's
//! budget bounds; beside it a connection has a read buffer of up to 64 KiB, and what one read brought.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use serde::Deserialize;

/// Settings of the listener; every field has a default.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address of the plain port. Default `127.0.0.1:1883`; port 0 takes any free one.
    pub bind: SocketAddr,
    /// A second port that speaks TLS. Default: none.
    pub tls: Option<TlsConfig>,
    /// Connections on both ports together; one more is closed at once. Default 10,000.
    pub max_connections: usize,
    /// The largest packet taken, in bytes, its header included. Default 1 MiB.
    pub max_packet_bytes: u32,
    /// QoS 1 messages that a client may have unacknowledged, 1 to 65,535. Told to v5 clients (more is
    /// an error); with v3.1.1 clients reading pauses instead. Default 4,096.
    pub receive_maximum: u16,
    /// Bytes taken and not yet committed at which reading pauses. Default 4 MiB.
    pub in_flight_bytes: usize,
    /// The longest keep-alive granted, in seconds, also to clients that ask for none. v5 clients are
    /// told; a v3.1.1 client that asks for more keeps its own, as it cannot be told. Default 1,200.
    pub keep_alive_max_s: u16,
    /// Time from accepting a connection to its CONNACK, TLS included, in milliseconds. Default 10,000.
    pub connect_timeout_ms: u64,
    /// How long a client may take nothing of what is written to it, in milliseconds. Default 30,000.
    pub write_timeout_ms: u64,
    /// How long the rest of a packet may take to come while other connections wait for the room that it
    /// has, in milliseconds. Default 10,000.
    pub packet_timeout_ms: u64,
    /// How long to wait for commits in flight when a connection ends or the listener stops, in
    /// milliseconds. Default 5,000.
    pub drain_timeout_ms: u64,
}

/// The TLS port.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// Address of the TLS port, commonly port 8883.
    pub bind: SocketAddr,
    /// PEM file with the certificate chain, the server's own first.
    pub cert: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 1883)),
            tls: None,
            max_connections: 10_000,
            max_packet_bytes: 1024 * 1024,
            receive_maximum: 4096,
            in_flight_bytes: 4 * 1024 * 1024,
            keep_alive_max_s: 1200,
            connect_timeout_ms: 10_000,
            write_timeout_ms: 30_000,
            packet_timeout_ms: 10_000,
            drain_timeout_ms: 5_000,
        }
    }
}

impl Config {
    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(crate) fn write_timeout(&self) -> Duration {
        Duration::from_millis(self.write_timeout_ms)
    }

    pub(crate) fn packet_timeout(&self) -> Duration {
        Duration::from_millis(self.packet_timeout_ms)
    }

    pub(crate) fn drain_timeout(&self) -> Duration {
        Duration::from_millis(self.drain_timeout_ms)
    }
}
