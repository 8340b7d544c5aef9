//! Bytes that change on the disk: all that was acknowledged is found, or something says that it is not.

#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use common::*;
use openinfra_embedded::{Embedded, OpenError, Options};

/// The files of a folder; journals without the zeros that they were made long with.
type Files = BTreeMap<PathBuf, Vec<u8>>;

const GROUPS: i64 = 12;

fn options(memtable_bytes: u64) -> Options {
    Options {
        partitions: 2,
        memtable_bytes,
        ..Options::default()
    }
}

/// A folder with some of everything in it, as files.
async fn written(memtable_bytes: u64) -> Files {
    let folder = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(folder.path(), options(memtable_bytes)).unwrap();
    for number in 0..GROUPS {
        append(embedded.log().as_ref(), 0, number).await.unwrap();
        write_durable(&embedded, 0, number).await.unwrap();
        embedded
            .store()
            .write(tick_batch(number + 1))
            .await
            .unwrap();
    }
    embedded.close().unwrap();
    let mut files = Files::new();
    collect(folder.path(), folder.path(), &mut files);
    files
}

fn collect(root: &Path, folder: &Path, files: &mut Files) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, files);
            continue;
        }
        let mut bytes = fs::read(&path).unwrap();
        if path.extension().is_some_and(|ext| ext == "jnl") {
            let used = bytes
                .iter()
                .rposition(|byte| *byte != 0)
                .map_or(0, |at| at + 1);
            bytes.truncate(used);
        }
        files.insert(path.strip_prefix(root).unwrap().to_owned(), bytes);
    }
}

fn lay_out(files: &Files) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, bytes) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    folder
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// All is there.
    Whole,
    /// The folder does not open.
    Refused,
    /// It opens, and reading says that something is wrong.
    ReadFails,
}

async fn outcome(folder: &Path, memtable_bytes: u64) -> Outcome {
    let embedded = match Embedded::open(folder, options(memtable_bytes)) {
        Ok(embedded) => embedded,
        Err(OpenError::Damaged { .. } | OpenError::Format { .. }) => return Outcome::Refused,
        Err(other) => panic!("{other:?}"),
    };
    let log = embedded.log();
    for partition in 0..2 {
        let Ok(values) = read_all(log.as_ref(), partition).await else {
            return Outcome::ReadFails;
        };
        let expected: Vec<String> = (0..GROUPS)
            .flat_map(|number| [0, 2].map(|i| value(0, number, i + i64::from(partition))))
            .collect();
        assert_eq!(values, expected, "records of partition {partition}");
    }
    for number in 0..GROUPS {
        match find_durable(&embedded, 0, number).await {
            Ok(row) => assert_eq!(row, Some(durable_row(0, number)), "row {number}"),
            Err(_) => return Outcome::ReadFails,
        }
    }
    match tick_numbers(&embedded).await {
        Ok(ticks) => {
            assert!(ticks.iter().all(|tick| *tick == ticks[0]), "{ticks:?}");
            // The last tick was not followed by anything durable but the closing.
            assert!(ticks[0] >= Some(GROUPS - 1), "{ticks:?}");
            Outcome::Whole
        }
        Err(_) => Outcome::ReadFails,
    }
}

/// Changes some 150 bytes of the chosen files, one at a time, and counts what comes of it. With
/// `OPENINFRA_TEST_FLIP_EVERY=1` every byte, which takes minutes.
async fn flip(
    files: &Files,
    memtable_bytes: u64,
    choose: impl Fn(&Path) -> bool,
) -> BTreeMap<Outcome, usize> {
    let chosen = files.iter().filter(|(path, _)| choose(path));
    let bytes: usize = chosen.map(|(_, bytes)| bytes.len()).sum();
    let stride = match std::env::var("OPENINFRA_TEST_FLIP_EVERY") {
        Ok(stride) => stride.parse().unwrap(),
        Err(_) => (bytes / 150).max(1) | 1,
    };
    let mut counts = BTreeMap::new();
    let mut bit = 0;
    for (path, bytes) in files.iter().filter(|(path, _)| choose(path)) {
        for at in (0..bytes.len()).step_by(stride) {
            bit = (bit + 3) % 8;
            let mut damaged = files.clone();
            damaged.get_mut(path).unwrap()[at] ^= 1 << bit;
            let folder = lay_out(&damaged);
            println!("{} byte {at} bit {bit}", path.display());
            let outcome = outcome(folder.path(), memtable_bytes).await;
            *counts.entry(outcome).or_insert(0) += 1;
        }
    }
    println!("{counts:?}");
    counts
}

fn is_journal(path: &Path) -> bool {
    path.extension().is_some_and(|ext| ext == "jnl")
}

#[tokio::test]
async fn a_flipped_byte_of_the_journal_is_noticed() {
    let memtable = 8 << 20;
    let files = written(memtable).await;
    let counts = flip(&files, memtable, is_journal).await;
    assert!(counts[&Outcome::Refused] > 100, "{counts:?}");
}

#[tokio::test]
async fn a_flipped_byte_of_a_table_is_noticed() {
    // So small that most lies in tables and not in the journal alone.
    let memtable = 512;
    let files = written(memtable).await;
    let is_table = |path: &Path| path.starts_with("db") && !is_journal(path);
    let counts = flip(&files, memtable, is_table).await;
    assert!(counts.len() > 1, "{counts:?}");
}

/// fjall would ask for as much memory as the count says, which ends the process.
#[tokio::test]
async fn a_table_that_counts_too_much_is_refused() {
    let memtable = 512;
    let files = written(memtable).await;
    let lists = lists_in_use(&files);
    let is_table = |path: &Path| {
        path.parent()
            .is_some_and(|parent| parent.ends_with("tables"))
    };
    let archives = files
        .iter()
        .filter(|(path, _)| is_table(path) || lists.contains(*path));
    let mut count = 0;
    for (path, bytes) in archives {
        count += 1;
        let contents = bytes
            .windows(4)
            .rposition(|window| window == b"TOC!")
            .unwrap();
        let mut damaged = files.clone();
        damaged.get_mut(path).unwrap()[contents + 7] ^= 0x40;
        let folder = lay_out(&damaged);
        let Err(OpenError::Damaged { what, .. }) = Embedded::open(folder.path(), options(memtable))
        else {
            panic!("{} opened", path.display());
        };
        assert!(what.contains(path.to_str().unwrap()), "{what}");
        let mut after = Files::new();
        collect(folder.path(), folder.path(), &mut after);
        assert!(after == damaged);
    }
    assert!(count > lists.len(), "no table among {count}");
}

/// What crashes and file managers leave among fjall's files is no damage.
#[tokio::test]
async fn leftovers_are_no_damage() {
    let memtable = 512;
    let files = written(memtable).await;
    let (list, bytes) = files
        .iter()
        .find(|(path, _)| lists_in_use(&files).contains(*path))
        .unwrap();
    let keyspaces = Path::new("db/keyspaces");
    let leftovers = [
        // A table that no list names yet, half written.
        (
            list.with_file_name("tables").join("900000"),
            bytes[..bytes.len() / 2].to_vec(),
        ),
        (list.with_file_name("v900000"), b"half".to_vec()),
        // A keyspace half made, and one half removed.
        (keyspaces.join("900/tables/1"), b"half".to_vec()),
        (
            keyspaces.join("901/current"),
            files[&list.with_file_name("current")].clone(),
        ),
        (keyspaces.join(".DS_Store"), b"not fjall's".to_vec()),
    ];
    for (path, bytes) in leftovers {
        let mut more = files.clone();
        more.insert(path.clone(), bytes);
        let folder = lay_out(&more);
        let outcome = outcome(folder.path(), memtable).await;
        assert_eq!(outcome, Outcome::Whole, "{}", path.display());
    }
}

/// The lists of tables that `current` names. Others are what was not removed yet.
fn lists_in_use(files: &Files) -> BTreeSet<PathBuf> {
    files
        .iter()
        .filter(|(path, _)| path.ends_with("current"))
        .map(|(path, bytes)| {
            let number = u64::from_le_bytes(bytes[..8].try_into().unwrap());
            path.with_file_name(format!("v{number}"))
        })
        .collect()
}

/// fjall checks no list of tables, and such a list has counts too.
#[tokio::test]
async fn a_flipped_byte_of_a_list_of_tables_is_refused() {
    let memtable = 512;
    let files = written(memtable).await;
    let lists = lists_in_use(&files);
    let is_list = |path: &Path| path.ends_with("current") || lists.contains(path);
    let counts = flip(&files, memtable, is_list).await;
    assert_eq!(counts.keys().collect::<Vec<_>>(), [&Outcome::Refused]);
}

#[tokio::test]
async fn a_refused_folder_is_left_as_it_was() {
    let memtable = 8 << 20;
    let files = written(memtable).await;
    let (journal, bytes) = files.iter().find(|(path, _)| is_journal(path)).unwrap();
    let mut damaged = files.clone();
    // The first byte after the first batch's trailer begins the second batch.
    let second = bytes.windows(4).position(|w| w == b"FJL\x03").unwrap() + 4;
    damaged.get_mut(journal).unwrap()[second] ^= 0x40;
    let folder = lay_out(&damaged);
    assert_eq!(outcome(folder.path(), memtable).await, Outcome::Refused);
    let mut after = Files::new();
    collect(folder.path(), folder.path(), &mut after);
    assert!(after == damaged);
    // With the byte mended all is there.
    fs::write(folder.path().join(journal), bytes).unwrap();
    assert_eq!(outcome(folder.path(), memtable).await, Outcome::Whole);
}

#[tokio::test]
async fn a_shortened_journal_is_noticed() {
    let memtable = 8 << 20;
    let files = written(memtable).await;
    let (journal, bytes) = files.iter().find(|(path, _)| is_journal(path)).unwrap();
    for len in (0..bytes.len()).step_by(bytes.len() / 40) {
        let mut damaged = files.clone();
        damaged.get_mut(journal).unwrap().truncate(len);
        let folder = lay_out(&damaged);
        let outcome = outcome(folder.path(), memtable).await;
        assert_eq!(outcome, Outcome::Refused, "{len} of {} bytes", bytes.len());
    }
}

/// What a crash in the middle of a write leaves is no damage: nobody was told that it was written.
#[tokio::test]
async fn half_a_batch_at_the_end_is_forgotten() {
    let memtable = 8 << 20;
    let files = written(memtable).await;
    let (journal, bytes) = files.iter().find(|(path, _)| is_journal(path)).unwrap();
    let first = bytes.windows(4).position(|w| w == b"FJL\x03").unwrap() + 4;
    for half in [1, 5, 13, 14, 30, first / 2, first - 1] {
        let mut torn = files.clone();
        let journal = torn.get_mut(journal).unwrap();
        journal.extend_from_slice(&bytes[..half]);
        journal.extend_from_slice(&[0; 1000]);
        let folder = lay_out(&torn);
        for _ in 0..2 {
            let outcome = outcome(folder.path(), memtable).await;
            assert_eq!(outcome, Outcome::Whole, "{half} bytes of {first}");
        }
        // What is written behind it is read again.
        let embedded = Embedded::open(folder.path(), options(memtable)).unwrap();
        append(embedded.log().as_ref(), 0, GROUPS).await.unwrap();
        drop(embedded);
        let embedded = Embedded::open(folder.path(), options(memtable)).unwrap();
        let values = read_all(embedded.log().as_ref(), 0).await.unwrap();
        assert_eq!(values.len() as i64, 2 * (GROUPS + 1));
    }
}

/// The first write of all, cut off: the folder is empty, not damaged.
#[tokio::test]
async fn half_of_the_first_batch_is_forgotten() {
    let memtable = 8 << 20;
    let files = written(memtable).await;
    let (journal, bytes) = files.iter().find(|(path, _)| is_journal(path)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    drop(Embedded::open(folder.path(), options(memtable)).unwrap());
    let mut empty = Files::new();
    collect(folder.path(), folder.path(), &mut empty);
    for half in [1, 30, 200] {
        let mut torn = empty.clone();
        torn.insert(journal.clone(), [&bytes[..half], &[0; 1000]].concat());
        let folder = lay_out(&torn);
        let embedded = Embedded::open(folder.path(), options(memtable)).unwrap();
        append(embedded.log().as_ref(), 0, 0).await.unwrap();
        drop(embedded);
        let embedded = Embedded::open(folder.path(), options(memtable)).unwrap();
        let values = read_all(embedded.log().as_ref(), 0).await.unwrap();
        assert_eq!(values.len(), 2, "{half}");
    }
}

#[tokio::test]
async fn the_side_file_is_needed() {
    let memtable = 8 << 20;
    let files = written(memtable).await;
    let side = PathBuf::from("ends");
    let mut missing = files.clone();
    missing.remove(&side);
    let folder = lay_out(&missing);
    assert_eq!(outcome(folder.path(), memtable).await, Outcome::Refused);

    let mut broken = files.clone();
    broken.get_mut(&side).unwrap().fill(0x55);
    let folder = lay_out(&broken);
    assert_eq!(outcome(folder.path(), memtable).await, Outcome::Refused);

    // One of the two slots is enough: the other may be torn by a crash.
    let half = files[&side].len() / 2;
    for slot in [0, half] {
        let mut torn = files.clone();
        torn.get_mut(&side).unwrap()[slot..slot + half].fill(0x55);
        let folder = lay_out(&torn);
        assert_eq!(outcome(folder.path(), memtable).await, Outcome::Whole);
    }
}

/// The database of yesterday with the side file of today: the message says what is lost.
#[tokio::test]
async fn a_rolled_back_database_is_told_by_partition() {
    let memtable = 8 << 20;
    let old = written(memtable).await;
    let folder = lay_out(&old);
    let embedded = Embedded::open(folder.path(), options(memtable)).unwrap();
    for number in GROUPS..GROUPS + 5 {
        append(embedded.log().as_ref(), 0, number).await.unwrap();
    }
    embedded.close().unwrap();
    for (path, bytes) in old.iter().filter(|(path, _)| path.starts_with("db")) {
        fs::write(folder.path().join(path), bytes).unwrap();
    }
    let Err(OpenError::Damaged { what, .. }) = Embedded::open(folder.path(), options(memtable))
    else {
        panic!("opened");
    };
    assert!(what.contains("readings/0 lost 10 of 34 records"), "{what}");
    assert!(what.contains("readings/1 lost 10 of 34 records"), "{what}");
}

/// Without its database a folder is not an empty one.
#[tokio::test]
async fn a_folder_without_its_database_is_refused() {
    let memtable = 8 << 20;
    let mut files = written(memtable).await;
    files.retain(|path, _| !path.starts_with("db"));
    let folder = lay_out(&files);
    assert_eq!(outcome(folder.path(), memtable).await, Outcome::Refused);
}
