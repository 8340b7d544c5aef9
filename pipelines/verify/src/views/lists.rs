//! `sensor_index` and `sensor_seen`: the sensors that lists show.

use openinfra_schemas::{key::partition_of_bucket, time::Millis};
use openinfra_store::tables::views::{SENSOR_INDEX_SHARDS, SensorIndexRow, SensorSeenRow};

use crate::{sensor::SensorLog, walk::Known};

use super::status::Status;

/// What a row of the index is rewritten for. The rest of it changes only with these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listed {
    is_registered: bool,
    /// Of the newest edit, although the row of a sensor that is not registered shows none.
    version: i64,
    pub(crate) status: &'static str,
    pub(crate) is_stale: bool,
}

impl Listed {
    pub(crate) fn of(known: &Known<'_>, status: &Status) -> Self {
        Self {
            is_registered: known.registered_at.is_some(),
            version: known.version,
            status: status.status,
            is_stale: status.stale_since.is_some(),
        }
    }
}

/// The row of the index, last changed at `tick`.
pub(crate) fn index(
    sensor: &SensorLog,
    known: &Known<'_>,
    listed: Listed,
    tick: Millis,
) -> SensorIndexRow {
    let body = known.entity.map(serde_json::to_string);
    let first_seen = known.seen.map_or(0, |(first, _, _)| first);
    SensorIndexRow {
        tenant: sensor.tenant.clone(),
        shard: sensor.bucket % SENSOR_INDEX_SHARDS,
        sensor_id: sensor.id.clone(),
        bucket: sensor.bucket,
        registered: listed.is_registered,
        version: if listed.is_registered {
            listed.version
        } else {
            0
        },
        sensor_type: known.entity.and_then(|entity| entity.sensor_type.clone()),
        asset_id: known.entity.and_then(|entity| entity.asset_id.clone()),
        status: listed.status.to_owned(),
        stale: listed.is_stale,
        updated_at: known.entity.map_or(first_seen, |entity| entity.updated_at),
        body: body.map(|body| body.expect("a sensor's fields are named by text")),
        tick,
    }
}

/// The row of a sensor that sent and that nobody registers.
pub(crate) fn seen(sensor: &SensorLog, known: &Known<'_>) -> Option<SensorSeenRow> {
    let (first_recv_ts, last_recv_ts, tick) = known.seen?;
    Some(SensorSeenRow {
        tenant: sensor.tenant.clone(),
        log_partition: partition_of_bucket(sensor.bucket),
        sensor_id: sensor.id.clone(),
        first_recv_ts,
        last_recv_ts,
        tick,
    })
}
