//! `views dump` and `views verify`, from a folder and from a server.

use super::{
    capture, now,
    support::{command::run, platform::Platform},
};

#[tokio::test]
async fn folder_and_server_give_the_same_rows() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let file = capture(folder.path(), now() - 60_000, 5, 20);
    let platform = Platform::start(&data).await;
    platform.replay(&file, &[]).await;
    platform.caught_up().await;
    let (url, dir) = (platform.url(), data.to_str().unwrap());
    let dump = async |place: [&str; 2]| {
        run(&[
            "views",
            "dump",
            "readings",
            "--by-content",
            place[0],
            place[1],
        ])
        .await
    };
    let served = dump(["--url", &url]).await.expect_code(0).stdout;
    assert_eq!(served.lines().count(), 100);
    let locked = dump(["--data", dir]).await.expect_code(2);
    assert!(locked.stderr.contains("--url"), "{}", locked.stderr);
    platform.stop().await;
    let stored = dump(["--data", dir]).await.expect_code(0).stdout;
    assert_eq!(served, stored);
}

#[tokio::test]
async fn what_cannot_be_found_out_ends_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("none");
    for args in [
        ["views", "verify", "--data", missing.to_str().unwrap()],
        ["views", "verify", "--url", "http://127.0.0.1:1"],
    ] {
        run(&args).await.expect_code(2);
    }
    assert!(!missing.exists(), "looking makes no folder");
    let args = ["views", "dump", "readings", "--url", "http://127.0.0.1:1"];
    run(&args).await.expect_code(2);
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
    let locked = run(&["views", "verify", "--data", data.to_str().unwrap()])
        .await
        .expect_code(2);
    assert!(locked.stderr.contains("--url"), "{}", locked.stderr);
    platform.stop().await;
    let args = [
        "views",
        "verify",
        "--data",
        data.to_str().unwrap(),
        "--json",
    ];
    let report = run(&args).await.expect_code(0).json();
    assert_eq!(report["equal"], true);
    assert_eq!(report["ledger"]["accepted"], 100);
}
