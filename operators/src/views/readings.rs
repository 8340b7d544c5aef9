//! Maintains `readings`: the history, one value in force for each event time of a sensor.
//!
//! * **Input** the readings of a sensor that are inside horizon and future guard.
//! * **Output** an immutable row for each value taken, acceptances and corrections. In force at an event
//!   time is the row of the greatest offset.
//! * **Time** the tick at which the record is in force.
//! * **State** the hours in which each sensor has rows, and blocks of rows in a bounded cache.
//! * **Faults** refused readings are rows of `ledger`.

use openinfra_schemas::{Reading, Reason, TenantSettings};

/// Whether a reading is inside horizon and future guard: from the record and the settings in force alone.
pub fn refusal(reading: &Reading, horizon_ms: i64, future_guard_ms: i64) -> Option<Reason> {
    let Reading {
        event_ts, recv_ts, ..
    } = *reading;
    if reading.readmits.is_none() && event_ts < recv_ts.saturating_sub(horizon_ms) {
        return Some(Reason::LateBeyondHorizon);
    }
    if event_ts > recv_ts.saturating_add(future_guard_ms) {
        return Some(Reason::ClockFuture);
    }
    None
}

/// Horizon and future guard of a tenant.
pub fn guards(settings: Option<&TenantSettings>) -> (i64, i64) {
    match settings {
        Some(settings) => (settings.horizon_ms, settings.future_guard_ms),
        None => (
            TenantSettings::DEFAULT_HORIZON_MS,
            TenantSettings::DEFAULT_FUTURE_GUARD_MS,
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use openinfra_schemas::{
        Quality, TsSource,
        key::{reading_key, sensor_bucket},
        time::{Millis, month_and_day_of},
    };
    use proptest::prelude::*;

    use crate::{
        change::HistoryRow,
        input::TickInput,
        views::{
            definition::decide,
            testing::{PARTITIONS, SensorKey, check, logs},
        },
    };

    /// The value in force at each event time: that of the last record taken there.
    fn recompute(log: &[TickInput]) -> BTreeMap<(SensorKey, Millis), HistoryRow> {
        let mut rows = BTreeMap::new();
        for record in decide(log).into_iter().filter(|record| record.is_taken()) {
            let reading = record.reading.unwrap();
            let key = (reading.tenant.clone(), reading.sensor_id.clone());
            rows.insert(
                (key, reading.event_ts),
                HistoryRow {
                    bucket: sensor_bucket(
                        &reading_key(&reading.tenant, &reading.sensor_id),
                        PARTITIONS,
                    ),
                    event_ts: reading.event_ts,
                    offset: record.offset,
                    value: (reading.quality != Quality::Bad).then_some(reading.value),
                    quality: reading.quality,
                    recv_ts: reading.recv_ts,
                    device_ts: reading.ts_source == TsSource::Device,
                    unit: None,
                    battery_pct: None,
                    signal_dbm: None,
                    is_new: false,
                    tenant: reading.tenant,
                    sensor_id: reading.sensor_id,
                },
            );
        }
        rows
    }

    /// The days that the rows are in.
    fn recompute_days(log: &[TickInput]) -> BTreeMap<(SensorKey, i32), i32> {
        let mut days = BTreeMap::new();
        for (key, event_ts) in recompute(log).into_keys() {
            let (month, day) = month_and_day_of(event_ts);
            *days.entry((key, month)).or_default() |= 1 << day;
        }
        days
    }

    proptest! {
        #[test]
        fn is_its_definition(log in logs()) {
            check(&log, |views| views.readings.clone(), recompute);
        }

        #[test]
        fn days_are_their_definition(log in logs()) {
            check(&log, |views| views.days.clone(), recompute_days);
        }
    }
}
