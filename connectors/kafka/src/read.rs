//! Reads of one partition.
//!
//! What a newcomer would get wrong: a consumer at the end of a partition waits for more, and a read must
//! not. So the end is known before the first record is waited for, and nothing is waited for beyond it.

use std::{sync::Arc, time::Duration};

use openinfra_log::{Fetch, LogError, LogRecord};
use openinfra_schemas::Topic;
use prometheus::IntCounter;
use rdkafka::{error::KafkaError, types::RDKafkaErrorCode as Code};
use tokio::time::Instant;

use crate::{
    config::Config,
    ends::Ends,
    error::{Class, class, log_error},
    events::Reports,
    lane::Seat,
    lanes::Lanes,
    layout::Layout,
    taken::{Pause, Taken},
};

/// A read of so few records is a look-up.
const LOOK_UP_RECORDS: usize = 16;

/// The queue is looked at so often at least, though it wakes its reader.
const LOOK: Duration = Duration::from_millis(50);

pub(crate) struct Reader {
    layout: Layout,
    ends: Arc<Ends>,
    streams: Lanes,
    look_ups: Lanes,
    timeout: Duration,
    reports: Arc<Reports>,
    read: [IntCounter; Topic::ALL.len()],
}

impl Reader {
    pub(crate) fn new(
        config: &Config,
        layout: &Layout,
        ends: Arc<Ends>,
        reports: Arc<Reports>,
    ) -> Self {
        let counter = |topic: Topic| {
            let read = &reports.metrics.read_records;
            read.with_label_values(&[topic.name()])
        };
        Self {
            read: Topic::ALL.map(counter),
            streams: Lanes::for_streams(config, layout, reports.clone()),
            look_ups: Lanes::for_look_ups(config, layout, reports.clone()),
            layout: layout.clone(),
            ends,
            timeout: config.request_timeout(),
            reports,
        }
    }

    /// To be called several times a second.
    pub(crate) fn serve(&self) {
        self.streams.serve();
        self.look_ups.serve();
    }

    /// Ends the consumers; waits for their threads.
    pub(crate) fn close(&self) {
        self.streams.close();
        self.look_ups.close();
    }

    pub(crate) async fn read(&self, fetch: Fetch) -> Result<Vec<LogRecord>, LogError> {
        let place = self.layout.index(fetch.topic, fetch.partition)?;
        if fetch.from < self.ends.known_start(place).max(0) {
            return Err(self.gone(&fetch, fetch.from).await);
        }
        if fetch.max_records == 0 || fetch.to <= fetch.from {
            return Ok(Vec::new());
        }
        let mut end = self.ends.known_end(place);
        if fetch.from >= end {
            let one = fetch.partition..fetch.partition + 1;
            end = self.ends.ends(fetch.topic, one).await?[0];
        }
        let target = end.min(fetch.to);
        if fetch.from >= target {
            return Ok(Vec::new());
        }
        let mut taken = Taken::new(&fetch, target);
        self.take(&fetch, place, target, &mut taken).await?;
        self.read[fetch.topic as usize].inc_by(taken.len() as u64);
        Ok(taken.into_records())
    }

    /// Takes records until the fetch has what it asked for. When the broker falls silent, what has come is
    /// enough.
    async fn take(
        &self,
        fetch: &Fetch,
        place: usize,
        target: i64,
        taken: &mut Taken,
    ) -> Result<(), LogError> {
        let few = usize::try_from(target - fetch.from).unwrap_or(usize::MAX);
        let lanes = match few.min(fetch.max_records) <= LOOK_UP_RECORDS && fetch.to != i64::MAX {
            true => &self.look_ups,
            false => &self.streams,
        };
        let mut deadline = Instant::now() + self.timeout;
        let seat = tokio::time::timeout_at(deadline, lanes.sit(place, fetch.from)).await;
        let mut seat = match seat {
            Ok(seat) => seat.map_err(|error| self.failed(fetch, &error))?,
            Err(_) => return Err(self.silent(fetch)),
        };
        let mut sought = false;
        if seat.next() != fetch.from {
            self.reports.metrics.seeks.inc();
            seat = self.go_to(fetch, seat, fetch.from).await?;
            sought = true;
        }
        loop {
            let before = taken.len();
            let pause = taken.take_from(&mut seat);
            if taken.len() > before {
                deadline = Instant::now() + self.timeout;
                sought = false;
                self.reports.well();
            }
            match pause {
                Pause::Done => return Ok(()),
                Pause::Turn => tokio::task::yield_now().await,
                Pause::Empty => {
                    if Instant::now() >= deadline {
                        seat.is_lost();
                        return if taken.is_empty() {
                            Err(self.silent(fetch))
                        } else {
                            Ok(())
                        };
                    }
                    let ready = seat.state.ready.clone();
                    let look = deadline.min(Instant::now() + LOOK);
                    let _ = tokio::time::timeout_at(look, ready.notified()).await;
                }
                // Once it may be what was left in the queue from before; twice it is the log.
                Pause::Gap { .. } if !sought => {
                    seat = self.go_to(fetch, seat, taken.next).await?;
                    sought = true;
                }
                Pause::Gap { found } => {
                    seat.is_lost();
                    return self.hole(fetch, taken, found).await;
                }
                Pause::Error(error) => {
                    let seat = tokio::task::spawn_blocking(move || seat.leave());
                    let _ = seat.await;
                    return self.after_error(fetch, taken, &error).await;
                }
            }
        }
    }

    /// Seeks on a thread that may wait. The seat goes along, so that nobody else takes it meanwhile even
    /// when this reader is gone.
    async fn go_to(&self, fetch: &Fetch, mut seat: Seat, from: i64) -> Result<Seat, LogError> {
        let moved = tokio::task::spawn_blocking(move || {
            let outcome = seat.go_to(from).or_else(|_| {
                seat.leave();
                seat.go_to(from)
            });
            outcome.map(|()| seat)
        });
        match moved.await {
            Ok(Ok(seat)) => Ok(seat),
            Ok(Err(error)) => Err(self.failed(fetch, &error)),
            Err(ended) => Err(LogError::Unavailable(ended.to_string())),
        }
    }

    /// After an error in the partition's queue.
    async fn after_error(
        &self,
        fetch: &Fetch,
        taken: &Taken,
        error: &KafkaError,
    ) -> Result<(), LogError> {
        let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
        if matches!(code, Code::AutoOffsetReset | Code::OffsetOutOfRange) {
            return Err(self.gone(fetch, taken.next).await);
        }
        // What was read is good, and the error will be there again.
        if !taken.is_empty() && class(code) != Class::Damaged {
            return Ok(());
        }
        Err(self.failed(fetch, error))
    }

    /// An offset that the broker does not have, though it lies below the end.
    async fn gone(&self, fetch: &Fetch, wanted: i64) -> LogError {
        let one = fetch.partition..fetch.partition + 1;
        let start = match self.ends.starts(fetch.topic, one.clone()).await {
            Ok(starts) => starts[0],
            Err(error) => return error,
        };
        if wanted < start {
            return LogError::Gone {
                topic: fetch.topic,
                partition: fetch.partition,
                wanted,
                start,
            };
        }
        match self.ends.ends(fetch.topic, one).await {
            Err(error) => error,
            Ok(ends) => LogError::Unavailable(format!(
                "{} [{}] does not have {wanted}, though it ends at {}",
                self.layout.name(fetch.topic),
                fetch.partition,
                ends[0]
            )),
        }
    }

    /// The offsets from the next to `found` hold no record for us.
    async fn hole(&self, fetch: &Fetch, taken: &Taken, found: i64) -> Result<(), LogError> {
        let one = fetch.partition..fetch.partition + 1;
        let start = self.ends.starts(fetch.topic, one).await?[0];
        if taken.next < start {
            return Err(self.gone(fetch, taken.next).await);
        }
        Err(LogError::Damaged(format!(
            "{} [{}] has no record at {}..{found}: the topic was compacted, or somebody wrote to it \
             in transactions",
            self.layout.name(fetch.topic),
            fetch.partition,
            taken.next
        )))
    }

    fn silent(&self, fetch: &Fetch) -> LogError {
        match self.failed(
            fetch,
            &KafkaError::MessageConsumption(Code::OperationTimedOut),
        ) {
            // Nothing was heard of a broker being down. A transaction's end mark in the last place looks
            // like this until something is written behind it.
            LogError::Unavailable(text) if self.reports.heard().is_none() => LogError::Unavailable(
                format!("{text}; if the brokers are well, what stands there is no record of ours"),
            ),
            error => error,
        }
    }

    fn failed(&self, fetch: &Fetch, error: &KafkaError) -> LogError {
        let what = format!(
            "reading {} [{}] at {}",
            self.layout.name(fetch.topic),
            fetch.partition,
            fetch.from
        );
        match (error.rdkafka_error_code(), self.reports.heard()) {
            (_, Some((heard, reason))) if class(heard) == Class::Denied => {
                log_error(heard, &what, Some(reason))
            }
            (Some(code), heard) => log_error(code, &what, heard.map(|(_, reason)| reason)),
            (None, _) => LogError::Unavailable(format!("{what}: {error}")),
        }
    }
}
