//! The tables that the checks write.

use crate::table;

table! {
    /// Written without conditions.
    pub struct ItemRow in "conformance_item" {
        partition { part: String, bucket: i32 }
        clustering { name: String, at: i64 }
        values { number: i64, text: Option<String>, real: Option<f64>, bytes: Vec<u8>, flag: bool }
    }
}

table! {
    /// Written last, as `then` row.
    pub struct MarkRow in "conformance_mark" {
        partition { part: String }
        clustering {}
        values { number: i64 }
    }
}

table! {
    /// Written conditionally, and only so.
    pub struct CounterRow in "conformance_counter" {
        partition { part: String }
        clustering { name: String }
        values { note: Option<String>, version: i64, seen: Option<i64> }
    }
}

impl ItemRow {
    /// A row whose other values follow from its number.
    pub(super) fn new(part: &str, name: &str, at: i64, number: i64) -> Self {
        Self {
            part: part.to_owned(),
            bucket: 7,
            name: name.to_owned(),
            at,
            number,
            text: (number % 2 == 0).then(|| format!("text {number} \0 é")),
            real: (number % 3 == 0).then_some(number as f64 / 7.0),
            bytes: number.to_be_bytes().to_vec(),
            flag: number % 5 == 0,
        }
    }
}

impl CounterRow {
    pub(super) fn new(part: &str, name: &str, version: i64) -> Self {
        Self {
            part: part.to_owned(),
            name: name.to_owned(),
            note: Some(format!("version {version}")),
            version,
            seen: None,
        }
    }
}
