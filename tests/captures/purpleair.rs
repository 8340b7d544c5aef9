//! Two years of air monitors as their collector stored them: nearly half are repeats, nearly all late.
//!
//! What a newcomer would get wrong: by default a beginning of it is sent, which takes seconds; the whole
//! takes minutes, and `OPENINFRA_CAPTURES=full`.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader, BufWriter, Read, Seek, Write},
    path::Path,
};

use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use serde::Deserialize;

use super::{
    capture::Capture,
    model::{Model, Sample},
    rows::{HourRow, ReadingRow, assert_same},
    support::{
        place::is_cluster,
        platform::{Digest, Platform},
    },
};

/// The views that depend on what was sent, not on when and in which order.
const CONTENT: [&str; 3] = ["readings", "latest_reading", "hourly_aggregate"];
/// What the server may have resident at any time: with its own store, and where it is one commit of 100,000
/// records that keeps a database busy.
const MEMORY: u64 = 500_000_000;
const MEMORY_ON_SERVERS: u64 = 1_000_000_000;
const BEGINNING: u64 = 300_000;

struct Counts {
    lines: u64,
    accepted: u64,
}

const FULL: Counts = Counts {
    lines: 7_048_332,
    accepted: 3_836_286,
};

#[tokio::test]
async fn repeats_and_disorder_change_nothing() {
    if std::env::var_os("OPENINFRA_CAPTURES").is_some_and(|which| which == "full") {
        let Some(capture) = Capture::normalize("purpleair", &[]) else {
            return;
        };
        check(&capture, &FULL, None).await;
    } else {
        let limit = BEGINNING.to_string();
        let Some(capture) = Capture::normalize("purpleair", &["--limit", &limit]) else {
            return;
        };
        let model = Model::of(lines(&capture.file));
        assert_eq!(model.corrections, 0);
        let counts = Counts {
            lines: BEGINNING,
            accepted: model.accepted,
        };
        check(&capture, &counts, Some(&model)).await;
    }
}

async fn check(capture: &Capture, counts: &Counts, model: Option<&Model>) {
    let platform = Platform::start(&capture.beside("in-order")).await;
    platform
        .replay(&capture.file, &["--horizon-from-file"])
        .await;
    let once = settled(&platform, counts, 1).await;
    if let Some(model) = model {
        let readings = platform.dump::<ReadingRow>("readings").await;
        assert_same("readings", &model.readings(), &readings);
        let hours = platform.dump::<HourRow>("hourly_aggregate").await;
        assert_same("hours", &model.hours(), &hours);
    }
    platform.replay(&capture.file, &[]).await;
    assert_eq!(settled(&platform, counts, 2).await, once, "sent twice");
    platform.stop().await;

    let shuffled = capture.beside("shuffled.ndjson");
    shuffle(&capture.file, &shuffled, 11);
    let platform = Platform::start(&capture.beside("shuffled")).await;
    platform.replay(&shuffled, &["--horizon-from-file"]).await;
    assert_eq!(settled(&platform, counts, 1).await, once, "shuffled");
    platform.stop().await;
}

/// Waits for the views and checks them, the capture having been sent so many times; what they hold.
async fn settled(platform: &Platform, counts: &Counts, times: u64) -> BTreeMap<String, Digest> {
    let ledger = platform.ledger().await;
    let duplicates = counts.lines * times - counts.accepted;
    assert_eq!(
        (ledger.accepted, ledger.duplicates),
        (counts.accepted, duplicates)
    );
    assert_eq!((ledger.corrections, ledger.refusals()), (0, 0));
    check_memory(platform, "replay");
    let digests = platform.digests(&CONTENT).await;
    assert_eq!(digests["readings"].rows, counts.accepted);
    check_memory(platform, "dumps");
    platform.verify().await;
    check_memory(platform, "verify");
    digests
}

/// The peak so far, told by what came last before it.
fn check_memory(platform: &Platform, after: &str) {
    if let Some(peak) = platform.peak_memory() {
        eprintln!(
            "purpleair: {} MB resident at most, after {after}",
            peak / 1_000_000
        );
        let most = if is_cluster() {
            MEMORY_ON_SERVERS
        } else {
            MEMORY
        };
        assert!(
            peak < most,
            "the server had {peak} bytes resident after {after}"
        );
    }
}

fn lines(file: &Path) -> impl Iterator<Item = Sample> {
    #[derive(Deserialize)]
    struct Line {
        sensor_id: String,
        ts: i64,
        value: Option<f64>,
    }
    BufReader::new(File::open(file).unwrap())
        .lines()
        .map(|line| {
            let Line {
                sensor_id,
                ts,
                value,
            } = serde_json::from_str(&line.unwrap()).unwrap();
            Sample {
                sensor: sensor_id,
                ts,
                value,
            }
        })
}

/// The lines of a file in another order, the same for the same seed. Lines are first dealt out to heaps,
/// so that one heap is in memory at a time.
fn shuffle(from: &Path, to: &Path, seed: u64) {
    const HEAP_LINES: u64 = 500_000;
    const LINE_BYTES: u64 = 90;
    let mut random = StdRng::seed_from_u64(seed);
    let bytes = std::fs::metadata(from).unwrap().len();
    let mut heaps: Vec<_> = (0..=bytes / (HEAP_LINES * LINE_BYTES))
        .map(|_| BufWriter::new(tempfile::tempfile().unwrap()))
        .collect();
    for line in BufReader::new(File::open(from).unwrap()).lines() {
        let heap = random.random_range(0..heaps.len());
        writeln!(heaps[heap], "{}", line.unwrap()).unwrap();
    }
    let mut out = BufWriter::new(File::create(to).unwrap());
    for heap in heaps {
        let mut heap = heap.into_inner().unwrap();
        let mut text = String::new();
        heap.rewind().unwrap();
        heap.read_to_string(&mut text).unwrap();
        let mut lines: Vec<_> = text.lines().collect();
        lines.shuffle(&mut random);
        for line in lines {
            writeln!(out, "{line}").unwrap();
        }
    }
    out.flush().unwrap();
}
