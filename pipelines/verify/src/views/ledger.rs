//! `ledger`: every record that was refused, at its position.
//!
//! A newcomer would collect them. One may hold megabytes of what somebody sent, so they are compared as the
//! partition is read, a stretch of offsets at a time.

use openinfra_schemas::{Reason, Topic};
use openinfra_store::{Edge, KeyBuf, Range, Row, tables::views::LedgerRow};

use crate::{
    VerifyError,
    compare::{Comparer, Expected},
};

/// The source of records whose bytes name none.
pub(crate) const UNREADABLE: &str = "unreadable";

/// How much may be in memory.
const MAX_BYTES: usize = 8 << 20;
const MAX_ROWS: usize = 20_000;

/// Refused records of one partition of a topic, in the order of their offsets.
#[derive(Debug)]
pub(crate) struct Refusals {
    topic: Topic,
    partition: i32,
    /// All below were compared.
    from: i64,
    rows: Vec<LedgerRow>,
    bytes: usize,
}

impl Refusals {
    pub(crate) fn new(topic: Topic, partition: i32) -> Self {
        Self {
            topic,
            partition,
            from: i64::MIN,
            rows: Vec::new(),
            bytes: 0,
        }
    }

    pub(crate) fn topic(&self) -> Topic {
        self.topic
    }

    pub(crate) fn partition(&self) -> i32 {
        self.partition
    }

    pub(crate) fn push(&mut self, row: LedgerRow) {
        let mut row = row.bounded();
        blank_detail(&mut row);
        self.bytes += row.payload.len() + row.detail.len() + 200;
        self.rows.push(row);
    }

    /// Compares what came so far, if that is much.
    pub(crate) async fn compare_when_full(
        &mut self,
        compare: &mut Comparer<'_>,
    ) -> Result<(), VerifyError> {
        let is_full = self.bytes >= MAX_BYTES || self.rows.len() >= MAX_ROWS;
        match self.rows.last() {
            Some(last) if is_full => {
                let to = last.offset + 1;
                self.compare(Some(to), compare).await?;
                self.from = to;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Compares the rest, and that nothing stands behind it.
    pub(crate) async fn finish(mut self, compare: &mut Comparer<'_>) -> Result<(), VerifyError> {
        self.compare(None, compare).await
    }

    async fn compare(
        &mut self,
        to: Option<i64>,
        compare: &mut Comparer<'_>,
    ) -> Result<(), VerifyError> {
        let mut rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        let mut expected = Vec::new();
        for tenant in compare.tenants() {
            for reason in Reason::ALL {
                let place = KeyBuf::new()
                    .text(tenant.as_str())
                    .text(reason.as_str())
                    .text(self.topic.name())
                    .int(self.partition);
                let mut part = Expected::new(Range {
                    from: Edge::Before(KeyBuf::new().bigint(self.from).into_bytes()),
                    to: to.map_or(Edge::Open, |to| {
                        Edge::Before(KeyBuf::new().bigint(to).into_bytes())
                    }),
                    ..Range::partition(LedgerRow::TABLE, place.into_bytes())
                });
                let (own, others): (Vec<_>, Vec<_>) = rows
                    .into_iter()
                    .partition(|row| row.tenant == tenant && row.reason == reason.as_str());
                rows = others;
                own.iter().for_each(|row| part.push(row));
                expected.push(part);
            }
        }
        debug_assert!(rows.is_empty(), "every row's tenant is known");
        compare
            .ranges_but::<LedgerRow>(expected, blank_detail)
            .await?;
        Ok(())
    }
}

/// Takes out the wording that is the job's own; a connector's stands in the log.
fn blank_detail(row: &mut LedgerRow) {
    if row.topic == Topic::Readings.name() || row.source == UNREADABLE {
        row.detail.clear();
    }
}
