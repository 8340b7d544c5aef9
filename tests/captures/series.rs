//! Captures of single series: exact counts, and every view equal to what the files say.

use std::path::Path;

use super::{
    capture::Capture,
    model::{Model, Sample},
    rows::{HourRow, ReadingRow, assert_same},
    support::platform::Platform,
};

/// What is known of a capture.
struct Counts {
    accepted: u64,
    duplicates: u64,
    corrections: u64,
}

async fn check(name: &str, counts: Counts, read: fn(&Path) -> Vec<Sample>) {
    let Some(capture) = Capture::normalize(name, &[]) else {
        return;
    };
    let Counts {
        accepted,
        duplicates,
        corrections,
    } = counts;
    let expected = (accepted, duplicates, corrections);
    let model = Model::of(read(&capture.source));
    assert_eq!(
        (model.accepted, model.duplicates, model.corrections),
        expected,
        "what the files themselves say"
    );

    let platform = Platform::start(&capture.beside("data")).await;
    platform
        .replay(&capture.file, &["--horizon-from-file"])
        .await;
    let ledger = platform.ledger().await;
    assert_eq!(
        (ledger.accepted, ledger.duplicates, ledger.corrections),
        expected
    );
    assert_eq!(ledger.refusals(), 0, "{ledger:?}");
    assert_same(
        "readings",
        &model.readings(),
        &platform.dump::<ReadingRow>("readings").await,
    );
    assert_same(
        "latest",
        &model.latest(),
        &platform.dump::<ReadingRow>("latest_reading").await,
    );
    assert_same(
        "hours",
        &model.hours(),
        &platform.dump::<HourRow>("hourly_aggregate").await,
    );
    platform.verify().await;
    platform.stop().await;
}

#[tokio::test]
async fn nab() {
    let counts = Counts {
        accepted: 46_081,
        duplicates: 0,
        corrections: 23,
    };
    check("nab", counts, super::sources::nab).await;
}

#[tokio::test]
async fn bwdf() {
    let counts = Counts {
        accepted: 122_626,
        duplicates: 2,
        corrections: 12,
    };
    check("bwdf", counts, super::sources::bwdf).await;
}

#[tokio::test]
async fn skab() {
    let counts = Counts {
        accepted: 158_656,
        duplicates: 5_744,
        corrections: 0,
    };
    check("skab", counts, super::sources::skab).await;
}

#[tokio::test]
async fn gecco() {
    let counts = Counts {
        accepted: 753_660,
        duplicates: 0,
        corrections: 0,
    };
    check("gecco", counts, super::sources::gecco).await;
}
