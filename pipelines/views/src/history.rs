//! Fetches the hours of history that a tick needs and the engine lacks.
//!
//! A newcomer would take the rows as they are. While replaying, the store holds rows of later ticks too:
//! only those below the block's offset count, so that a look-up answers the same as it did live.

use openinfra_operators::{BlockId, HistoryRow};
use openinfra_store::{KeyBuf, Range, Row, StoreError, tables::views::ReadingRow};

use crate::{context::Context, error::Halt, retry::Backoff};

/// The rows of each block, in the order of the blocks; waits for the store as long as that takes.
pub(crate) async fn fetch(
    context: &Context,
    blocks: &[BlockId],
) -> Result<Vec<Vec<HistoryRow>>, Halt> {
    let ranges: Vec<Range> = blocks.iter().map(range_of).collect();
    let mut backoff = Backoff::new();
    loop {
        let answer = tokio::select! {
            () = context.abort().cancelled() => return Err(Halt::Aborted),
            answer = context.store.range_many(&ranges) => answer,
        };
        let error = match answer {
            Ok(answers) => {
                if backoff.has_paused() {
                    context.answered("store");
                }
                context.metrics.block_fetches.inc_by(blocks.len() as u64);
                return decode(blocks, &ranges, &answers);
            }
            Err(error) => error,
        };
        context.wait_for_store(error, &mut backoff).await?;
    }
}

fn range_of(block: &BlockId) -> Range {
    let partition = KeyBuf::new()
        .text(block.tenant.as_str())
        .int(block.bucket)
        .bigint(block.hour);
    let sensor = KeyBuf::new().text(block.sensor_id.as_str());
    Range::prefix(
        ReadingRow::TABLE,
        partition.into_bytes(),
        sensor.into_bytes(),
    )
}

fn decode(
    blocks: &[BlockId],
    ranges: &[Range],
    answers: &[Vec<openinfra_store::RawRow>],
) -> Result<Vec<Vec<HistoryRow>>, Halt> {
    let mut all = Vec::with_capacity(blocks.len());
    for ((block, range), answer) in blocks.iter().zip(ranges).zip(answers) {
        let mut rows = Vec::with_capacity(answer.len());
        for raw in answer {
            let row = ReadingRow::decode(&range.partition, &raw.clustering, &raw.value).map_err(
                |source| StoreError::Row {
                    table: ReadingRow::TABLE.name,
                    source,
                },
            )?;
            if row.offset < block.below_offset {
                rows.push(history_row(block, row));
            }
        }
        all.push(rows);
    }
    Ok(all)
}

fn history_row(block: &BlockId, row: ReadingRow) -> HistoryRow {
    HistoryRow {
        // The block's own texts: rows of one sensor share them.
        tenant: block.tenant.clone(),
        bucket: block.bucket,
        sensor_id: block.sensor_id.clone(),
        event_ts: row.event_ts,
        offset: row.offset,
        value: row.value,
        quality: row.quality,
        recv_ts: row.recv_ts,
        device_ts: row.device_ts,
        unit: row.unit,
        battery_pct: row.battery_pct,
        signal_dbm: row.signal_dbm,
        is_new: false,
    }
}
