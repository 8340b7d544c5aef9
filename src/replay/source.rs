//! From a capture to items on their way: reads lines, paces them, deals them out by sensor.
//!
//! What a newcomer would get wrong: a sensor's readings must leave in the file's order, so a sensor has
//! one connection for the whole replay, and a connection sends its items in the order it got them.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    io::BufRead,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use openinfra_codecs::capture::{CaptureError, CaptureLine};
use openinfra_schemas::time::Millis;
use tokio::sync::mpsc::Sender;

use super::{
    Context,
    pace::{Pace, Schedule},
};

/// How many items are handed over together.
const CHUNK: usize = 512;

/// What a message holds besides value and time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// It is a line of a batch and names its sensor; else the topic does.
    pub item: bool,
    /// With the receive time that the capture has.
    pub trust_recv: bool,
}

/// One reading on its way.
#[derive(Debug)]
pub struct Item {
    /// Its line in the capture, from 1.
    pub line: u64,
    pub sensor: Box<str>,
    pub body: Vec<u8>,
    /// When it was to be sent; none: as soon as could be.
    pub due: Option<Instant>,
    /// To be read back: its event time and value.
    pub probe: Option<(Millis, Option<f64>)>,
}

/// Which readings are to be read back.
#[derive(Debug)]
pub struct Sampler {
    left: usize,
    every: u64,
    next: u64,
}

impl Sampler {
    /// `count` readings, evenly over a capture of `total` bytes; without a total, one every 500 kB.
    pub fn new(count: usize, total: Option<u64>) -> Self {
        let every = match (total, u64::try_from(count)) {
            (Some(total), Ok(count)) if count > 0 => (total / count).max(1),
            _ => 500_000,
        };
        // From the middle of each stretch, so that the first line, sent over a cold connection,
        // is not in every sample.
        Self {
            left: count,
            every,
            next: every / 2,
        }
    }

    fn takes(&mut self, position: u64) -> bool {
        let takes = self.left > 0 && position >= self.next;
        if takes {
            self.left -= 1;
            self.next += self.every;
        }
        takes
    }
}

/// Reads a capture to its end, or until it is cancelled or nobody takes items any more.
pub struct Source {
    pub pace: Pace,
    pub shape: Shape,
    pub sampler: Sampler,
    pub shards: Vec<Sender<Vec<Item>>>,
    pub context: Arc<Context>,
}

impl Source {
    /// Runs on a thread of its own; it sleeps and waits.
    ///
    /// # Errors
    /// When the capture cannot be read further.
    pub fn run(mut self, mut capture: impl BufRead) -> std::io::Result<()> {
        let mut schedule = Schedule::new(self.pace, Instant::now());
        let mut pending: Vec<Vec<Item>> = self.shards.iter().map(|_| Vec::new()).collect();
        let mut text = Vec::new();
        let mut position = 0;
        for line in 1.. {
            text.clear();
            let bytes = capture.read_until(b'\n', &mut text)?;
            if bytes == 0 {
                break;
            }
            position += bytes as u64;
            self.context.tally.read_bytes.store(position, Relaxed);
            let Some(item) = self.item(line, &text, position, &mut schedule) else {
                continue;
            };
            if let Some(due) = item.due.filter(|due| *due > Instant::now()) {
                let all_taken = self.flush(&mut pending);
                if !all_taken || !self.sleep_until(due) {
                    return Ok(());
                }
            }
            let shard = shard_of(&item.sensor, self.shards.len());
            pending[shard].push(item);
            if pending[shard].len() >= CHUNK && !self.hand_over(shard, &mut pending[shard]) {
                return Ok(());
            }
        }
        self.flush(&mut pending);
        Ok(())
    }

    fn item(
        &mut self,
        line: u64,
        text: &[u8],
        position: u64,
        schedule: &mut Schedule,
    ) -> Option<Item> {
        if text.iter().all(u8::is_ascii_whitespace) {
            return None;
        }
        let parsed = match read(text) {
            Ok(parsed) => parsed,
            Err(error) => {
                self.context
                    .tally
                    .unreadable(|| format!("line {line}: {error}"));
                return None;
            }
        };
        Some(Item {
            line,
            due: schedule.due(parsed.ts),
            probe: self
                .sampler
                .takes(position)
                .then_some((parsed.ts, parsed.value)),
            body: self.shape.render(&parsed),
            sensor: parsed.sensor_id.into(),
        })
    }

    /// False when cancelled meanwhile.
    fn sleep_until(&self, due: Instant) -> bool {
        // Short naps, so that a cancelled replay ends at once.
        const NAP: Duration = Duration::from_millis(100);
        loop {
            let wait = due.saturating_duration_since(Instant::now());
            if self.context.cancel.is_cancelled() || wait.is_zero() {
                return !self.context.cancel.is_cancelled();
            }
            // Timers are no finer than this; what falls due in between goes together.
            std::thread::sleep(wait.clamp(Duration::from_millis(1), NAP));
        }
    }

    fn flush(&self, pending: &mut [Vec<Item>]) -> bool {
        let mut all_taken = true;
        for (shard, items) in pending.iter_mut().enumerate() {
            all_taken &= items.is_empty() || self.hand_over(shard, items);
        }
        all_taken
    }

    fn hand_over(&self, shard: usize, items: &mut Vec<Item>) -> bool {
        let chunk = std::mem::take(items);
        !self.context.cancel.is_cancelled() && self.shards[shard].blocking_send(chunk).is_ok()
    }
}

/// Reads one line, its line feed included or not.
pub fn read(text: &[u8]) -> Result<CaptureLine<'_>, CaptureError> {
    let text = std::str::from_utf8(text).map_err(|e| CaptureError::Json(e.to_string()))?;
    CaptureLine::parse(text.trim_ascii_end())
}

impl Shape {
    fn render(self, line: &CaptureLine<'_>) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(160);
        line.write_message(self.item, self.trust_recv, &mut bytes);
        if self.item {
            bytes.push(b'\n');
        }
        bytes
    }
}

fn shard_of(sensor: &str, shards: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    sensor.hash(&mut hasher);
    (hasher.finish() % shards.max(1) as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;

    fn run(capture: &str, shards: usize, probes: usize) -> (Vec<Vec<Item>>, Arc<Context>) {
        let (senders, mut receivers): (Vec<_>, Vec<_>) =
            (0..shards).map(|_| mpsc::channel(100)).unzip();
        let context = Arc::new(Context::for_test());
        let source = Source {
            pace: Pace::Max,
            shape: Shape {
                item: true,
                trust_recv: false,
            },
            sampler: Sampler::new(probes, Some(capture.len() as u64)),
            shards: senders,
            context: Arc::clone(&context),
        };
        source.run(capture.as_bytes()).unwrap();
        let drain = |receiver: &mut mpsc::Receiver<Vec<Item>>| {
            std::iter::from_fn(|| receiver.try_recv().ok())
                .flatten()
                .collect()
        };
        (receivers.iter_mut().map(drain).collect(), context)
    }

    fn capture(lines: usize) -> String {
        let line = |i: usize| format!("{{\"sensor_id\":\"s{}\",\"ts\":{i},\"value\":1}}\n", i % 7);
        (0..lines).map(line).collect()
    }

    #[test]
    fn a_sensor_keeps_its_connection_and_its_order() {
        let (shards, _) = run(&capture(5_000), 4, 0);
        assert_eq!(shards.iter().map(Vec::len).sum::<usize>(), 5_000);
        for sensor in (0..7).map(|i| format!("s{i}")) {
            let of = |items: &Vec<Item>| -> Vec<u64> {
                items
                    .iter()
                    .filter(|item| *item.sensor == *sensor)
                    .map(|item| item.line)
                    .collect()
            };
            let mine: Vec<Vec<u64>> = shards.iter().map(of).filter(|l| !l.is_empty()).collect();
            assert_eq!(mine.len(), 1, "{sensor} is on one connection");
            assert!(mine[0].is_sorted());
        }
    }

    #[test]
    fn probes_are_spread_evenly() {
        let (shards, _) = run(&capture(1_000), 1, 10);
        let probed: Vec<u64> = shards[0]
            .iter()
            .filter(|i| i.probe.is_some())
            .map(|i| i.line)
            .collect();
        assert_eq!(probed.len(), 10);
        assert!(
            probed
                .windows(2)
                .all(|pair| (80..120).contains(&(pair[1] - pair[0]))),
            "{probed:?}"
        );
    }

    #[test]
    fn a_line_that_is_no_reading_is_told_and_skipped() {
        let (shards, context) = run(
            "\n{\"sensor_id\":\"a\"}\n{\"sensor_id\":\"a\",\"ts\":1,\"value\":null}",
            1,
            0,
        );
        assert_eq!(shards[0].len(), 1);
        let totals = context.tally.totals();
        assert_eq!(totals.unreadable, 1);
        assert!(
            totals.examples[0].contains("line 2"),
            "{:?}",
            totals.examples
        );
    }
}
