//! Going through a list's rows for one page: in the order they are stored, or by another key.
//!
//! Memory is bounded by the page whatever the list holds. A page in stored order ends where it is full; by
//! another key every row is looked at, and only the best so far are kept.

use std::{collections::BTreeMap, future::Future};

use serde::{Deserialize, Serialize};

use super::{MAX_COUNTED, MAX_PAGE_BYTES, MAX_SCANNED};
use crate::error::ApiError;

/// Rows of a list in the order in which they are stored, each once.
pub trait Rows {
    type Row: Send;
    /// Where a page in stored order goes on.
    type Position: Send;

    fn next(&mut self) -> impl Future<Output = Result<Option<Self::Row>, ApiError>> + Send;

    fn position(row: &Self::Row) -> Self::Position;

    /// What a row adds to the page's size beyond a few hundred bytes.
    fn extra_bytes(_row: &Self::Row) -> usize {
        0
    }
}

/// A page's rows, and the position behind which there may be more.
#[derive(Debug, Clone, PartialEq)]
pub struct Found<R, P> {
    pub rows: Vec<R>,
    pub next: Option<P>,
}

/// The first rows that pass, in stored order: at most `limit`, and no more than a page may look at.
pub async fn first<S: Rows>(
    rows: &mut S,
    limit: usize,
    passes: impl Fn(&S::Row) -> bool,
) -> Result<Found<S::Row, S::Position>, ApiError> {
    let mut found = Vec::new();
    let mut bytes = 0;
    let mut last = None;
    for _ in 0..MAX_SCANNED {
        let Some(row) = rows.next().await? else {
            return Ok(Found {
                rows: found,
                next: None,
            });
        };
        let passes = passes(&row);
        if passes && (found.len() == limit || bytes > MAX_PAGE_BYTES) {
            break;
        }
        last = Some(S::position(&row));
        if passes {
            bytes += S::extra_bytes(&row);
            found.push(row);
        }
    }
    Ok(Found {
        rows: found,
        next: last,
    })
}

/// The rows that pass which come first by another key.
pub async fn best<S: Rows>(
    rows: &mut S,
    mut best: Best<S::Row>,
    passes: impl Fn(&S::Row) -> bool,
    rank: impl Fn(&S::Row) -> Rank,
) -> Result<Found<S::Row, Rank>, ApiError> {
    while let Some(row) = rows.next().await? {
        if passes(&row) {
            best.offer(rank(&row), row);
        }
    }
    Ok(best.found())
}

/// How many rows pass; counting stops at [`MAX_COUNTED`].
pub async fn count<S: Rows>(
    rows: &mut S,
    passes: impl Fn(&S::Row) -> bool,
) -> Result<usize, ApiError> {
    let mut total = 0;
    while let Some(row) = rows.next().await? {
        total += usize::from(passes(&row));
        if total >= MAX_COUNTED {
            break;
        }
    }
    Ok(total)
}

/// A sort key's value, and the id that decides between equal ones.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Rank {
    pub value: i64,
    pub id: String,
}

/// The first rows by rank of those offered so far: one more than a page has, which tells of a next one.
#[derive(Debug)]
pub struct Best<R> {
    limit: usize,
    descending: bool,
    /// Only what comes behind it counts.
    after: Option<Rank>,
    kept: BTreeMap<Rank, R>,
}

impl<R> Best<R> {
    pub fn new(limit: usize, descending: bool, after: Option<Rank>) -> Self {
        Self {
            limit,
            descending,
            after,
            kept: BTreeMap::new(),
        }
    }

    pub fn offer(&mut self, rank: Rank, row: R) {
        let (descending, limit) = (self.descending, self.limit);
        let is_behind = |rank: &Rank, other: &Rank| (rank > other) != descending && rank != other;
        if self
            .after
            .as_ref()
            .is_some_and(|after| !is_behind(&rank, after))
        {
            return;
        }
        self.kept.insert(rank, row);
        if self.kept.len() > limit + 1 {
            if descending {
                self.kept.pop_first();
            } else {
                self.kept.pop_last();
            }
        }
    }

    pub fn found(self) -> Found<R, Rank> {
        let has_more = self.kept.len() > self.limit;
        let mut kept: Vec<(Rank, R)> = self.kept.into_iter().collect();
        if self.descending {
            kept.reverse();
        }
        kept.truncate(self.limit);
        let next = kept
            .last()
            .filter(|_| has_more)
            .map(|(rank, _)| rank.clone());
        Found {
            rows: kept.into_iter().map(|(_, row)| row).collect(),
            next,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rank(value: i64, id: u8) -> Rank {
        Rank {
            value,
            id: id.to_string(),
        }
    }

    proptest! {
        /// Page by page, every row once, in order, with no more than a page and one kept.
        #[test]
        fn pages_are_the_sorted_rows(
            values in prop::collection::vec(-3_i64..3, 0..40),
            limit in 1_usize..7,
            descending: bool,
        ) {
            let rows: Vec<Rank> = (0..).zip(&values).map(|(id, value)| rank(*value, id)).collect();
            let mut wanted = rows.clone();
            wanted.sort();
            if descending {
                wanted.reverse();
            }
            let mut seen = Vec::new();
            let mut after = None;
            loop {
                let mut best = Best::new(limit, descending, after);
                for row in &rows {
                    best.offer(row.clone(), row.clone());
                    prop_assert!(best.kept.len() <= limit + 1);
                }
                let found = best.found();
                prop_assert!(found.rows.len() <= limit);
                seen.extend(found.rows);
                after = found.next;
                if after.is_none() {
                    break;
                }
            }
            prop_assert_eq!(seen, wanted);
        }
    }

    /// Numbers upward, each of some size.
    struct Numbers(std::ops::Range<usize>, usize);

    impl Rows for Numbers {
        type Row = (usize, usize);
        type Position = usize;

        async fn next(&mut self) -> Result<Option<(usize, usize)>, ApiError> {
            Ok(self.0.next().map(|number| (number, self.1)))
        }

        fn position(row: &(usize, usize)) -> usize {
            row.0
        }

        fn extra_bytes(row: &(usize, usize)) -> usize {
            row.1
        }
    }

    #[tokio::test]
    async fn a_page_ends_full_or_when_it_has_looked_at_enough() {
        let page = async |numbers: Numbers, limit, passes: fn(&(usize, usize)) -> bool| {
            let mut numbers = numbers;
            let found = first(&mut numbers, limit, passes)
                .await
                .expect("numbers do not fail");
            (found.rows.len(), found.next)
        };
        assert_eq!(page(Numbers(0..10, 0), 3, |_| true).await, (3, Some(2)));
        assert_eq!(page(Numbers(0..3, 0), 3, |_| true).await, (3, None));
        let far = Numbers(0..MAX_SCANNED + 1, 0);
        assert_eq!(page(far, 3, |_| false).await, (0, Some(MAX_SCANNED - 1)));
        let big = Numbers(0..10, MAX_PAGE_BYTES);
        assert_eq!(page(big, 9, |_| true).await, (2, Some(1)));
    }
}
