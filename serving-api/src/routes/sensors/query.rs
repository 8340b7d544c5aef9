//! What a list of sensors may be asked for.

use openinfra_http::problem::Problem;
use openinfra_schemas::Sensor;
use openinfra_store::tables::views::SensorIndexRow;
use serde::Deserialize;

use crate::{
    lists::{has_words, is_any, is_as, is_within, out_of_range, walk::Rank},
    wire::Ts,
};

use super::{
    find::Include,
    rows::{Listed, entity_of},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    NeverSeen,
    Online,
    Offline,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, utoipa::ToSchema)]
pub(super) enum Sort {
    #[default]
    #[serde(rename = "sensor_id")]
    Ascending,
    #[serde(rename = "-sensor_id")]
    Descending,
    #[serde(rename = "last_recv_at")]
    HeardFirst,
    #[serde(rename = "-last_recv_at")]
    HeardLast,
    #[serde(rename = "updated_at")]
    UpdatedFirst,
    #[serde(rename = "-updated_at")]
    UpdatedLast,
}

/// Several values of one parameter are joined by commas: any of them.
#[derive(Debug, Clone, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListSensorsQuery {
    #[param(style = Form, explode = false, inline)]
    status: Option<Vec<Status>>,
    #[param(style = Form, explode = false)]
    sensor_type: Option<Vec<String>>,
    #[param(style = Form, explode = false)]
    asset_id: Option<Vec<String>>,
    registered: Option<bool>,
    stale: Option<bool>,
    has_asset_id: Option<bool>,
    has_sensor_type: Option<bool>,
    has_location: Option<bool>,
    has_thresholds: Option<bool>,
    /// The newest reading tells of a battery with less than this, in percent.
    battery_below: Option<f64>,
    /// At or after; of a sensor that nobody registered: first seen.
    #[param(value_type = Option<String>, format = DateTime)]
    updated_from: Option<Ts>,
    /// Before.
    #[param(value_type = Option<String>, format = DateTime)]
    updated_to: Option<Ts>,
    /// Words that parts of the id begin with, whatever their case.
    q: Option<String>,
    /// `-` before a key: descending. Never heard of comes before everything else by `last_recv_at`.
    #[serde(default)]
    #[param(inline)]
    pub(super) sort: Sort,
    #[param(style = Form, explode = false, inline)]
    include: Option<Vec<Include>>,
    /// Fields to answer, dotted within objects, or `@compact`.
    #[param(style = Form, explode = false)]
    pub(super) fields: Option<Vec<String>>,
    /// Whether to count all that pass.
    #[serde(default)]
    pub(super) count: bool,
    /// 1 to 1,000; 50 by default.
    pub(super) limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub(super) cursor: Option<String>,
}

/// A sort key that the index is not stored by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    LastRecvAt,
    UpdatedAt,
}

impl Sort {
    /// The key, and whether it descends; none when the index is stored in this order.
    pub(super) fn key(self) -> Option<(Key, bool)> {
        match self {
            Self::Ascending | Self::Descending => None,
            Self::HeardFirst => Some((Key::LastRecvAt, false)),
            Self::HeardLast => Some((Key::LastRecvAt, true)),
            Self::UpdatedFirst => Some((Key::UpdatedAt, false)),
            Self::UpdatedLast => Some((Key::UpdatedAt, true)),
        }
    }

    /// Whether the index is read from its end.
    pub(super) fn reads_descending(self) -> bool {
        self == Self::Descending
    }
}

impl Key {
    pub(super) fn rank(self, listed: &Listed) -> Rank {
        let last_recv_ts = || listed.heard.as_ref().and_then(|heard| heard.last_recv_ts);
        let value = match self {
            Self::LastRecvAt => last_recv_ts().unwrap_or(i64::MIN),
            Self::UpdatedAt => listed.row.updated_at,
        };
        Rank {
            value,
            id: listed.row.sensor_id.to_string(),
        }
    }
}

impl ListSensorsQuery {
    pub(super) fn includes_latest(&self) -> bool {
        self.include.as_ref().is_some_and(|i| !i.is_empty())
    }

    /// Whether a sensor's place in the list depends on what the index does not hold.
    pub(super) fn asks_when_heard(&self) -> bool {
        self.battery_below.is_some()
            || self
                .sort
                .key()
                .is_some_and(|(key, _)| key == Key::LastRecvAt)
    }

    /// Errs when a parameter is out of its range.
    pub(super) fn check(&self) -> Result<(), Problem> {
        match self.battery_below {
            Some(below) if !below.is_finite() => {
                let detail = format!("is a finite number, not {below}");
                Err(out_of_range("battery_below", &detail))
            }
            _ => Ok(()),
        }
    }

    /// What a cursor is bound to.
    pub(super) fn identity(&self) -> String {
        let filters = Self {
            include: None,
            fields: None,
            count: false,
            limit: None,
            cursor: None,
            ..self.clone()
        };
        format!("{filters:?}")
    }

    pub(super) fn passes(&self, listed: &Listed) -> bool {
        let battery_pct = || listed.heard.as_ref()?.latest.as_ref()?.battery_pct;
        self.passes_index(&listed.row)
            && self
                .battery_below
                .is_none_or(|below| battery_pct().is_some_and(|pct| pct < below))
    }

    /// The filters that the index decides.
    pub(super) fn passes_index(&self, row: &SensorIndexRow) -> bool {
        let status = |status: &Status| status.as_str() == row.status;
        let updated_at = Some(row.updated_at);
        self.status
            .as_ref()
            .is_none_or(|wanted| wanted.iter().any(status))
            && is_any(self.sensor_type.as_deref(), row.sensor_type.as_deref())
            && is_any(self.asset_id.as_deref(), row.asset_id.as_deref())
            && is_as(self.registered, row.registered)
            && is_as(self.stale, row.stale)
            && is_as(self.has_asset_id, row.asset_id.is_some())
            && is_as(self.has_sensor_type, row.sensor_type.is_some())
            && is_within(self.updated_from, self.updated_to, updated_at)
            && self
                .q
                .as_ref()
                .is_none_or(|q| has_words(row.sensor_id.as_str(), q))
            && self.passes_body(row)
    }

    /// The filters for which the entity must be read.
    fn passes_body(&self, row: &SensorIndexRow) -> bool {
        if self.has_location.is_none() && self.has_thresholds.is_none() {
            return true;
        }
        let sensor = entity_of(row).ok().flatten();
        let has = |test: fn(&Sensor) -> bool| sensor.as_ref().is_some_and(test);
        is_as(self.has_location, has(|sensor| sensor.location.is_some()))
            && is_as(
                self.has_thresholds,
                has(|sensor| sensor.thresholds.is_some()),
            )
    }
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Self::NeverSeen => "never_seen",
            Self::Online => "online",
            Self::Offline => "offline",
        }
    }
}
