//! What was refused, and why: the records of the topic `ledger` and the reasons of the view.

use serde::{Deserialize, Serialize};

use crate::{ids::TenantId, time::Millis};

/// Why a record counts in no view but the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The bytes are not what the codec reads.
    Undecodable,
    /// They are, but a field breaks its rule.
    Invalid,
    /// The writer's schema is unknown, or cannot be resolved to ours.
    SchemaRejected,
    UnknownTenant,
    /// `event_ts` lies more than the horizon before `recv_ts`.
    LateBeyondHorizon,
    /// `event_ts` lies more than the future guard after `recv_ts`.
    ClockFuture,
    /// Nobody registered the sensor, and the tenant does not register by itself.
    UnknownSensor,
}

impl Reason {
    pub const ALL: [Self; 7] = [
        Self::Undecodable,
        Self::Invalid,
        Self::SchemaRejected,
        Self::UnknownTenant,
        Self::LateBeyondHorizon,
        Self::ClockFuture,
        Self::UnknownSensor,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Undecodable => "undecodable",
            Self::Invalid => "invalid",
            Self::SchemaRejected => "schema_rejected",
            Self::UnknownTenant => "unknown_tenant",
            Self::LateBeyondHorizon => "late_beyond_horizon",
            Self::ClockFuture => "clock_future",
            Self::UnknownSensor => "unknown_sensor",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}

/// What a connector refused: the value of a record of the topic `ledger`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// The tenant of the credentials; empty when there is none to name.
    pub tenant: TenantId,
    /// The connector: `mqtt`, `http`, `file`.
    pub source: String,
    /// [`Reason::as_str`] of one that a connector can judge.
    pub reason: String,
    /// What exactly was wrong, and where, in a sentence for a person.
    pub detail: String,
    /// Where it came from, as the connector names it: an MQTT topic, a route.
    pub origin: String,
    /// The sensor, when so much could be read.
    #[serde(default)]
    pub sensor_id: Option<String>,
    #[serde(default)]
    pub event_ts: Option<Millis>,
    pub recv_ts: Millis,
    /// The bytes as they were received.
    #[serde(with = "apache_avro::serde::bytes")]
    pub payload: Vec<u8>,
}
