//! Ranges: which rows, in which order, how many.

use std::{collections::BTreeMap, ops::Bound};

use super::{ItemRow, Suite};
use crate::{Batch, Range, RawRow, Row, WriteClass, range_many_rows, range_rows, row::KeyBuf};

impl Suite {
    /// Every combination of bounds, direction and limit gives what a sorted map gives.
    pub async fn ranges_are_as_a_sorted_map(&self) {
        let part = self.part("ranges");
        let rows: Vec<_> = ["a", "a\0", "ab", "b"]
            .iter()
            .flat_map(|name| [-1, 0, 1, i64::MAX].map(|at| ItemRow::new(&part, name, at, at)))
            .collect();
        let mut batch = Batch::new(WriteClass::Durable);
        rows.iter().rev().for_each(|row| batch.put(row));
        self.write(batch).await;

        let model: BTreeMap<Vec<u8>, &ItemRow> = rows
            .iter()
            .map(|row| (row.key().clustering().to_vec(), row))
            .collect();
        let mut edges: Vec<Vec<u8>> = model.keys().cloned().collect();
        edges.push(vec![]);
        edges.push(KeyBuf::new().text("a").into_bytes());
        edges.push(KeyBuf::new().text("zz").into_bytes());
        let bounds: Vec<Bound<Vec<u8>>> = edges
            .iter()
            .flat_map(|edge| [Bound::Included(edge.clone()), Bound::Excluded(edge.clone())])
            .chain([Bound::Unbounded])
            .collect();
        for from in &bounds {
            for to in &bounds {
                let inside: Vec<&ItemRow> = model
                    .iter()
                    .filter(|(key, _)| is_above(key, from) && is_below(key, to))
                    .map(|(_, row)| *row)
                    .collect();
                self.check_range(&part, from, to, &inside).await;
            }
        }
    }

    async fn check_range(
        &self,
        part: &str,
        from: &Bound<Vec<u8>>,
        to: &Bound<Vec<u8>>,
        inside: &[&ItemRow],
    ) {
        for descending in [false, true] {
            for limit in [0, 1, 3, usize::MAX] {
                let range = Range {
                    from: from.clone(),
                    to: to.clone(),
                    descending,
                    limit,
                    ..Range::partition(ItemRow::TABLE, partition(part))
                };
                let mut expected: Vec<ItemRow> = inside.iter().map(|row| (*row).clone()).collect();
                if descending {
                    expected.reverse();
                }
                expected.truncate(limit);
                let found: Vec<ItemRow> = range_rows(self.store.as_ref(), &range)
                    .await
                    .expect("a range");
                assert_eq!(found, expected, "{range:?}");
            }
        }
    }

    /// A prefix is of whole columns, and a partition does not reach into its neighbours.
    pub async fn prefixes_and_partitions_do_not_mix(&self) {
        let part = self.part("prefix");
        let longer = format!("{part}\0");
        let names = ["x", "x\0y", "xx"];
        let mut batch = Batch::new(WriteClass::Durable);
        for part in [&part, &longer] {
            for name in names {
                for bucket in [6, 7, 8] {
                    let row = ItemRow {
                        bucket,
                        ..ItemRow::new(part, name, 5, i64::from(bucket))
                    };
                    batch.put(&row);
                }
            }
        }
        self.write(batch).await;
        for part in [&part, &longer] {
            let all = Range::partition(ItemRow::TABLE, partition(part));
            let found: Vec<ItemRow> = range_rows(self.store.as_ref(), &all)
                .await
                .expect("a range");
            assert_eq!(found, names.map(|name| ItemRow::new(part, name, 5, 7)));
            for name in names {
                let prefix = KeyBuf::new().text(name).into_bytes();
                let range = Range::prefix(ItemRow::TABLE, partition(part), prefix);
                let found: Vec<ItemRow> = range_rows(self.store.as_ref(), &range)
                    .await
                    .expect("a range");
                assert_eq!(found, [ItemRow::new(part, name, 5, 7)], "{name:?}");
            }
        }
    }

    /// `range_many` answers in the order of its ranges, empty ones included, few or many.
    pub async fn many_ranges_come_in_the_order_asked(&self) {
        let part = self.part("many ranges");
        let row = |bucket: i32, at: i64| ItemRow {
            bucket,
            ..ItemRow::new(&part, "row", at, at)
        };
        let mut batch = Batch::new(WriteClass::Durable);
        for bucket in 0..100 {
            (0..i64::from(bucket % 4)).for_each(|at| batch.put(&row(bucket, at)));
        }
        self.write(batch).await;
        for count in [0, 1, 3, 100] {
            let ranges: Vec<_> = (0..count)
                .rev()
                .map(|bucket| {
                    let partition = KeyBuf::new().text(&part).int(bucket).into_bytes();
                    Range::partition(ItemRow::TABLE, partition)
                })
                .collect();
            let answers = self.store.range_many(&ranges).await.expect("ranges");
            let sizes: Vec<i32> = answers
                .iter()
                .map(|rows: &Vec<RawRow>| rows.len() as i32)
                .collect();
            let expected: Vec<i32> = (0..count).rev().map(|bucket| bucket % 4).collect();
            assert_eq!(sizes, expected);
            let rows: Vec<ItemRow> = range_many_rows(self.store.as_ref(), &ranges)
                .await
                .expect("rows");
            let expected: Vec<ItemRow> = (0..count)
                .rev()
                .flat_map(|bucket| (0..i64::from(bucket % 4)).map(move |at| (bucket, at)))
                .map(|(bucket, at)| row(bucket, at))
                .collect();
            assert_eq!(rows, expected);
        }
    }
}

fn partition(part: &str) -> Vec<u8> {
    KeyBuf::new().text(part).int(7).into_bytes()
}

fn is_above(key: &[u8], bound: &Bound<Vec<u8>>) -> bool {
    match bound {
        Bound::Included(edge) => key >= edge.as_slice(),
        Bound::Excluded(edge) => key > edge.as_slice(),
        Bound::Unbounded => true,
    }
}

fn is_below(key: &[u8], bound: &Bound<Vec<u8>>) -> bool {
    match bound {
        Bound::Included(edge) => key <= edge.as_slice(),
        Bound::Excluded(edge) => key < edge.as_slice(),
        Bound::Unbounded => true,
    }
}
