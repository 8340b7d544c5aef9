//! MQTT: the listener that devices connect to, the client of somebody else's broker, and a publisher.
//!
//! The listener is not a broker: nobody can subscribe, nothing is retained, no session outlives its
//! connection. What a newcomer would get wrong: a PUBACK does not mean "received", it means "in the
//! log, fsynced". It is written only after [`Intake::commit`](openinfra_intake::Intake::commit) returned.
//!
//! [`listener`] accepts, `handshake` authenticates, `connection` runs one client's loop over `inbound`
//! (bytes to packets) and `outbound` (packets to bytes); [`publisher`] is the other side of the wire.
//! [`broker`] subscribes at a broker and makes the same promise to it; both ways lead through `take`.

mod admission;
pub mod broker;
mod complaints;
pub mod config;
mod connection;
pub mod error;
mod flight;
mod handshake;
mod inbound;
pub mod listener;
mod metrics;
mod outbound;
pub mod publisher;
mod sessions;
mod take;
pub mod tls;
mod topic;
