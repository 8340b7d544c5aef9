//! The ingest routes against a scripted intake: what each request is answered with, and what of it goes
//! any further. What the real intake makes of bodies is tested where it lives.
// Tests may panic.
#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

use std::{
    collections::HashSet,
    io::Write,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use axum::{
    Router,
    body::Body,
    http::{Request, Response, StatusCode},
};
use flate2::{Compression, write::GzEncoder};
use http_body_util::BodyExt;
use openinfra_http::ingest::{HttpIngest, MAX_BODY_BYTES, router};
use openinfra_intake::{
    AuthError, Budget, CommitError, Credentials, Delivery, Format, Intake, Principal,
    PrincipalKind, Rejection, Room, TooMany, Verdict,
};
use openinfra_log::{AppendBatch, Appended};
use openinfra_schemas::{Reason, TenantId, Topic};
use serde_json::{Value, json};
use tower::ServiceExt;

/// Format, sensor, payload and `trust_recv` of a delivery.
type Taken = (Format, Option<String>, Vec<u8>, bool);
type Down = fn() -> CommitError;

/// What the intake saw and does.
#[derive(Default)]
struct Script {
    taken: Mutex<Vec<Taken>>,
    refused: Mutex<Vec<Vec<u8>>>,
    committed: Mutex<usize>,
    down: Option<Down>,
    over_rate: bool,
    verdict: Option<Verdict>,
}

/// With the smallest budget there is: everything goes through it one by one.
struct Fake(Script, Arc<Budget>);

#[async_trait]
impl Intake for Fake {
    async fn authenticate(&self, shown: &Credentials) -> Result<Arc<Principal>, AuthError> {
        let plain = Principal {
            kind: PrincipalKind::Device,
            name: "k1".to_owned(),
            permissions: ["ingest_readings".to_owned()].into(),
            sensors: Some(HashSet::from(["a".to_owned()])),
            may_trust_recv: false,
            ..Principal::dev(TenantId::trusted("t"))
        };
        match shown.secret.as_deref() {
            None => Err(AuthError::Missing),
            Some("good") => Ok(Arc::new(plain)),
            Some("trusted") => Ok(Arc::new(Principal {
                may_trust_recv: true,
                ..plain
            })),
            Some("reader") => Err(AuthError::Forbidden("ingest_readings")),
            Some("unsure") => Err(AuthError::Unavailable("the store is away".to_owned())),
            Some(_) => Err(AuthError::Wrong),
        }
    }

    fn admit(&self, _who: &Principal, _readings: u32) -> Result<(), TooMany> {
        if self.0.over_rate {
            Err(TooMany {
                retry_after: Duration::from_millis(1_200),
                readings_per_s: 7_000,
            })
        } else {
            Ok(())
        }
    }

    fn budget(&self) -> &Arc<Budget> {
        &self.1
    }

    fn take(&self, _: &Principal, delivery: &Delivery<'_>, batch: &mut AppendBatch) -> Verdict {
        self.0.taken.lock().unwrap().push((
            delivery.format,
            delivery.sensor.map(str::to_owned),
            delivery.payload.to_vec(),
            delivery.trust_recv,
        ));
        let verdict = self.0.verdict.clone().unwrap_or(Verdict {
            accepted: 1,
            ..Verdict::default()
        });
        for _ in 0..verdict.accepted {
            batch.push(Topic::Readings, 3, b"t/a", b"reading");
        }
        for _ in &verdict.rejected {
            batch.push(Topic::Ledger, 0, b"t/http", b"entry");
        }
        verdict
    }

    fn refuse(
        &self,
        _: &Principal,
        delivery: &Delivery<'_>,
        _: Reason,
        _: &str,
        batch: &mut AppendBatch,
    ) {
        let payload = delivery.payload.to_vec();
        self.0.refused.lock().unwrap().push(payload);
        batch.push(Topic::Ledger, 0, b"t/http", b"entry");
    }

    async fn commit(&self, batch: AppendBatch, _room: Room) -> Result<Appended, CommitError> {
        if let Some(down) = self.0.down {
            return Err(down());
        }
        *self.0.committed.lock().unwrap() += batch.len();
        Ok(Appended {
            offsets: (40..).take(batch.len()).collect(),
        })
    }
}

struct App {
    fake: Arc<Fake>,
    router: Router,
}

struct Answer {
    status: StatusCode,
    response: Response<()>,
    body: Value,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.response.headers()[name].to_str().unwrap()
    }
}

fn app(script: Script) -> App {
    bounded(script, MAX_BODY_BYTES)
}

fn bounded(script: Script, max_body_bytes: usize) -> App {
    let fake = Arc::new(Fake(script, Budget::new(0)));
    let state = HttpIngest::new(Arc::clone(&fake) as Arc<dyn Intake>).bounded(max_body_bytes);
    let (router, _) = router(state).split_for_parts();
    App { fake, router }
}

impl App {
    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status,
            response: Response::from_parts(parts, ()),
            body: serde_json::from_slice(&bytes).unwrap(),
        }
    }

    fn committed(&self) -> usize {
        *self.fake.0.committed.lock().unwrap()
    }

    fn only_taken(&self) -> Taken {
        let taken = self.fake.0.taken.lock().unwrap();
        assert_eq!(taken.len(), 1);
        taken[0].clone()
    }
}

const BATCH: &str = "/api/v1/iot/sensors/batch-ingest";
const DATA: &str = "/api/v1/iot/sensors/a/data";

fn post(path: &str) -> axum::http::request::Builder {
    Request::post(path)
        .header("x-api-key", "good")
        .header("content-type", "application/json")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn rejection(index: usize, reason: Reason) -> Rejection {
    Rejection {
        index,
        reason,
        detail: "wrong".to_owned(),
    }
}

#[tokio::test]
async fn what_the_log_has_is_answered_with_202_and_its_token() {
    let app = app(Script {
        verdict: Some(Verdict {
            accepted: 2,
            rejected: vec![rejection(1, Reason::Invalid)],
            forbidden: 0,
        }),
        ..Script::default()
    });
    let answer = app.send(post(BATCH).body("{}".into()).unwrap()).await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.header("openinfra-token"), "1.r3-42.l0-43");
    assert_eq!(
        answer.body,
        json!({
            "accepted": 2,
            "rejected": 1,
            "token": "1.r3-42.l0-43",
            "errors": [{"index": 1, "reason": "invalid", "detail": "wrong"}],
        })
    );
    assert_eq!(app.committed(), 3);
}

#[tokio::test]
async fn ids_are_percent_encoded_slashes_included() {
    let app = app(Script::default());
    let path = "/api/v1/iot/sensors/b%C3%BCro%2F3%20%25/data";
    let answer = app.send(post(path).body("1".into()).unwrap()).await;
    assert_eq!(answer.status, 202);
    let (format, sensor, payload, trust) = app.only_taken();
    assert_eq!(format, Format::SensorJson);
    assert_eq!(sensor.unwrap(), "büro/3 %");
    assert_eq!(payload, b"1");
    assert!(!trust);
}

#[tokio::test]
async fn an_id_that_is_no_text_is_malformed() {
    let app = app(Script::default());
    let path = "/api/v1/iot/sensors/%FF/data";
    let answer = app.send(post(path).body("1".into()).unwrap()).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.body["type"], "/problems/malformed-request");
}

#[tokio::test]
async fn the_content_type_says_how_a_batch_is_read() {
    for (content_type, format) in [
        (Some("application/json; charset=utf-8"), Format::BatchJson),
        (Some("Application/X-NDJSON"), Format::Ndjson),
        (None, Format::BatchJson),
    ] {
        let app = app(Script::default());
        let mut request = Request::post(BATCH).header("authorization", "Bearer good");
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let answer = app.send(request.body("x".into()).unwrap()).await;
        assert_eq!(answer.status, 202, "{content_type:?}");
        assert_eq!(app.only_taken().0, format, "{content_type:?}");
    }
}

/// Nothing may go any further than the answer.
async fn refused_whole(script: Script, request: Request<Body>, status: u16, slug: &str) -> Answer {
    let app = app(script);
    let answer = app.send(request).await;
    assert_eq!(answer.status, status, "{}", answer.body);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.body["type"], format!("/problems/{slug}"));
    assert_eq!(app.committed(), 0);
    answer
}

#[tokio::test]
async fn who_does_not_authenticate_hears_why() {
    let none = Request::post(DATA).body("1".into()).unwrap();
    let answer = refused_whole(Script::default(), none, 401, "unauthenticated").await;
    assert!(answer.header("www-authenticate").starts_with("Bearer"));
    for (name, value, status, slug) in [
        ("x-api-key", "bad", 401, "invalid-credentials"),
        ("authorization", "Bearer bad", 401, "invalid-credentials"),
        ("authorization", "Basic Z29vZA==", 401, "unauthenticated"),
        ("x-api-key", "reader", 403, "forbidden"),
        ("x-api-key", "unsure", 503, "unavailable"),
    ] {
        let request = Request::post(DATA).header(name, value);
        let request = request.body("1".into()).unwrap();
        refused_whole(Script::default(), request, status, slug).await;
    }
}

#[tokio::test]
async fn receive_times_are_believed_only_with_the_permission() {
    let path = format!("{BATCH}?trust_recv=true");
    let request = post(&path).body("{}".into()).unwrap();
    let answer = refused_whole(Script::default(), request, 403, "forbidden").await;
    assert_eq!(answer.body["required_permission"], "trust_receive_time");

    let app = app(Script::default());
    let request = Request::post(&path).header("x-api-key", "trusted");
    let answer = app.send(request.body("{}".into()).unwrap()).await;
    assert_eq!(answer.status, 202);
    assert!(app.only_taken().3);
}

#[tokio::test]
async fn unknown_parameters_are_errors() {
    let path = format!("{BATCH}?trust_rcv=true");
    let request = post(&path).body("{}".into()).unwrap();
    let answer = refused_whole(Script::default(), request, 400, "unknown-parameter").await;
    assert_eq!(answer.body["parameter"], "trust_rcv");
    assert_eq!(answer.body["known"], json!(["trust_recv"]));
}

#[tokio::test]
async fn other_types_and_encodings_are_415() {
    let typed = |content_type| {
        Request::post(BATCH)
            .header("x-api-key", "good")
            .header("content-type", content_type)
            .body("x".into())
            .unwrap()
    };
    let answer = refused_whole(
        Script::default(),
        typed("text/csv"),
        415,
        "unsupported-media-type",
    )
    .await;
    assert_eq!(
        answer.body["accepted"],
        json!(["application/json", "application/x-ndjson"])
    );
    let request = post(BATCH).header("content-encoding", "br");
    let request = request.body("x".into()).unwrap();
    refused_whole(Script::default(), request, 415, "unsupported-media-type").await;
}

#[tokio::test]
async fn twenty_megabytes_are_too_many_announced_or_not() {
    let big = vec![b' '; 20_000_000];
    let announced = post(BATCH).header("content-length", big.len());
    let announced = announced.body(Body::empty()).unwrap();
    let answer = refused_whole(Script::default(), announced, 413, "payload-too-large").await;
    assert_eq!(answer.body["limit_bytes"], MAX_BODY_BYTES);
    let silent = post(BATCH).body(Body::from(big)).unwrap();
    refused_whole(Script::default(), silent, 413, "payload-too-large").await;
}

#[tokio::test]
async fn an_operator_may_set_less() {
    const MOST: usize = 1_000;
    let app = bounded(Script::default(), MOST);
    let fits = format!("{{\"readings\":[]{}}}", " ".repeat(MOST - 15));
    assert_eq!(fits.len(), MOST);
    let sent = |body: Vec<u8>| app.send(post(BATCH).body(body.into()).unwrap());
    assert_eq!(sent(fits.clone().into()).await.status, 202);
    let longer = format!("{fits} ");
    let answer = sent(longer.clone().into()).await;
    assert_eq!(answer.status, 413);
    assert_eq!(answer.body["limit_bytes"], MOST);
    let request = post(BATCH).header("content-encoding", "gzip");
    let request = request.body(gzip(longer.as_bytes()).into()).unwrap();
    assert_eq!(app.send(request).await.status, 413);
    assert_eq!(app.only_taken().2, fits.as_bytes());
}

#[tokio::test]
async fn gzip_is_inflated() {
    let app = app(Script::default());
    let request = post(BATCH).header("content-encoding", "gzip");
    let request = request.body(gzip(b"{\"readings\":[]}").into()).unwrap();
    assert_eq!(app.send(request).await.status, 202);
    assert_eq!(app.only_taken().2, b"{\"readings\":[]}");
}

#[tokio::test]
async fn a_gzip_bomb_goes_off_at_the_bound() {
    let bomb = gzip(&vec![b' '; 200 * 1024 * 1024]);
    assert!(bomb.len() < 1024 * 1024);
    let request = post(BATCH).header("content-encoding", "gzip");
    let request = request.body(bomb.into()).unwrap();
    refused_whole(Script::default(), request, 413, "payload-too-large").await;
}

#[tokio::test]
async fn what_cannot_be_inflated_is_kept_as_it_came() {
    let app = app(Script::default());
    let mut broken = gzip(&[b'1'; 1_000]);
    broken.truncate(broken.len() - 4);
    let request = post(BATCH).header("content-encoding", "gzip");
    let answer = app.send(request.body(broken.clone().into()).unwrap()).await;
    assert_eq!(answer.status, 400, "{}", answer.body);
    assert_eq!(answer.body["type"], "/problems/malformed-request");
    assert_eq!(answer.body["rejected"], 1);
    assert_eq!(*app.fake.0.refused.lock().unwrap(), [broken]);
    assert_eq!(app.committed(), 1);
}

#[tokio::test]
async fn over_its_rate_a_key_hears_when_to_come_again() {
    let script = Script {
        over_rate: true,
        ..Script::default()
    };
    let request = post(BATCH).body("{}".into()).unwrap();
    let answer = refused_whole(script, request, 429, "rate-limited").await;
    assert_eq!(answer.header("retry-after"), "2");
    assert_eq!(answer.body["retry_after_s"], 2);
    assert_eq!(answer.body["scope"], "key");
    assert_eq!(answer.header("ratelimit-limit"), "7000");
    assert_eq!(answer.header("x-ratelimit-remaining"), "0");
}

#[tokio::test]
async fn a_log_that_takes_nothing_is_503_with_a_time_to_come_again() {
    let down: [(Down, &str); 2] = [
        (
            || CommitError::Unavailable("away".to_owned()),
            "unavailable",
        ),
        (|| CommitError::StorageFull, "storage_full"),
    ];
    for (down, reason) in down {
        let script = Script {
            down: Some(down),
            ..Script::default()
        };
        let request = post(BATCH).body("{}".into()).unwrap();
        let answer = refused_whole(script, request, 503, "unavailable").await;
        assert_eq!(answer.body["part"], "log");
        assert_eq!(answer.body["reason"], reason);
        assert!(answer.header("retry-after").parse::<u64>().unwrap() > 0);
        assert!(!answer.body.to_string().contains("away"));
    }
}

#[tokio::test]
async fn a_request_of_which_nothing_was_accepted_is_a_problem() {
    let undecodable = || vec![rejection(0, Reason::Undecodable)];
    for (path, rejected, forbidden, status, slug) in [
        (DATA, undecodable(), 0, 400, "malformed-request"),
        (
            BATCH,
            vec![
                rejection(0, Reason::Invalid),
                rejection(1, Reason::Undecodable),
            ],
            0,
            422,
            "validation-failed",
        ),
        (
            DATA,
            vec![rejection(0, Reason::Invalid)],
            1,
            403,
            "forbidden",
        ),
        (
            DATA,
            vec![rejection(0, Reason::Invalid)],
            0,
            422,
            "validation-failed",
        ),
    ] {
        let count = rejected.len();
        let app = app(Script {
            verdict: Some(Verdict {
                accepted: 0,
                rejected,
                forbidden,
            }),
            ..Script::default()
        });
        let answer = app.send(post(path).body("x".into()).unwrap()).await;
        assert_eq!(answer.status, status, "{}", answer.body);
        assert_eq!(answer.body["type"], format!("/problems/{slug}"));
        assert_eq!(answer.body["accepted"], 0);
        assert_eq!(answer.body["rejected"], count);
        assert_eq!(answer.body["errors"].as_array().unwrap().len(), count);
        assert_eq!(answer.body["token"], answer.header("openinfra-token"));
        assert_eq!(app.committed(), count);
    }
}

#[test]
fn both_routes_are_described() {
    let (_, api) = router(HttpIngest::new(Arc::new(Fake(
        Script::default(),
        Budget::new(0),
    ))))
    .split_for_parts();
    let paths: Vec<_> = api.paths.paths.keys().map(String::as_str).collect();
    assert_eq!(
        paths,
        [
            "/api/v1/iot/sensors/batch-ingest",
            "/api/v1/iot/sensors/{id}/data"
        ]
    );
}

#[tokio::test]
async fn while_too_much_is_in_flight_requests_are_refused_and_may_come_again() {
    let app = app(Script::default());
    let budget = Arc::clone(&app.fake.1);
    let mut others = budget.room();
    assert!(others.try_resize(1));
    let answer = app.send(post(BATCH).body("{}".into()).unwrap()).await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(answer.body["part"], "log");
    assert_eq!(answer.body["reason"], "busy");
    assert_eq!((app.committed(), budget.in_use()), (0, 1));
    drop(others);
    let answer = app.send(post(BATCH).body("{}".into()).unwrap()).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    assert_eq!(budget.in_use(), 0);
}

#[tokio::test]
async fn the_largest_body_has_room_however_it_comes() {
    let noise: Vec<u8> = (0..MAX_BODY_BYTES as u32 - 10_000)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let whole = || Body::from(noise.clone());
    let requests = [
        post(BATCH).body(whole()).unwrap(),
        post(BATCH)
            .header("content-length", noise.len())
            .body(whole())
            .unwrap(),
        post(BATCH)
            .header("content-encoding", "gzip")
            .body(gzip(&noise).into())
            .unwrap(),
    ];
    for request in requests {
        let app = app(Script::default());
        let answer = app.send(request).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        assert!(app.only_taken().2 == noise);
        let budget = &app.fake.1;
        assert!((2 * noise.len()..=budget.largest()).contains(&budget.most_used()));
        assert_eq!(budget.in_use(), 0);
    }
}
