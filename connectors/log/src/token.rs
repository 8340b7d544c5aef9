//! Where a write stands in the log, as a text that clients carry.
//!
//! A write answers with a token; a read that carries it waits until its view has that write. To clients
//! the text is opaque. What a newcomer would get wrong: a token holds ends (the offset after the last
//! record), so that a view has the write when its own end is equal.

use std::{collections::BTreeMap, fmt, str::FromStr};

use openinfra_schemas::Topic;

use crate::{AppendBatch, Appended};

/// The longest text that is read as a token, in bytes: room for some hundred partitions.
pub const MAX_TOKEN_BYTES: usize = 8_192;

/// The ends, by topic and partition, at which a view has all records of a write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriteToken {
    /// In the order of topic and partition, each once.
    positions: Vec<(Topic, i32, i64)>,
}

/// The text is no token of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a write token: a token is passed on as a write answered it")]
pub struct TokenError;

impl WriteToken {
    /// The token of a batch that was appended.
    pub fn from_appended(batch: &AppendBatch, appended: &Appended) -> Self {
        Self::from_places(&batch.places(), appended)
    }

    /// As [`WriteToken::from_appended`], for a batch that the log has taken away: `places` are
    /// [`AppendBatch::places`].
    pub fn from_places(places: &[(Topic, i32)], appended: &Appended) -> Self {
        let mut ends = BTreeMap::new();
        for (place, offset) in places.iter().zip(&appended.offsets) {
            let end = ends.entry(*place).or_insert(0);
            *end = (*end).max(offset + 1);
        }
        Self {
            positions: ends.into_iter().map(|((t, p), end)| (t, p, end)).collect(),
        }
    }

    /// Topic, partition and the end (exclusive) that a view must have reached, each partition once.
    pub fn positions(&self) -> &[(Topic, i32, i64)] {
        &self.positions
    }

    /// Whether a view whose input ends (exclusive) are these has the write.
    pub fn is_covered_by(&self, end: impl Fn(Topic, i32) -> i64) -> bool {
        self.positions
            .iter()
            .all(|(topic, partition, next)| end(*topic, *partition) >= *next)
    }

    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }
}

const FORM: &str = "1";

fn letter(topic: Topic) -> char {
    match topic {
        Topic::Readings => 'r',
        Topic::Entities => 'e',
        Topic::Ticks => 't',
        Topic::Ledger => 'l',
    }
}

impl fmt::Display for WriteToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(FORM)?;
        for (topic, partition, end) in &self.positions {
            write!(f, ".{}{partition}-{end}", letter(*topic))?;
        }
        Ok(())
    }
}

impl FromStr for WriteToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        if text.len() > MAX_TOKEN_BYTES {
            return Err(TokenError);
        }
        let mut parts = text.split('.');
        if parts.next() != Some(FORM) {
            return Err(TokenError);
        }
        let positions = parts.map(position).collect::<Option<Vec<_>>>();
        let positions = positions.ok_or(TokenError)?;
        let ordered = positions
            .windows(2)
            .all(|pair| (pair[0].0, pair[0].1) < (pair[1].0, pair[1].1));
        if ordered {
            Ok(Self { positions })
        } else {
            Err(TokenError)
        }
    }
}

fn position(part: &str) -> Option<(Topic, i32, i64)> {
    let topic = Topic::ALL
        .into_iter()
        .find(|topic| part.starts_with(letter(*topic)))?;
    let (partition, end) = part[1..].split_once('-')?;
    Some((topic, number(partition)?, number(end)?))
}

/// Digits only: `parse` alone would take a sign.
fn number<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|b| b.is_ascii_digit()).then_some(())?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> WriteToken {
        let mut batch = AppendBatch::default();
        for (topic, partition) in [
            (Topic::Readings, 3),
            (Topic::Ledger, 0),
            (Topic::Readings, 3),
            (Topic::Readings, 1),
        ] {
            batch.push(topic, partition, b"k", b"v");
        }
        let offsets = vec![7, 0, 8, 41];
        WriteToken::from_appended(&batch, &Appended { offsets })
    }

    #[test]
    fn a_token_holds_the_end_behind_the_last_record_of_each_partition() {
        let wanted = [
            (Topic::Readings, 1, 42),
            (Topic::Readings, 3, 9),
            (Topic::Ledger, 0, 1),
        ];
        assert_eq!(token().positions(), wanted);
    }

    #[test]
    fn text_and_back() {
        assert_eq!(token().to_string(), "1.r1-42.r3-9.l0-1");
        assert_eq!(token().to_string().parse(), Ok(token()));
        assert_eq!("1".parse(), Ok(WriteToken::default()));
    }

    #[test]
    fn a_view_has_the_write_once_its_ends_are_as_high() {
        let at = |readings: i64| {
            token().is_covered_by(move |topic, partition| match (topic, partition) {
                (Topic::Readings, 1) => 42,
                (Topic::Readings, 3) => readings,
                (Topic::Ledger, 0) => 1,
                _ => 0,
            })
        };
        assert!(!at(8));
        assert!(at(9));
        assert!(at(10));
    }

    #[test]
    fn other_texts_are_no_tokens() {
        let long = format!("1{}", ".r0-1".repeat(2_000));
        for text in [
            "",
            "2",
            "1.",
            "1.x0-1",
            "1.r0",
            "1.r-1",
            "1.r0--1",
            "1.r+0-1",
            "1.r0-1.r0-2",
            "1.r1-1.r0-1",
            "1.é0-1",
            "1.r0-99999999999999999999",
            &long,
        ] {
            assert_eq!(text.parse::<WriteToken>(), Err(TokenError), "{text}");
        }
    }
}
