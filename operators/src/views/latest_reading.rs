//! Maintains `latest_reading`: the newest accepted reading of each sensor, BAD ones included.
//!
//! * **Input** the readings taken of a sensor.
//! * **Output** a row for each sensor that has one: the greatest by (event time, offset), and the greatest
//!   receive time of any message of the sensor. A late reading never moves it back.
//! * **Time** the tick at which the record is in force.
//! * **State** the row, for each sensor.
//! * **Faults** none.

use openinfra_schemas::{Quality, Reading, TsSource, time::Millis};

/// The newest reading of a sensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Newest {
    pub event_ts: Millis,
    pub offset: i64,
    pub value: f64,
    pub quality: Quality,
    pub unit: Option<String>,
    pub recv_ts: Millis,
    pub device_ts: bool,
    pub battery_pct: Option<f64>,
    pub signal_dbm: Option<f64>,
}

impl Newest {
    pub fn of(reading: &Reading, offset: i64) -> Self {
        Self {
            event_ts: reading.event_ts,
            offset,
            value: reading.value,
            quality: reading.quality,
            unit: reading.unit.clone(),
            recv_ts: reading.recv_ts,
            device_ts: reading.ts_source == TsSource::Device,
            battery_pct: reading.battery_pct,
            signal_dbm: reading.signal_dbm,
        }
    }

    /// Whether the reading says again what this one says.
    pub fn is_repeated_by(&self, reading: &Reading) -> bool {
        self.event_ts == reading.event_ts
            && self.quality == reading.quality
            && self.value.to_bits() == reading.value.to_bits()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use openinfra_schemas::key::{reading_key, sensor_bucket};
    use proptest::prelude::*;

    use super::*;
    use crate::{
        change::LatestRow,
        input::TickInput,
        views::{
            definition::{decide, sensors},
            testing::{PARTITIONS, SensorKey, check, logs},
        },
    };

    /// The last record taken at the greatest event time, and the greatest receive time heard.
    fn recompute(log: &[TickInput]) -> BTreeMap<SensorKey, LatestRow> {
        let decided = decide(log);
        let row = |key: SensorKey| {
            let heard = || decided.iter().filter(|d| d.is_of(&key) && d.is_heard());
            let newest = heard()
                .filter(|d| d.is_taken())
                .max_by_key(|d| (d.reading.as_ref().unwrap().event_ts, d.offset))?;
            let last_recv_ts = heard().map(|d| d.reading.as_ref().unwrap().recv_ts).max()?;
            let reading = newest.reading.as_ref().unwrap();
            let row = LatestRow {
                tenant: key.0.clone(),
                bucket: sensor_bucket(&reading_key(&key.0, &key.1), PARTITIONS),
                sensor_id: key.1.clone(),
                event_ts: reading.event_ts,
                offset: newest.offset,
                value: (reading.quality != Quality::Bad).then_some(reading.value),
                quality: reading.quality,
                unit: None,
                recv_ts: reading.recv_ts,
                device_ts: reading.ts_source == TsSource::Device,
                battery_pct: None,
                signal_dbm: None,
                last_recv_ts,
                is_new: false,
            };
            Some((key, row))
        };
        sensors(log).into_iter().filter_map(row).collect()
    }

    proptest! {
        #[test]
        fn is_its_definition(log in logs()) {
            check(&log, |views| views.latest.clone(), recompute);
        }
    }
}
