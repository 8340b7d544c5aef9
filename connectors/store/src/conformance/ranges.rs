//! Ranges: which rows, in which order, how many.

use std::collections::BTreeMap;

use super::{ItemRow, Suite};
use crate::{
    Batch, Edge, Range, RawRow, Row, WriteClass, range_many_rows, range_rows, row::KeyBuf,
};

impl Suite {
    /// Every combination of edges, direction and limit gives what a sorted map gives.
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
        let mut prefixes: Vec<Vec<u8>> = model.keys().cloned().collect();
        prefixes.push(vec![]);
        prefixes.push(KeyBuf::new().text("a").into_bytes());
        prefixes.push(KeyBuf::new().text("zz").into_bytes());
        prefixes.push(KeyBuf::new().text("ab").bigint(7).into_bytes());
        let edges: Vec<Edge> = prefixes
            .into_iter()
            .flat_map(|prefix| [Edge::Before(prefix.clone()), Edge::After(prefix)])
            .chain([Edge::Open])
            .collect();
        for from in &edges {
            let mut ranges = Vec::new();
            let mut expected = Vec::new();
            for to in &edges {
                let inside: Vec<&ItemRow> = model
                    .iter()
                    .filter(|(key, _)| is_behind(key, from) && is_before(key, to))
                    .map(|(_, row)| *row)
                    .collect();
                for range in ways_to_read(&part, from, to) {
                    expected.push(rows_of(&range, &inside));
                    ranges.push(range);
                }
            }
            let found = self.store.range_many(&ranges).await.expect("ranges");
            for ((range, found), expected) in ranges.iter().zip(found).zip(&expected) {
                assert_eq!(&decoded(range, &found), expected, "{range:?}");
            }
            // One of them alone, too.
            let (range, expected) = (&ranges[0], &expected[0]);
            let found = self.store.range(range).await.expect("a range");
            assert_eq!(&decoded(range, &found), expected, "{range:?}");
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

    /// Prefixes of one partition, some without a row and one asked for twice, among other ranges of it: each
    /// brings its own rows, however many they are together.
    pub async fn many_prefixes_of_a_partition_bring_each_its_own(&self) {
        let part = self.part("many prefixes");
        let name = |n: i64| format!("n{n}\0{}", n % 3);
        let rows_of = |n: i64| (0..n % 120).map(move |at| (n, at));
        let row = |(n, at): (i64, i64)| ItemRow::new(&part, &name(n), at, n);
        let mut batch = Batch::new(WriteClass::Durable);
        (0..150)
            .flat_map(rows_of)
            .for_each(|of| batch.put(&row(of)));
        self.write(batch).await;
        for count in [1, 2, 150] {
            let asked: Vec<i64> = (0..count).chain([count + 200, 0, count - 1]).collect();
            let prefix = |n: i64| {
                let prefix = KeyBuf::new().text(&name(n)).into_bytes();
                Range::prefix(ItemRow::TABLE, partition(&part), prefix)
            };
            let mut ranges: Vec<Range> = asked.iter().map(|n| prefix(*n)).collect();
            ranges.push(prefix(119).descending());
            ranges.push(prefix(119).limit(2));
            let found = self.store.range_many(&ranges).await.expect("ranges");
            let mut expected: Vec<Vec<ItemRow>> = asked
                .iter()
                .map(|n| rows_of(if *n < 150 { *n } else { 0 }).map(row).collect())
                .collect();
            let last: Vec<ItemRow> = rows_of(119).map(row).collect();
            expected.push(last.iter().rev().cloned().collect());
            expected.push(last[..2].to_vec());
            for ((range, found), expected) in ranges.iter().zip(&found).zip(&expected) {
                assert_eq!(&decoded(range, found), expected, "{range:?}");
            }
            assert_eq!(found.len(), expected.len());
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

/// Both directions, with several limits.
fn ways_to_read(part: &str, from: &Edge, to: &Edge) -> Vec<Range> {
    let mut ranges = Vec::new();
    for descending in [false, true] {
        for limit in [usize::MAX, 0, 1, 3] {
            ranges.push(Range {
                from: from.clone(),
                to: to.clone(),
                descending,
                limit,
                ..Range::partition(ItemRow::TABLE, partition(part))
            });
        }
    }
    ranges
}

/// What a range should bring of the rows between its edges.
fn rows_of(range: &Range, inside: &[&ItemRow]) -> Vec<ItemRow> {
    let mut rows: Vec<ItemRow> = inside.iter().map(|row| (*row).clone()).collect();
    if range.descending {
        rows.reverse();
    }
    rows.truncate(range.limit);
    rows
}

fn decoded(range: &Range, rows: &[RawRow]) -> Vec<ItemRow> {
    let decode = |row: &RawRow| ItemRow::decode(&range.partition, &row.clustering, &row.value);
    rows.iter().map(|row| decode(row).expect("a row")).collect()
}

fn is_behind(key: &[u8], edge: &Edge) -> bool {
    match edge {
        Edge::Open => true,
        Edge::Before(prefix) => key >= prefix.as_slice(),
        Edge::After(prefix) => key > prefix.as_slice() && !key.starts_with(prefix),
    }
}

fn is_before(key: &[u8], edge: &Edge) -> bool {
    match edge {
        Edge::Open => true,
        Edge::Before(prefix) => key < prefix.as_slice(),
        Edge::After(prefix) => key < prefix.as_slice() || key.starts_with(prefix),
    }
}
