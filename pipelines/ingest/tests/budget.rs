//! Bytes in flight over the real intake and a log that takes its time: the bound, and what gives them back.
// Tests may panic.
#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod common;

use std::sync::Arc;

use async_trait::async_trait;
use axum::{Router, body::Body, http::Request};
use common::{Bench, PATIENCE, delivery, until};
use futures::{future::join_all, stream};
use openinfra_http::ingest::{HttpIngest, router};
use openinfra_ingest::{Config, Ingest};
use openinfra_intake::{Budget, Intake};
use openinfra_log::{AppendBatch, Appended, Fetch, Log, LogError, LogRecord};
use openinfra_schemas::Topic;
use prometheus::Registry;
use tokio::sync::watch;
use tower::ServiceExt;

const MIB: usize = 1 << 20;

/// Appends nothing while it is held.
struct Held {
    log: Arc<dyn Log>,
    hold: watch::Sender<bool>,
}

#[async_trait]
impl Log for Held {
    fn partitions(&self, topic: Topic) -> i32 {
        self.log.partitions(topic)
    }

    async fn append(&self, batch: AppendBatch) -> Result<Appended, LogError> {
        let mut hold = self.hold.subscribe();
        hold.wait_for(|held| !held).await.unwrap();
        self.log.append(batch).await
    }

    async fn read(&self, fetch: Fetch) -> Result<Vec<LogRecord>, LogError> {
        self.log.read(fetch).await
    }

    async fn end_offsets(&self, topic: Topic) -> Result<Vec<i64>, LogError> {
        self.log.end_offsets(topic).await
    }

    async fn start_offsets(&self, topic: Topic) -> Result<Vec<i64>, LogError> {
        self.log.start_offsets(topic).await
    }
}

struct App {
    bench: Bench,
    ingest: Arc<Ingest>,
    log: Arc<Held>,
    router: Router,
    key: String,
}

async fn app(in_flight_bytes: usize) -> App {
    let bench = Bench::new().await;
    let log = Arc::new(Held {
        log: Arc::clone(&bench.log),
        hold: watch::Sender::new(true),
    });
    let config = Config {
        in_flight_bytes,
        ..Config::default()
    };
    let (codec, keys) = (Arc::clone(&bench.codec), bench.keys.clone());
    let ingest = Ingest::new(log.clone(), codec, keys, config, &Registry::new());
    let intake = Arc::clone(&ingest) as Arc<dyn Intake>;
    let (router, _) = router(HttpIngest::new(intake)).split_for_parts();
    let key = bench.key(|_| {}).await.key;
    App {
        bench,
        ingest,
        log,
        router,
        key,
    }
}

impl App {
    fn budget(&self) -> &Arc<Budget> {
        self.ingest.budget()
    }

    async fn post(&self, body: Body) -> (u16, Option<String>) {
        let request = Request::post("/api/v1/iot/sensors/batch-ingest")
            .header("x-api-key", &self.key)
            .header("content-type", "application/x-ndjson")
            .body(body)
            .unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let after = response.headers().get("retry-after");
        let after = after.map(|after| after.to_str().unwrap().to_owned());
        (response.status().as_u16(), after)
    }
}

/// A body in pieces, its length not told.
fn pieces(bytes: &[u8]) -> Body {
    let pieces = bytes.chunks(64 * 1024).map(<[u8]>::to_vec);
    let pieces: Vec<_> = pieces.map(Ok::<_, std::io::Error>).collect();
    Body::from_stream(stream::iter(pieces))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_flood_of_large_requests_at_a_slow_log_keeps_the_bound() {
    const REQUESTS: usize = 40;
    let total = 48 * MIB;
    let app = Arc::new(app(total).await);
    // The ledger keeps what is no reading, so that as much as came is in flight.
    let junk = vec![b'x'; 4 * MIB];
    let (refused, mut refusals) = watch::channel(0);
    let requests = (0..REQUESTS).map(|n| {
        let (app, refused) = (Arc::clone(&app), refused.clone());
        let body = match n % 2 {
            0 => pieces(&junk),
            _ => Body::from(junk.clone()),
        };
        tokio::spawn(async move {
            let (status, after) = app.post(body).await;
            if status == 503 {
                assert_eq!(after.as_deref(), Some("1"));
                refused.send_modify(|n| *n += 1);
            }
            status
        })
    });
    let requests: Vec<_> = requests.collect();
    let most_stay = total / (4 * MIB);
    let waiting = refusals.wait_for(|refused| *refused >= REQUESTS - most_stay);
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .unwrap()
        .unwrap();
    assert!(app.budget().in_use() >= 8 * MIB);
    app.log.hold.send_replace(false);
    let statuses: Vec<u16> = join_all(requests)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let taken = statuses.iter().filter(|status| **status == 422).count();
    let refused = statuses.iter().filter(|status| **status == 503).count();
    assert!(taken >= 2 && taken + refused == REQUESTS, "{statuses:?}");
    assert_eq!(app.bench.ledger().await.len(), taken);
    let budget = app.budget();
    assert!(budget.most_used() <= total, "{}", budget.most_used());
    assert_eq!(budget.in_use(), 0);
    assert_eq!(app.post(pieces(&junk)).await.0, 422);
}

#[tokio::test]
async fn the_greatest_request_fits_into_the_smallest_budget() {
    let app = app(0).await;
    app.log.hold.send_replace(false);
    // Each line is refused, so that all of it stands in the ledger, with a reason for each.
    let mut line = vec![b'x'; 10 * MIB / 10_000 - 1];
    line.push(b'\n');
    let body = line.repeat(10_000);
    assert_eq!(app.post(pieces(&body)).await, (422, None));
    assert_eq!(app.post(Body::from(body)).await, (422, None));
    let budget = app.budget();
    assert!(budget.most_used() <= budget.largest());
    assert_eq!(budget.in_use(), 0);
    assert_eq!(app.bench.ledger().await.len(), 20_000);
}

#[tokio::test]
async fn bytes_stay_in_flight_until_the_log_answers_whoever_waits() {
    let app = app(0).await;
    let who = app.bench.principal(|_| {}).await;
    let mut batch = AppendBatch::default();
    app.ingest
        .take(&who, &delivery(br#"{"value": 1}"#), &mut batch);
    let mut room = app.budget().room();
    assert!(room.try_resize(1_000));
    let ingest = Arc::clone(&app.ingest);
    let commit = tokio::spawn(async move { ingest.commit(batch, room).await });
    until("the log has it", || app.log.hold.receiver_count() > 0).await;
    commit.abort();
    assert!(commit.await.unwrap_err().is_cancelled());
    assert_eq!(app.budget().in_use(), 1_000);
    app.log.hold.send_replace(false);
    until("given back", || app.budget().in_use() == 0).await;
    assert_eq!(app.bench.readings().await.len(), 1);
}
