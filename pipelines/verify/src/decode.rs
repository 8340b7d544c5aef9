//! Reading the log and making sense of its bytes: which record is one, and which reason it gets otherwise.
//!
//! A newcomer would skip what cannot be read. It counts: it is a row of `ledger`. The first rule that a
//! record breaks names its reason: its place, its bytes, its key, its fields.

use openinfra_log::{Fetch, Log, LogRecord};
use openinfra_schemas::{
    Codec, LedgerEntry, Quality, Reading, Reason, SensorId, TenantId, Topic,
    key::{partition_of, reading_key},
    time::Millis,
};

use crate::{VerifyError, schemas::decode, ticks::Ticks};

/// Records and bytes of one read.
const READ_RECORDS: usize = 8_192;
const READ_BYTES: usize = 4 << 20;

/// Longer texts than this, in bytes, are in no column that takes a record's text as it is.
const LONGEST_TEXT: usize = 4_096;

/// The years 1 to 9999: what can be written as a time.
const FIRST_TIME: Millis = -62_135_596_800_000;
const PAST_LAST_TIME: Millis = 253_402_300_800_000;

/// Reads on in one partition; never an empty answer.
pub(crate) async fn read_on(
    log: &dyn Log,
    topic: Topic,
    partition: i32,
    from: i64,
    to: i64,
) -> Result<Vec<LogRecord>, VerifyError> {
    let fetch = Fetch {
        topic,
        partition,
        from,
        to,
        max_records: READ_RECORDS,
        max_bytes: READ_BYTES,
    };
    let records = log.read(fetch).await?;
    if records.first().is_none_or(|record| record.offset != from) {
        return Err(VerifyError::Missing {
            topic,
            partition,
            from,
            to,
            at: from,
        });
    }
    Ok(records)
}

/// A reading in its key's partition, whose fields keep their rules.
pub(crate) async fn reading(
    codec: &Codec,
    ticks: &Ticks,
    tick: Millis,
    record: &LogRecord,
    (partition, partitions): (i32, i32),
) -> Result<Result<Reading, Reason>, VerifyError> {
    if partition_of(&record.key, partitions) != partition {
        return Ok(Err(Reason::Invalid));
    }
    let decoded = decode::<Reading>(codec, ticks, tick, &record.value).await?;
    Ok(decoded.and_then(|reading| {
        if is_valid(&reading, &record.key) {
            Ok(reading)
        } else {
            Err(Reason::Invalid)
        }
    }))
}

/// What a connector refused, of a tenant or of none.
pub(crate) async fn refused_entry(
    codec: &Codec,
    ticks: &Ticks,
    tick: Millis,
    record: &LogRecord,
) -> Result<Result<LedgerEntry, Reason>, VerifyError> {
    let decoded = decode::<LedgerEntry>(codec, ticks, tick, &record.value).await?;
    Ok(decoded.and_then(|entry| {
        let tenant = entry.tenant.as_str();
        let is_known = tenant.is_empty() || TenantId::parse(tenant).is_ok();
        if is_known && entry.source.len() <= LONGEST_TEXT {
            Ok(entry)
        } else {
            Err(Reason::Invalid)
        }
    }))
}

fn is_valid(reading: &Reading, key: &[u8]) -> bool {
    let times = FIRST_TIME..PAST_LAST_TIME;
    reading_key(&reading.tenant, &reading.sensor_id) == key
        && TenantId::parse(reading.tenant.as_str()).is_ok()
        && SensorId::check(reading.sensor_id.as_str()).is_ok()
        && (reading.quality == Quality::Bad || reading.value.is_finite())
        && reading.source.len() <= LONGEST_TEXT
        && reading.unit.as_ref().map_or(0, String::len) <= LONGEST_TEXT
        && times.contains(&reading.event_ts)
        && times.contains(&reading.recv_ts)
}

/// The tenant that a key names; empty when it names none.
pub(crate) fn tenant_of(key: &[u8]) -> TenantId {
    let first = key.split(|byte| *byte == b'/').next().unwrap_or_default();
    let parsed = std::str::from_utf8(first).map(TenantId::parse);
    match parsed {
        Ok(Ok(tenant)) => tenant,
        _ => TenantId::trusted(""),
    }
}
