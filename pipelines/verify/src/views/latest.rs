//! `latest_reading`: the greatest by (event time, offset) of the readings taken, BAD ones too, and the
//! greatest receive time of any message.

use openinfra_schemas::key::partition_of_bucket;
use openinfra_store::tables::views::LatestReadingRow;

use crate::sensor::{Extras, Message, SensorLog};

/// The row of a sensor; none before its first reading.
pub(crate) fn row(sensor: &SensorLog, extras: &[Extras]) -> Option<LatestReadingRow> {
    let taken = sensor.messages.iter().filter(|message| message.is_taken());
    let newest = taken.max_by_key(|message| (message.event_ts, message.offset))?;
    // The first of those that were received last: later ones changed nothing.
    let last_heard = sensor
        .messages
        .iter()
        .rev()
        .max_by_key(|message: &&Message| message.recv_ts)?;
    let said = &extras[newest.extras as usize];
    Some(LatestReadingRow {
        tenant: sensor.tenant.clone(),
        log_partition: partition_of_bucket(sensor.bucket),
        sensor_id: sensor.id.clone(),
        event_ts: newest.event_ts,
        offset: newest.offset,
        value: newest.good_value(),
        quality: newest.quality,
        unit: said.unit.clone(),
        recv_ts: newest.recv_ts,
        device_ts: newest.device_ts,
        battery_pct: said.battery_pct.map(f64::from_bits),
        signal_dbm: said.signal_dbm.map(f64::from_bits),
        last_recv_ts: last_heard.recv_ts,
        tick: newest.tick.max(last_heard.tick),
    })
}
