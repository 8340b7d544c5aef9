//! What the engine keeps of one sensor: bounded, whatever the number of its readings.

use openinfra_schemas::{Sensor, SensorId, TenantId, time::Millis};

use crate::{
    change::StatusColumns,
    views::{
        alert::{Rule, ThresholdRule},
        facts::Fact,
        hourly_aggregate::Aggregate,
        latest_reading::Newest,
        offline_episode::{Contact, timeout_of},
        sensor_seen::Seen,
        sensor_status::StatusInput,
    },
};

use super::hours::HourSet;

/// One sensor.
pub struct SensorState {
    pub tenant: TenantId,
    pub sensor_id: SensorId,
    pub bucket: i32,
    /// The entity in force.
    pub entity: Option<Box<Sensor>>,
    /// The highest version taken, of a removal too.
    pub version: i64,
    /// The tick that registered it, while it is registered.
    pub registered_at: Option<Millis>,
    pub contact: Option<Contact>,
    /// While it is not registered and has sent.
    pub seen: Option<Seen>,
    pub newest: Option<Newest>,
    pub hours: HourSet,
    /// The window of the newest reading.
    pub open: Option<OpenWindow>,
    pub rule: ThresholdRule,
    /// For the tick that is being planned: which one, and the newest event time it will have come to.
    pub planned: (Millis, Millis),
    pub shown: Shown,
    pub dirty: Dirty,
}

/// The hour of the newest reading, folded so far.
#[derive(Debug, Clone, Copy)]
pub struct OpenWindow {
    pub hour: Millis,
    pub aggregate: Aggregate,
    /// The last tick that added to it.
    pub changed_at: Millis,
}

/// Which rows of the sensor stand in the views.
#[derive(Default)]
pub struct Shown {
    pub latest: bool,
    pub seen: bool,
    pub status: Option<StatusColumns>,
    pub open_episode: Option<Millis>,
    pub index: Option<IndexShown>,
    /// Start of the open alert whose row stands.
    pub open_alert: Option<Millis>,
    pub sensor_fact: Option<Fact>,
    pub alert_fact: Option<Fact>,
}

/// What makes a row of the index another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexShown {
    pub registered: bool,
    pub version: i64,
    pub status: &'static str,
    pub stale: bool,
}

/// What the tick has touched.
#[derive(Default)]
pub struct Dirty {
    /// The sensor stands in the engine's list of those to look at.
    pub listed: bool,
    pub latest: bool,
    pub seen: bool,
    pub alert: bool,
}

impl SensorState {
    pub fn new(tenant: TenantId, sensor_id: SensorId, bucket: i32) -> Self {
        Self {
            tenant,
            sensor_id,
            bucket,
            entity: None,
            version: 0,
            registered_at: None,
            contact: None,
            seen: None,
            newest: None,
            hours: HourSet::default(),
            open: None,
            rule: ThresholdRule::default(),
            planned: (Millis::MIN, Millis::MIN),
            shown: Shown::default(),
            dirty: Dirty::default(),
        }
    }

    /// Whether lists show it: registered, or heard of since it was last removed.
    pub fn is_listed(&self) -> bool {
        self.registered_at.is_some() || self.seen.is_some()
    }

    pub fn timeout_ms(&self) -> Millis {
        timeout_of(self.entity.as_deref())
    }

    pub fn status_input(&self) -> StatusInput {
        StatusInput {
            contact: self.contact,
            registered_at: self.registered_at,
            timeout_ms: self.timeout_ms(),
            max_age_ms: self.entity.as_ref().and_then(|entity| entity.max_age_ms),
            newest_event_ts: self.newest.as_ref().map(|newest| newest.event_ts),
        }
    }

    /// The thresholds in force, with the rule's own state to evaluate them.
    pub fn rule(&mut self) -> (Rule<'_>, &mut ThresholdRule) {
        let thresholds = self
            .entity
            .as_ref()
            .and_then(|entity| entity.thresholds.as_ref());
        (
            Rule {
                thresholds,
                version: self.version,
            },
            &mut self.rule,
        )
    }

    pub fn asset_id(&self) -> Option<&str> {
        self.entity
            .as_ref()
            .and_then(|entity| entity.asset_id.as_deref())
    }
}
