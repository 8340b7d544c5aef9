//! What every implementation of the store must pass.
//!
//! Each check works in partitions of its own, named by the run, so that the suite runs against a cluster
//! that others used before. They panic with what was wrong. What a newcomer would get wrong: durability
//! is promised too, and no check in one process can show it; each implementation has crash tests.

mod batches;
mod conditional;
mod ranges;
mod rows;

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use openinfra_schemas::time::Millis;

use crate::{Batch, Freshness, Row, RowKey, Store, WriteClass, get_row};

pub use rows::{CounterRow, ItemRow, MarkRow};

/// A store under test, and names that nobody used before.
pub struct Suite {
    store: Arc<dyn Store>,
    name: String,
    next_tick: AtomicI64,
}

impl Suite {
    /// The store must have the tables of [`ItemRow`], [`MarkRow`] and [`CounterRow`]; `name` is one that
    /// no run before had, and `first_tick` above all ticks that were written so far.
    pub fn new(store: Arc<dyn Store>, name: &str, first_tick: Millis) -> Self {
        Self {
            store,
            name: name.to_owned(),
            next_tick: AtomicI64::new(first_tick),
        }
    }

    /// Runs every check.
    pub async fn run(&self) {
        self.rows_are_put_and_removed().await;
        self.many_rows_come_in_the_order_asked().await;
        self.the_last_mutation_of_a_row_counts().await;
        self.a_batch_may_be_repeated().await;
        self.a_large_batch_is_written_whole().await;
        self.rows_go_ahead_of_their_tick().await;
        self.ticks_only_go_forward().await;
        self.a_greater_number_wins().await;
        self.the_rest_of_a_tick_follows_it().await;
        self.a_partition_changes_at_once().await;
        self.then_rows_come_last().await;
        self.ranges_are_as_a_sorted_map().await;
        self.prefixes_and_partitions_do_not_mix().await;
        self.many_prefixes_of_a_partition_bring_each_its_own().await;
        self.many_ranges_come_in_the_order_asked().await;
        self.conditions_decide().await;
        self.a_conditional_batch_may_be_repeated().await;
        self.one_of_many_racers_wins().await;
        self.counting_loses_nothing().await;
    }

    fn tick(&self) -> Millis {
        self.next_tick.fetch_add(1, Ordering::Relaxed)
    }

    /// A partition's name that only one check has.
    fn part(&self, check: &str) -> String {
        format!("{} {check}", self.name)
    }

    /// A batch of each class, so that what holds of both is checked of both.
    fn classes(&self) -> [Batch; 2] {
        [
            Batch::new(WriteClass::Durable),
            Batch::new(WriteClass::Tick(self.tick())),
        ]
    }

    async fn write(&self, batch: Batch) {
        self.store
            .write(batch)
            .await
            .expect("the store takes a batch");
    }

    async fn get<R: Row>(&self, key: &RowKey) -> Option<R> {
        let acknowledged = get_row(self.store.as_ref(), key, Freshness::Acknowledged);
        acknowledged.await.expect("a row or none")
    }
}
