//! `readings`: an immutable row for each value taken, corrections included.

use std::collections::BTreeSet;

use openinfra_schemas::{
    TenantId,
    time::{HOUR_MS, Millis, hour_of},
};
use openinfra_store::{KeyBuf, tables::views::ReadingRow};

use crate::{
    VerifyError,
    compare::{Comparer, Expected, RANGES, ROWS},
    sensor::{Extras, Fate, Message, SensorLog},
};

/// Compares the rows of one bucket in every hour of the given days.
pub(crate) async fn compare(
    tenant: &TenantId,
    bucket: i32,
    sensors: &[SensorLog],
    extras: &[Extras],
    days: &BTreeSet<Millis>,
    compare: &mut Comparer<'_>,
) -> Result<(), VerifyError> {
    let mut taken: Vec<(Millis, &SensorLog, &Message)> = sensors
        .iter()
        .flat_map(|sensor| sensor.messages.iter().map(move |message| (sensor, message)))
        .filter(|(_, message)| message.is_taken())
        .map(|(sensor, message)| (hour_of(message.event_ts), sensor, message))
        .collect();
    // A correction is one more row, but not one more value.
    let values = taken.iter().filter(|(_, _, m)| m.fate == Fate::Accepted);
    compare.count("readings", values.count());
    taken.sort_by_key(|(hour, _, _)| *hour);
    let mut taken = &taken[..];
    let (mut parts, mut rows) = (Vec::new(), 0);
    for day in days {
        for hour in (0..24).map(|hour| day + hour * HOUR_MS) {
            let place = KeyBuf::new().text(tenant.as_str()).int(bucket).bigint(hour);
            let mut part = Expected::partition::<ReadingRow>(place);
            let (own, later) = taken.split_at(taken.partition_point(|(at, _, _)| *at <= hour));
            for (_, sensor, message) in own {
                part.push(&row(sensor, message, extras));
            }
            taken = later;
            rows += own.len();
            parts.push(part);
        }
        // A day more or less: what is encoded at once stays small.
        if parts.len() >= RANGES || rows >= ROWS {
            compare
                .ranges::<ReadingRow>(std::mem::take(&mut parts))
                .await?;
            rows = 0;
        }
    }
    compare.ranges::<ReadingRow>(parts).await?;
    Ok(())
}

fn row(sensor: &SensorLog, message: &Message, extras: &[Extras]) -> ReadingRow {
    let said = &extras[message.extras as usize];
    ReadingRow {
        tenant: sensor.tenant.clone(),
        bucket: sensor.bucket,
        hour: hour_of(message.event_ts),
        sensor_id: sensor.id.clone(),
        event_ts: message.event_ts,
        offset: message.offset,
        value: message.good_value(),
        quality: message.quality,
        recv_ts: message.recv_ts,
        device_ts: message.device_ts,
        unit: said.unit.clone(),
        battery_pct: said.battery_pct.map(f64::from_bits),
        signal_dbm: said.signal_dbm.map(f64::from_bits),
        tick: message.tick,
    }
}
