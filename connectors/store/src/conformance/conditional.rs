//! Conditional batches: they apply whole or not at all, and one after the other.

use super::{CounterRow, Suite};
use crate::{
    Condition, ConditionalBatch, Freshness, Outcome, Range, Row, RowKey, Store, get_row,
    range_rows, row::KeyBuf,
};

/// How many try at once.
const RACERS: i64 = 16;

impl Suite {
    /// Each kind of condition, holding and not; a refusal names the condition and brings its row.
    pub async fn conditions_decide(&self) {
        let part = self.part("conditions");
        let a = |version| CounterRow::new(&part, "a", version);
        let b = |version| CounterRow::new(&part, "b", version);
        let absent = |row: CounterRow| Condition::Absent(row.key());
        let version = |row: CounterRow| Condition::Equals {
            value: row.version,
            key: row.key(),
            column: "version",
        };

        self.refused(vec![version(a(1))], &[a(2)], 0, None).await;
        self.applied(vec![absent(a(0))], &[a(1), b(1)]).await;
        self.refused(vec![absent(a(0))], &[a(9)], 0, Some(a(1)))
            .await;
        self.refused(vec![version(a(2))], &[a(9)], 0, Some(a(1)))
            .await;
        self.refused(vec![version(a(1)), version(b(7))], &[a(9)], 1, Some(b(1)))
            .await;
        self.applied(vec![version(a(1)), version(b(1))], &[a(2)])
            .await;
        self.applied(vec![], &[b(5)]).await;
        self.an_optional_column_is_compared(&part).await;
        // A row that must be as it was, one that must not be there, and one of which nothing is demanded.
        let c = |version| CounterRow::new(&part, "c", version);
        let both = || vec![version(a(2)), absent(c(0))];
        self.applied(both(), &[a(2), b(6), c(1)]).await;
        self.refused(both(), &[a(9), b(9), c(9)], 1, Some(c(1)))
            .await;

        let mut removal = ConditionalBatch::new(vec![version(a(2))]);
        removal.remove(&a(0).key());
        removal.put(&b(6));
        let outcome = self.store.write_if(removal).await.expect("an answer");
        assert_eq!(outcome, Outcome::Applied);
        let all = Range::partition(CounterRow::TABLE, KeyBuf::new().text(&part).into_bytes());
        let rows: Vec<CounterRow> = range_rows(self.store.as_ref(), &all)
            .await
            .expect("a range");
        assert!(rows.contains(&b(6)) && !rows.iter().any(|row| row.name == "a"));
    }

    async fn an_optional_column_is_compared(&self, part: &str) {
        let row = |seen| CounterRow {
            seen,
            ..CounterRow::new(part, "optional", 1)
        };
        let seen = |value| Condition::Equals {
            key: row(None).key(),
            column: "seen",
            value,
        };
        self.applied(vec![], &[row(None)]).await;
        self.refused(vec![seen(0)], &[row(Some(1))], 0, Some(row(None)))
            .await;
        self.applied(vec![], &[row(Some(-4))]).await;
        self.applied(vec![seen(-4)], &[row(Some(5))]).await;
    }

    /// Who repeats a batch with an unknown outcome finds it applied, by the row that refuses it.
    pub async fn a_conditional_batch_may_be_repeated(&self) {
        let part = self.part("repeat if");
        let row = |version| CounterRow::new(&part, "row", version);
        let first = || vec![Condition::Absent(row(0).key())];
        let next = || {
            vec![Condition::Equals {
                key: row(0).key(),
                column: "version",
                value: 1,
            }]
        };
        self.applied(first(), &[row(1)]).await;
        self.refused(first(), &[row(1)], 0, Some(row(1))).await;
        self.applied(next(), &[row(2)]).await;
        self.refused(next(), &[row(2)], 0, Some(row(2))).await;
    }

    /// Of many that try the same step at once exactly one succeeds, and the others see its row.
    pub async fn one_of_many_racers_wins(&self) {
        for round in 0..20 {
            let part = self.part(&format!("race {round}"));
            let racers: Vec<_> = (1..=RACERS)
                .map(|racer| {
                    let (store, row) = (self.store.clone(), CounterRow::new(&part, "row", racer));
                    tokio::spawn(async move {
                        let mut batch = ConditionalBatch::new(vec![Condition::Absent(row.key())]);
                        batch.put(&row);
                        (racer, store.write_if(batch).await.expect("an answer"))
                    })
                })
                .collect();
            let mut outcomes = Vec::new();
            for racer in racers {
                outcomes.push(racer.await.expect("the racer does not panic"));
            }
            let winners: Vec<i64> = outcomes
                .iter()
                .filter(|(_, outcome)| *outcome == Outcome::Applied)
                .map(|(racer, _)| *racer)
                .collect();
            assert_eq!(winners.len(), 1, "winners {winners:?}");
            let won = CounterRow::new(&part, "row", winners[0]);
            assert_eq!(self.linear(&won.key()).await, Some(won.clone()));
            for (_, outcome) in outcomes {
                if outcome != Outcome::Applied {
                    assert_refused(&outcome, 0, Some(&won));
                }
            }
        }
    }

    /// Counting up by compare-and-set from many tasks, no step is lost and none is done twice.
    pub async fn counting_loses_nothing(&self) {
        const STEPS: i64 = 10;
        let part = self.part("count");
        self.applied(vec![], &[CounterRow::new(&part, "row", 0)])
            .await;
        let counters: Vec<_> = (0..RACERS)
            .map(|_| {
                let (store, part) = (self.store.clone(), part.clone());
                tokio::spawn(async move {
                    for _ in 0..STEPS {
                        count_one(store.as_ref(), &part).await;
                    }
                })
            })
            .collect();
        for counter in counters {
            counter.await.expect("the counter does not panic");
        }
        let total = CounterRow::new(&part, "row", RACERS * STEPS);
        assert_eq!(self.linear(&total.key()).await, Some(total));
    }

    async fn linear(&self, key: &RowKey) -> Option<CounterRow> {
        get_row(self.store.as_ref(), key, Freshness::Linearizable)
            .await
            .expect("a row or none")
    }

    async fn applied(&self, conditions: Vec<Condition>, rows: &[CounterRow]) {
        let outcome = self.write_if(conditions.clone(), rows).await;
        assert_eq!(outcome, Outcome::Applied, "{conditions:?}");
        for row in rows {
            assert_eq!(self.linear(&row.key()).await.as_ref(), Some(row));
        }
    }

    async fn refused(
        &self,
        conditions: Vec<Condition>,
        rows: &[CounterRow],
        condition: usize,
        current: Option<CounterRow>,
    ) {
        let mut before = Vec::new();
        for row in rows {
            before.push(self.linear(&row.key()).await);
        }
        let outcome = self.write_if(conditions, rows).await;
        assert_refused(&outcome, condition, current.as_ref());
        for (row, before) in rows.iter().zip(before) {
            assert_eq!(self.linear(&row.key()).await, before, "nothing is written");
        }
    }

    async fn write_if(&self, conditions: Vec<Condition>, rows: &[CounterRow]) -> Outcome {
        let mut batch = ConditionalBatch::new(conditions);
        rows.iter().for_each(|row| batch.put(row));
        self.store.write_if(batch).await.expect("an answer")
    }
}

async fn count_one(store: &dyn Store, part: &str) {
    let key = CounterRow::new(part, "row", 0).key();
    loop {
        let now: Option<CounterRow> = get_row(store, &key, Freshness::Linearizable)
            .await
            .expect("the counter");
        let now = now.expect("the counter is there").version;
        let mut batch = ConditionalBatch::new(vec![Condition::Equals {
            key: key.clone(),
            column: "version",
            value: now,
        }]);
        batch.put(&CounterRow::new(part, "row", now + 1));
        if store.write_if(batch).await.expect("an answer") == Outcome::Applied {
            return;
        }
    }
}

fn assert_refused(outcome: &Outcome, condition: usize, current: Option<&CounterRow>) {
    let Outcome::Refused {
        condition: found,
        current: row,
    } = outcome
    else {
        panic!("applied although condition {condition} does not hold");
    };
    assert_eq!(*found, condition);
    let row = row.as_ref().map(|value| {
        let expected = current.expect("no row was expected");
        let key = expected.key();
        CounterRow::decode(key.partition(), key.clustering(), value).expect("a row")
    });
    assert_eq!(row.as_ref(), current);
}
