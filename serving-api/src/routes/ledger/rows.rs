//! The view's rows by reason and place in the log.

use std::collections::VecDeque;

use openinfra_schemas::{Reason, TenantId, Topic};
use openinfra_store::{Edge, KeyBuf, Range, Row, tables::views::LedgerRow};
use serde::{Deserialize, Serialize};

use crate::{app::App, error::ApiError, lists::walk::Rows, merge::Merge};

/// The topics whose records can be refused, in the list's order.
const TOPICS: [Topic; 2] = [Topic::Ledger, Topic::Readings];
/// How many partitions of the view are read at once.
const BATCH: usize = 64;
/// How many rows of one partition are read at once; each has its payload.
const CHUNK: usize = 64;

/// A partition of the view, and behind which offset to look in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    reason: String,
    topic: String,
    partition: i32,
    after: Option<i64>,
}

/// The tenant's refused records of some reasons and topics.
pub(super) struct LedgerRows<'a> {
    app: &'a App,
    tenant: TenantId,
    /// Not looked at yet.
    places: VecDeque<Place>,
    /// Have rows.
    filled: VecDeque<Place>,
    current: Option<Merge<'a, LedgerRow>>,
}

impl<'a> LedgerRows<'a> {
    /// Begins behind `after`.
    pub(super) fn open(
        app: &'a App,
        tenant: &TenantId,
        wants: impl Fn(Reason, Topic) -> bool,
        after: Option<&Place>,
    ) -> Self {
        let mut places = places(app.partitions(), wants);
        if let Some(after) = after {
            places.retain(|place| !place.is_before(after));
            if let Some(first) = places.front_mut() {
                *first = after.clone();
            }
        }
        Self {
            app,
            tenant: tenant.clone(),
            places,
            filled: VecDeque::new(),
            current: None,
        }
    }

    /// Finds the next partitions that have rows; false when there are none left to look at.
    async fn fill(&mut self) -> Result<bool, ApiError> {
        let batch: Vec<Place> = self.places.drain(..BATCH.min(self.places.len())).collect();
        // Most partitions are empty; those are passed over in one read.
        let heads: Vec<Range> = batch.iter().map(|p| p.range(&self.tenant, 1)).collect();
        let heads = self.app.store.range_many(&heads).await?;
        let is_looked_at = !batch.is_empty();
        let filled = batch.into_iter().zip(heads);
        self.filled
            .extend(filled.filter(|(_, rows)| !rows.is_empty()).map(|(p, _)| p));
        Ok(is_looked_at)
    }
}

impl Rows for LedgerRows<'_> {
    type Row = LedgerRow;
    type Position = Place;

    async fn next(&mut self) -> Result<Option<LedgerRow>, ApiError> {
        loop {
            if let Some(rows) = &mut self.current
                && let Some(row) = rows.next().await?
            {
                return Ok(Some(row));
            }
            self.current = None;
            if let Some(place) = self.filled.pop_front() {
                let range = place.range(&self.tenant, CHUNK);
                self.current = Some(Merge::new(&*self.app.store, vec![range], CHUNK).await?);
            } else if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    fn position(row: &LedgerRow) -> Place {
        Place {
            reason: row.reason.clone(),
            topic: row.topic.clone(),
            partition: row.log_partition,
            after: Some(row.offset),
        }
    }

    fn extra_bytes(row: &LedgerRow) -> usize {
        row.payload.len()
    }
}

/// The partitions of the view to look through, in the list's order.
fn places(partitions: i32, wants: impl Fn(Reason, Topic) -> bool) -> VecDeque<Place> {
    let mut reasons = Reason::ALL;
    reasons.sort_unstable_by_key(|reason| reason.as_str());
    let mut places = VecDeque::new();
    for reason in reasons {
        for topic in TOPICS.into_iter().filter(|topic| wants(reason, *topic)) {
            places.extend((0..partitions).map(|partition| Place {
                reason: reason.as_str().to_owned(),
                topic: topic.name().to_owned(),
                partition,
                after: None,
            }));
        }
    }
    places
}

impl Place {
    fn range(&self, tenant: &TenantId, limit: usize) -> Range {
        let partition = KeyBuf::new()
            .text(tenant.as_str())
            .text(&self.reason)
            .text(&self.topic)
            .int(self.partition);
        let at = |offset| KeyBuf::new().bigint(offset).into_bytes();
        Range {
            from: self
                .after
                .map_or(Edge::Open, |offset| Edge::After(at(offset))),
            ..Range::partition(LedgerRow::TABLE, partition.into_bytes())
        }
        .limit(limit)
    }

    fn is_before(&self, other: &Self) -> bool {
        (&self.reason, &self.topic, self.partition) < (&other.reason, &other.topic, other.partition)
    }
}
