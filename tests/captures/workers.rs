//! One log, one worker or four: the same views.
//!
//! What a newcomer would get wrong: ticks are taken by the clock while a server runs, so that two servers
//! over one log agree by content. That they agree to the bit over the same ticks is tested where ticks can
//! be given, with the job.

use std::{collections::BTreeMap, fs, path::Path};

use super::{
    airnow,
    capture::Capture,
    model::Model,
    sources,
    support::{
        command, place,
        platform::{Digest, Platform},
    },
};

const ALL: [&str; 10] = [
    "readings",
    "latest_reading",
    "hourly_aggregate",
    "sensor_status",
    "offline_episode",
    "sensor_seen",
    "alert",
    "ledger",
    "asset_health",
    "indicators",
];

#[tokio::test]
async fn one_worker_and_four_keep_the_same_views() {
    let Some(capture) = Capture::normalize("airnow", &["--skip-null"]) else {
        return;
    };
    let model = Model::of(sources::airnow(&capture.source));
    let log = capture.beside("log");
    let platform = Platform::start(&log).await;
    airnow::register(&platform, model.series.keys()).await;
    if place::is_cluster() {
        // Its job keeps views of its own meanwhile, with ticks that the others replay.
        platform.replay(&capture.file, &["--trust-recv"]).await;
        platform.stop().await;
    } else {
        platform.stop().await;
        let to = format!("log:{}", log.display());
        let file = capture.file.to_str().unwrap();
        let flags = ["--speed", "max", "--trust-recv", "--json"];
        let args = [&["replay", file, "--to", &to][..], &flags].concat();
        command::run(&args).await.expect_code(0);
    }

    let one = views(&log, &capture.beside("one"), "1").await;
    let four = views(&log, &capture.beside("four"), "4").await;
    assert_eq!(one["readings"].rows, model.accepted);
    assert_eq!(one["alert"].rows, 1_243);
    assert_eq!(one, four);
}

/// The views that so many workers make of the log, in a store of their own.
async fn views(log: &Path, copy: &Path, workers: &str) -> BTreeMap<String, Digest> {
    let flags = ["--workers", workers];
    let platform = if place::is_cluster() {
        Platform::start_on(log, copy, &flags).await
    } else {
        copy_folder(log, copy);
        Platform::start_with(copy, &flags).await
    };
    platform.caught_up().await;
    platform.verify().await;
    let digests = platform.digests(&ALL).await;
    platform.stop().await;
    digests
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}
