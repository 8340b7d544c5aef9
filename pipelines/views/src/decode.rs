//! Bytes of the log to what a worker is fed, with the checks that need no state.
//!
//! A newcomer would skip a record that cannot be read. Nothing is skipped: it is fed as rejected, with
//! its reason, so that the ledger accounts for it. The order of the checks decides which reason it gets:
//! the partition, the bytes, the key, the fields.

use openinfra_log::LogRecord;
use openinfra_operators::{InputRecord, RecordBody};
use openinfra_schemas::{
    Codec, DecodeError, LedgerEntry, Quality, Reading, Reason, SensorId, TenantId, Topic,
    codec::Record,
    key::{partition_of, partition_of_bucket, sensor_bucket},
    time::Millis,
};

use crate::{feed::Chunk, writers::Writers};

/// 0001-01-01 and the end of 9999: what lies beyond cannot be written as a time.
const TIMES: std::ops::Range<Millis> = -62_135_596_800_000..253_402_300_800_000;

/// The longest text of a record that becomes a column as it is, in bytes: no store takes any length.
const MAX_TEXT_BYTES: usize = 4_096;

/// Decodes the records of one worker and tick.
pub(crate) struct Decoder<'a> {
    codec: &'a Codec,
    /// Partitions of `readings`.
    partitions: i32,
    /// Prepared for the records.
    writers: &'a Writers,
}

impl<'a> Decoder<'a> {
    pub(crate) fn new(codec: &'a Codec, partitions: i32, writers: &'a Writers) -> Self {
        Self {
            codec,
            partitions,
            writers,
        }
    }

    /// One input record for each record of the log, in the same order.
    pub(crate) fn decode(&self, chunks: &[Chunk]) -> Vec<InputRecord> {
        let mut out = Vec::with_capacity(chunks.iter().map(|chunk| chunk.records.len()).sum());
        for chunk in chunks {
            for record in &chunk.records {
                let body = match self.body(chunk, record) {
                    Ok(body) => body,
                    Err((reason, detail)) => RecordBody::Rejected {
                        tenant: tenant_of(&record.key),
                        reason,
                        detail,
                    },
                };
                out.push(InputRecord {
                    topic: chunk.topic,
                    partition: chunk.partition,
                    offset: record.offset,
                    body,
                });
            }
        }
        out
    }

    fn body(&self, chunk: &Chunk, record: &LogRecord) -> Result<RecordBody, Refusal> {
        if chunk.topic == Topic::Ledger {
            let owner = partition_of(&record.key, self.partitions);
            if owner != chunk.partition {
                return Err(misplaced(chunk.partition, owner));
            }
            let mut entry = self.record::<LedgerEntry>(&record.value)?;
            check_entry(&entry)?;
            // Its row is rendered from the record itself, which is there until then.
            entry.payload = Vec::new();
            return Ok(RecordBody::Refused(entry));
        }
        let bucket = sensor_bucket(&record.key, self.partitions);
        let owner = partition_of_bucket(bucket);
        if owner != chunk.partition {
            return Err(misplaced(chunk.partition, owner));
        }
        let reading = self.record::<Reading>(&record.value)?;
        check(&record.key, &reading)?;
        Ok(RecordBody::Reading { reading, bucket })
    }

    fn record<T: Record>(&self, bytes: &[u8]) -> Result<T, Refusal> {
        self.writers.decode(self.codec, bytes).map_err(|error| {
            let reason = match error {
                DecodeError::UnknownSchema(_) | DecodeError::SchemaRejected { .. } => {
                    Reason::SchemaRejected
                }
                DecodeError::Frame(_) | DecodeError::Datum { .. } => Reason::Undecodable,
            };
            (reason, error.to_string())
        })
    }
}

/// Why a record counts nowhere but in the ledger.
type Refusal = (Reason, String);

fn misplaced(partition: i32, owner: i32) -> Refusal {
    let detail = format!("the record stands in partition {partition}, its key belongs to {owner}");
    (Reason::Invalid, detail)
}

/// The tenant of a key, as far as one can be read from it; empty when none can.
fn tenant_of(key: &[u8]) -> TenantId {
    key.split(|byte| *byte == b'/')
        .next()
        .and_then(|tenant| std::str::from_utf8(tenant).ok())
        .and_then(|tenant| TenantId::parse(tenant).ok())
        .unwrap_or_else(|| TenantId::trusted(""))
}

/// Decoding checks types; this checks what a writer other than ours may have got wrong.
fn check(key: &[u8], reading: &Reading) -> Result<(), Refusal> {
    let invalid = |detail: String| Err((Reason::Invalid, detail));
    let (tenant, sensor) = (reading.tenant.as_str(), reading.sensor_id.as_str());
    let matches = key
        .strip_prefix(tenant.as_bytes())
        .and_then(|rest| rest.strip_prefix(b"/"))
        .is_some_and(|rest| rest == sensor.as_bytes());
    if !matches {
        let key = String::from_utf8_lossy(key);
        return invalid(format!(
            "the key is {key:?}, the reading's is {tenant}/{sensor}"
        ));
    }
    if let Err(error) = check_ids(tenant, sensor) {
        return invalid(error);
    }
    if reading.quality != Quality::Bad && !reading.value.is_finite() {
        return invalid(format!(
            "the value is {} and the quality {}; only BAD readings have no value",
            reading.value,
            reading.quality.as_str()
        ));
    }
    check_length("source", &reading.source)?;
    check_length("unit", reading.unit.as_deref().unwrap_or_default())?;
    for (name, ts) in [("event_ts", reading.event_ts), ("recv_ts", reading.recv_ts)] {
        if !TIMES.contains(&ts) {
            return invalid(format!("{name} {ts} lies outside the years 1 to 9999"));
        }
    }
    Ok(())
}

/// Tenant and source are keys of rows.
fn check_entry(entry: &LedgerEntry) -> Result<(), Refusal> {
    let tenant = entry.tenant.as_str();
    if !tenant.is_empty() {
        TenantId::parse(tenant).map_err(|e| (Reason::Invalid, e.to_string()))?;
    }
    check_length("source", &entry.source)
}

fn check_length(name: &str, text: &str) -> Result<(), Refusal> {
    if text.len() <= MAX_TEXT_BYTES {
        return Ok(());
    }
    let detail = format!(
        "the {name} has {} bytes; at most {MAX_TEXT_BYTES} can be kept",
        text.len()
    );
    Err((Reason::Invalid, detail))
}

/// Checks ids without building them: the usual ones are plain and short.
fn check_ids(tenant: &str, sensor: &str) -> Result<(), String> {
    let slug = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let plain_tenant =
        (1..=63).contains(&tenant.len()) && !tenant.starts_with('-') && tenant.bytes().all(slug);
    if !plain_tenant {
        TenantId::parse(tenant).map_err(|e| e.to_string())?;
    }
    let plain = |b: u8| b.is_ascii_graphic() && b != b'+' && b != b'#';
    let plain_sensor =
        (1..=SensorId::MAX_BYTES).contains(&sensor.len()) && sensor.bytes().all(plain);
    if !plain_sensor {
        SensorId::parse(sensor).map_err(|e| e.to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
