//! What the database holds on opening, and whether that is all that was acknowledged.

use std::{io, path::Path};

use bytes::Bytes;
use fjall::Readable;
use openinfra_schemas::{Topic, time::Millis};

use crate::{
    archive,
    chunk::{self, Chunk},
    database::Database,
    ends::Ends,
    error::{Failure, OpenError},
    folder, journal, meta,
    side_file::{Found, Mark, SideFile},
};

/// Where the committer goes on.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) ends: Ends,
    pub(crate) sequence: u64,
    /// Greatest tick whose batch was written.
    pub(crate) tick: Option<Millis>,
    /// Greatest append time.
    pub(crate) append_ts: Millis,
}

/// Looks at the folder before the database is opened, which must not happen to a damaged one.
pub(crate) fn inspect(folder: &Path, partitions: i32) -> Result<Found, OpenError> {
    let path = folder.join(folder::SIDE_FILE);
    let found = SideFile::open(&path, partitions).map_err(folder::io_error(folder))?;
    let acknowledged = match &found {
        Found::Whole(_, mark) => mark.sequence,
        Found::Missing | Found::Broken => 0,
    };
    archive::check(folder)?;
    journal::check(folder, acknowledged)?;
    Ok(found)
}

/// Reads the database's standing and compares it with the side file.
pub(crate) fn recover(
    folder: &Path,
    database: &Database,
    partitions: i32,
    found: Found,
) -> Result<(Standing, SideFile), OpenError> {
    let standing = read_standing(database, partitions).map_err(|failure| match failure {
        Failure::Damaged(what) | Failure::Unavailable(what) => folder::damaged(folder, &what),
        Failure::StorageFull => folder::damaged(folder, "reading it needs space on the disk"),
    })?;
    let why = match found {
        Found::Whole(side, mark) => {
            compare(folder, &standing, &mark)?;
            return Ok((standing, side));
        }
        // A crash while the folder was being made leaves an empty database.
        Found::Missing | Found::Broken if standing.sequence == 0 => {
            let side = create_side_file(folder, &standing).map_err(folder::io_error(folder))?;
            return Ok((standing, side));
        }
        Found::Missing => "missing",
        Found::Broken => "not readable",
    };
    Err(folder::damaged(
        folder,
        &format!(
            "the file {}, which says what the log must hold, is {why}",
            folder::SIDE_FILE
        ),
    ))
}

fn create_side_file(folder: &Path, standing: &Standing) -> io::Result<SideFile> {
    let mark = Mark {
        sequence: standing.sequence,
        ends: standing.ends.clone(),
    };
    let side = SideFile::create(&folder.join(folder::SIDE_FILE), &mark)?;
    folder::sync_folder(folder)?;
    Ok(side)
}

fn read_standing(database: &Database, partitions: i32) -> Result<Standing, Failure> {
    let snapshot = database.shown();
    let mut standing = Standing {
        ends: Ends::new(partitions),
        sequence: meta::read_i64(&snapshot, database.meta(), meta::SEQUENCE)?
            .unwrap_or(0)
            .cast_unsigned(),
        tick: meta::read_i64(&snapshot, database.meta(), meta::TICK)?,
        append_ts: Millis::MIN,
    };
    for topic in Topic::ALL {
        for partition in 0..topic.partitions(partitions) {
            let first = chunk::key(partition, 0);
            let last = chunk::key(partition, i64::MAX);
            let Some(newest) = snapshot
                .range(database.topic(topic), first..=last)
                .next_back()
            else {
                continue;
            };
            let (_, value) = newest.into_inner()?;
            let chunk = Chunk::open(Bytes::from_owner(value)).ok_or_else(|| {
                Failure::Damaged(format!("the newest records of {topic}/{partition}"))
            })?;
            standing.ends.set(topic, partition, chunk.end_offset());
            standing.append_ts = standing.append_ts.max(chunk.append_ts);
        }
    }
    Ok(standing)
}

/// Refuses a database that holds less than the side file says.
fn compare(folder: &Path, standing: &Standing, mark: &Mark) -> Result<(), OpenError> {
    let lost: Vec<String> = mark
        .ends
        .iter()
        .filter_map(|(topic, partition, acknowledged)| {
            let held = standing.ends.get(topic, partition).unwrap_or(0);
            (held < acknowledged).then(|| {
                format!(
                    "{topic}/{partition} lost {} of {acknowledged} records",
                    acknowledged - held
                )
            })
        })
        .collect();
    if !lost.is_empty() {
        return Err(folder::damaged(folder, &lost.join(", ")));
    }
    if standing.sequence < mark.sequence {
        return Err(folder::damaged(
            folder,
            &format!(
                "the last {} groups of acknowledged writes are missing",
                mark.sequence - standing.sequence
            ),
        ));
    }
    Ok(())
}
