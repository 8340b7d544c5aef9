//! `/views/verify`: one at a time, and for as long as somebody waits.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio::task::yield_now;

use crate::{
    app::{NOON, Setup, TestApp},
    wait::{eventually, until},
};

const PATH: &str = "/api/v1/views/verify";
const KEY: [(&str, &str); 1] = [("idempotency-key", "k1")];

#[tokio::test]
async fn verification_says_where_views_differ_and_what_was_counted() {
    let app = TestApp::new().await;
    let answer = app.call("POST", PATH, &[], None).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("openinfra-as-of"), NOON);
    assert_eq!(
        answer.json(),
        json!({
            "equal": false,
            "as_of": NOON,
            "differing": [{
                "view": "readings",
                "key": "default/s1",
                "expected": {"value": 1.0},
                "found": null,
            }],
            "views": {"readings": {"rows_expected": 2, "rows_stored": 1, "differing": 1}},
            "ledger": {
                "conserved": true,
                "log_records": 3,
                "accepted": 2,
                "duplicates": 1,
                "corrections": 0,
                "refused": {},
            },
        })
    );
}

#[tokio::test]
async fn who_asks_while_one_runs_is_given_its_answer() {
    let app = TestApp::new().await;
    app.job.let_end(false);
    let call = || app.call("POST", PATH, &[], None);
    let end = async {
        until("one runs", || app.job.verifying() == 1).await;
        for _ in 0..1_000 {
            yield_now().await;
        }
        app.job.let_end(true);
    };
    let (one, other, ()) = tokio::join!(call(), call(), end);
    assert_eq!(one.json(), other.json());
    assert_eq!(app.job.verified(), 1);
    // The next one is a new one.
    assert_eq!(call().await.status, 200);
    assert_eq!(app.job.verified(), 2);
}

#[tokio::test]
async fn nothing_is_verified_for_nobody() {
    let app = Arc::new(TestApp::new().await);
    app.job.let_end(false);
    let call = {
        let app = Arc::clone(&app);
        tokio::spawn(async move { app.call("POST", PATH, &[], None).await })
    };
    until("it runs", || app.job.verifying() == 1).await;
    call.abort();
    until("it has stopped", || app.job.verifying() == 0).await;
}

#[tokio::test]
async fn the_time_limit_stops_it_with_and_without_a_key() {
    let app = TestApp::with(Setup {
        config: |config| config.long_timeout = Duration::from_millis(200),
        ..Setup::default()
    })
    .await;
    for headers in [&[][..], &KEY] {
        app.job.let_end(false);
        let answer = app.call("POST", PATH, headers, None).await;
        answer.problem(408, "request-timeout");
        until("it has stopped", || app.job.verifying() == 0).await;
    }
    // That there was no time is no answer to keep: the key is free once its work has ended.
    app.job.let_end(true);
    eventually("the key is free", async || {
        let answer = app.call("POST", PATH, &KEY, None).await;
        let status = answer.status.as_u16();
        assert!([200, 408, 409].contains(&status), "{answer:?}");
        (status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn with_a_key_the_answer_can_be_fetched_later() {
    let app = Arc::new(TestApp::new().await);
    app.job.let_end(false);
    let call = {
        let app = Arc::clone(&app);
        tokio::spawn(async move { app.call("POST", PATH, &KEY, None).await })
    };
    until("it runs", || app.job.verifying() == 1).await;
    let meanwhile = app.call("POST", PATH, &KEY, None).await;
    meanwhile.problem(409, "idempotency-in-progress");
    assert_eq!(meanwhile.header("retry-after"), "1");
    call.abort();
    app.job.let_end(true);
    until("it has ended", || app.job.verifying() == 0).await;
    let answer = eventually("the answer is kept", async || {
        let answer = app.call("POST", PATH, &KEY, None).await;
        (answer.status == 200).then_some(answer)
    })
    .await;
    assert_eq!(answer.header("idempotency-replayed"), "true");
    assert_eq!(app.job.verified(), 1);
}
