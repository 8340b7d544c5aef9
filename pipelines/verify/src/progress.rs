//! The progress row: which tick the views are as of, and what it says of itself.

use openinfra_log::Log;
use openinfra_schemas::Topic;
use openinfra_store::{
    Freshness, KeyBuf, Row, RowKey, Store, StoreError, get_row, tables::views::ProgressRow,
};
use serde_json::Value;

use crate::{compare::Comparer, ticks::Ticks};

/// The topics that ticks bind.
const INPUTS: [Topic; 3] = [Topic::Readings, Topic::Entities, Topic::Ledger];

pub(crate) async fn read(
    store: &dyn Store,
    generation: i32,
) -> Result<Option<ProgressRow>, StoreError> {
    let partition = KeyBuf::new().int(generation);
    let key = RowKey::new(ProgressRow::TABLE, &partition, &KeyBuf::new());
    get_row(store, &key, Freshness::Acknowledged).await
}

/// Compares what the row says with the ticks, and its counts with the rows that the log gives.
pub(crate) fn compare(
    progress: &ProgressRow,
    log: &dyn Log,
    ticks: &Ticks,
    compare: &mut Comparer<'_>,
) {
    let mut check = |what: &str, expected: Value, stored: Value| {
        compare.fact("progress", what, &expected, &stored);
    };
    check("as_of", ticks.last().into(), progress.as_of.into());
    check(
        "tick_offset",
        ticks.last_offset.into(),
        progress.tick_offset.into(),
    );
    check(
        "log_id",
        ticks.log_id.clone().into(),
        progress.log_id.clone().into(),
    );
    let ends: Value = serde_json::from_str(&progress.ends).unwrap_or_default();
    for topic in INPUTS {
        let stored = &ends[topic.name()];
        let partitions = 0..log.partitions(topic);
        let expected: Vec<i64> = partitions.map(|p| ticks.end(topic, p)).collect();
        check(&format!("ends.{topic}"), expected.into(), stored.clone());
    }
    let rows: Value = serde_json::from_str(&progress.rows).unwrap_or_default();
    for (view, counted) in compare.counted() {
        let what = format!("rows.{view}");
        compare.fact("progress", &what, &counted.into(), &rows[view]);
    }
}
