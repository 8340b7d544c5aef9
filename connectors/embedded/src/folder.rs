//! The data folder around the database: its lock, and the file that says what never changes.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write},
    path::Path,
    thread,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::error::OpenError;

/// The folder of the database within the data folder.
pub(crate) const DATABASE: &str = "db";
/// The database's folder until all of it is made.
pub(crate) const NEW_DATABASE: &str = "db.new";
/// The side file within the data folder.
pub(crate) const SIDE_FILE: &str = "ends";
const LOCK: &str = "lock";
const FORMAT: &str = "format.json";

/// The layout that this version reads and writes.
const VERSION: u32 = 2;

/// What is fixed when a folder is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Format {
    version: u32,
    partitions: i32,
}

/// Makes the folder when there is none, and takes its lock.
pub(crate) fn lock(folder: &Path) -> Result<File, OpenError> {
    fs::create_dir_all(folder).map_err(io_error(folder))?;
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(folder.join(LOCK))
        .map_err(io_error(folder))?;
    // A process that is just being ended may hold the lock for some more moments.
    for _ in 0..10 {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(30)),
            Err(TryLockError::Error(error)) => return Err(io_error(folder)(error)),
        }
    }
    Err(OpenError::Locked(folder.to_owned()))
}

/// Checks what the folder was made with, or makes it so. The caller holds the lock.
pub(crate) fn check_format(folder: &Path, partitions: i32) -> Result<(), OpenError> {
    let refuse = |what: String| OpenError::Format {
        folder: folder.to_owned(),
        what,
    };
    if partitions < 1 {
        return Err(refuse(format!(
            "topics have 1 partition or more, not {partitions}"
        )));
    }
    let wanted = Format {
        version: VERSION,
        partitions,
    };
    let text = match fs::read(folder.join(FORMAT)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if folder.join(DATABASE).exists() {
                return Err(damaged(folder, "format.json is missing"));
            }
            return write_format(folder, &wanted).map_err(io_error(folder));
        }
        Err(error) => return Err(io_error(folder)(error)),
    };
    let found: Format = serde_json::from_slice(&text)
        .map_err(|error| damaged(folder, &format!("format.json does not parse: {error}")))?;
    if found.version != wanted.version {
        return Err(refuse(format!(
            "its format is {}, and this version reads {VERSION}",
            found.version
        )));
    }
    if found.partitions != wanted.partitions {
        return Err(refuse(format!(
            "its topics have {} partitions for life, and {partitions} are configured",
            found.partitions
        )));
    }
    Ok(())
}

fn write_format(folder: &Path, format: &Format) -> io::Result<()> {
    let new = folder.join("format.json.new");
    let mut file = File::create(&new)?;
    serde_json::to_writer(&mut file, format)?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(new, folder.join(FORMAT))?;
    sync_folder(folder)
}

/// Makes names in the folder durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

pub(crate) fn damaged(folder: &Path, what: &str) -> OpenError {
    OpenError::Damaged {
        folder: folder.to_owned(),
        what: what.to_owned(),
    }
}

pub(crate) fn io_error(folder: &Path) -> impl FnOnce(io::Error) -> OpenError {
    move |source| OpenError::Io {
        folder: folder.to_owned(),
        source,
    }
}
