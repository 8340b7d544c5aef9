//! How many rows each view has, and what became of all records.
//!
//! A newcomer would count only what is written. A replay writes nothing, and its ticks count all the
//! same: the sums are over all ticks since the log's start.

use std::collections::HashMap;

use openinfra_operators::{Change, OutcomeCounts};
use openinfra_schemas::{Reason, TenantId, time::Millis};
use openinfra_store::tables::views::LedgerSummaryRow;
use serde_json::{Map, Value};

/// The views whose rows are counted, under the names that people see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    Readings,
    LatestReading,
    HourlyAggregate,
    SensorStatus,
    OfflineEpisode,
    SensorSeen,
    Alert,
    Ledger,
    AssetHealth,
    Indicators,
}

impl View {
    pub(crate) const ALL: [Self; 10] = [
        Self::Readings,
        Self::LatestReading,
        Self::HourlyAggregate,
        Self::SensorStatus,
        Self::OfflineEpisode,
        Self::SensorSeen,
        Self::Alert,
        Self::Ledger,
        Self::AssetHealth,
        Self::Indicators,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Readings => "readings",
            Self::LatestReading => "latest_reading",
            Self::HourlyAggregate => "hourly_aggregate",
            Self::SensorStatus => "sensor_status",
            Self::OfflineEpisode => "offline_episode",
            Self::SensorSeen => "sensor_seen",
            Self::Alert => "alert",
            Self::Ledger => "ledger",
            Self::AssetHealth => "asset_health",
            Self::Indicators => "indicators",
        }
    }
}

/// Rows gained and changes made, by view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ViewCounts {
    rows: [i64; View::ALL.len()],
    updates: [u64; View::ALL.len()],
}

impl ViewCounts {
    pub(crate) fn rows(&self, view: View) -> i64 {
        self.rows[view as usize]
    }

    pub(crate) fn updates(&self, view: View) -> u64 {
        self.updates[view as usize]
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for view in View::ALL {
            self.rows[view as usize] += other.rows[view as usize];
            self.updates[view as usize] += other.updates[view as usize];
        }
    }

    /// Takes note of one change.
    pub(crate) fn count(&mut self, change: &Change) {
        let (view, rows) = match change {
            // A correction is a row of the table too, but not one more value.
            Change::Reading(row) => (View::Readings, i64::from(row.is_new)),
            Change::Latest(row) => (View::LatestReading, i64::from(row.is_new)),
            Change::Hourly(row) => (View::HourlyAggregate, i64::from(row.is_new)),
            Change::Status(row) => (View::SensorStatus, gain(row.status.is_some(), row.is_new)),
            Change::Episode(row) => (
                View::OfflineEpisode,
                gain(row.recovered_at.is_some(), row.is_new),
            ),
            Change::Seen(row) => (View::SensorSeen, gain(row.seen.is_some(), row.is_new)),
            Change::Alert(alert) => (View::Alert, i64::from(alert.before.is_none())),
            Change::Ledger(_) => (View::Ledger, 1),
            Change::AssetHealth(row) => {
                (View::AssetHealth, gain(row.columns.is_some(), row.is_new))
            }
            Change::Indicator(row) => (View::Indicators, gain(row.value.is_some(), row.is_new)),
            Change::Index(_) | Change::Day { .. } | Change::Tenant(_) => return,
        };
        self.rows[view as usize] += rows;
        self.updates[view as usize] += 1;
    }

    /// `{view: rows}`.
    pub(crate) fn to_json(self) -> String {
        let rows: Map<String, Value> = View::ALL
            .into_iter()
            .map(|view| (view.name().to_owned(), self.rows(view).into()))
            .collect();
        Value::Object(rows).to_string()
    }
}

/// Removals are only said of rows that are there.
fn gain(stands: bool, is_new: bool) -> i64 {
    match (stands, is_new) {
        (true, true) => 1,
        (true, false) => 0,
        (false, _) => -1,
    }
}

/// What became of all records, by tenant and source.
#[derive(Debug, Default)]
pub(crate) struct Ledgers {
    by_source: HashMap<(TenantId, String), (OutcomeCounts, Millis)>,
    /// Accepted, duplicates, corrections, then refused by [`Reason::ALL`]'s order.
    outcomes: [i64; OUTCOMES],
}

pub(crate) const OUTCOMES: usize = 3 + Reason::ALL.len();

/// The name of each outcome, in the order of [`Ledgers::outcomes`].
pub(crate) fn outcome_name(index: usize) -> &'static str {
    match index {
        0 => "accepted",
        1 => "duplicate",
        2 => "correction",
        refused => Reason::ALL[refused - 3].as_str(),
    }
}

impl Ledgers {
    /// Adds what a worker says of a tick.
    pub(crate) fn add(&mut self, counts: OutcomeCounts, tick: Millis) {
        let said = [counts.accepted, counts.duplicates, counts.corrections];
        for (sum, more) in self
            .outcomes
            .iter_mut()
            .zip(said.iter().chain(&counts.refused))
        {
            *sum += more;
        }
        let key = (counts.tenant.clone(), counts.source.clone());
        match self.by_source.get_mut(&key) {
            None => {
                self.by_source.insert(key, (counts, tick));
            }
            Some((sum, newest)) => {
                *newest = tick;
                sum.log_records += counts.log_records;
                sum.accepted += counts.accepted;
                sum.duplicates += counts.duplicates;
                sum.corrections += counts.corrections;
                sum.server_ts += counts.server_ts;
                for (sum, more) in sum.refused.iter_mut().zip(counts.refused) {
                    *sum += more;
                }
            }
        }
    }

    pub(crate) fn outcomes(&self) -> &[i64; OUTCOMES] {
        &self.outcomes
    }

    /// The rows that changed after `tick`.
    pub(crate) fn rows_since(&self, tick: Millis) -> impl Iterator<Item = LedgerSummaryRow> {
        self.by_source
            .values()
            .filter(move |(_, newest)| *newest > tick)
            .map(|(counts, newest)| summary_row(counts, *newest))
    }
}

fn summary_row(counts: &OutcomeCounts, tick: Millis) -> LedgerSummaryRow {
    let [
        undecodable,
        invalid,
        schema_rejected,
        unknown_tenant,
        late_beyond_horizon,
        clock_future,
        unknown_sensor,
    ] = counts.refused;
    LedgerSummaryRow {
        tenant: counts.tenant.clone(),
        source: counts.source.clone(),
        log_records: counts.log_records,
        accepted: counts.accepted,
        duplicates: counts.duplicates,
        corrections: counts.corrections,
        undecodable,
        invalid,
        schema_rejected,
        unknown_tenant,
        late_beyond_horizon,
        clock_future,
        unknown_sensor,
        server_ts: counts.server_ts,
        tick,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(source: &str, accepted: i64, invalid: i64) -> OutcomeCounts {
        let mut refused = [0; 7];
        refused[1] = invalid;
        OutcomeCounts {
            tenant: TenantId::trusted("t"),
            source: source.to_owned(),
            log_records: accepted + invalid,
            accepted,
            duplicates: 0,
            corrections: 0,
            refused,
            server_ts: 1,
        }
    }

    #[test]
    fn sums_are_absolute_and_only_changed_rows_are_written() {
        let mut ledgers = Ledgers::default();
        ledgers.add(counts("mqtt", 5, 0), 10);
        ledgers.add(counts("http", 1, 0), 10);
        ledgers.add(counts("mqtt", 2, 3), 20);
        let rows: Vec<_> = ledgers.rows_since(10).collect();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].source, "mqtt");
        assert_eq!(
            (
                rows[0].log_records,
                rows[0].accepted,
                rows[0].invalid,
                rows[0].tick
            ),
            (10, 7, 3, 20)
        );
        assert_eq!(ledgers.outcomes()[0], 8);
        assert_eq!(ledgers.outcomes()[4], 3);
        assert_eq!(outcome_name(4), "invalid");
    }

    #[test]
    fn every_view_has_its_place() {
        for (index, view) in View::ALL.into_iter().enumerate() {
            assert_eq!(view as usize, index);
        }
    }
}
