//! View `ledger`: by reason, topic, partition and offset.
//!
//! Its key is a place in the log, so that a dump by content, which leaves the place out, still has the
//! order of places.

use base64::{Engine, prelude::BASE64_STANDARD};
use openinfra_schemas::{Reason, Topic};
use openinfra_store::{KeyBuf, Range, Row, tables::views::LedgerRow};
use serde::Serialize;

use super::{DumpError, Place, Source, line::Rows};
use crate::{merge::Merge, wire::Ts};

const CHUNK: usize = 256;

#[derive(Serialize)]
struct Line<'a> {
    reason: &'a str,
    topic: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<i64>,
    detail: &'a str,
    source: &'a str,
    sensor_id: Option<&'a str>,
    event_ts: Option<Ts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recv_ts: Option<Option<Ts>>,
    payload_base64: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tick: Option<Ts>,
    tenant: &'a str,
}

pub(super) async fn dump(source: Source<'_>, out: &mut Rows<'_>) -> Result<(), DumpError> {
    for range in source.rest_of_sequence(partitions(source)) {
        let mut rows = Merge::<LedgerRow>::new(source.store, vec![range], CHUNK).await?;
        while let Some(row) = rows.next().await? {
            out.push(&line(&source, &row), || Place::of(&row)).await?;
            if out.is_full() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// All there can be, by reason, topic and partition of the log.
fn partitions(source: Source<'_>) -> Vec<Range> {
    let mut reasons = Reason::ALL;
    reasons.sort_unstable_by_key(|reason| reason.as_str());
    let tenant = KeyBuf::new().text(source.tenant.as_str());
    let mut ranges = Vec::new();
    for reason in reasons {
        for topic in [Topic::Ledger, Topic::Readings] {
            let place = tenant.clone().text(reason.as_str()).text(topic.name());
            ranges.extend((0..source.dump.partitions).map(|partition| {
                let partition = place.clone().int(partition).into_bytes();
                Range::partition(LedgerRow::TABLE, partition)
            }));
        }
    }
    ranges
}

fn line<'a>(source: &Source<'_>, row: &'a LedgerRow) -> Line<'a> {
    Line {
        reason: &row.reason,
        topic: &row.topic,
        partition: source.unless_by_content(row.log_partition),
        offset: source.unless_by_content(row.offset),
        detail: &row.detail,
        source: &row.source,
        sensor_id: row.sensor_id.as_deref(),
        event_ts: row.event_ts.map(Ts),
        recv_ts: source.unless_by_content(row.recv_ts.map(Ts)),
        payload_base64: BASE64_STANDARD.encode(&row.payload),
        tick: source.unless_by_content(Ts(row.tick)),
        tenant: row.tenant.as_str(),
    }
}
