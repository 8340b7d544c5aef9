//! Air monitors in a summer of fires: silences and alerts, at the times of 2015.

use std::collections::BTreeSet;

use reqwest::{Method, StatusCode};
use serde_json::json;

use super::{
    capture::Capture,
    model::Model,
    rows::{AlertRow, Bits, EpisodeRow, ReadingRow, assert_same},
    sources,
    support::platform::Platform,
};

const TIMEOUT_MS: i64 = 6 * 3_600_000;
const WARNING: f64 = 35.5;
const CRITICAL: f64 = 150.5;

/// Registers sensors as the capture's checks need them.
pub async fn register(platform: &Platform, sensors: impl IntoIterator<Item = &String>) {
    for sensor in sensors {
        let body = json!({
            "sensor_id": sensor,
            "sensor_type": "pm25",
            "unit": "ug/m3",
            "offline_timeout_ms": TIMEOUT_MS,
            "thresholds": {"warning_max": WARNING, "critical_max": CRITICAL},
        });
        let request = platform
            .request(Method::POST, "/api/v1/iot/sensors")
            .json(&body);
        let answer = request.send().await.unwrap();
        let status = answer.status();
        assert_eq!(
            status,
            StatusCode::CREATED,
            "{sensor}: {}",
            answer.text().await.unwrap()
        );
    }
}

#[tokio::test]
async fn silences_and_alerts_are_those_of_the_files() {
    let Some(capture) = Capture::normalize("airnow", &["--skip-null"]) else {
        return;
    };
    let model = Model::of(sources::airnow(&capture.source));
    let platform = Platform::start(&capture.beside("data")).await;
    register(&platform, model.series.keys()).await;
    platform.replay(&capture.file, &["--trust-recv"]).await;

    let ledger = platform.ledger().await;
    assert_eq!(
        (ledger.accepted, ledger.log_records),
        (model.accepted, model.accepted)
    );
    let readings = platform.dump::<ReadingRow>("readings").await;
    assert_same("readings", &model.readings(), &readings);
    let above = |row: &&ReadingRow| row.value.is_some_and(|value| value.0 > WARNING);
    assert_eq!(readings.iter().filter(above).count(), 10_877);
    check_episodes(&model, &platform).await;
    check_alerts(&model, &platform).await;
    platform.verify().await;
    platform.stop().await;
}

async fn check_episodes(model: &Model, platform: &Platform) {
    let found = platform.dump::<EpisodeRow>("offline_episode").await;
    let closed = found
        .iter()
        .filter(|row| row.recovered_at.is_some())
        .count();
    assert_eq!(closed, 92);
    assert_same("episodes", &episodes(model), &found);
}

/// Two messages more than the timeout apart have a silence between them; the last one has it behind.
fn episodes(model: &Model) -> Vec<EpisodeRow> {
    let mut episodes = Vec::new();
    for (sensor, series) in &model.series {
        let times: Vec<i64> = series.keys().copied().collect();
        let following = times.iter().skip(1).map(|ts| Some(*ts)).chain([None]);
        for (ts, next) in times.iter().zip(following) {
            let offline_since = ts + TIMEOUT_MS;
            if next.is_none_or(|next| next > offline_since) {
                episodes.push(EpisodeRow {
                    sensor_id: sensor.clone(),
                    offline_since,
                    recovered_at: next,
                    gap_ms: next.map(|next| next - offline_since),
                });
            }
        }
    }
    episodes
}

async fn check_alerts(model: &Model, platform: &Platform) {
    let mut expected = alerts(model);
    let mut found = platform.dump::<AlertRow>("alert").await;
    assert_eq!(found.len(), 1_243);
    assert_eq!(found.iter().filter(|row| row.state == "open").count(), 10);
    let by_sensor = |row: &AlertRow| (row.sensor_id.clone(), row.start_ts);
    expected.sort_by_key(by_sensor);
    found.sort_by_key(by_sensor);
    assert_same("alerts", &expected, &found);
    let severities: BTreeSet<_> = found.iter().map(|row| row.max_severity.as_str()).collect();
    assert_eq!(severities, BTreeSet::from(["critical", "medium"]));
}

/// The maximal runs of values above the warning limit.
fn alerts(model: &Model) -> Vec<AlertRow> {
    let mut alerts = Vec::new();
    for (sensor, series) in &model.series {
        let mut open: Option<AlertRow> = None;
        for (ts, value) in series {
            let value = value.unwrap();
            if value <= WARNING {
                alerts.extend(open.take().map(|run| AlertRow {
                    end_ts: Some(*ts),
                    state: "cleared".to_owned(),
                    ..run
                }));
                continue;
            }
            let run = open.get_or_insert_with(|| AlertRow {
                sensor_id: sensor.clone(),
                rule_id: "builtin:thresholds".to_owned(),
                start_ts: *ts,
                end_ts: None,
                state: "open".to_owned(),
                max_severity: "medium".to_owned(),
                trigger_value: Bits(value),
                threshold: Bits(if value > CRITICAL { CRITICAL } else { WARNING }),
            });
            if value > CRITICAL {
                run.max_severity = "critical".to_owned();
            }
        }
        alerts.extend(open);
    }
    alerts
}
