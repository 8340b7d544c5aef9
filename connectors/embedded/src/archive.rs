//! Looks at fjall's lists of tables, and at its tables, before fjall does, because fjall takes a damaged
//! count at its word: it asks for so much memory, and the process ends where there is not so much.
//!
//! Each keyspace has a folder with `current` (which list of tables counts, and its checksum), the lists
//! (`v` and a number) and `tables`. Lists and tables are archives of the crate `sfa`: sections, then a
//! table of contents, then a trailer. A list is compared with its checksum, which fjall writes and never
//! reads; of a table only the count of sections is looked at, as fjall checks all else in it. What a newcomer
//! would get wrong: a crash leaves tables half written that no list names, and keyspaces half made or half
//! removed. So what is missing, or no whole archive, is left to fjall, which removes it or says that it is
//! damaged.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use crate::{error::OpenError, folder};

const KEYSPACES: &str = "keyspaces";
const CURRENT: &str = "current";
const TABLES: &str = "tables";

/// Number of the list (8), its checksum (16), kind of checksum (1).
const CURRENT_BYTES: usize = 25;
/// XXH3, the only kind there is.
const XXH3: u8 = 0;

/// Magic (4), version (1), kind of checksum (1), checksum of the contents (16), their position (8), their
/// length (8).
const TRAILER_BYTES: usize = 38;
const TRAILER_MAGIC: &[u8] = b"SFA!";
/// Magic (4), count of sections (4).
const HEAD_BYTES: usize = 8;
const HEAD_MAGIC: &[u8] = b"TOC!";
/// The least that a section takes in the contents: position (8), length (8), length of its name (2).
const SECTION_BYTES: u64 = 18;

/// Refuses a database whose lists of tables are damaged, or a table with more sections than it has room
/// for. Changes nothing.
pub(crate) fn check(folder: &Path) -> Result<(), OpenError> {
    let keyspaces = folder.join(folder::DATABASE).join(KEYSPACES);
    let keyspaces = entries(&keyspaces).map_err(folder::io_error(folder))?;
    for keyspace in keyspaces.iter().filter(|path| path.is_dir()) {
        let damage = check_keyspace(keyspace).map_err(folder::io_error(folder))?;
        if let Some((path, what)) = damage {
            let name = path.strip_prefix(folder).unwrap_or(&path).display();
            let what = format!("{name} {what}; nothing was changed");
            return Err(folder::damaged(folder, &what));
        }
    }
    Ok(())
}

/// The damaged file, and what is wrong with it.
type Damage = Option<(PathBuf, String)>;

fn check_keyspace(keyspace: &Path) -> io::Result<Damage> {
    if let Some(damage) = check_list(keyspace)? {
        return Ok(Some(damage));
    }
    for table in entries(&keyspace.join(TABLES))? {
        if let Some(what) = check_table(&table)? {
            return Ok(Some((table, what)));
        }
    }
    Ok(None)
}

/// Compares the list that counts with its checksum.
fn check_list(keyspace: &Path) -> io::Result<Damage> {
    let current = keyspace.join(CURRENT);
    let bytes = match fs::read(&current) {
        Ok(bytes) => bytes,
        // Half made, before anything was written to it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let Ok(bytes) = <[u8; CURRENT_BYTES]>::try_from(bytes) else {
        let what = format!("is not {CURRENT_BYTES} bytes long");
        return Ok(Some((current, what)));
    };
    let (number, rest) = bytes.split_at(8);
    let (checksum, kind) = rest.split_at(16);
    if kind != [XXH3] {
        let what = format!("names a checksum of the unknown kind {}", kind[0]);
        return Ok(Some((current, what)));
    }
    let list = keyspace.join(format!("v{}", u64::from_le_bytes(array(number))));
    match fs::read(&list) {
        Ok(list_bytes) if xxhash_rust::xxh3::xxh3_128(&list_bytes).to_le_bytes() == checksum => {
            Ok(None)
        }
        Ok(_) => Ok(Some((list, "differs from its checksum".to_owned()))),
        // Half removed, or fjall says that it is missing.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Says what is wrong when a table counts more sections than fit between its contents' beginning and its
/// trailer.
fn check_table(path: &Path) -> io::Result<Option<String>> {
    let file = File::open(path)?;
    let Some((contents_at, room)) = contents(&file)? else {
        return Ok(None);
    };
    let mut head = [0; HEAD_BYTES];
    file.read_exact_at(&mut head, contents_at)?;
    let sections = u32::from_le_bytes(array(&head[4..]));
    if !head.starts_with(HEAD_MAGIC) || u64::from(sections) <= room / SECTION_BYTES {
        return Ok(None);
    }
    Ok(Some(format!(
        "says at byte {contents_at} that it has {sections} sections, for which it has no room"
    )))
}

/// Where an archive says that its contents begin, and how many bytes of sections they can be; none when it
/// is no whole one.
fn contents(file: &File) -> io::Result<Option<(u64, u64)>> {
    let len = file.metadata()?.len();
    let Some(trailer_at) = len.checked_sub(TRAILER_BYTES as u64) else {
        return Ok(None);
    };
    let mut trailer = [0; TRAILER_BYTES];
    file.read_exact_at(&mut trailer, trailer_at)?;
    let contents_at = u64::from_le_bytes(array(&trailer[22..30]));
    let room = trailer_at
        .checked_sub(contents_at)
        .and_then(|bytes| bytes.checked_sub(HEAD_BYTES as u64));
    let room = room.filter(|_| trailer.starts_with(TRAILER_MAGIC));
    Ok(room.map(|room| (contents_at, room)))
}

/// What a folder holds; nothing when there is none.
fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("as many bytes as asked for")
}
