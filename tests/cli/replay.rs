//! Replays over each wire, and what they say of themselves.

use std::process::Stdio;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::{
    capture, now,
    support::{
        command::{openinfra, run},
        place,
        platform::Platform,
        skip,
        wait::eventually,
    },
};

const YEAR_MS: i64 = 365 * 86_400_000;

async fn count(platform: &Platform) -> u64 {
    platform.ledger().await.accepted
}

#[tokio::test]
async fn over_http_and_mqtt_the_same_readings_arrive() {
    let folder = tempfile::tempdir().unwrap();
    let file = capture(folder.path(), now() - 60_000, 13, 50);
    let platform = Platform::start(&folder.path().join("data")).await;
    let over_http = platform.replay(&file, &["--probe", "5"]).await;
    assert_eq!(over_http.acknowledged, 650);
    assert_eq!(count(&platform).await, 650);
    let (mqtt, url) = (format!("mqtt://{}", platform.mqtt()), platform.url());
    let file = file.to_str().unwrap();
    let args = [
        "replay", file, "--to", &mqtt, "--api", &url, "--speed", "max", "--probe", "5", "--json",
    ];
    let report = run(&args).await.expect_code(0).json();
    assert_eq!(report["acknowledged"], 650);
    let ledger = platform.ledger().await;
    assert_eq!((ledger.accepted, ledger.duplicates), (650, 650));
    platform.stop().await;
}

#[tokio::test]
async fn a_probe_tells_how_long_it_took_until_readable() {
    let folder = tempfile::tempdir().unwrap();
    let file = capture(folder.path(), now() - 60_000, 3, 40);
    let platform = Platform::start(&folder.path().join("data")).await;
    let url = platform.url();
    let file = file.to_str().unwrap();
    let args = [
        "replay", file, "--to", &url, "--rate", "200", "--probe", "4", "--json",
    ];
    let first = run(&args).await.expect_code(0).json();
    assert_eq!(first["probes"]["seen"], 4, "{first}");
    assert!(first["probes"]["readable_ms"]["max"].as_f64().unwrap() > 0.0);
    let seconds = first["seconds"].as_f64().unwrap();
    assert!(
        seconds > 0.5,
        "120 readings at 200/s cannot take {seconds} s"
    );
    platform.stop().await;
}

#[tokio::test]
async fn the_horizon_is_widened_to_what_an_old_capture_needs() {
    let folder = tempfile::tempdir().unwrap();
    let file = capture(folder.path(), now() - 10 * YEAR_MS, 2, 5);
    let platform = Platform::start(&folder.path().join("data")).await;
    platform.replay(&file, &[]).await;
    assert_eq!(platform.ledger().await.refused["late_beyond_horizon"], 10);
    let wide = platform.replay(&file, &["--horizon-from-file"]).await;
    assert_eq!(wide.acknowledged, 10);
    assert_eq!(count(&platform).await, 10);
    let settings = platform.get("/api/v1/tenant/settings").await;
    assert!(settings["horizon_ms"].as_i64().unwrap() > 10 * YEAR_MS);
    platform.stop().await;
}

/// As `ingest`, which takes readings and has no settings.
#[tokio::test]
async fn settings_that_are_elsewhere_are_told_with_the_flag_that_names_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = capture(folder.path(), now() - 10 * YEAR_MS, 2, 5);
    let ingest = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = format!("http://{}", ingest.local_addr().unwrap());
    let answer = async {
        let (mut stream, _) = ingest.accept().await.unwrap();
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).await.unwrap();
        let body = r#"{"title":"Not found","detail":"no route has this path"}"#;
        let length = body.len();
        let answer = format!("HTTP/1.1 404 Not Found\r\ncontent-length: {length}\r\n\r\n{body}");
        stream.write_all(answer.as_bytes()).await.unwrap();
    };
    let args = [
        "replay",
        file.to_str().unwrap(),
        "--to",
        &to,
        "--horizon-from-file",
    ];
    let (ended, ()) = tokio::join!(run(&args), answer);
    let said = ended.expect_code(1).stderr;
    assert!(
        said.contains("--api http://") && said.contains("no route has this path"),
        "{said}"
    );
}

#[tokio::test]
async fn trusted_receive_times_need_no_horizon() {
    let folder = tempfile::tempdir().unwrap();
    let file = capture(folder.path(), now() - 10 * YEAR_MS, 2, 5);
    let platform = Platform::start(&folder.path().join("data")).await;
    platform.replay(&file, &["--trust-recv"]).await;
    assert_eq!(count(&platform).await, 10);
    let mqtt = format!("mqtt://{}", platform.mqtt());
    let file = file.to_str().unwrap();
    run(&[
        "replay",
        file,
        "--to",
        &mqtt,
        "--speed",
        "max",
        "--trust-recv",
    ])
    .await
    .expect_code(0);
    let ledger = platform.ledger().await;
    assert_eq!((ledger.accepted, ledger.duplicates), (10, 10));
    platform.stop().await;
}

#[tokio::test]
async fn a_folder_takes_a_replay_and_a_server_brings_the_views_up() {
    if place::is_cluster() {
        skip::tell("servers have no folder that takes a replay");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = capture(folder.path(), now() - 10 * YEAR_MS, 4, 25);
    let data = folder.path().join("data");
    let (file, to) = (file.to_str().unwrap(), format!("log:{}", data.display()));
    let args = [
        "replay",
        file,
        "--to",
        &to,
        "--speed",
        "max",
        "--horizon-from-file",
        "--json",
    ];
    let report = run(&args).await.expect_code(0).json();
    assert_eq!(report["acknowledged"], 100);
    let platform = Platform::start(&data).await;
    assert_eq!(count(&platform).await, 100);
    let locked = run(&["replay", file, "--to", &to, "--speed", "max"]).await;
    assert_eq!(locked.code, Some(2));
    assert!(locked.stderr.contains("--to http://"), "{}", locked.stderr);
    platform.stop().await;
}

#[tokio::test]
async fn standard_input_is_a_capture_too() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Platform::start(&folder.path().join("data")).await;
    let url = platform.url();
    let mut child = openinfra(&["replay", "-", "--to", &url, "--speed", "max", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = format!(
        "{{\"sensor_id\":\"a\",\"ts\":{},\"value\":null}}\nrubbish\n\n{{\"sensor_id\":\"a\",\"ts\":{},\"value\":1}}",
        now() - 2_000,
        now() - 1_000,
    );
    let mut input = child.stdin.take().unwrap();
    input.write_all(lines.as_bytes()).await.unwrap();
    drop(input);
    let output = child.wait_with_output().await.unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        output.status.code(),
        Some(1),
        "a line was no reading: {report}"
    );
    assert_eq!(
        (&report["acknowledged"], &report["unreadable"]),
        (&2.into(), &1.into())
    );
    assert_eq!(report["rejected_by_reason"]["unreadable"], 1);
    platform.stop().await;
}

/// Killed in the middle and started again on the same ports, a server gets every reading, and each counts
/// once.
async fn survives_a_crash(wire: &str) {
    let folder = tempfile::tempdir().unwrap();
    let (sensors, each) = (20, 300);
    let file = capture(folder.path(), now() - 600_000, sensors, each);
    let data = folder.path().join("data");
    let first = Platform::start(&data).await;
    let (http, mqtt) = (first.http.to_string(), first.mqtt().to_string());
    let to = match wire {
        "http" => first.url(),
        _ => format!("mqtt://{mqtt}"),
    };
    let replay = openinfra(&[
        "replay",
        file.to_str().unwrap(),
        "--to",
        &to,
        "--rate",
        "2000",
        "--json",
    ])
    .stdout(Stdio::piped())
    .stderr(Stdio::null())
    .spawn()
    .unwrap();
    eventually(
        "some readings are there",
        std::time::Duration::from_secs(60),
        async || {
            let records = first.get("/api/v1/views").await["log_records"].as_i64();
            (records > Some(500)).then_some(())
        },
    )
    .await;
    first.kill().await;
    let second = Platform::start_with(&data, &["--http", &http, "--mqtt", &mqtt]).await;
    let output = replay.wait_with_output().await.unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{report}");
    assert_eq!(report["acknowledged"], sensors * each);
    assert_eq!(count(&second).await, (sensors * each) as u64);
    second.stop().await;
}

#[tokio::test]
async fn a_server_that_crashes_loses_nothing_sent_over_http() {
    survives_a_crash("http").await;
}

#[tokio::test]
async fn a_server_that_crashes_loses_nothing_sent_over_mqtt() {
    survives_a_crash("mqtt").await;
}

#[tokio::test]
async fn nobody_there_is_told_and_ends_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let file = capture(folder.path(), now(), 1, 1);
    for to in ["http://127.0.0.1:1", "mqtt://127.0.0.1:1"] {
        let args = [
            "replay",
            file.to_str().unwrap(),
            "--to",
            to,
            "--give-up-after",
            "0.2",
            "--json",
        ];
        let report = run(&args).await.expect_code(1).json();
        assert_eq!(report["acknowledged"], 0);
        assert!(
            report["ended_early"].as_str().unwrap().contains("gave up"),
            "{report}"
        );
    }
}
