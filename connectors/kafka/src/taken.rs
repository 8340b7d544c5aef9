//! Records on their way out of the client: copied end to end into one buffer.
//!
//! A record of the client holds on to the whole answer it came in. A newcomer would copy each into a
//! buffer of its own; that is two allocations a record.

use bytes::Bytes;
use openinfra_log::{Fetch, LogRecord};
use rdkafka::{Message, error::KafkaError, message::BorrowedMessage};

use crate::lane::Seat;

/// Records taken in one go before other tasks get a turn.
const AT_ONCE: usize = 2_048;

/// What is taken so far.
pub(crate) struct Taken {
    /// The offset to take next.
    pub(crate) next: i64,
    /// Exclusive.
    target: i64,
    max_records: usize,
    max_bytes: usize,
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

struct Span {
    append_ts: i64,
    key_len: usize,
    value_len: usize,
}

/// Why taking paused.
pub(crate) enum Pause {
    /// All that was asked for is there.
    Done,
    /// The queue is empty, for now.
    Empty,
    /// There is more in the queue; others may want a turn.
    Turn,
    /// The queue gave a later offset than the next.
    Gap {
        found: i64,
    },
    Error(KafkaError),
}

impl Taken {
    /// Takes `fetch.from..target`, as far as the fetch's bounds reach.
    pub(crate) fn new(fetch: &Fetch, target: i64) -> Self {
        Self {
            next: fetch.from,
            target,
            max_records: fetch.max_records,
            max_bytes: fetch.max_bytes,
            bytes: Vec::new(),
            spans: Vec::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.spans.len()
    }

    fn is_done(&self) -> bool {
        self.next >= self.target
            || self.spans.len() >= self.max_records
            || (!self.spans.is_empty() && self.bytes.len() >= self.max_bytes)
    }

    /// Takes what the seat's queue has. The seat always stands behind what it gave, so that whoever
    /// leaves off at any time harms nobody.
    pub(crate) fn take_from(&mut self, seat: &mut Seat) -> Pause {
        for _ in 0..AT_ONCE {
            if self.is_done() {
                return Pause::Done;
            }
            let Some(queue) = &seat.state.queue else {
                return Pause::Error(KafkaError::NoMessageReceived);
            };
            let found = match queue.poll(std::time::Duration::ZERO) {
                None => return Pause::Empty,
                Some(Err(error)) => return Pause::Error(error),
                Some(Ok(message)) => {
                    let found = message.offset();
                    if found == self.next {
                        self.push(&message);
                    }
                    found
                }
            };
            if found >= self.next {
                return Pause::Gap { found };
            }
            seat.moved_to(self.next);
        }
        Pause::Turn
    }

    fn push(&mut self, message: &BorrowedMessage<'_>) {
        let key = message.key().unwrap_or_default();
        let value = message.payload().unwrap_or_default();
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        self.spans.push(Span {
            append_ts: message.timestamp().to_millis().unwrap_or(0),
            key_len: key.len(),
            value_len: value.len(),
        });
        self.next += 1;
    }

    pub(crate) fn into_records(self) -> Vec<LogRecord> {
        let mut rest = Bytes::from(self.bytes);
        let first = self.next - self.spans.len() as i64;
        let records = (first..).zip(self.spans).map(|(offset, span)| LogRecord {
            offset,
            append_ts: span.append_ts,
            key: rest.split_to(span.key_len),
            value: rest.split_to(span.value_len),
        });
        records.collect()
    }
}
