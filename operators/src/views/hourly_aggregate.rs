//! Maintains `hourly_aggregate`: what the readings in force of one sensor and one UTC hour come to.
//!
//! * **Input** the readings taken of a sensor, in whatever order; a correction replaces its predecessor.
//! * **Output** a row for each (sensor, hour) that has a reading in force, BAD ones too; at most one
//!   change a tick.
//! * **Time** the tick at which the record is in force; the window itself is event time.
//! * **State** the aggregate of each sensor's newest hour; any other hour is computed again from its block.
//! * **Faults** none: what is not accepted never gets here.
//! * **Source** B. P. Welford, "Note on a method for calculating corrected sums of squares and
//!   products", Technometrics 4 (1962).
//!
//! The newest reading is added to the aggregate, any other recomputes it: both run [`Aggregate::add`] over
//! the readings in event-time order, so that the bits are the same.

use openinfra_schemas::{
    Quality,
    time::{HOUR_MS, Millis},
};

/// A contribution is late when it was received so long after its window's end.
pub const LATE_AFTER_MS: Millis = 300_000;

/// A connector appends nothing that it received longer ago.
pub const APPEND_SLACK_MS: Millis = 600_000;

/// Readings of one window, folded in event-time order.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Aggregate {
    pub count: i64,
    pub sum: f64,
    pub min: f64,
    pub max: f64,
    mean: f64,
    m2: f64,
    pub first: f64,
    pub last: f64,
    pub bad_count: i64,
    pub late_count: i64,
}

impl Aggregate {
    /// Adds the reading that follows all added so far in event time.
    pub fn add(&mut self, hour: Millis, value: f64, quality: Quality, recv_ts: Millis) {
        if quality == Quality::Bad {
            self.bad_count += 1;
            return;
        }
        if recv_ts >= hour + HOUR_MS + LATE_AFTER_MS {
            self.late_count += 1;
        }
        if self.count == 0 {
            self.min = value;
            self.max = value;
            self.first = value;
        }
        self.count += 1;
        self.sum += value;
        if value.total_cmp(&self.min).is_lt() {
            self.min = value;
        }
        if value.total_cmp(&self.max).is_gt() {
            self.max = value;
        }
        self.last = value;
        let delta = value - self.mean;
        self.mean += delta / self.count as f64;
        self.m2 += delta * (value - self.mean);
    }

    /// Sum divided by count; none when nothing counts.
    pub fn mean(&self) -> Option<f64> {
        self.some(self.sum / self.count as f64)
    }

    /// Of the population; none when nothing counts.
    pub fn stddev(&self) -> Option<f64> {
        self.some((self.m2 / self.count as f64).sqrt())
    }

    /// The given value, if any reading counts.
    pub fn some(&self, value: f64) -> Option<f64> {
        (self.count > 0).then_some(value)
    }
}

/// Whether the window of `hour` is final as of `tick`, under a horizon.
pub fn is_final(hour: Millis, horizon_ms: Millis, tick: Millis) -> bool {
    tick >= (hour + HOUR_MS)
        .saturating_add(horizon_ms)
        .saturating_add(APPEND_SLACK_MS)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use openinfra_schemas::{
        Reading, TenantSettings,
        key::{reading_key, sensor_bucket},
    };
    use proptest::prelude::*;

    use super::*;
    use crate::{
        change::HourlyRow,
        input::TickInput,
        views::{
            definition::{decide, settings_at},
            testing::{PARTITIONS, SensorKey, check, logs},
        },
    };

    /// The readings in force of each hour in event-time order, and the tick of the last change.
    fn windows(
        log: &[TickInput],
    ) -> BTreeMap<(SensorKey, Millis), (BTreeMap<Millis, Reading>, Millis)> {
        let mut windows: BTreeMap<_, (BTreeMap<_, _>, _)> = BTreeMap::new();
        for record in decide(log).into_iter().filter(|record| record.is_taken()) {
            let reading = record.reading.unwrap();
            let key = (reading.tenant.clone(), reading.sensor_id.clone());
            let hour = reading.event_ts.div_euclid(3_600_000) * 3_600_000;
            let window = windows.entry((key, hour)).or_default();
            window.0.insert(reading.event_ts, reading);
            window.1 = record.tick;
        }
        windows
    }

    fn recompute(log: &[TickInput]) -> BTreeMap<(SensorKey, Millis), HourlyRow> {
        let rows = windows(log)
            .into_iter()
            .map(|((key, hour), (readings, changed_at))| {
                let good: Vec<_> = readings
                    .values()
                    .filter(|r| r.quality != Quality::Bad)
                    .collect();
                let values: Vec<f64> = good.iter().map(|r| r.value).collect();
                let sum = values.iter().fold(0.0, |sum, value| sum + value);
                let (mut mean, mut m2) = (0.0, 0.0);
                for (n, value) in values.iter().enumerate() {
                    let delta = value - mean;
                    mean += delta / (n + 1) as f64;
                    m2 += delta * (value - mean);
                }
                let some = |value: f64| (!values.is_empty()).then_some(value);
                let horizon_ms = settings_at(log, &key.0, changed_at)
                    .map_or(TenantSettings::DEFAULT_HORIZON_MS, |settings| {
                        settings.horizon_ms
                    });
                let final_at = hour + 3_600_000 + horizon_ms + 600_000;
                let row = HourlyRow {
                    tenant: key.0.clone(),
                    bucket: sensor_bucket(&reading_key(&key.0, &key.1), PARTITIONS),
                    sensor_id: key.1.clone(),
                    hour,
                    count: values.len() as i64,
                    sum: some(sum),
                    min: values.iter().copied().min_by(f64::total_cmp),
                    max: values.iter().copied().max_by(f64::total_cmp),
                    mean: some(sum / values.len() as f64),
                    stddev: some((m2 / values.len() as f64).sqrt()),
                    first: values.first().copied(),
                    last: values.last().copied(),
                    bad_count: (readings.len() - good.len()) as i64,
                    late_count: good
                        .iter()
                        .filter(|r| r.recv_ts >= hour + 3_900_000)
                        .count() as i64,
                    revised_at: (changed_at >= final_at).then_some(changed_at),
                    is_new: false,
                };
                ((key, hour), row)
            });
        rows.collect()
    }

    proptest! {
        #[test]
        fn is_its_definition(log in logs()) {
            check(&log, |views| views.hourly.clone(), recompute);
        }
    }

    #[test]
    fn a_window_of_bad_readings_has_no_statistics() {
        let mut aggregate = Aggregate::default();
        aggregate.add(0, f64::NAN, Quality::Bad, 0);
        assert_eq!((aggregate.count, aggregate.bad_count), (0, 1));
        assert_eq!(
            (aggregate.mean(), aggregate.stddev(), aggregate.some(1.0)),
            (None, None, None)
        );
    }

    #[test]
    fn final_when_nothing_can_land_there_any_more() {
        let at = HOUR_MS + 1_000 + APPEND_SLACK_MS;
        assert!(!is_final(0, 1_000, at - 1));
        assert!(is_final(0, 1_000, at));
    }
}
