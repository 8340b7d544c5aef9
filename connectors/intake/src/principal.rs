//! Who sends, and what it may do.
//!
//! A newcomer would look for roles: a principal carries the fine permissions themselves, so that a route
//! asks for the one that it needs and knows nothing of bundles.

use std::collections::{BTreeSet, HashSet};

use openinfra_schemas::TenantId;

/// May append readings.
pub const INGEST_READINGS: &str = "ingest_readings";
/// May set receive times (`trust_recv`).
pub const TRUST_RECEIVE_TIME: &str = "trust_receive_time";

/// What stands behind a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PrincipalKind {
    /// One device's key.
    Device,
    /// The key of what speaks for many devices.
    Gateway,
    /// The key of a program.
    Service,
    /// Nobody: `--dev` asks for no credentials.
    Dev,
}

impl PrincipalKind {
    /// As it is written in the store and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Gateway => "gateway",
            Self::Service => "service",
            Self::Dev => "dev",
        }
    }

    /// Reads the kinds that a key may have.
    pub fn parse_key(text: &str) -> Option<Self> {
        [Self::Device, Self::Gateway, Self::Service]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }
}

/// Who sends. Cheap to clone through its `Arc`; a connection keeps it.
#[derive(Debug)]
pub struct Principal {
    pub tenant: TenantId,
    /// The key's prefix, or `dev`.
    pub name: String,
    pub kind: PrincipalKind,
    /// The fine permissions it holds; ask with [`Principal::may`].
    pub permissions: BTreeSet<String>,
    /// The sensors it may send for; none: any of the tenant.
    pub sensors: Option<HashSet<String>>,
    /// May set receive times (`trust_recv`).
    pub may_trust_recv: bool,
    /// Readings a second; none: the default.
    pub readings_per_s: Option<u32>,
}

impl Principal {
    /// Whoever comes without credentials in dev mode: may do everything in one tenant.
    pub fn dev(tenant: TenantId) -> Self {
        Self {
            tenant,
            name: "dev".to_owned(),
            kind: PrincipalKind::Dev,
            permissions: BTreeSet::new(),
            sensors: None,
            may_trust_recv: true,
            readings_per_s: None,
        }
    }

    /// Whether it holds a permission; the dev principal holds all.
    pub fn may(&self, permission: &str) -> bool {
        self.kind == PrincipalKind::Dev || self.permissions.contains(permission)
    }

    /// Whether it may send readings of this sensor.
    pub fn may_send_for(&self, sensor: &str) -> bool {
        self.sensors
            .as_ref()
            .is_none_or(|sensors| sensors.contains(sensor))
    }
}
