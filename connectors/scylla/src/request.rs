//! One request to the cluster: bounded in number, timed, counted, and made again where that is harmless.

use std::{future::Future, time::Duration};

use openinfra_store::StoreError;
use scylla::errors::ExecutionError;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};

use crate::{
    away::Away,
    error::{Kind, failed},
    metrics::{Metrics, Op},
};

/// How often a request is made that may be repeated. The driver has gone through the nodes each time.
const TRIES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// A request of which nobody awaits the end counts as unanswered after so long.
const GIVEN_UP: Duration = Duration::from_millis(300);

pub(crate) struct Requests {
    permits: Semaphore,
    metrics: Metrics,
    away: Away,
}

impl Requests {
    /// `place`: what requests are made to, for the log.
    pub(crate) fn new(max_in_flight: usize, place: String, metrics: Metrics) -> Self {
        Self {
            away: Away::new(place),
            permits: Semaphore::new(max_in_flight.min(Semaphore::MAX_PERMITS)),
            metrics,
        }
    }

    /// Makes a request, which must have the same effect twice as once, until it succeeds or is not likely
    /// to soon.
    pub(crate) async fn repeat<T, F>(
        &self,
        op: Op,
        mut request: impl FnMut() -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, ExecutionError>>,
    {
        let mut pause = FIRST_PAUSE;
        for _ in 1..TRIES {
            match self.once(op, request()).await {
                Err(error) if may_pass(&error) => {
                    self.metrics.retried(op).inc();
                    tracing::debug!(?op, %error, "a request to the store is made again");
                    sleep(pause).await;
                    pause *= 4;
                }
                answer => return answer.map_err(|error| failed(&error)),
            }
        }
        let answer = self.once(op, request()).await;
        answer.map_err(|error| failed(&error))
    }

    /// Makes a request once.
    pub(crate) async fn once<T>(
        &self,
        op: Op,
        request: impl Future<Output = Result<T, ExecutionError>>,
    ) -> Result<T, ExecutionError> {
        let _permit = self
            .permits
            .acquire()
            .await
            .expect("the semaphore is never closed");
        let under_way = UnderWay::new(self, op);
        let answer = request.await;
        under_way.ended(answer.as_ref().err());
        answer
    }
}

/// Whether the same may succeed in a moment. Whoever waited in vain for as long as it may has waited enough.
fn may_pass(error: &ExecutionError) -> bool {
    !matches!(error, ExecutionError::RequestTimeout(_)) && Kind::of(error) != Kind::Refused
}

/// Counts a request as under way until it has ended or nobody waits for it any more.
struct UnderWay<'a> {
    requests: &'a Requests,
    op: Op,
    began: Instant,
    has_ended: bool,
}

impl<'a> UnderWay<'a> {
    fn new(requests: &'a Requests, op: Op) -> Self {
        requests.metrics.in_flight.inc();
        Self {
            requests,
            op,
            began: Instant::now(),
            has_ended: false,
        }
    }

    fn ended(mut self, error: Option<&ExecutionError>) {
        self.has_ended = true;
        self.observe(error.map(Kind::of));
        self.requests.away.heard(self.began.into_std(), error);
    }

    fn observe(&self, error: Option<Kind>) {
        let took = self.began.elapsed().as_secs_f64();
        self.requests.metrics.observe(self.op, took, error);
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.requests.metrics.in_flight.dec();
        let waited = self.began.elapsed();
        // Whoever asks has a patience of his own, which may end before any request's time does.
        if !self.has_ended && waited >= GIVEN_UP {
            self.observe(Some(Kind::Timeout));
            let cause = format!("no answer after {} ms", waited.as_millis());
            self.requests.away.unanswered(self.began.into_std(), &cause);
        }
    }
}
