//! A batch's mutations as the batches of single partitions that CQL takes.
//!
//! A newcomer would send a row written twice as two statements. Both would carry one timestamp, and then
//! the larger value wins and a removal beats a write: only the last mutation of a row is sent.

use openinfra_store::{ATOMIC_BYTES, ATOMIC_ROWS, Mutation};

/// Mutations of one partition, of at most [`ATOMIC_ROWS`] and [`ATOMIC_BYTES`] unless it is a single one.
/// One statement each: more rows in it gain nothing and make the node wait.
pub(crate) type Chunk<'a> = Vec<Mutation<'a>>;

/// What to write first and what then, each row once.
pub(crate) fn chunks<'a>(
    mutations: impl Iterator<Item = Mutation<'a>>,
    then: impl Iterator<Item = Mutation<'a>>,
) -> (Vec<Chunk<'a>>, Vec<Chunk<'a>>) {
    let first = mutations.map(|mutation| (mutation, false));
    let mut all: Vec<_> = first.chain(then.map(|mutation| (mutation, true))).collect();
    // Stable, so that of one row's mutations the last stays last.
    all.sort_by(|(a, _), (b, _)| place(a).cmp(&place(b)));
    let (mut first, mut then) = (Packer::default(), Packer::default());
    let mut all = all.into_iter().peekable();
    while let Some((mutation, last)) = all.next() {
        if all
            .peek()
            .is_some_and(|(next, _)| place(next) == place(&mutation))
        {
            continue;
        }
        if last {
            then.push(mutation);
        } else {
            first.push(mutation);
        }
    }
    (first.done, then.done)
}

fn place<'a>(mutation: &Mutation<'a>) -> (&'static str, &'a [u8], usize) {
    (mutation.table.name, mutation.key, mutation.partition_len)
}

#[derive(Default)]
struct Packer<'a> {
    done: Vec<Chunk<'a>>,
    bytes: usize,
}

impl<'a> Packer<'a> {
    fn push(&mut self, mutation: Mutation<'a>) {
        let bytes = mutation.key.len() + mutation.value.map_or(0, <[u8]>::len);
        match self.done.last_mut() {
            Some(chunk)
                if is_same_partition(&chunk[0], &mutation)
                    && chunk.len() < ATOMIC_ROWS
                    && self.bytes + bytes <= ATOMIC_BYTES =>
            {
                self.bytes += bytes;
                chunk.push(mutation);
            }
            _ => {
                self.bytes = bytes;
                self.done.push(vec![mutation]);
            }
        }
    }
}

fn is_same_partition(a: &Mutation<'_>, b: &Mutation<'_>) -> bool {
    a.table == b.table && a.key[..a.partition_len] == b.key[..b.partition_len]
}

#[cfg(test)]
mod tests {
    use openinfra_store::{Batch, KeyBuf, Row, RowKey, WriteClass, table};

    use super::*;

    table! {
        struct CupRow in "cup" {
            partition { machine: String }
            clustering { day: i64 }
            values { cups: i64, note: Option<String> }
        }
    }

    fn row(machine: &str, day: i64, cups: i64) -> CupRow {
        CupRow {
            machine: machine.to_owned(),
            day,
            cups,
            note: None,
        }
    }

    /// Of each chunk its partition and, of each row, day and cups; none: removed.
    /// Each partition with its rows: key, and value where it is written.
    type Shown = Vec<(String, Vec<(i64, Option<i64>)>)>;

    fn shown(chunks: &[Chunk<'_>]) -> Shown {
        let row = |m: &Mutation<'_>| {
            let (partition, clustering) = m.key.split_at(m.partition_len);
            let value = m.value.unwrap_or(&[1, 0, 0]);
            let row = CupRow::decode(partition, clustering, value).unwrap();
            (row.machine, row.day, m.value.map(|_| row.cups))
        };
        chunks
            .iter()
            .map(|chunk| {
                let rows: Vec<_> = chunk.iter().map(row).collect();
                assert!(rows.iter().all(|(machine, ..)| *machine == rows[0].0));
                let days = rows.iter().map(|(_, day, cups)| (*day, *cups));
                (rows[0].0.clone(), days.collect())
            })
            .collect()
    }

    #[test]
    fn only_the_last_mutation_of_a_row_is_sent() {
        let mut batch = Batch::new(WriteClass::Tick(1));
        batch.put(&row("a", 1, 1));
        batch.put(&row("b", 1, 7));
        batch.put(&row("a", 1, 2));
        batch.put(&row("a", 2, 3));
        batch.remove(&row("a", 2, 0).key());
        batch.put_then(&row("b", 1, 9));
        batch.put_then(&row("c", 1, 9));
        batch.put_then(&row("c", 1, 8));
        let (first, then) = chunks(batch.mutations(), batch.then());
        assert_eq!(
            shown(&first),
            [("a".to_owned(), vec![(1, Some(2)), (2, None)])]
        );
        assert_eq!(
            shown(&then),
            [
                ("b".to_owned(), vec![(1, Some(9))]),
                ("c".to_owned(), vec![(1, Some(8))])
            ]
        );
    }

    #[test]
    fn a_chunk_is_bounded_by_rows_and_bytes() {
        let mut batch = Batch::new(WriteClass::Durable);
        let rows = 3 * ATOMIC_ROWS as i64 + 8;
        (0..rows).for_each(|day| batch.put(&row("many", day, day)));
        let long = |day, length| CupRow {
            note: Some("x".repeat(length)),
            ..row("wide", day, 0)
        };
        batch.put(&long(1, 10));
        batch.put(&long(2, ATOMIC_BYTES));
        batch.put(&long(3, 10));
        batch.put(&long(4, 10));
        let (first, _) = chunks(batch.mutations(), batch.then());
        let sizes: Vec<_> = first.iter().map(Vec::len).collect();
        assert_eq!(sizes, [ATOMIC_ROWS, ATOMIC_ROWS, ATOMIC_ROWS, 8, 1, 1, 2]);
    }

    #[test]
    fn a_partition_is_no_prefix_of_another() {
        let mut batch = Batch::new(WriteClass::Durable);
        for machine in ["a", "a\0", "ab"] {
            batch.put(&row(machine, 1, 1));
            let key = KeyBuf::new().text(machine);
            batch.remove(&RowKey::new(CupRow::TABLE, &key, &KeyBuf::new().bigint(2)));
        }
        let (first, _) = chunks(batch.mutations(), batch.then());
        assert_eq!(first.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 2]);
    }
}
