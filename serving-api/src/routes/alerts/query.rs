//! What a list of alerts may be asked for.

use openinfra_store::tables::views::AlertRow;
use serde::Deserialize;

use crate::{
    error::ApiError,
    extract::malformed_parameter,
    lists::{has_words, is_any, is_as, is_within, walk::Rank},
    wire::{Severity, Ts},
};

use super::response::{SOURCE_TYPE, STATUS, TYPE, title};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum AlertState {
    Open,
    Cleared,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, utoipa::ToSchema)]
pub(super) enum Sort {
    #[default]
    #[serde(rename = "-raised_at")]
    Newest,
    #[serde(rename = "raised_at")]
    Oldest,
    #[serde(rename = "severity")]
    Mildest,
    #[serde(rename = "-severity")]
    Worst,
    #[serde(rename = "end_ts")]
    EndedFirst,
    #[serde(rename = "-end_ts")]
    EndedLast,
}

/// Several values of one parameter are joined by commas: any of them.
#[derive(Debug, Clone, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListAlertsQuery {
    #[param(style = Form, explode = false, inline)]
    state: Option<Vec<AlertState>>,
    /// `active` so far: nobody can act on an alert yet.
    #[param(style = Form, explode = false)]
    status: Option<Vec<String>>,
    #[param(style = Form, explode = false, inline)]
    severity: Option<Vec<Severity>>,
    /// This severity or a worse one.
    #[param(inline)]
    min_severity: Option<Severity>,
    #[param(style = Form, explode = false)]
    sensor_id: Option<Vec<String>>,
    /// The same as `sensor_id`.
    #[param(style = Form, explode = false)]
    sensor: Option<Vec<String>>,
    #[param(style = Form, explode = false)]
    asset_id: Option<Vec<String>>,
    has_asset_id: Option<bool>,
    #[param(style = Form, explode = false)]
    rule_id: Option<Vec<String>>,
    #[serde(rename = "type")]
    #[param(rename = "type", style = Form, explode = false)]
    type_: Option<Vec<String>>,
    #[param(style = Form, explode = false)]
    source_type: Option<Vec<String>>,
    /// Started at or after.
    #[param(value_type = Option<String>, format = DateTime)]
    pub(super) opened_from: Option<Ts>,
    /// Started before.
    #[param(value_type = Option<String>, format = DateTime)]
    pub(super) opened_to: Option<Ts>,
    /// Changed at this tick or later.
    #[param(value_type = Option<String>, format = DateTime)]
    updated_from: Option<Ts>,
    /// Changed before this tick.
    #[param(value_type = Option<String>, format = DateTime)]
    updated_to: Option<Ts>,
    /// Words that parts of the title begin with, whatever their case.
    q: Option<String>,
    /// `-` before a key: descending. Open alerts end after all others.
    #[serde(default)]
    #[param(inline)]
    pub(super) sort: Sort,
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

/// A sort key that the view is not stored by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Severity,
    EndTs,
}

impl Sort {
    /// The key, and whether it descends; none when the view is stored in this order.
    pub(super) fn key(self) -> Option<(Key, bool)> {
        match self {
            Self::Newest | Self::Oldest => None,
            Self::Mildest => Some((Key::Severity, false)),
            Self::Worst => Some((Key::Severity, true)),
            Self::EndedFirst => Some((Key::EndTs, false)),
            Self::EndedLast => Some((Key::EndTs, true)),
        }
    }

    /// Whether the view is read from its end.
    pub(super) fn reads_descending(self) -> bool {
        self == Self::Newest
    }
}

impl Key {
    pub(super) fn rank(self, row: &AlertRow) -> Rank {
        let value = match self {
            Self::Severity => Severity::parse(&row.severity).map_or(-1, |s| s as i64),
            Self::EndTs => row.end_ts.unwrap_or(i64::MAX),
        };
        Rank {
            value,
            id: row.alert_id.clone(),
        }
    }
}

impl ListAlertsQuery {
    pub(super) fn without_alias(mut self) -> Result<Self, ApiError> {
        match (&self.sensor_id, self.sensor.take()) {
            (Some(_), Some(_)) => {
                let detail = "is another name of sensor_id; give one of them";
                Err(malformed_parameter("sensor", "duplicate", detail).into())
            }
            (None, alias @ Some(_)) => {
                self.sensor_id = alias;
                Ok(self)
            }
            (_, None) => Ok(self),
        }
    }

    /// What a cursor is bound to.
    pub(super) fn identity(&self) -> String {
        let filters = Self {
            fields: None,
            count: false,
            limit: None,
            cursor: None,
            ..self.clone()
        };
        format!("{filters:?}")
    }

    pub(super) fn wants(&self, state: AlertState) -> bool {
        self.state
            .as_ref()
            .is_none_or(|wanted| wanted.contains(&state))
    }

    /// Whether a row is among those asked for; state and start are left to where rows are read.
    pub(super) fn passes(&self, row: &AlertRow) -> bool {
        let severity = Severity::parse(&row.severity);
        is_any(self.status.as_deref(), Some(STATUS))
            && is_any(self.type_.as_deref(), Some(TYPE))
            && is_any(self.source_type.as_deref(), Some(SOURCE_TYPE))
            && is_any(self.sensor_id.as_deref(), Some(row.sensor_id.as_str()))
            && is_any(self.asset_id.as_deref(), row.asset_id.as_deref())
            && is_as(self.has_asset_id, row.asset_id.is_some())
            && is_any(self.rule_id.as_deref(), Some(row.rule_id.as_str()))
            && is_any(self.severity.as_deref(), severity.as_ref())
            && self
                .min_severity
                .is_none_or(|least| severity >= Some(least))
            && is_within(self.updated_from, self.updated_to, Some(row.tick))
            && self.q.as_ref().is_none_or(|q| has_words(&title(row), q))
    }
}
