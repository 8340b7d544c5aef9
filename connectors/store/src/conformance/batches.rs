//! Batches without conditions: what they change, when it is seen, and in which order.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::{ItemRow, MarkRow, Suite};
use crate::{ATOMIC_ROWS, Batch, Range, Row, Store, WriteClass, get_rows, range_rows, row::KeyBuf};

impl Suite {
    /// What is put is read, what is removed is not, and a read begun after the acknowledgement sees it.
    pub async fn rows_are_put_and_removed(&self) {
        let part = self.part("put");
        for (class, mut batch) in self.classes().into_iter().enumerate() {
            let name = format!("class {class}");
            let first = ItemRow::new(&part, &name, 1, 30);
            let second = ItemRow::new(&part, &name, 1, 31);
            assert_eq!(self.get::<ItemRow>(&first.key()).await, None);
            batch.put(&first);
            self.write(batch).await;
            assert_eq!(self.get(&first.key()).await, Some(first.clone()));

            let [durable, tick] = self.classes();
            let mut batch = if class == 0 { durable } else { tick };
            batch.put(&second);
            batch.remove(&ItemRow::new(&part, &name, 99, 0).key());
            self.write(batch).await;
            assert_eq!(self.get(&first.key()).await, Some(second));

            let [durable, tick] = self.classes();
            let mut batch = if class == 0 { durable } else { tick };
            batch.remove(&first.key());
            self.write(batch).await;
            assert_eq!(self.get::<ItemRow>(&first.key()).await, None);
        }
    }

    /// Numbers say which batch of a row is the later one, and need not be times.
    pub async fn a_greater_number_wins(&self) {
        let part = self.part("numbered");
        let row = |number: i64| ItemRow::new(&part, "row", 1, number);
        for number in 1..=3 {
            let mut batch = Batch::new(WriteClass::Numbered(2 * number));
            batch.put(&row(number));
            self.write(batch).await;
            assert_eq!(self.get(&row(0).key()).await, Some(row(number)));
            let mut batch = Batch::new(WriteClass::Numbered(2 * number + 1));
            batch.remove(&row(0).key());
            self.write(batch).await;
            assert_eq!(self.get::<ItemRow>(&row(0).key()).await, None);
        }
    }

    /// `get_many` answers in the order of its keys, none where there is no row, twice when asked twice.
    pub async fn many_rows_come_in_the_order_asked(&self) {
        let part = self.part("many");
        let rows: Vec<_> = (0..10)
            .map(|at| ItemRow::new(&part, "n", at, at * 3))
            .collect();
        let mut batch = Batch::new(WriteClass::Durable);
        for row in rows.iter().filter(|row| row.at % 2 == 0) {
            batch.put(row);
        }
        self.write(batch).await;
        let order = [4usize, 1, 0, 8, 8, 9, 2];
        let keys: Vec<_> = order.iter().map(|i| rows[*i].key()).collect();
        let got: Vec<Option<ItemRow>> = get_rows(self.store.as_ref(), &keys)
            .await
            .expect("rows or none");
        let expected: Vec<_> = order
            .iter()
            .map(|i| (i % 2 == 0).then(|| rows[*i].clone()))
            .collect();
        assert_eq!(got, expected);
    }

    /// Within a batch the last mutation of a row counts, `then` rows being the last.
    pub async fn the_last_mutation_of_a_row_counts(&self) {
        let part = self.part("last");
        for (class, mut batch) in self.classes().into_iter().enumerate() {
            let row =
                |at: i64, number: i64| ItemRow::new(&part, &format!("class {class}"), at, number);
            batch.put(&row(1, 1));
            batch.put(&row(1, 2));
            batch.put(&row(2, 1));
            batch.remove(&row(2, 0).key());
            batch.remove(&row(3, 0).key());
            batch.put(&row(3, 5));
            batch.put_then(&row(4, 9));
            batch.put(&row(4, 8));
            self.write(batch).await;
            let expected = [(1, Some(2)), (2, None), (3, Some(5)), (4, Some(9))];
            for (at, number) in expected {
                let found: Option<ItemRow> = self.get(&row(at, 0).key()).await;
                assert_eq!(found, number.map(|number| row(at, number)), "row {at}");
            }
        }
    }

    /// The same batch written again changes nothing.
    pub async fn a_batch_may_be_repeated(&self) {
        let part = self.part("repeat");
        for (class, mut batch) in self.classes().into_iter().enumerate() {
            let row = ItemRow::new(&part, &format!("class {class}"), 1, 6);
            let gone = ItemRow::new(&part, &format!("class {class}"), 2, 6);
            batch.put(&gone);
            batch.remove(&gone.key());
            batch.put(&row);
            for _ in 0..3 {
                self.write(batch.clone()).await;
                assert_eq!(self.get(&row.key()).await, Some(row.clone()));
                assert_eq!(self.get::<ItemRow>(&gone.key()).await, None);
            }
        }
    }

    /// A batch of many rows in many partitions is there whole when it is acknowledged.
    pub async fn a_large_batch_is_written_whole(&self) {
        let part = self.part("large");
        let row = |at: i64| ItemRow {
            bucket: (at % 50) as i32,
            ..ItemRow::new(&part, "many", at, at)
        };
        let mut batch = Batch::new(WriteClass::Tick(self.tick()));
        (0..20_000).for_each(|at| batch.put(&row(at)));
        self.write(batch).await;
        for bucket in 0..50 {
            let partition = KeyBuf::new().text(&part).int(bucket).into_bytes();
            let range = Range::partition(ItemRow::TABLE, partition);
            let rows: Vec<ItemRow> = range_rows(self.store.as_ref(), &range)
                .await
                .expect("a range");
            let expected: Vec<_> = (0..400).map(|i| row(i * 50 + i64::from(bucket))).collect();
            assert!(rows == expected, "bucket {bucket}: {} rows", rows.len());
        }
    }

    /// Rows ahead of a tick's batch are written at once, and keep that batch from nothing.
    pub async fn rows_go_ahead_of_their_tick(&self) {
        let part = self.part("ahead");
        let row = |at: i64| ItemRow::new(&part, "row", at, at);
        let (tick, next) = (self.tick(), self.tick());
        let classes = [
            WriteClass::Ahead(tick),
            WriteClass::Ahead(next),
            WriteClass::Tick(tick),
            WriteClass::Ahead(next),
            WriteClass::Tick(next),
            WriteClass::Ahead(tick),
        ];
        for (at, class) in (0..).zip(classes) {
            // What was cut off is written again.
            for _ in 0..2 {
                let mut batch = Batch::new(class);
                batch.put(&row(at));
                self.write(batch).await;
            }
            for at in 0..=at {
                assert_eq!(self.get(&row(at).key()).await, Some(row(at)), "{class:?}");
            }
        }
    }

    /// A batch of a lower tick never overwrites, nor removes, a row written at a higher one.
    pub async fn ticks_only_go_forward(&self) {
        let part = self.part("ticks");
        let row = |number| ItemRow::new(&part, "row", 1, number);
        let (low, middle, high) = (self.tick(), self.tick(), self.tick());
        for (tick, number, expected) in [
            (low, 1, 1),
            (high, 3, 3),
            (middle, 2, 3),
            (low, 1, 3),
            (high, 3, 3),
        ] {
            let mut batch = Batch::new(WriteClass::Tick(tick));
            batch.put(&row(number));
            self.write(batch).await;
            let found = self.get(&row(0).key()).await;
            assert_eq!(found, Some(row(expected)), "after {number} at tick {tick}");
        }
        let mut batch = Batch::new(WriteClass::Tick(middle));
        batch.remove(&row(0).key());
        self.write(batch).await;
        let found = self.get(&row(0).key()).await;
        assert_eq!(found, Some(row(3)), "after a removal at a lower tick");

        let mut batch = Batch::new(WriteClass::Tick(self.tick()));
        batch.remove(&row(0).key());
        self.write(batch).await;
        let mut batch = Batch::new(WriteClass::Tick(high));
        batch.put(&row(3));
        self.write(batch).await;
        let found: Option<ItemRow> = self.get(&row(0).key()).await;
        assert_eq!(found, None, "after a removal at a higher tick");
    }

    /// What waited stands behind its tick and before the next, however often it is written.
    pub async fn the_rest_of_a_tick_follows_it(&self) {
        let part = self.part("rest");
        let row = |number| ItemRow::new(&part, "row", 1, number);
        let (first, second) = (self.tick(), self.tick());
        for (class, number, expected) in [
            (WriteClass::Tick(first), 1, 1),
            (WriteClass::Rest(first), 2, 2),
            (WriteClass::Tick(first), 1, 2),
            (WriteClass::Rest(first), 2, 2),
            (WriteClass::Tick(second), 3, 3),
            (WriteClass::Rest(first), 2, 3),
        ] {
            let mut batch = Batch::new(class);
            batch.put(&row(number));
            self.write(batch).await;
            let found = self.get(&row(0).key()).await;
            assert_eq!(found, Some(row(expected)), "after {number} as {class:?}");
        }
    }

    /// While batches rewrite a partition, every reader finds rows of one batch only.
    pub async fn a_partition_changes_at_once(&self) {
        for durable in [true, false] {
            let part = self.part(&format!("atomic {durable}"));
            let partition = KeyBuf::new().text(&part).int(7).into_bytes();
            let range = Range::partition(ItemRow::TABLE, partition);
            let done = Arc::new(AtomicBool::new(false));
            let readers: Vec<_> = (0..3)
                .map(|_| {
                    let (store, range, done) = (self.store.clone(), range.clone(), done.clone());
                    tokio::spawn(watch_one_batch(store, range, done))
                })
                .collect();
            for number in 1..=50 {
                let mut batch = Batch::new(if durable {
                    WriteClass::Durable
                } else {
                    WriteClass::Tick(self.tick())
                });
                for at in 0..ATOMIC_ROWS as i64 {
                    batch.put(&ItemRow::new(&part, "row", at, number));
                }
                self.write(batch).await;
            }
            done.store(true, Ordering::Release);
            for reader in readers {
                reader.await.expect("the reader found nothing wrong");
            }
            let last = ItemRow::new(&part, "row", 0, 50);
            assert_eq!(self.get(&last.key()).await, Some(last));
        }
    }

    /// Who reads a `then` row and then the batch's other rows finds them as new as it says, or newer.
    pub async fn then_rows_come_last(&self) {
        let part = self.part("then");
        let row = |bucket: i32, number: i64| ItemRow {
            bucket,
            ..ItemRow::new(&part, "row", 1, number)
        };
        let mark = |number: i64| MarkRow {
            part: part.clone(),
            number,
        };
        let keys: Vec<_> = (0..5).map(|bucket| row(bucket, 0).key()).collect();
        let done = Arc::new(AtomicBool::new(false));
        let reader = {
            let (store, done, mark) = (self.store.clone(), done.clone(), mark(0).key());
            tokio::spawn(async move {
                while !done.load(Ordering::Acquire) {
                    let marks: Vec<Option<MarkRow>> =
                        get_rows(store.as_ref(), std::slice::from_ref(&mark))
                            .await
                            .expect("the mark");
                    let marked = marks[0].as_ref().map_or(0, |mark| mark.number);
                    let rows: Vec<Option<ItemRow>> =
                        get_rows(store.as_ref(), &keys).await.expect("rows");
                    for row in rows {
                        let number = row.map_or(0, |row| row.number);
                        assert!(number >= marked, "{number} is older than the mark {marked}");
                    }
                    tokio::task::yield_now().await;
                }
            })
        };
        for number in 1..=100 {
            let mut batch = Batch::new(WriteClass::Tick(self.tick()));
            batch.put_then(&mark(number));
            (0..5).for_each(|bucket| batch.put(&row(bucket, number)));
            self.write(batch).await;
        }
        done.store(true, Ordering::Release);
        reader.await.expect("the reader found nothing wrong");
        assert_eq!(self.get(&mark(0).key()).await, Some(mark(100)));
    }
}

/// Reads until done; each time the rows must be those of one batch, no older than the one before.
async fn watch_one_batch(store: Arc<dyn Store>, range: Range, done: Arc<AtomicBool>) {
    let mut newest = 0;
    while !done.load(Ordering::Acquire) {
        let rows: Vec<ItemRow> = range_rows(store.as_ref(), &range).await.expect("a range");
        let number = rows.first().map_or(0, |row| row.number);
        assert!(rows.iter().all(|row| row.number == number), "{rows:?}");
        assert!(
            rows.is_empty() || rows.len() == ATOMIC_ROWS,
            "{} rows",
            rows.len()
        );
        assert!(number >= newest, "{number} after {newest}");
        newest = number;
        tokio::task::yield_now().await;
    }
}
