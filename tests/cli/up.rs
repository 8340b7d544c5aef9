//! The server as a shell runs it: what it is connected to may go away before it does.

use std::{process::Stdio, time::Duration};

use tokio::io::{AsyncBufReadExt, BufReader};

use super::support::{command::openinfra, place};

/// Ctrl-C on `openinfra up 2>&1 | tee log` ends `tee` first.
#[tokio::test]
async fn a_signal_ends_it_when_nobody_reads_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    place::prepare(&data).await;
    let args = [
        "up",
        "--dev",
        "--json",
        "--http",
        "127.0.0.1:0",
        "--mqtt",
        "127.0.0.1:0",
    ];
    let mut up = openinfra(&args)
        .args(place::flags(&data))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(up.stdout.take().unwrap()).lines();
    assert!(lines.next_line().await.unwrap().is_some(), "it listens");
    drop(up.stderr.take());
    let pid = up.id().unwrap().to_string();
    let told = tokio::process::Command::new("kill")
        .args(["-INT", &pid])
        .status();
    assert!(told.await.unwrap().success());
    let ended = tokio::time::timeout(Duration::from_secs(30), up.wait()).await;
    assert_eq!(ended.expect("it ends").unwrap().code(), Some(0));
}
