//! What the views must hold, computed plainly from a list of samples.
//!
//! Nothing here is shared with the product: duplicates, corrections and windows are written down once more,
//! from their definitions. Doubles are compared by their bits.

use std::collections::BTreeMap;

use super::rows::{Bits, HourRow, ReadingRow};

const HOUR_MS: i64 = 3_600_000;

/// A value that a sensor sent; none where it had nothing to say.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub sensor: String,
    pub ts: i64,
    pub value: Option<f64>,
}

/// The samples taken in the order in which they were sent.
#[derive(Debug, Default)]
pub struct Model {
    pub accepted: u64,
    pub duplicates: u64,
    pub corrections: u64,
    /// By sensor and event time: the value in force.
    pub series: BTreeMap<String, BTreeMap<i64, Option<f64>>>,
}

impl Model {
    pub fn of(samples: impl IntoIterator<Item = Sample>) -> Self {
        let mut model = Self::default();
        for sample in samples {
            model.take(sample);
        }
        model
    }

    fn take(&mut self, sample: Sample) {
        let series = self.series.entry(sample.sensor).or_default();
        let bits = |value: Option<f64>| value.map(f64::to_bits);
        match series.insert(sample.ts, sample.value) {
            None => self.accepted += 1,
            Some(before) if bits(before) == bits(sample.value) => self.duplicates += 1,
            Some(_) => self.corrections += 1,
        }
    }

    /// The view `readings`.
    pub fn readings(&self) -> Vec<ReadingRow> {
        let rows = self.series.iter().flat_map(|(sensor, series)| {
            series
                .iter()
                .map(|(ts, value)| reading(sensor, *ts, *value))
        });
        rows.collect()
    }

    /// The view `latest_reading`.
    pub fn latest(&self) -> Vec<ReadingRow> {
        let rows = self.series.iter().filter_map(|(sensor, series)| {
            series
                .last_key_value()
                .map(|(ts, value)| reading(sensor, *ts, *value))
        });
        rows.collect()
    }

    /// The view `hourly_aggregate`.
    pub fn hours(&self) -> Vec<HourRow> {
        let mut rows = Vec::new();
        for (sensor, series) in &self.series {
            let mut hours: BTreeMap<i64, Vec<Option<f64>>> = BTreeMap::new();
            for (ts, value) in series {
                hours
                    .entry(ts - ts.rem_euclid(HOUR_MS))
                    .or_default()
                    .push(*value);
            }
            rows.extend(
                hours
                    .into_iter()
                    .map(|(hour, values)| window(sensor, hour, &values)),
            );
        }
        rows
    }
}

fn reading(sensor: &str, ts: i64, value: Option<f64>) -> ReadingRow {
    ReadingRow {
        sensor_id: sensor.to_owned(),
        event_ts: ts,
        value: value.map(Bits),
        quality: if value.is_some() { "GOOD" } else { "BAD" }.to_owned(),
    }
}

/// One hour of a sensor; the values in event-time order.
fn window(sensor: &str, hour: i64, values: &[Option<f64>]) -> HourRow {
    let good: Vec<f64> = values.iter().copied().flatten().collect();
    let mut sum = 0.0;
    let (mut mean, mut squares) = (0.0, 0.0);
    for (n, value) in (1_u32..).zip(&good) {
        sum += value;
        let before = value - mean;
        mean += before / f64::from(n);
        squares += before * (value - mean);
    }
    let n = good.len() as f64;
    let some = |value: f64| (!good.is_empty()).then_some(Bits(value));
    HourRow {
        sensor_id: sensor.to_owned(),
        hour,
        count: good.len() as u64,
        sum: some(sum),
        min: good.iter().copied().min_by(f64::total_cmp).map(Bits),
        max: good.iter().copied().max_by(f64::total_cmp).map(Bits),
        mean: some(sum / n),
        stddev: some((squares / n).sqrt()),
        first: good.first().copied().map(Bits),
        last: good.last().copied().map(Bits),
        bad_count: (values.len() - good.len()) as u64,
    }
}
