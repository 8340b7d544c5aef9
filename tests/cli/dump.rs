//! `views dump` and `views verify`, from where the views are and from a server.

use std::path::Path;

use super::{
    capture, now,
    support::{
        command::{Ended, run},
        place,
        platform::Platform,
    },
};

/// `openinfra views` on what stands for the folder.
async fn views(command: &[&str], data: &Path) -> Ended {
    let place = place::flags(data);
    let place = place.iter().map(String::as_str);
    let args: Vec<_> = ["views"]
        .into_iter()
        .chain(command.iter().copied())
        .chain(place)
        .collect();
    run(&args).await
}

/// One process has a folder open at a time, and says so to the next. Servers take many.
async fn is_locked(command: &[&str], data: &Path) {
    if !place::is_cluster() {
        let locked = views(command, data).await.expect_code(2);
        assert!(locked.stderr.contains("--url"), "{}", locked.stderr);
    }
}

#[tokio::test]
async fn place_and_server_give_the_same_rows() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let file = capture(folder.path(), now() - 60_000, 5, 20);
    let platform = Platform::start(&data).await;
    platform.replay(&file, &[]).await;
    platform.caught_up().await;
    let url = platform.url();
    let dump = ["dump", "readings", "--by-content"];
    let args = [&["views"], &dump[..], &["--url", &url]].concat();
    let served = run(&args).await.expect_code(0).stdout;
    assert_eq!(served.lines().count(), 100);
    is_locked(&dump, &data).await;
    platform.stop().await;
    let stored = views(&dump, &data).await.expect_code(0).stdout;
    assert_eq!(served, stored);
}

#[tokio::test]
async fn what_cannot_be_found_out_ends_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("none");
    views(&["verify"], &missing).await.expect_code(2);
    assert!(!missing.exists(), "looking makes no folder");
    for command in [&["verify"][..], &["dump", "readings"]] {
        let args = [&["views"], command, &["--url", "http://127.0.0.1:1"]].concat();
        run(&args).await.expect_code(2);
    }
}

#[tokio::test]
async fn views_equal_a_batch_recomputation() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let file = capture(folder.path(), now() - 60_000, 5, 20);
    let platform = Platform::start(&data).await;
    platform.replay(&file, &[]).await;
    platform.caught_up().await;
    platform.verify().await;
    is_locked(&["verify"], &data).await;
    platform.stop().await;
    let report = views(&["verify", "--json"], &data).await;
    let report = report.expect_code(0).json();
    assert_eq!(report["equal"], true);
    assert_eq!(report["ledger"]["accepted"], 100);
}
