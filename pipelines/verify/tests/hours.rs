//! Rows of `hourly_aggregate` may wait to be written: a hold and a stop wait for them, and a job that was
//! killed left them to the next.

#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod common;

use common::{Folder, now, reading};
use openinfra_testing::until;
use openinfra_verify::VerifyError;

/// Longer than the test.
const LONG: u64 = 3_600_000;

async fn send(folder: &Folder, values: std::ops::Range<i32>) {
    for value in values {
        let names = ["a", "b", "c"];
        let readings = names.map(|name| reading("city", name, now(), f64::from(value)));
        folder.append_readings(&readings).await;
        folder.wait_covered().await;
    }
}

/// A job that is at work, or was killed a moment ago, moves on for a while.
async fn assert_waiting(folder: &Folder) {
    let answer = until("an answer", async || match folder.try_verify().await {
        Err(VerifyError::Moved(_)) => None,
        answer => Some(answer),
    })
    .await;
    assert!(
        matches!(answer, Err(VerifyError::Waiting { hourly, as_of }) if hourly < as_of),
        "{answer:?}"
    );
}

async fn assert_equal(folder: &Folder) {
    let report = folder.verify().await;
    assert!(report.equal, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_and_a_stop_wait_for_them() {
    let folder = Folder::new().await;
    let job = folder.start_with(LONG).await;
    send(&folder, 0..5).await;
    assert_waiting(&folder).await;
    let held = job.hold().await.unwrap();
    assert_equal(&folder).await;
    drop(held);
    send(&folder, 5..10).await;
    assert_waiting(&folder).await;
    job.stop().await.unwrap();
    assert_equal(&folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waited_when_the_job_was_killed_is_made_again() {
    for interval in [LONG, 0] {
        let folder = Folder::new().await;
        let job = folder.start_with(LONG).await;
        send(&folder, 0..3).await;
        drop(job.hold().await.unwrap());
        send(&folder, 3..6).await;
        drop(job);
        assert_waiting(&folder).await;
        // Killed once more before anything was written again, perhaps.
        drop(folder.start_with(interval).await);
        let job = folder.start_with(interval).await;
        send(&folder, 6..7).await;
        job.stop().await.unwrap();
        assert_equal(&folder).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn none_waits_for_longer_than_said() {
    let folder = Folder::new().await;
    let job = folder.start_with(100).await;
    send(&folder, 0..3).await;
    let settled = async || {
        let progress = folder.progress().await.unwrap();
        progress.hourly_as_of.is_none().then_some(())
    };
    until("no row waits", settled).await;
    job.stop().await.unwrap();
    assert_equal(&folder).await;
}
