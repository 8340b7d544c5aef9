//! What is sent decides what is in the views, not where they are kept.

use std::{collections::BTreeMap, fmt::Write as _, path::Path, time::SystemTime};

use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use reqwest::Method;
use serde_json::json;

use super::{
    capture::Capture,
    cluster::Cluster,
    support::platform::{Digest, Ledger, Platform},
};

const VIEWS: [&str; 10] = [
    "alert",
    "asset_health",
    "hourly_aggregate",
    "indicators",
    "latest_reading",
    "ledger",
    "offline_episode",
    "readings",
    "sensor_seen",
    "sensor_status",
];
const SENSORS: i64 = 40;
const ROUNDS: i64 = 300;

/// Sends a file to a deployment; what the views hold then.
async fn views_of(
    to: &Platform,
    api: &Platform,
    sensors: &[String],
    file: &Path,
    flags: &[&str],
) -> (Ledger, BTreeMap<String, Digest>) {
    for sensor in sensors {
        let body = json!({
            "sensor_id": sensor,
            "sensor_type": "level",
            "offline_timeout_ms": 600_000,
            "thresholds": {"warning_max": 60.0, "critical_max": 90.0},
        });
        let request = api.request(Method::POST, "/api/v1/iot/sensors").json(&body);
        assert_eq!(request.send().await.unwrap().status(), 201, "{sensor}");
    }
    let api_url = api.url();
    to.replay(file, &[&["--api", api_url.as_str()], flags].concat())
        .await;
    let ledger = api.ledger().await;
    api.verify().await;
    (ledger, api.digests(&VIEWS).await)
}

/// The same in one process on a folder, and in three on servers.
async fn same_on_both(
    cluster: &Cluster,
    sensors: &[String],
    file: &Path,
    flags: &[&str],
) -> Ledger {
    let data = cluster.file("data");
    let up = [
        "up",
        "--mqtt",
        "127.0.0.1:0",
        "--data",
        data.to_str().unwrap(),
    ];
    let embedded = Platform::run(&up, &cluster.file("embedded")).await;
    let (ledger, views) = views_of(&embedded, &embedded, sensors, file, flags).await;
    embedded.stop().await;

    let job = cluster.views().await;
    let (ingest, serve) = tokio::join!(cluster.ingest(), cluster.serve(&job));
    let on_servers = views_of(&ingest, &serve, sensors, file, flags).await;
    assert_eq!(on_servers.0, ledger);
    for view in VIEWS {
        assert_eq!(on_servers.1[view], views[view], "{view}");
    }
    for platform in [serve, ingest, job] {
        platform.stop().await;
    }
    ledger
}

/// Hours of sensors that drift over their limits and fall silent, in disorder, with repeats, corrections,
/// holes and what cannot be.
fn capture() -> String {
    let mut random = StdRng::seed_from_u64(4);
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    let first = now.as_millis() as i64 - 6 * 3_600_000;
    let mut lines = Vec::new();
    for sensor in 0..SENSORS {
        let mut level: f64 = 50.0;
        for round in 0..ROUNDS {
            level = f64::clamp(level + random.random_range(-6.0..6.2), 5.0, 120.0);
            if round % 97 > 90 {
                continue;
            }
            let ts = first + round * 60_000;
            let value = match round % 41 {
                7 => "null".to_owned(),
                _ => format!("{level:.2}"),
            };
            let recv = ts + random.random_range(0..5_000);
            lines.push(format!(
                r#"{{"sensor_id":"s-{sensor}","ts":{ts},"value":{value},"recv_ts":{recv}}}"#
            ));
        }
    }
    // Near its place, and now and then again.
    let mut text = String::new();
    lines.sort_by_cached_key(|line| line.split("\"ts\":").nth(1).unwrap()[..13].to_owned());
    for lines in lines.chunks_mut(200) {
        lines.shuffle(&mut random);
        for line in lines {
            writeln!(text, "{line}").unwrap();
            if random.random_bool(0.05) {
                writeln!(text, "{line}").unwrap();
            }
            if random.random_bool(0.01) {
                let corrected = line.replace("\"value\":", "\"value\":1");
                writeln!(text, "{}", corrected.replace("1null", "17")).unwrap();
            }
        }
    }
    text
}

#[tokio::test]
async fn a_capture_with_everything_that_happens() {
    let Some(cluster) = Cluster::new("alike").await else {
        return;
    };
    let file = cluster.file("capture.ndjson");
    std::fs::write(&file, capture()).unwrap();
    let sensors: Vec<_> = (0..SENSORS).map(|sensor| format!("s-{sensor}")).collect();
    let ledger = same_on_both(&cluster, &sensors, &file, &["--trust-recv"]).await;
    assert!(ledger.accepted > 10_000, "{ledger:?}");
    assert!(
        ledger.duplicates > 100 && ledger.corrections > 10,
        "{ledger:?}"
    );
    cluster.end().await;
}

#[tokio::test]
async fn a_capture_of_real_sensors() {
    let Some(capture) = Capture::normalize("nab", &[]) else {
        return;
    };
    let Some(cluster) = Cluster::new("nab").await else {
        return;
    };
    let flags = ["--horizon-from-file", "--trust-recv"];
    let ledger = same_on_both(&cluster, &[], &capture.file, &flags).await;
    assert_eq!(
        (ledger.accepted, ledger.corrections),
        (46_081, 23),
        "{ledger:?}"
    );
    cluster.end().await;
}
