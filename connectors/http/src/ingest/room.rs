//! How much room a request takes in the budget of bytes in flight, and what it hears when there is none.
//!
//! A body counts from before it is read; while it is read as readings it counts with what it may inflate
//! to and the records made of it; then the records count alone, until the log has them. What a newcomer
//! would get wrong: a request that holds a body waits for more room only so long, and then gives all of it
//! up; it may send the same again.

use std::time::Duration;

use bytes::Bytes;
use openinfra_intake::Room;
use openinfra_log::AppendBatch;

use super::{MAX_BODY_BYTES, body::Encoding};
use crate::problem::{Problem, Slug};

/// How long a request waits for room, all in all less than a client's patience.
const PATIENCE: Duration = Duration::from_secs(2);
/// What a request takes beside its body.
const REQUEST_BYTES: usize = 16 * 1024;
/// What a record takes beside its key and value.
const RECORD_BYTES: usize = 64;
/// Deflate makes no more than this of a byte.
const MOST_INFLATED: usize = 1_032;

/// For a body of which `bytes` are known. One that is not encoded counts twice, as its records, commonly no
/// larger, will stand beside it.
pub async fn for_body(room: &mut Room, bytes: usize, encoding: Encoding) -> Result<(), Problem> {
    let records = match encoding {
        Encoding::Identity => bytes,
        Encoding::Gzip => 0,
    };
    grow(room, REQUEST_BYTES + bytes + records).await
}

/// For what a body may inflate to, and as much again for records.
pub async fn before_reading(
    room: &mut Room,
    body: &Bytes,
    encoding: Encoding,
) -> Result<(), Problem> {
    let inflated = match encoding {
        Encoding::Identity => return Ok(()),
        Encoding::Gzip => body.len().saturating_mul(MOST_INFLATED).min(MAX_BODY_BYTES),
    };
    grow(room, REQUEST_BYTES + body.len() + 2 * inflated).await
}

/// For the records alone. Does not wait: they are there already.
pub fn after_reading(room: &mut Room, batch: &AppendBatch) -> Result<(), Problem> {
    let records = batch.size_bytes() + batch.len() * RECORD_BYTES;
    match room.try_resize(REQUEST_BYTES + records) {
        true => Ok(()),
        false => Err(busy()),
    }
}

async fn grow(room: &mut Room, bytes: usize) -> Result<(), Problem> {
    match tokio::time::timeout(PATIENCE, room.resize(bytes)).await {
        Ok(()) => Ok(()),
        Err(_) => Err(busy()),
    }
}

/// 503: as much is in flight as there may be.
fn busy() -> Problem {
    Problem::new(Slug::Unavailable)
        .detail("as much input as the server holds at once is on its way into the log; send the same again")
        .with("part", "log")
        .with("reason", "busy")
        .retry_after(1)
}
