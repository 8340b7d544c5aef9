//! `hourly_aggregate` and `sensor_days`: each UTC hour in which a sensor has readings, from the values in
//! force there.
//!
//! A newcomer would sum in a better order. The order is part of the definition: by event time, one after
//! the other, so that whoever follows it gets the same bits.

use std::collections::BTreeMap;

use openinfra_schemas::{
    Quality,
    time::{HOUR_MS, Millis, day_of, hour_of, month_and_day_of},
};
use openinfra_store::tables::views::{HourlyAggregateRow, SensorDaysRow};

use crate::sensor::{Message, SensorLog};

/// Received so long past the window's end, a value is late.
const LATE_MS: Millis = 300_000;
/// How much longer than the horizon a connector may hold a record back.
const SLACK_MS: Millis = 600_000;

/// The rows of a sensor, ascending. `taken` are its readings by (event time, offset); `horizon` says the
/// tenant's horizon as of a tick.
pub(crate) fn rows(
    sensor: &SensorLog,
    taken: &[&Message],
    horizon: impl Fn(Millis) -> i64,
) -> Vec<HourlyAggregateRow> {
    taken
        .chunk_by(|a, b| hour_of(a.event_ts) == hour_of(b.event_ts))
        .filter_map(|window| row(sensor, window, &horizon))
        .collect()
}

fn row(
    sensor: &SensorLog,
    window: &[&Message],
    horizon: impl Fn(Millis) -> i64,
) -> Option<HourlyAggregateRow> {
    let hour = hour_of(window.first()?.event_ts);
    let end = hour + HOUR_MS;
    // Of each event time the last is in force.
    let in_force: Vec<&Message> = window
        .chunk_by(|a, b| a.event_ts == b.event_ts)
        .filter_map(|same| same.last().copied())
        .collect();
    let good: Vec<&Message> = in_force
        .iter()
        .copied()
        .filter(|message| message.quality != Quality::Bad)
        .collect();
    let values: Vec<f64> = good.iter().map(|message| message.value).collect();
    let statistics = Statistics::of(&values);
    let tick = window.iter().map(|message| message.tick).max()?;
    let final_from = end.saturating_add(horizon(tick)).saturating_add(SLACK_MS);
    Some(HourlyAggregateRow {
        tenant: sensor.tenant.clone(),
        bucket: sensor.bucket,
        day: day_of(hour),
        sensor_id: sensor.id.clone(),
        hour,
        count: values.len() as i64,
        sum: statistics.map(|s| s.sum),
        min: values.iter().copied().min_by(f64::total_cmp),
        max: values.iter().copied().max_by(f64::total_cmp),
        mean: statistics.map(|s| s.sum / values.len() as f64),
        stddev: statistics.map(|s| s.stddev),
        first: values.first().copied(),
        last: values.last().copied(),
        bad_count: (in_force.len() - good.len()) as i64,
        late_count: good.iter().filter(|m| m.recv_ts >= end + LATE_MS).count() as i64,
        revised_at: (tick >= final_from).then_some(tick),
        tick,
    })
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Statistics {
    sum: f64,
    stddev: f64,
}

impl Statistics {
    fn of(values: &[f64]) -> Option<Self> {
        let (mut sum, mut mean, mut squares) = (0.0, 0.0, 0.0);
        for (place, value) in values.iter().enumerate() {
            sum += value;
            // Welford: the mean moves by the distance's share, the squares by both distances.
            let before = value - mean;
            mean += before / (place + 1) as f64;
            squares += before * (value - mean);
        }
        (!values.is_empty()).then(|| Self {
            sum,
            stddev: (squares / values.len() as f64).sqrt(),
        })
    }
}

/// The days in which the sensor has readings, by month.
pub(crate) fn days(sensor: &SensorLog, taken: &[&Message]) -> Vec<SensorDaysRow> {
    let mut months: BTreeMap<i32, i32> = BTreeMap::new();
    for message in taken {
        let (month, day) = month_and_day_of(message.event_ts);
        *months.entry(month).or_default() |= 1 << day;
    }
    months
        .into_iter()
        .map(|(month, days)| SensorDaysRow {
            tenant: sensor.tenant.clone(),
            bucket: sensor.bucket,
            sensor_id: sensor.id.clone(),
            month,
            days,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sensor::testing::{message, sensor};

    #[test]
    fn what_an_hour_comes_to() {
        let bad = Message {
            quality: Quality::Bad,
            value: f64::NAN,
            ..message(30, 0.0)
        };
        let late = Message {
            recv_ts: HOUR_MS + LATE_MS,
            tick: 99,
            ..message(40, 4.0)
        };
        let replaced = message(20, 100.0);
        let log = sensor(&[], &[]);
        let taken = [&message(10, 2.0), &replaced, &message(20, 6.0), &bad, &late];
        let row = row(&log, &taken, |_| 0);
        let row = row.expect("the hour has readings");
        assert_eq!((row.count, row.bad_count, row.late_count), (3, 1, 1));
        assert_eq!((row.sum, row.mean), (Some(12.0), Some(4.0)));
        assert_eq!((row.min, row.max), (Some(2.0), Some(6.0)));
        assert_eq!((row.first, row.last), (Some(2.0), Some(4.0)));
        assert_eq!(row.stddev, Some((8.0f64 / 3.0).sqrt()));
        assert_eq!((row.tick, row.revised_at), (99, None));

        let of_bad = rows(&log, &[&bad], |_| 0);
        assert_eq!((of_bad[0].count, of_bad[0].bad_count), (0, 1));
        assert_eq!((of_bad[0].sum, of_bad[0].stddev), (None, None));
    }

    #[test]
    fn a_change_of_a_final_window_is_a_revision() {
        let revised = |tick| {
            let changed = Message {
                tick,
                ..message(10, 1.0)
            };
            rows(&sensor(&[], &[]), &[&changed], |_| 5_000)[0].revised_at
        };
        let final_from = HOUR_MS + 5_000 + SLACK_MS;
        assert_eq!(revised(final_from - 1), None);
        assert_eq!(revised(final_from), Some(final_from));
    }

    #[test]
    fn days_are_bits_of_their_month() {
        const DAY: Millis = 24 * HOUR_MS;
        let taken = [
            &message(0, 1.0),
            &message(30 * DAY, 1.0),
            &message(31 * DAY, 1.0),
        ];
        let days = days(&sensor(&[], &[]), &taken);
        let found: Vec<_> = days.iter().map(|row| (row.month, row.days)).collect();
        assert_eq!(found, [(0, 1 | 1 << 30), (1, 1)]);
    }
}
