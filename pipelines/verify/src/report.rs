//! What a verification found.

use std::collections::BTreeMap;

use openinfra_schemas::time::Millis;
use serde::Serialize;

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The tick that both sides are as of.
    pub as_of: Millis,
    /// Whether every stored row that can be found is expected, every expected row is stored with the same
    /// values, and all records are accounted for.
    pub equal: bool,
    /// By the name of the store's table.
    pub views: BTreeMap<String, ViewReport>,
    /// The first rows that differ.
    pub differing: Vec<Difference>,
    /// Whether each source's records are the sum of what became of them, as recomputed.
    pub conserved: bool,
    /// Records of `readings` and `ledger` up to the tick.
    pub log_records: i64,
    pub accepted: i64,
    pub duplicates: i64,
    pub corrections: i64,
    /// Refused records by reason; reasons without any are left out.
    pub refused: BTreeMap<String, i64>,
}

/// How one view compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ViewReport {
    /// Rows that the log gives.
    pub rows_expected: u64,
    /// Rows found in the store.
    pub rows_stored: u64,
    /// Rows that are only on one side, or differ in a value.
    pub differing: u64,
}

/// One row that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The store's table.
    pub view: String,
    /// The key's columns, as a person reads them.
    pub key: String,
    /// The value columns that the log gives, as a JSON object; none: no such row.
    pub expected: Option<String>,
    /// Those that are stored; none: no such row.
    pub stored: Option<String>,
}
