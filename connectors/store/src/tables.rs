//! The tables of the product: what each holds, and under which key.
//!
//! Rows that are written together live together: what a sensor's readings change is partitioned by the
//! sensor's bucket, a fixed number of which nest in each partition of the log, and rows that a sensor has once
//! by that partition.

mod bounded;
pub mod entities;
pub mod views;

pub use bounded::{LEDGER_DETAIL_BYTES, LEDGER_PAYLOAD_BYTES};

use crate::row::{Row, Table};

/// Every table of the product.
pub const ALL: &[&Table] = &[
    entities::EntityRow::TABLE,
    entities::IntentRow::TABLE,
    entities::ApiKeyRow::TABLE,
    entities::KeyByTenantRow::TABLE,
    entities::IdempotencyRow::TABLE,
    entities::SecretRow::TABLE,
    entities::BrokerSessionRow::TABLE,
    views::LatestReadingRow::TABLE,
    views::ReadingRow::TABLE,
    views::SensorDaysRow::TABLE,
    views::HourlyAggregateRow::TABLE,
    views::SensorStatusRow::TABLE,
    views::OfflineEpisodeRow::TABLE,
    views::SensorSeenRow::TABLE,
    views::SensorIndexRow::TABLE,
    views::AlertRow::TABLE,
    views::AlertByIdRow::TABLE,
    views::AlertMonthRow::TABLE,
    views::LedgerRow::TABLE,
    views::LedgerSummaryRow::TABLE,
    views::AssetHealthRow::TABLE,
    views::IndicatorRow::TABLE,
    views::TenantRow::TABLE,
    views::ProgressRow::TABLE,
    views::AttemptRow::TABLE,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_all() {
        let sources = [
            include_str!("tables/entities.rs"),
            include_str!("tables/views.rs"),
        ];
        let declared = sources
            .iter()
            .flat_map(|source| source.lines())
            .filter(|line| line.trim_start().starts_with("pub struct "))
            .filter_map(|line| line.split('"').nth(1));
        let listed: Vec<_> = ALL.iter().map(|table| table.name).collect();
        assert_eq!(declared.collect::<Vec<_>>(), listed);
    }
}
