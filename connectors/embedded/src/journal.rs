//! Reads fjall's journals before fjall does, because fjall cuts off what it cannot read.
//!
//! A journal is a row of batches: a start (items, seqno), items, an end with a checksum and a trailer.
//! After a crash the newest journal may end in the middle of a batch, which is right; where one is damaged
//! before its end, fjall takes that for the same, shortens the file, and opens. So this walks over the
//! journals and refuses, changing nothing, when batches that the side file knows of are not there; else it
//! cuts off the half batch itself, at which fjall's debug builds panic. Every batch is one group and
//! carries the group's number. What a newcomer would get wrong: checksums are left
//! to fjall, which refuses a batch whose content is wrong; the structure is what it forgives.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use crate::{error::OpenError, folder, meta};

const TRAILER: [u8; 4] = *b"FJL\x03";
const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
/// LZ4 makes of one byte 255 at most, by its format.
const MOST_EXPANSION: u64 = 255;
/// Between batches fjall uses up a few numbers for itself. A jump of more is a damaged number.
const GREATEST_SEQNO_STEP: u64 = 1 << 24;

/// A batch, as far as it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Batch {
    seqno: u64,
    /// The group's number.
    sequence: u64,
}

/// Why a journal was not read on.
#[derive(Debug)]
enum Stop {
    /// It ends here, or only zeros follow.
    End,
    /// What follows is no whole batch.
    Broken,
}

/// Refuses journals that lack a group up to the one that the side file names.
pub(crate) fn check(folder: &Path, acknowledged: u64) -> Result<(), OpenError> {
    let journals = journals(&folder.join(folder::DATABASE)).map_err(folder::io_error(folder))?;
    let mut last: Option<Batch> = None;
    for (at, path) in journals.iter().enumerate() {
        let newest = at + 1 == journals.len();
        let damage = check_one(path, newest, acknowledged, &mut last);
        if let Some(what) = damage.map_err(folder::io_error(folder))? {
            let name = path.file_name().unwrap_or_default().display();
            return Err(folder::damaged(
                folder,
                &format!("the journal {name} {what}; nothing was changed"),
            ));
        }
    }
    Ok(())
}

/// Walks over one journal; says what is wrong with it.
fn check_one(
    path: &Path,
    newest: bool,
    acknowledged: u64,
    last: &mut Option<Batch>,
) -> io::Result<Option<String>> {
    let mut reader = JournalReader::open(path)?;
    let stop = loop {
        let position = reader.position;
        let batch = match reader.next_batch()? {
            Ok(batch) => batch,
            Err(stop) => break stop,
        };
        if let Some(last) = last
            && !follows(batch, *last)
        {
            return Ok(Some(format!(
                "has at byte {position} group {} of writes, which does not follow on group {}",
                batch.sequence, last.sequence
            )));
        }
        *last = Some(batch);
    };
    if let Stop::End = stop {
        return Ok(None);
    }
    // A crash can leave half a batch at the end of the newest journal, but of nothing acknowledged.
    let lost = !newest
        || match last {
            Some(last) => last.sequence < acknowledged,
            None => reader.mentions_up_to(acknowledged)?,
        };
    if !lost {
        cut(path, reader.position)?;
        return Ok(None);
    }
    let after = last.map_or(0, |last| last.sequence);
    Ok(Some(format!(
        "cannot be read from byte {} on, where groups of writes after number {after} stand, of {acknowledged} that were acknowledged",
        reader.position
    )))
}

fn cut(journal: &Path, len: u64) -> io::Result<()> {
    let file = File::options().write(true).open(journal)?;
    file.set_len(len)?;
    file.sync_all()
}

fn follows(batch: Batch, last: Batch) -> bool {
    batch.sequence == last.sequence + 1
        && batch.seqno > last.seqno
        && batch.seqno - last.seqno < GREATEST_SEQNO_STEP
}

/// The journals of a database, oldest first; none when there is no database.
fn journals(database: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(database) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let number = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.strip_suffix(".jnl"))
            .and_then(|number| number.parse::<u64>().ok());
        found.extend(number.map(|number| (number, path)));
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

struct JournalReader {
    reader: BufReader<File>,
    len: u64,
    /// Where the next batch begins.
    position: u64,
    /// Where the reader stands.
    at: u64,
}

/// What could not be read because the file ends or holds something else.
enum Short {
    Io(io::Error),
    Broken,
}

impl From<io::Error> for Short {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Broken,
            _ => Self::Io(error),
        }
    }
}

impl JournalReader {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        Ok(Self {
            len: file.metadata()?.len(),
            reader: BufReader::with_capacity(256 << 10, file),
            position: 0,
            at: 0,
        })
    }

    fn next_batch(&mut self) -> io::Result<Result<Batch, Stop>> {
        match self.take_batch() {
            Ok(batch) => {
                self.position = self.at;
                Ok(Ok(batch))
            }
            Err(Short::Io(error)) => Err(error),
            Err(Short::Broken) => Ok(Err(if self.only_zeros_follow()? {
                Stop::End
            } else {
                Stop::Broken
            })),
        }
    }

    fn take_batch(&mut self) -> Result<Batch, Short> {
        self.expect(START)?;
        let items = u32::from_le_bytes(self.take()?);
        let seqno = u64::from_le_bytes(self.take()?);
        let mut sequence = None;
        for _ in 0..items {
            self.take_item(&mut sequence)?;
        }
        self.expect(END)?;
        let _checksum: [u8; 8] = self.take()?;
        if self.take()? != TRAILER {
            return Err(Short::Broken);
        }
        Ok(Batch {
            seqno,
            sequence: sequence.ok_or(Short::Broken)?,
        })
    }

    fn take_item(&mut self, sequence: &mut Option<u64>) -> Result<(), Short> {
        self.expect(ITEM)?;
        let [_kind, compression] = self.take()?;
        let _keyspace: [u8; 8] = self.take()?;
        let key_len = u64::from(u16::from_le_bytes(self.take()?));
        let plain_len = u64::from(u32::from_le_bytes(self.take()?));
        let value_len = u64::from(u32::from_le_bytes(self.take()?));
        // fjall asks for the plain bytes' memory before it looks at a checksum.
        let most = if compression == 0 {
            value_len
        } else {
            MOST_EXPANSION * value_len
        };
        if plain_len > most || (compression == 0 && plain_len != value_len) {
            return Err(Short::Broken);
        }
        if key_len == meta::SEQUENCE.len() as u64 && value_len == 8 {
            let key: [u8; meta::SEQUENCE.len()] = self.take()?;
            let value = u64::from_be_bytes(self.take()?);
            if key == meta::SEQUENCE {
                *sequence = Some(value);
            }
            return Ok(());
        }
        self.skip(key_len + value_len)
    }

    fn expect(&mut self, tag: u8) -> Result<(), Short> {
        if self.take()? == [tag] {
            Ok(())
        } else {
            Err(Short::Broken)
        }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Short> {
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes)?;
        self.at += N as u64;
        Ok(bytes)
    }

    fn skip(&mut self, bytes: u64) -> Result<(), Short> {
        if self.len - self.at < bytes {
            return Err(Short::Broken);
        }
        self.reader
            .seek_relative(i64::try_from(bytes).map_err(|_| Short::Broken)?)?;
        self.at += bytes;
        Ok(())
    }

    /// Whether an acknowledged group seems to stand somewhere behind what cannot be read. Such a group
    /// was synced, and all before it with it, so that no crash can have left a gap there.
    fn mentions_up_to(&mut self, acknowledged: u64) -> io::Result<bool> {
        self.reader.seek(SeekFrom::Start(self.position))?;
        let mut rest = Vec::new();
        self.reader.read_to_end(&mut rest)?;
        let item = meta::SEQUENCE.len() + 8;
        Ok(rest.windows(item).any(|window| {
            let (key, value) = window.split_at(meta::SEQUENCE.len());
            let group = value.try_into().map(u64::from_be_bytes).unwrap_or(0);
            key == meta::SEQUENCE && (1..=acknowledged).contains(&group)
        }))
    }

    /// Journals are made long in advance; what is not written yet is zero.
    fn only_zeros_follow(&mut self) -> io::Result<bool> {
        self.reader.seek(SeekFrom::Start(self.position))?;
        loop {
            let bytes = self.reader.fill_buf()?;
            if bytes.is_empty() {
                return Ok(true);
            }
            if bytes.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            let len = bytes.len();
            self.reader.consume(len);
        }
    }
}
