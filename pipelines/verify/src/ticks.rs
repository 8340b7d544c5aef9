//! The ticks that count, and which records are at which.
//!
//! A newcomer would keep a table of ends by tick. A server makes fifty ticks a second, each of which may move
//! every partition, so a partition's ends are kept as differences, a few bytes each, and walked in order.

use std::collections::HashMap;

use openinfra_log::Log;
use openinfra_schemas::{Codec, DecodeError, Tick, TickRecord, Topic, Verdicts, time::Millis};

use crate::{VerifyError, decode::read_on, schemas::Schemas};

/// All ticks that count, up to the one that the views are as of.
#[derive(Debug, Default)]
pub(crate) struct Ticks {
    /// Ascending.
    times: Vec<Millis>,
    moves: HashMap<(Topic, i32), Moves>,
    /// Of the log's id, the first record.
    pub(crate) log_id: Option<String>,
    /// Where the last tick's record stands.
    pub(crate) last_offset: i64,
    /// The newest of those that count and are past what the views are as of.
    pub(crate) beyond: Option<Millis>,
    newest_attempt: i64,
    /// What stands under the ids of records.
    pub(crate) schemas: Schemas,
}

/// How one partition's end moved: differences of tick numbers and of ends, alternating.
#[derive(Debug, Default)]
struct Moves {
    bytes: Vec<u8>,
    tick: usize,
    end: i64,
}

/// Consecutive records of one partition that are at one tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) tick: Millis,
    pub(crate) from: i64,
    /// Exclusive.
    pub(crate) to: i64,
}

/// Walks what one partition has at each tick.
#[derive(Debug)]
pub(crate) struct Spans<'a> {
    times: &'a [Millis],
    bytes: &'a [u8],
    number: usize,
    end: i64,
}

impl Iterator for Spans<'_> {
    type Item = Span;

    fn next(&mut self) -> Option<Span> {
        if self.bytes.is_empty() {
            return None;
        }
        self.number += take_number(&mut self.bytes) as usize;
        let from = self.end;
        self.end += take_number(&mut self.bytes) as i64;
        Some(Span {
            tick: self.times[self.number],
            from,
            to: self.end,
        })
    }
}

impl Ticks {
    /// Reads the ticks up to `as_of`.
    pub(crate) async fn read(
        log: &dyn Log,
        codec: &Codec,
        as_of: Millis,
    ) -> Result<Self, VerifyError> {
        let mut ticks = Self::default();
        let ends = log.end_offsets(Topic::Ticks).await?;
        let end = ends.first().copied().unwrap_or(0);
        let mut next = 0;
        while next < end {
            for record in read_on(log, Topic::Ticks, 0, next, end).await? {
                next = record.offset + 1;
                // Versions of this schema only add kinds of records, so that ours reads all of them.
                let taken = match codec.decode_own(&record.value) {
                    Ok(TickRecord::Verdicts(said)) => {
                        ticks.hear(codec, &said);
                        Ok(())
                    }
                    Ok(body) => ticks.take(record.offset, body, as_of, log),
                    // No version of the job wrote it.
                    Err(DecodeError::Frame(_)) => Ok(()),
                    Err(error) => Err(error.to_string()),
                };
                taken.map_err(|reason| VerifyError::Ticks {
                    offset: record.offset,
                    reason,
                })?;
            }
        }
        ticks.schemas.finish();
        Ok(ticks)
    }

    /// What an attempt that is not superseded says of schemas. It says it of a tick that stands before.
    fn hear(&mut self, codec: &Codec, said: &Verdicts) {
        if said.attempt >= self.newest_attempt {
            let number = self.times.binary_search(&said.tick).ok();
            self.schemas.hear(codec, said, number);
        }
    }

    fn take(
        &mut self,
        offset: i64,
        record: TickRecord,
        as_of: Millis,
        log: &dyn Log,
    ) -> Result<(), String> {
        match record {
            // Two instances may have found the topic empty; the first id is the log's.
            TickRecord::LogId(id) => {
                self.log_id.get_or_insert(id.id);
            }
            TickRecord::Begin(begin) => {
                self.newest_attempt = self.newest_attempt.max(begin.attempt);
            }
            TickRecord::Tick(tick) => {
                let is_void = tick.attempt < self.newest_attempt;
                // An append of unknown outcome is made again; ticks ascend, so the first one counts.
                let is_repeated = self.last().is_some_and(|last| tick.tick <= last);
                if is_void || is_repeated {
                    return Ok(());
                }
                if tick.tick <= as_of {
                    self.last_offset = offset;
                    self.add(&tick, log)?;
                } else {
                    self.beyond = self.beyond.max(Some(tick.tick));
                }
            }
            // Heard where the codec is at hand.
            TickRecord::Verdicts(_) => {}
        }
        Ok(())
    }

    fn add(&mut self, tick: &Tick, log: &dyn Log) -> Result<(), String> {
        let number = self.times.len();
        self.times.push(tick.tick);
        for moved in &tick.ends {
            let place = Topic::parse(&moved.topic)
                .filter(|topic| *topic != Topic::Ticks)
                .filter(|topic| (0..log.partitions(*topic)).contains(&moved.partition))
                .ok_or_else(|| format!("{}/{} is no input", moved.topic, moved.partition))?;
            let moves = self.moves.entry((place, moved.partition)).or_default();
            moves.push(number, moved.end);
        }
        Ok(())
    }

    /// The newest tick.
    pub(crate) fn last(&self) -> Option<Millis> {
        self.times.last().copied()
    }

    /// The end of a partition as of the newest tick.
    pub(crate) fn end(&self, topic: Topic, partition: i32) -> i64 {
        self.moves
            .get(&(topic, partition))
            .map_or(0, |moves| moves.end)
    }

    /// The records of a partition, tick by tick, ascending.
    pub(crate) fn spans(&self, topic: Topic, partition: i32) -> Spans<'_> {
        let moves = self.moves.get(&(topic, partition));
        Spans {
            times: &self.times,
            bytes: moves.map_or(&[], |moves| &moves.bytes),
            number: 0,
            end: 0,
        }
    }

    /// Which of the ticks one is, from 0.
    pub(crate) fn number(&self, tick: Millis) -> usize {
        self.times.partition_point(|time| *time < tick)
    }

    /// The first tick at or past a time.
    pub(crate) fn at_or_after(&self, ts: Millis) -> Option<Millis> {
        let place = self.times.partition_point(|tick| *tick < ts);
        self.times.get(place).copied()
    }

    /// Ticks at these times, without records.
    #[cfg(test)]
    pub(crate) fn of_times(times: &[Millis]) -> Self {
        Self {
            times: times.to_vec(),
            ..Self::default()
        }
    }
}

impl Moves {
    /// An end that does not move forward says nothing.
    fn push(&mut self, tick: usize, end: i64) {
        if end > self.end {
            put_number(&mut self.bytes, (tick - self.tick) as u64);
            put_number(&mut self.bytes, (end - self.end) as u64);
            (self.tick, self.end) = (tick, end);
        }
    }
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take_number(bytes: &mut &[u8]) -> u64 {
    let mut number = 0;
    for (place, byte) in bytes.iter().enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            *bytes = &bytes[place + 1..];
            return number;
        }
    }
    unreachable!("only whole numbers are put")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_kept_as_differences() {
        let mut moves = Moves::default();
        for (tick, end) in [(0, 5), (1, 5), (2, 3), (700, 1_000_000), (701, 1_000_001)] {
            moves.push(tick, end);
        }
        let mut ticks = Ticks::of_times(&(0..702).map(|n| 10 * n).collect::<Vec<_>>());
        ticks.moves.insert((Topic::Readings, 3), moves);
        let spans: Vec<_> = ticks
            .spans(Topic::Readings, 3)
            .map(|span| (span.tick, span.from, span.to))
            .collect();
        assert_eq!(
            spans,
            [
                (0, 0, 5),
                (7_000, 5, 1_000_000),
                (7_010, 1_000_000, 1_000_001)
            ]
        );
        assert_eq!(ticks.end(Topic::Readings, 3), 1_000_001);
        assert_eq!(ticks.spans(Topic::Ledger, 3).count(), 0);
    }

    #[test]
    fn the_first_tick_at_or_past_a_time() {
        let ticks = Ticks::of_times(&[10, 20]);
        let found = [9, 10, 11, 20, 21].map(|ts| ticks.at_or_after(ts));
        assert_eq!(found, [Some(10), Some(10), Some(20), Some(20), None]);
    }
}
