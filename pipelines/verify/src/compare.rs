//! Expected rows against stored ones, range by range.
//!
//! A newcomer would compare decoded rows with `==`, to which two NaNs differ and two zeros do not. Rows are
//! compared in their encoded form, in which doubles are their bits.

use std::collections::{BTreeMap, BTreeSet};

use openinfra_schemas::TenantId;
use openinfra_store::{
    KeyBuf, Range, Row, RowKey, Store, StoreError,
    row::take_key,
    tables::views::{ALL_TENANTS, ProgressRow, TenantRow},
};
use serde_json::Value;

use crate::{
    report::{Difference, Report, ViewReport},
    rows::{key_text, value_text},
    views::Totals,
};

/// Ranges that one question to the store may hold.
pub(crate) const RANGES: usize = 256;
/// Expected rows that one question may be about.
pub(crate) const ROWS: usize = 20_000;

/// Compares, and remembers what differs.
pub(crate) struct Comparer<'a> {
    store: &'a dyn Store,
    max_differences: usize,
    views: BTreeMap<&'static str, ViewReport>,
    /// Rows as the progress row counts them, where they are not those of the table.
    counts: BTreeMap<&'static str, i64>,
    differing: Vec<Difference>,
    /// All tenants that anything names.
    tenants: BTreeSet<TenantId>,
}

/// One range of the store, and the rows that the log gives for it.
#[derive(Debug)]
pub(crate) struct Expected {
    range: Range,
    /// Clustering key and value.
    rows: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Expected {
    pub(crate) fn new(range: Range) -> Self {
        Self {
            range,
            rows: Vec::new(),
        }
    }

    /// A whole partition.
    pub(crate) fn partition<R: Row>(partition: KeyBuf) -> Self {
        Self::new(Range::partition(R::TABLE, partition.into_bytes()))
    }

    /// Adds a row of the range's partition.
    pub(crate) fn push<R: Row>(&mut self, row: &R) {
        let mut key = Vec::with_capacity(64);
        let partition_len = row.encode_key(&mut key);
        debug_assert_eq!(key[..partition_len], self.range.partition);
        let mut value = Vec::with_capacity(64);
        row.encode_value(&mut value);
        self.rows.push((key.split_off(partition_len), value));
    }
}

impl<'a> Comparer<'a> {
    pub(crate) fn new(store: &'a dyn Store, max_differences: usize) -> Self {
        Self {
            store,
            max_differences,
            views: BTreeMap::new(),
            counts: BTreeMap::new(),
            differing: Vec::new(),
            tenants: BTreeSet::new(),
        }
    }

    /// Learns the tenants that the store and the entities name, so that stray rows of theirs are looked for.
    pub(crate) async fn learn_tenants(&mut self, totals: &Totals) -> Result<(), StoreError> {
        let all = KeyBuf::new().text(ALL_TENANTS).into_bytes();
        let range = Range::partition(TenantRow::TABLE, all);
        for row in self.store.range(&range).await? {
            // From the key alone: a value that does not decode differs, which is told later.
            if let Ok(tenant) = take_key(&mut &row.clustering[..], "tenant") {
                self.tenants.insert(tenant);
            }
        }
        self.tenants.extend(totals.tenants().cloned());
        Ok(())
    }

    pub(crate) fn name_tenant(&mut self, tenant: &TenantId) {
        if !self.tenants.contains(tenant) {
            self.tenants.insert(tenant.clone());
        }
    }

    pub(crate) fn tenants(&self) -> Vec<TenantId> {
        self.tenants.iter().cloned().collect()
    }

    pub(crate) fn store(&self) -> &'a dyn Store {
        self.store
    }

    /// Compares ranges of one table, a few thousand rows at a time.
    pub(crate) async fn ranges<R: Row>(
        &mut self,
        expected: impl IntoIterator<Item = Expected>,
    ) -> Result<(), StoreError> {
        self.ranges_but::<R>(expected, |_| {}).await
    }

    /// Compares ranges of one table but for what `blank` takes out of stored rows; expected ones come
    /// without it.
    pub(crate) async fn ranges_but<R: Row>(
        &mut self,
        expected: impl IntoIterator<Item = Expected>,
        blank: fn(&mut R),
    ) -> Result<(), StoreError> {
        let view = R::TABLE.name;
        self.views.entry(view).or_default();
        let (mut waiting, mut rows) = (Vec::new(), 0);
        for part in expected {
            rows += part.rows.len();
            waiting.push(part);
            if waiting.len() >= RANGES || rows >= ROWS {
                self.ask::<R>(&mut waiting, blank).await?;
                rows = 0;
            }
        }
        self.ask::<R>(&mut waiting, blank).await
    }

    async fn ask<R: Row>(
        &mut self,
        waiting: &mut Vec<Expected>,
        blank: fn(&mut R),
    ) -> Result<(), StoreError> {
        let (ranges, expected): (Vec<Range>, Vec<_>) = waiting
            .drain(..)
            .map(|part| (part.range, part.rows))
            .unzip();
        let answers = self.store.range_many(&ranges).await?;
        for ((range, mut expected), stored) in ranges.iter().zip(expected).zip(answers) {
            expected.sort_unstable();
            let mut stored = stored.iter().peekable();
            let place = &range.partition;
            for (clustering, value) in &expected {
                while let Some(stray) = stored.next_if(|row| row.clustering[..] < clustering[..]) {
                    self.row(place, &stray.clustering, None, Some(&stray.value), blank);
                }
                let found = stored.next_if(|row| row.clustering[..] == clustering[..]);
                let found = found.map(|row| &row.value[..]);
                self.row(place, clustering, Some(value), found, blank);
            }
            for stray in stored {
                self.row(place, &stray.clustering, None, Some(&stray.value), blank);
            }
        }
        tokio::task::yield_now().await;
        Ok(())
    }

    /// Compares rows that are alone in their partitions.
    pub(crate) async fn single<R: Row>(&mut self, rows: &[R]) -> Result<(), StoreError> {
        self.views.entry(R::TABLE.name).or_default();
        for rows in rows.chunks(ROWS) {
            let keys: Vec<RowKey> = rows.iter().map(Row::key).collect();
            let stored = self.store.get_many(&keys).await?;
            for ((row, key), stored) in rows.iter().zip(&keys).zip(stored) {
                let mut value = Vec::with_capacity(64);
                row.encode_value(&mut value);
                let stored = stored.as_deref();
                let blank: fn(&mut R) = |_| {};
                self.row(
                    key.partition(),
                    key.clustering(),
                    Some(&value),
                    stored,
                    blank,
                );
            }
        }
        Ok(())
    }

    /// Compares the two sides of one row.
    fn row<R: Row>(
        &mut self,
        partition: &[u8],
        clustering: &[u8],
        expected: Option<&[u8]>,
        stored: Option<&[u8]>,
        blank: fn(&mut R),
    ) {
        let view = self.views.entry(R::TABLE.name).or_default();
        view.rows_expected += u64::from(expected.is_some());
        view.rows_stored += u64::from(stored.is_some());
        if expected == stored || same(partition, clustering, expected, stored, blank) {
            return;
        }
        view.differing += 1;
        if self.differing.len() < self.max_differences {
            self.differing.push(Difference {
                view: R::TABLE.name.to_owned(),
                key: key_text(R::TABLE, partition, clustering),
                expected: expected.map(|value| value_text(R::TABLE, value)),
                stored: stored.map(|value| value_text(R::TABLE, value)),
            });
        }
    }

    /// Compares one thing that a row says.
    pub(crate) fn fact(
        &mut self,
        view: &'static str,
        what: &str,
        expected: &Value,
        stored: &Value,
    ) {
        let report = self.views.entry(view).or_default();
        report.rows_expected += 1;
        report.rows_stored += 1;
        if expected == stored {
            return;
        }
        report.differing += 1;
        if self.differing.len() < self.max_differences {
            self.differing.push(Difference {
                view: view.to_owned(),
                key: what.to_owned(),
                expected: Some(expected.to_string()),
                stored: Some(stored.to_string()),
            });
        }
    }

    /// Adds to what the progress row should count for a view.
    pub(crate) fn count(&mut self, view: &'static str, rows: usize) {
        *self.counts.entry(view).or_default() += rows as i64;
    }

    /// What the progress row should count, by view.
    pub(crate) fn counted(&self) -> Vec<(&'static str, i64)> {
        COUNTED
            .iter()
            .map(|view| {
                let of_table = || self.views.get(view).map_or(0, |v| v.rows_expected as i64);
                (
                    *view,
                    self.counts.get(view).copied().unwrap_or_else(of_table),
                )
            })
            .collect()
    }

    pub(crate) fn into_report(self, progress: &ProgressRow, totals: &Totals) -> Report {
        let conserved = totals.is_conserved();
        let sums = totals.sums();
        Report {
            as_of: progress.as_of,
            equal: conserved && self.views.values().all(|view| view.differing == 0),
            views: self
                .views
                .into_iter()
                .map(|(view, report)| (view.to_owned(), report))
                .collect(),
            differing: self.differing,
            conserved,
            log_records: totals.records_covered(),
            accepted: sums.accepted,
            duplicates: sums.duplicates,
            corrections: sums.corrections,
            refused: sums.refused_by_reason(),
        }
    }
}

/// The views whose rows the progress row counts.
const COUNTED: [&str; 10] = [
    "readings",
    "latest_reading",
    "hourly_aggregate",
    "sensor_status",
    "offline_episode",
    "sensor_seen",
    "alert",
    "ledger",
    "asset_health",
    "indicators",
];

/// Whether two rows of different bytes say the same: one may have been written before its table had its
/// last columns, or differ in nothing but what does not count.
fn same<R: Row>(
    partition: &[u8],
    clustering: &[u8],
    expected: Option<&[u8]>,
    stored: Option<&[u8]>,
    blank: fn(&mut R),
) -> bool {
    let (Some(expected), Some(stored)) = (expected, stored) else {
        return false;
    };
    R::decode(partition, clustering, stored).is_ok_and(|mut row| {
        blank(&mut row);
        let mut value = Vec::with_capacity(stored.len());
        row.encode_value(&mut value);
        value == expected
    })
}
