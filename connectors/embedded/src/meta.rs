//! Keys of the meta keyspace, and the numbers under them.

use fjall::{Keyspace, Readable, Snapshot};

use crate::error::Failure;

/// Number of the newest group of commits.
pub(crate) const SEQUENCE: &[u8] = b"sequence";
/// Greatest tick whose batch was written.
pub(crate) const TICK: &[u8] = b"tick";
/// Before the id (u32, big-endian) of a schema; under it its text.
pub(crate) const SCHEMA: &[u8] = b"schema/";
/// Before subject, 00 and version (u32, big-endian); under it a schema's id (u32, big-endian).
pub(crate) const SUBJECT: &[u8] = b"subject/";

/// A number, if it was ever written.
pub(crate) fn read_i64(
    snapshot: &Snapshot,
    meta: &Keyspace,
    key: &[u8],
) -> Result<Option<i64>, Failure> {
    let Some(value) = snapshot.get(meta, key)? else {
        return Ok(None);
    };
    match value.as_ref().try_into() {
        Ok(bytes) => Ok(Some(i64::from_be_bytes(bytes))),
        Err(_) => Err(Failure::Damaged(format!(
            "{} is not 8 bytes",
            String::from_utf8_lossy(key)
        ))),
    }
}
