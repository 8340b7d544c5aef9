//! A process is killed while it writes, again and again; what it said was written is there.

#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod common;

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use common::*;
use openinfra_embedded::{Embedded, Options};

const FOLDER: &str = "OPENINFRA_TEST_CRASH_FOLDER";
const WRITERS: i64 = 3;

/// Small sizes, so that tables are written out and journals end in every state.
fn options() -> Options {
    Options {
        partitions: 2,
        memtable_bytes: 32 << 10,
        chunk_bytes: 1 << 10,
        ..Options::default()
    }
}

/// The process that is killed: no test of its own, only when the other one starts it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_writes_until_it_is_killed() {
    let Ok(folder) = std::env::var(FOLDER) else {
        return;
    };
    let embedded = std::sync::Arc::new(Embedded::open(folder.as_ref(), options()).unwrap());
    let start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let start = start.as_micros() as i64;
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let embedded = embedded.clone();
        writers.push(tokio::spawn(async move {
            for number in start.. {
                let offsets = append(embedded.log().as_ref(), writer, number)
                    .await
                    .unwrap();
                for (i, offset) in (0..).zip(offsets) {
                    say(&format!("record {} {offset} {writer} {number} {i}", i % 2));
                }
                write_durable(&embedded, writer, number).await.unwrap();
                say(&format!("row {writer} {number}"));
            }
        }));
    }
    for tick in start.. {
        embedded.store().write(tick_batch(tick)).await.unwrap();
        say(&format!("tick {tick}"));
    }
}

/// One line in one write, so that a kill leaves whole lines but for the last.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("@{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

#[derive(Debug, Default)]
struct Acknowledged {
    /// By partition and offset: the record's value.
    records: BTreeMap<(i32, i64), String>,
    rows: Vec<(i64, i64)>,
    tick: i64,
}

impl Acknowledged {
    fn hear(&mut self, line: &str) {
        // The test harness writes into the same stream.
        let Some((_, line)) = line.split_once('@') else {
            return;
        };
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words[at].parse::<i64>().unwrap();
        match words[0] {
            "record" => {
                let place = (number(1) as i32, number(2));
                let text = value(number(3), number(4), number(5));
                assert_eq!(self.records.insert(place, text), None, "{place:?} twice");
            }
            "row" => self.rows.push((number(1), number(2))),
            "tick" => self.tick = number(1),
            other => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn what_was_acknowledged_outlives_every_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = Acknowledged::default();
    for round in 0..8u32 {
        let before = acknowledged.records.len();
        // The moment is random from when the child may write; some rounds kill it while it opens.
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let random = u64::from(nanos.subsec_micros() % 300);
        let after = Duration::from_millis(80 * u64::from(round % 4) + random);
        run_and_kill(folder.path(), after, &mut acknowledged);
        let embedded = Embedded::open(folder.path(), options()).unwrap();
        check(&embedded, &acknowledged).await;
        println!(
            "round {round}: {} records more, {} in all",
            acknowledged.records.len() - before,
            acknowledged.records.len()
        );
    }
    assert!(acknowledged.records.len() > 100, "the child hardly wrote");
}

/// Fresh folders, each killed at another moment of the making of its database.
#[tokio::test]
async fn a_folder_half_made_opens() {
    let made = tempfile::tempdir().unwrap();
    let start = Instant::now();
    drop(Embedded::open(made.path(), options()).unwrap());
    // What it takes here, and the start of a process before it.
    let longest = start.elapsed() + Duration::from_millis(20);
    for round in 0..24 {
        let folder = tempfile::tempdir().unwrap();
        let mut acknowledged = Acknowledged::default();
        run_and_kill(folder.path(), longest * round / 24, &mut acknowledged);
        let embedded = Embedded::open(folder.path(), options()).unwrap();
        check(&embedded, &acknowledged).await;
    }
}

fn run_and_kill(folder: &Path, after: Duration, acknowledged: &mut Acknowledged) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_writes_until_it_is_killed", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let killer = std::thread::spawn(move || {
        std::thread::sleep(after);
        child.kill().unwrap();
        child.wait().unwrap();
    });
    let lines: Vec<String> = lines.map_while(Result::ok).collect();
    killer.join().unwrap();
    // A line that the kill cut off was not said.
    for line in &lines {
        if line.starts_with('@') || line.contains("... @") {
            acknowledged.hear(line);
        }
    }
}

async fn check(embedded: &Embedded, acknowledged: &Acknowledged) {
    let log = embedded.log();
    let held = [
        read_all(log.as_ref(), 0).await.unwrap(),
        read_all(log.as_ref(), 1).await.unwrap(),
    ];
    for ((partition, offset), value) in &acknowledged.records {
        let found = held[*partition as usize].get(*offset as usize);
        assert_eq!(found, Some(value), "{partition}@{offset}");
    }
    for (writer, number) in &acknowledged.rows {
        let found = find_durable(embedded, *writer, *number).await.unwrap();
        assert_eq!(found, Some(durable_row(*writer, *number)));
    }
    let ticks = tick_numbers(embedded).await.unwrap();
    assert!(ticks.iter().all(|tick| *tick == ticks[0]), "{ticks:?}");
    // The machine did not fail, only the process, so that even what was not synced is there.
    assert!(ticks[0].unwrap_or(0) >= acknowledged.tick, "{ticks:?}");
}
