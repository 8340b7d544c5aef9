//! How many requests are taken, and what is told of it.

use std::num::NonZeroU32;

use openinfra_api::Limits;
use openinfra_intake::keys::NewKey;

use crate::app::{Answer, Setup, TestApp, tenant};

const BURST: u64 = 5;

async fn limited(dev: bool, limit_dev: bool) -> TestApp {
    let some = |n| NonZeroU32::new(n).unwrap();
    let limits = Limits {
        requests_per_s: some(1),
        burst: some(BURST as u32),
        anonymous_per_s: some(1),
        anonymous_burst: some(BURST as u32),
        limit_dev,
    };
    let setup = Setup {
        dev,
        limits,
        ..Setup::default()
    };
    TestApp::with(setup).await
}

async fn get(app: &TestApp, path: &str, key: &str) -> Answer {
    app.call("GET", path, &[("x-api-key", key)], None).await
}

fn number(answer: &Answer, header: &str) -> u64 {
    answer.header(header).parse().unwrap()
}

/// Asks until it is refused, which a bucket of five cannot put off for long; how often it was answered.
async fn exhaust(mut ask: impl AsyncFnMut() -> Answer) -> (u64, Answer) {
    for answered in 0..1_000 {
        let answer = ask().await;
        assert_eq!(number(&answer, "ratelimit-limit"), BURST);
        assert_eq!(number(&answer, "x-ratelimit-limit"), BURST);
        assert!(number(&answer, "ratelimit-remaining") < BURST);
        if answer.status == 429 {
            return (answered, answer);
        }
    }
    panic!("it was never refused");
}

#[tokio::test]
async fn a_key_over_its_rate_is_told_when_to_come_again() {
    let app = limited(false, false).await;
    let key = async |name| app.state.keys.create(NewKey::device(tenant(), name)).await;
    let (one, other) = (key("one").await.unwrap(), key("other").await.unwrap());
    let (answered, refused) = exhaust(async || get(&app, "/api/v1/views", &one.key).await).await;
    assert!(answered >= BURST);
    let problem = refused.problem(429, "rate-limited");
    assert_eq!(problem["scope"], "key");
    let seconds = number(&refused, "retry-after");
    assert_eq!(problem["retry_after_s"], seconds);
    assert!(seconds >= 1);
    assert_eq!(number(&refused, "ratelimit-remaining"), 0);
    assert_eq!(number(&refused, "ratelimit-reset"), BURST);
    // It is its own bucket, and that of requests to the API, not to the process.
    assert_eq!(get(&app, "/api/v1/views", &other.key).await.status, 200);
    for path in ["/health/live", "/livez", "/metrics"] {
        let answer = get(&app, path, &one.key).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(!answer.headers.contains_key("ratelimit-limit"), "{path}");
    }
}

#[tokio::test]
async fn trying_keys_out_is_slow() {
    let app = limited(false, false).await;
    let (answered, refused) = exhaust(async || get(&app, "/api/v1/views", "a.b").await).await;
    assert!(answered >= BURST);
    let problem = refused.problem(429, "rate-limited");
    assert_eq!(problem["scope"], "address");
    let good = app.state.keys.create(NewKey::device(tenant(), "d")).await;
    let good = good.unwrap().key;
    assert_eq!(get(&app, "/api/v1/views", &good).await.status, 200);
}

#[tokio::test]
async fn dev_is_told_what_is_left_and_held_to_it_only_when_asked_for() {
    let app = limited(true, false).await;
    for _ in 0..3 * BURST {
        let answer = app.get("/api/v1/views").await;
        assert_eq!(answer.status, 200);
        assert_eq!(number(&answer, "ratelimit-limit"), BURST);
    }
    let app = limited(true, true).await;
    exhaust(async || app.get("/api/v1/views").await).await;
}
