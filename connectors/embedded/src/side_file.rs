//! The side file: what the database must at least hold, kept apart from it.
//!
//! A journal that is damaged in its middle is shortened by the database without a word, and what follows
//! is gone. So the log's ends and the number of the newest durable group are written here, and synced,
//! before an append returns; on opening, a database that holds less is refused. Two slots are written in
//! turn, so that one is whole at any moment. What a newcomer would get wrong: the file is written after
//! the database, so the database may hold more than the file says, never less.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
};

use crate::ends::Ends;

const MAGIC: [u8; 8] = *b"oi-ends1";
/// Magic, sequence number, count of ends; before the ends.
const HEADER: usize = 8 + 8 + 8;
const BLOCK: usize = 4096;

/// The open side file.
#[derive(Debug)]
pub(crate) struct SideFile {
    file: File,
    slot_bytes: usize,
    /// Which slot is written next.
    next_slot: u64,
}

/// What the side file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Number of the newest group of commits that it covers.
    pub(crate) sequence: u64,
    pub(crate) ends: Ends,
}

/// What was found on opening.
#[derive(Debug)]
pub(crate) enum Found {
    Missing,
    /// There is a file, and no slot of it is whole.
    Broken,
    Whole(SideFile, Mark),
}

impl SideFile {
    /// Writes a new file with this mark in both slots, and syncs it. The folder is the caller's to sync.
    pub(crate) fn create(path: &Path, mark: &Mark) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)?;
        let mut side = Self {
            file,
            slot_bytes: slot_bytes(mark.ends.as_slice().len()),
            next_slot: 0,
        };
        side.write(mark)?;
        side.write(mark)?;
        Ok(side)
    }

    /// Reads an existing file whose ends are those of this many keyed partitions.
    pub(crate) fn open(path: &Path, partitions: i32) -> io::Result<Found> {
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Missing),
            Err(error) => return Err(error),
        };
        let blank = Ends::new(partitions);
        let slot_bytes = slot_bytes(blank.as_slice().len());
        let mut newest: Option<(u64, Mark)> = None;
        for slot in 0..2 {
            let Some(mark) = read_slot(&file, slot, slot_bytes, &blank)? else {
                continue;
            };
            if newest
                .as_ref()
                .is_none_or(|(_, other)| other.sequence <= mark.sequence)
            {
                newest = Some((slot, mark));
            }
        }
        Ok(match newest {
            None => Found::Broken,
            Some((slot, mark)) => Found::Whole(
                Self {
                    file,
                    slot_bytes,
                    next_slot: 1 - slot,
                },
                mark,
            ),
        })
    }

    /// Writes a mark over the older slot and syncs it.
    pub(crate) fn write(&mut self, mark: &Mark) -> io::Result<()> {
        let bytes = encode(mark, self.slot_bytes);
        self.file
            .write_all_at(&bytes, self.next_slot * self.slot_bytes as u64)?;
        self.file.sync_data()?;
        self.next_slot = 1 - self.next_slot;
        Ok(())
    }
}

fn slot_bytes(ends: usize) -> usize {
    (HEADER + ends * 8 + 8).next_multiple_of(BLOCK)
}

fn encode(mark: &Mark, slot_bytes: usize) -> Vec<u8> {
    let ends = mark.ends.as_slice();
    let mut bytes = Vec::with_capacity(slot_bytes);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&mark.sequence.to_le_bytes());
    bytes.extend_from_slice(&(ends.len() as u64).to_le_bytes());
    for end in ends {
        bytes.extend_from_slice(&end.to_le_bytes());
    }
    let sum = checksum(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes.resize(slot_bytes, 0);
    bytes
}

fn read_slot(file: &File, slot: u64, slot_bytes: usize, blank: &Ends) -> io::Result<Option<Mark>> {
    let mut bytes = vec![0; slot_bytes];
    match file.read_exact_at(&mut bytes, slot * slot_bytes as u64) {
        Ok(()) => Ok(decode(&bytes, blank)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

fn decode(bytes: &[u8], blank: &Ends) -> Option<Mark> {
    let summed = HEADER + blank.as_slice().len() * 8;
    let sum = u64::from_le_bytes(*bytes.get(summed..)?.first_chunk()?);
    let content = &bytes[..summed];
    if content[..8] != MAGIC || checksum(content) != sum {
        return None;
    }
    let mut words = content[8..]
        .as_chunks::<8>()
        .0
        .iter()
        .map(|word| u64::from_le_bytes(*word));
    let sequence = words.next()?;
    if words.next()? != blank.as_slice().len() as u64 {
        return None;
    }
    let mut ends = blank.clone();
    for (end, word) in ends.as_mut_slice().iter_mut().zip(words) {
        *end = word.cast_signed();
    }
    Some(Mark { sequence, ends })
}

/// FNV-1a, 64 bits: it tells a torn write, and any single changed byte, for certain.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use openinfra_schemas::Topic;

    fn mark(sequence: u64) -> Mark {
        let mut ends = Ends::new(4);
        ends.set(Topic::Readings, 2, sequence.cast_signed() * 10);
        Mark { sequence, ends }
    }

    fn whole(path: &Path) -> (SideFile, Mark) {
        match SideFile::open(path, 4).unwrap() {
            Found::Whole(side, mark) => (side, mark),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_newest_mark_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ends");
        let mut side = SideFile::create(&path, &mark(0)).unwrap();
        for sequence in 1..6 {
            side.write(&mark(sequence)).unwrap();
            let (reopened, found) = whole(&path);
            assert_eq!(found, mark(sequence));
            side = reopened;
        }
    }

    #[test]
    fn a_torn_write_leaves_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ends");
        let mut side = SideFile::create(&path, &mark(1)).unwrap();
        side.write(&mark(2)).unwrap();
        let torn = 1 - side.next_slot;
        for byte in 0..40u64 {
            let at = torn * side.slot_bytes as u64 + byte;
            let mut old = [0];
            side.file.read_exact_at(&mut old, at).unwrap();
            side.file.write_all_at(&[old[0] ^ 0x10], at).unwrap();
            assert_eq!(whole(&path).1, mark(1), "byte {byte}");
            side.file.write_all_at(&old, at).unwrap();
        }
    }

    #[test]
    fn missing_and_broken_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ends");
        assert!(matches!(SideFile::open(&path, 4).unwrap(), Found::Missing));
        std::fs::write(&path, b"short").unwrap();
        assert!(matches!(SideFile::open(&path, 4).unwrap(), Found::Broken));
    }
}
