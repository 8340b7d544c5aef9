//! What a connector hands over, and what it hears back.
//!
//! A connector knows its protocol and nothing of readings; behind [`Intake`] stands the one path that all
//! take into the log. What a newcomer would get wrong: `take` acknowledges nothing. Only after
//! [`Intake::commit`] returned may a device be told that its message is safe, refused messages included,
//! as they stand in the ledger then.

pub mod budget;
pub mod keys;
mod principal;

use std::{net::IpAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use openinfra_log::{AppendBatch, Appended};
use openinfra_schemas::{Reason, time::Millis};

pub use budget::{Budget, Room};
pub use keys::Keys;
pub use principal::{INGEST_READINGS, Principal, PrincipalKind, TRUST_RECEIVE_TIME};

/// What a client shows to prove who it is.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// MQTT user name.
    pub username: Option<String>,
    /// MQTT password, or the key of `X-API-Key` / `Authorization: Bearer`. A key is `prefix.secret`; over
    /// MQTT it may also be split over user name and password.
    pub secret: Option<String>,
    /// Where the client connects from; failures are counted by its class.
    pub address: Option<IpAddr>,
}

/// Why a client may not go on.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    #[error("no credentials")]
    Missing,
    /// Unknown name and wrong secret alike.
    #[error("the credentials are wrong")]
    Wrong,
    #[error("credentials cannot be checked now: {0}")]
    Unavailable(String),
    /// Known, but without this permission.
    #[error("the key lacks the permission {0}")]
    Forbidden(&'static str),
}

/// How the bytes of a delivery are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One sensor's message or messages as JSON (SEMANTICS §10): the sensor is the delivery's.
    SensorJson,
    /// `{"readings": [{sensor_id, …}]}`.
    BatchJson,
    /// One `{sensor_id, …}` a line.
    Ndjson,
}

/// One message as it arrived.
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'a> {
    /// The connector: `mqtt`, `http`, `file`.
    pub source: &'static str,
    /// Where it came in, for the ledger: an MQTT topic, a route.
    pub origin: &'a str,
    pub format: Format,
    /// The sensor that topic or path names; none where the payload does.
    pub sensor: Option<&'a str>,
    /// The tenant that the topic names, if it does.
    pub tenant: Option<&'a str>,
    pub payload: &'a [u8],
    pub recv_ts: Millis,
    /// Take the receive time from the payload, or the event time where it has none.
    pub trust_recv: bool,
}

/// One item that was refused; it stands in the ledger once the batch is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Which item of the delivery; 0 when it could not be read as items.
    pub index: usize,
    pub reason: Reason,
    /// What was wrong, where, and what would be right.
    pub detail: String,
}

/// What became of a delivery, once its batch is committed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    pub accepted: usize,
    pub rejected: Vec<Rejection>,
    /// How many of the rejected ones are of sensors that the sender may not send for.
    pub forbidden: usize,
}

/// The client sends more than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many readings; try again in {retry_after:?}")]
pub struct TooMany {
    pub retry_after: Duration,
    /// What it may send, in readings a second.
    pub readings_per_s: u32,
}

/// Nothing of the batch may be acknowledged; sending it again is right.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    #[error("the log does not take input: {0}")]
    Unavailable(String),
    #[error("the log's storage is full")]
    StorageFull,
}

/// The one path from a connector into the log.
#[async_trait]
pub trait Intake: Send + Sync + 'static {
    /// Finds out who sends.
    async fn authenticate(&self, credentials: &Credentials) -> Result<Arc<Principal>, AuthError>;

    /// Counts credentials that were shown where others than the intake check them, and were not good.
    fn count_refused(&self, _error: &AuthError, _address: Option<IpAddr>) {}

    /// Asks whether `who` may send `readings` more now. A connector that can hold its client back waits
    /// for `retry_after`; one that cannot refuses.
    fn admit(&self, who: &Principal, readings: u32) -> Result<(), TooMany>;

    /// The bound of what all connectors hold at once: room is taken in it before bytes are read, and handed
    /// to [`Intake::commit`] with what was made of them.
    fn budget(&self) -> &Arc<Budget>;

    /// Reads one message and adds what has to be appended for it, readings or ledger entries, to `batch`.
    fn take(&self, who: &Principal, delivery: &Delivery<'_>, batch: &mut AppendBatch) -> Verdict;

    /// Adds a ledger entry for a message that the connector itself refuses.
    fn refuse(
        &self,
        who: &Principal,
        delivery: &Delivery<'_>,
        reason: Reason,
        detail: &str,
        batch: &mut AppendBatch,
    );

    /// Appends the batch; when this returns `Ok`, everything in it is durable. `room` is given back when the
    /// log has answered, also when nobody waits for that any more.
    async fn commit(&self, batch: AppendBatch, room: Room) -> Result<Appended, CommitError>;
}
