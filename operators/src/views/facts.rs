//! Facts: what the engine tells the differential collections about sensors and open alerts.
//!
//! A fact is a member of a multiset, one for each sensor listed and one for each open alert; a change is
//! the retraction of the old one and the insertion of the new one at one tick.

use std::sync::Arc;

use openinfra_schemas::TenantId;
use serde::{Deserialize, Serialize};

use super::alert::Severity;

/// One sensor, or one open alert, as rollups see it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fact {
    pub tenant: TenantId,
    /// The asset that the sensor is on.
    pub asset_id: Option<Arc<str>>,
    pub class: Class,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Class {
    Sensor {
        status: Connectivity,
        stale: bool,
    },
    /// An open alert, by the severity's place in [`SEVERITIES`].
    Alert {
        severity: u8,
    },
}

/// A sensor's status without its times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Connectivity {
    NeverSeen,
    Online,
    Offline,
}

/// All severities, the least first.
pub const SEVERITIES: [&str; 5] = ["info", "low", "medium", "high", "critical"];

impl Connectivity {
    /// Reads the word of [`StatusColumns`](crate::change::StatusColumns).
    pub fn of(status: &str) -> Self {
        match status {
            "online" => Self::Online,
            "offline" => Self::Offline,
            _ => Self::NeverSeen,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::NeverSeen => "never_seen",
            Self::Online => "online",
            Self::Offline => "offline",
        }
    }
}

impl Class {
    pub fn alert(severity: Severity) -> Self {
        let place = SEVERITIES
            .iter()
            .position(|name| *name == severity.as_str());
        Self::Alert {
            severity: place.expect("SEVERITIES holds every severity") as u8,
        }
    }
}
