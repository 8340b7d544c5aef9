//! The city: sensors report, alerts open and clear, and a signal ends it with 0.

use std::{collections::BTreeSet, process::Stdio, time::Duration};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};

use super::support::command::{openinfra, run};

#[tokio::test]
async fn within_a_minute_sensors_report_and_alerts_come_and_go() {
    let args = [
        "demo",
        "--json",
        "--http",
        "127.0.0.1:0",
        "--mqtt",
        "127.0.0.1:0",
    ];
    let mut demo = openinfra(&args)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    let mut next = async || -> Value {
        serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap()
    };
    let said = next().await;
    let url = format!("http://{}", said["listening"]["http"].as_str().unwrap());
    let mut seen = BTreeSet::new();
    let lively = async {
        loop {
            let line = next().await;
            let cleared = get(&url, "/api/v1/alerts?state=cleared&limit=1").await;
            let states = [
                ("reporting", line["sensors_online"].as_i64() >= Some(500)),
                ("opened", line["alerts_open"].as_i64() > Some(0)),
                ("cleared", cleared["items"].get(0).is_some()),
                ("fresh", line["fresh_ms"]["p50"].is_number()),
            ];
            seen.extend(
                states
                    .into_iter()
                    .filter(|(_, holds)| *holds)
                    .map(|(name, _)| name),
            );
            if seen.len() == states.len() {
                return;
            }
        }
    };
    let lively = tokio::time::timeout(Duration::from_secs(60), lively).await;
    assert!(lively.is_ok(), "after a minute only {seen:?}");
    let pid = demo.id().unwrap().to_string();
    let killed = tokio::process::Command::new("kill")
        .args(["-INT", &pid])
        .status()
        .await
        .unwrap();
    assert!(killed.success());
    let ended = tokio::time::timeout(Duration::from_secs(30), demo.wait()).await;
    assert_eq!(ended.expect("it drains in time").unwrap().code(), Some(0));
}

async fn get(url: &str, path: &str) -> Value {
    let answer = reqwest::get(format!("{url}{path}")).await.unwrap();
    assert_eq!(answer.status(), 200, "{path}");
    answer.json().await.unwrap()
}

#[tokio::test]
async fn every_command_explains_itself() {
    for args in [
        &["demo", "--help"][..],
        &["up", "--help"],
        &["replay", "--help"],
        &["views", "dump", "--help"],
        &["views", "verify", "--help"],
        &["admin", "create-key", "--help"],
        &["admin", "list-keys", "--help"],
        &["admin", "revoke-key", "--help"],
    ] {
        let ended = run(args).await.expect_code(0);
        assert!(ended.stdout.lines().count() > 10, "{args:?}");
    }
}
