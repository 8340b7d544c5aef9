//! One request to the cluster: bounded in number, timed, counted, and made again where that is harmless.

use std::{future::Future, time::Duration};

use openinfra_store::StoreError;
use prometheus::IntGauge;
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
        let _under_way = UnderWay::new(&self.metrics.in_flight);
        let began = Instant::now();
        let answer = request.await;
        let error = answer.as_ref().err().map(Kind::of);
        self.metrics
            .observe(op, began.elapsed().as_secs_f64(), error);
        self.away.heard(error, || {
            answer
                .as_ref()
                .err()
                .map_or_else(String::new, ToString::to_string)
        });
        answer
    }
}

/// Whether the same may succeed in a moment. Whoever waited in vain for as long as it may has waited enough.
fn may_pass(error: &ExecutionError) -> bool {
    !matches!(error, ExecutionError::RequestTimeout(_)) && Kind::of(error) != Kind::Refused
}

/// Counts a request as under way until it is answered or given up.
struct UnderWay<'a>(&'a IntGauge);

impl<'a> UnderWay<'a> {
    fn new(gauge: &'a IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}
