//! What became of the readings: counts, reasons, latencies.
//!
//! What a newcomer would get wrong: a reading sent twice counts once in `sent`; `resent` counts the
//! repetitions. sent = acknowledged + rejected + still open.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use serde::Serialize;

/// How many rejections are told one by one.
const EXAMPLES: usize = 5;

/// Shared by the reader and all senders.
#[derive(Debug)]
pub struct Tally {
    pub sent: AtomicU64,
    pub acknowledged: AtomicU64,
    pub rejected: AtomicU64,
    pub resent: AtomicU64,
    /// Lines that are no reading; they were not sent.
    pub unreadable: AtomicU64,
    /// Bytes of the capture read so far.
    pub read_bytes: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    latency: Histogram<u64>,
    reasons: BTreeMap<String, u64>,
    examples: Vec<String>,
    first_sent: Option<Instant>,
    last_answer: Option<Instant>,
}

/// Percentiles of durations, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Percentiles {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    pub max: f64,
}

/// A tally at its end.
#[derive(Debug, Clone, Serialize)]
pub struct Totals {
    pub sent: u64,
    pub acknowledged: u64,
    pub rejected: u64,
    pub rejected_by_reason: BTreeMap<String, u64>,
    #[serde(skip)]
    pub examples: Vec<String>,
    pub unreadable: u64,
    pub resent: u64,
    /// From the first sending to the last answer.
    pub seconds: f64,
    /// Readings acknowledged a second, over that time.
    pub rate_per_s: f64,
    /// From when a reading was due (at speed max: handed to its connection) to its acknowledgement.
    pub ack_ms: Option<Percentiles>,
}

/// A histogram of microseconds up to an hour, exact to three digits.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("the bounds are in order")
}

/// Records a duration, at most the histogram's greatest.
pub fn record(histogram: &mut Histogram<u64>, time: Duration, count: u64) {
    histogram.saturating_record_n(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), count);
}

impl Percentiles {
    /// None when nothing was recorded.
    pub fn of(histogram: &Histogram<u64>) -> Option<Self> {
        let ms = |micros: u64| micros as f64 / 1_000.0;
        (!histogram.is_empty()).then(|| Self {
            p50: ms(histogram.value_at_quantile(0.50)),
            p95: ms(histogram.value_at_quantile(0.95)),
            p99: ms(histogram.value_at_quantile(0.99)),
            max: ms(histogram.max()),
        })
    }
}

impl std::fmt::Display for Percentiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { p50, p95, p99, max } = self;
        write!(
            f,
            "p50 {p50:.1} ms, p95 {p95:.1} ms, p99 {p99:.1} ms, max {max:.1} ms"
        )
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            sent: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            resent: AtomicU64::new(0),
            unreadable: AtomicU64::new(0),
            read_bytes: AtomicU64::new(0),
            inner: Mutex::new(Inner {
                latency: histogram(),
                reasons: BTreeMap::new(),
                examples: Vec::new(),
                first_sent: None,
                last_answer: None,
            }),
        }
    }
}

impl Tally {
    /// Readings go out for the first time.
    pub fn sending(&self, count: u64) {
        if self.sent.fetch_add(count, Relaxed) == 0 {
            let now = Instant::now();
            self.lock().first_sent.get_or_insert(now);
        }
    }

    /// Readings were acknowledged, each of which was due at its instant.
    pub fn acknowledge(&self, due: impl Iterator<Item = Instant>, at: Instant) {
        let mut inner = self.lock();
        let mut count = 0;
        for due in due {
            record(&mut inner.latency, at.saturating_duration_since(due), 1);
            count += 1;
        }
        inner.last_answer = inner.last_answer.max(Some(at));
        self.acknowledged.fetch_add(count, Relaxed);
    }

    /// A reading was refused for good; `detail` says which and why.
    pub fn reject(&self, reason: &str, detail: impl FnOnce() -> String) {
        self.rejected.fetch_add(1, Relaxed);
        let mut inner = self.lock();
        inner.note(reason, detail);
        inner.last_answer = inner.last_answer.max(Some(Instant::now()));
    }

    /// A line is no reading.
    pub fn unreadable(&self, detail: impl FnOnce() -> String) {
        self.unreadable.fetch_add(1, Relaxed);
        self.lock().note("unreadable", detail);
    }

    /// Readings that wait for an answer.
    pub fn open(&self) -> u64 {
        let answered = self.acknowledged.load(Relaxed) + self.rejected.load(Relaxed);
        self.sent.load(Relaxed).saturating_sub(answered)
    }

    pub fn totals(&self) -> Totals {
        let inner = self.lock();
        let span = inner.first_sent.zip(inner.last_answer);
        let seconds = span.map_or(0.0, |(from, to)| {
            to.saturating_duration_since(from).as_secs_f64()
        });
        let acknowledged = self.acknowledged.load(Relaxed);
        Totals {
            sent: self.sent.load(Relaxed),
            acknowledged,
            rejected: self.rejected.load(Relaxed),
            rejected_by_reason: inner.reasons.clone(),
            examples: inner.examples.clone(),
            unreadable: self.unreadable.load(Relaxed),
            resent: self.resent.load(Relaxed),
            seconds,
            rate_per_s: if seconds > 0.0 {
                acknowledged as f64 / seconds
            } else {
                0.0
            },
            ack_ms: Percentiles::of(&inner.latency),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().expect("no holder of the tally panics")
    }
}

impl Inner {
    fn note(&mut self, reason: &str, detail: impl FnOnce() -> String) {
        match self.reasons.get_mut(reason) {
            Some(count) => *count += 1,
            None => {
                self.reasons.insert(reason.to_owned(), 1);
            }
        }
        if self.examples.len() < EXAMPLES {
            self.examples.push(format!("{reason}: {}", detail()));
        }
    }
}

impl Totals {
    /// Whether every reading of the capture was acknowledged.
    pub fn complete(&self) -> bool {
        self.unreadable == 0 && self.rejected == 0 && self.acknowledged == self.sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_acknowledged_rejected_or_open() {
        let tally = Tally::default();
        tally.sending(3);
        let now = Instant::now();
        tally.acknowledge([now].into_iter(), now + Duration::from_millis(10));
        tally.reject("invalid", || "line 2".to_owned());
        assert_eq!(tally.open(), 1);
        let totals = tally.totals();
        assert!(!totals.complete());
        assert_eq!(totals.rejected_by_reason["invalid"], 1);
        assert!((9.9..10.1).contains(&totals.ack_ms.unwrap().p50));
    }

    #[test]
    fn nothing_sent_has_no_percentiles() {
        let totals = Tally::default().totals();
        assert!(totals.ack_ms.is_none() && totals.complete());
    }
}
