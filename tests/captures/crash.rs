//! SIGKILL in the middle of a replay, again and again: what was acknowledged is there, and counted once.

use std::{path::Path, process::Stdio, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{
    capture::Capture,
    support::{
        command::openinfra,
        platform::{Platform, Replay},
        wait::eventually,
    },
};

const SEED: u64 = 5;
const KILLS: u64 = 4;
const CONTENT: [&str; 3] = ["readings", "latest_reading", "hourly_aggregate"];

#[tokio::test]
async fn nothing_acknowledged_is_lost() {
    let Some(capture) = Capture::normalize("skab", &[]) else {
        return;
    };
    let mut random = StdRng::seed_from_u64(SEED);
    let data = capture.beside("killed");
    let mut logged = 0;
    for round in 0..KILLS {
        let acknowledged = killed(&data, &capture.file, round % 2 == 1, &mut random).await;
        if random.random() {
            // Down once more, while it makes up for the first time.
            Platform::start(&data).await.kill().await;
        }
        let platform = Platform::start(&data).await;
        let ledger = platform.ledger().await;
        assert!(
            ledger.log_records >= logged + acknowledged,
            "round {round}: {logged} were there, {acknowledged} acknowledged, now {ledger:?}"
        );
        logged = ledger.log_records;
        platform.verify().await;
        platform.kill().await;
    }

    let platform = Platform::start(&data).await;
    platform
        .replay(&capture.file, &["--horizon-from-file"])
        .await;
    let ledger = platform.ledger().await;
    assert_eq!(
        (ledger.accepted, ledger.corrections, ledger.refusals()),
        (158_656, 0, 0)
    );
    platform.verify().await;
    let disturbed = platform.digests(&CONTENT).await;
    platform.stop().await;

    let platform = Platform::start(&capture.beside("undisturbed")).await;
    platform
        .replay(&capture.file, &["--horizon-from-file"])
        .await;
    platform.caught_up().await;
    assert_eq!(disturbed, platform.digests(&CONTENT).await);
    platform.stop().await;
}

/// Kills a server at some point of a replay; how many readings it had acknowledged by then.
async fn killed(data: &Path, file: &Path, mqtt: bool, random: &mut StdRng) -> u64 {
    let platform = Platform::start(data).await;
    let before = platform.ledger().await.log_records;
    let enough = before + random.random_range(2_000..120_000);
    let api = platform.url();
    let to = if mqtt {
        format!("mqtt://{}", platform.mqtt())
    } else {
        api.clone()
    };
    let mut args = vec!["replay", file.to_str().unwrap(), "--to", &to, "--api", &api];
    args.extend([
        "--speed",
        "max",
        "--horizon-from-file",
        "--give-up-after",
        "0.5",
        "--json",
    ]);
    let replay = openinfra(&args)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually(
        "part of the capture is in the log",
        Duration::from_secs(120),
        async || {
            let views = platform.get("/api/v1/views").await;
            (views["log_records"].as_u64().unwrap() >= enough).then_some(())
        },
    )
    .await;
    platform.kill().await;
    let output = replay.wait_with_output().await.unwrap();
    let report: Replay = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        output.status.code(),
        Some(1),
        "the replay was over too soon: {report:?}"
    );
    assert!(
        report.ended_early.is_some() && report.acknowledged > 0,
        "{report:?}"
    );
    report.acknowledged
}
