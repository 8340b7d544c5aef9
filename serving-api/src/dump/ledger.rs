//! View `ledger`: by reason, topic, partition and offset.
//!
//! Its key is a place in the log, so that a dump by content, which leaves the place out, still has the
//! order of places.

use base64::{Engine, prelude::BASE64_STANDARD};
use openinfra_schemas::{Reason, Topic};
use openinfra_store::{KeyBuf, Range, Row, tables::views::LedgerRow};
use serde::Serialize;

use super::{DumpError, Source, line::Lines};
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

pub(super) async fn dump(source: Source<'_>, lines: &mut Lines<'_>) -> Result<(), DumpError> {
    let mut reasons: Vec<&str> = Reason::ALL.into_iter().map(Reason::as_str).collect();
    reasons.sort_unstable();
    for reason in reasons {
        for topic in [Topic::Ledger, Topic::Readings] {
            for partition in 0..source.dump.partitions {
                dump_partition(source, reason, topic, partition, lines).await?;
            }
        }
    }
    Ok(())
}

async fn dump_partition(
    source: Source<'_>,
    reason: &str,
    topic: Topic,
    partition: i32,
    lines: &mut Lines<'_>,
) -> Result<(), DumpError> {
    let tenant = KeyBuf::new().text(source.tenant.as_str());
    let key = tenant.text(reason).text(topic.name()).int(partition);
    let ranges = vec![Range::partition(LedgerRow::TABLE, key.into_bytes())];
    let mut rows = Merge::<LedgerRow>::new(source.store, ranges, CHUNK).await?;
    while let Some(row) = rows.next().await? {
        lines.push(&line(&source, &row)).await?;
    }
    Ok(())
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
