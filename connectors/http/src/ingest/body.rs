//! Bodies: their type, their encoding, and the bound on both what arrives and what it inflates to.
//!
//! What a newcomer would get wrong: the bytes are kept as they arrived until they are inflated whole, as
//! the ledger must have the original of what cannot be. Room for them is taken before they are read: at
//! once when their number is announced, else piece by piece.

use std::{borrow::Cow, io::Read, time::Duration};

use axum::{
    body::Body,
    http::{HeaderMap, header},
};
use bytes::{Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use http_body_util::BodyExt;
use openinfra_intake::Room;

use super::{MAX_BODY_BYTES, room};
use crate::problem::{Problem, Slug};

/// What is read of a body that is too large, and thrown away, beyond the bound.
const DISCARD_BYTES: usize = 4 * MAX_BODY_BYTES;
const DISCARD_TIME: Duration = Duration::from_secs(5);

/// Room for a body of unknown length is taken in steps of this.
const PIECE_BYTES: usize = 64 * 1024;

pub const JSON: &str = "application/json";
pub const NDJSON: &str = "application/x-ndjson";

/// Which of the accepted types the body has; JSON when it does not say.
pub fn check_type<'a>(headers: &HeaderMap, accepted: &[&'a str]) -> Result<&'a str, Problem> {
    let given = match headers.get(header::CONTENT_TYPE) {
        Some(value) => value.to_str().unwrap_or_default(),
        None => JSON,
    };
    let essence = given.split(';').next().unwrap_or_default().trim();
    let found = accepted
        .iter()
        .find(|known| essence.eq_ignore_ascii_case(known));
    found.copied().ok_or_else(|| {
        Problem::new(Slug::UnsupportedMediaType)
            .detail("the content type is not one that this route reads")
            .with("accepted", accepted)
    })
}

/// How the body is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Identity,
    Gzip,
}

/// Why a body cannot be inflated.
#[derive(Debug)]
pub enum Unreadable {
    TooLarge,
    Corrupt(String),
}

impl Encoding {
    pub fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
        let encoding = match values.next() {
            None => return Ok(Self::Identity),
            Some(value) => value.as_bytes().trim_ascii(),
        };
        if values.next().is_some() {
            return Err(unsupported());
        }
        if encoding.eq_ignore_ascii_case(b"gzip") || encoding.eq_ignore_ascii_case(b"x-gzip") {
            Ok(Self::Gzip)
        } else if encoding.eq_ignore_ascii_case(b"identity") {
            Ok(Self::Identity)
        } else {
            Err(unsupported())
        }
    }

    /// The body as its sender meant it. Stops at the bound: a bomb costs no more memory than any body.
    pub fn inflate(self, bytes: &Bytes, most: usize) -> Result<Cow<'_, [u8]>, Unreadable> {
        match self {
            Self::Identity => Ok(Cow::Borrowed(bytes)),
            Self::Gzip => {
                let mut inflated = Vec::with_capacity(bytes.len().saturating_mul(4).min(most));
                MultiGzDecoder::new(&bytes[..])
                    .take(most as u64 + 1)
                    .read_to_end(&mut inflated)
                    .map_err(|error| Unreadable::Corrupt(error.to_string()))?;
                if inflated.len() > most {
                    return Err(Unreadable::TooLarge);
                }
                Ok(Cow::Owned(inflated))
            }
        }
    }
}

fn unsupported() -> Problem {
    Problem::new(Slug::UnsupportedMediaType)
        .detail("a body may be encoded with gzip or not at all")
        .with("accepted", vec!["gzip", "identity"])
}

/// Reads a body of at most `most` bytes; of what is longer nothing is kept.
pub async fn read(
    headers: &HeaderMap,
    mut body: Body,
    encoding: Encoding,
    most: usize,
    room: &mut Room,
) -> Result<Bytes, Problem> {
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|length| length.parse::<u64>().ok());
    if announced.is_some_and(|length| length > most as u64) {
        // Who asks before sending is told without it.
        if !headers.contains_key(header::EXPECT) {
            discard(body).await;
        }
        return Err(too_large(most));
    }
    let announced = announced.map_or(0, |length| length as usize);
    room::for_body(room, announced, encoding).await?;
    let mut covered = announced;
    let mut bytes = BytesMut::with_capacity(announced);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            tracing::debug!(%error, "a body ended early");
            Problem::new(Slug::MalformedRequest).detail("the body ended before its end")
        })?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        let length = bytes.len() + data.len();
        if length > most {
            drop((bytes, frame));
            discard(body).await;
            return Err(too_large(most));
        }
        if length > covered {
            covered = length.next_multiple_of(PIECE_BYTES).min(most);
            room::for_body(room, covered, encoding).await?;
        }
        bytes.extend_from_slice(data);
    }
    Ok(bytes.freeze())
}

/// Reads on and keeps nothing, within bounds: a client that is still writing when the connection closes
/// sees a reset, and never the answer.
async fn discard(mut body: Body) {
    let mut left = DISCARD_BYTES;
    let reading = async {
        while let Some(Ok(frame)) = body.frame().await {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            let Some(rest) = left.checked_sub(bytes) else {
                return;
            };
            left = rest;
        }
    };
    // Out of time, out of patience: the answer goes out either way.
    let _ = tokio::time::timeout(DISCARD_TIME, reading).await;
}

/// 413.
pub fn too_large(most: usize) -> Problem {
    Problem::new(Slug::PayloadTooLarge)
        .detail("the body is larger than this route takes, before or after inflating; nothing was taken")
        .with("limit_bytes", most)
}
