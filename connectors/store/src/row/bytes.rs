//! The pieces that columns are made of: escaped text, fixed and variable integers, sized content.

use std::borrow::Cow;

/// Appends content to a key, escaped and ended so that no content is the beginning of another.
pub(super) fn push_key_bytes(out: &mut Vec<u8>, content: &[u8]) {
    for byte in content {
        out.push(*byte);
        if *byte == 0 {
            out.push(0xff);
        }
    }
    out.extend_from_slice(&[0, 0]);
}

pub(super) fn take_key_bytes(bytes: &mut &[u8]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    loop {
        match bytes {
            [0, 0xff, rest @ ..] => {
                content.push(0);
                *bytes = rest;
            }
            [0, 0, rest @ ..] => {
                *bytes = rest;
                return Some(content);
            }
            [0, ..] | [] => return None,
            [byte, rest @ ..] => {
                content.push(*byte);
                *bytes = rest;
            }
        }
    }
}

/// As [`take_key_bytes`], without a copy where nothing is escaped.
pub(super) fn take_key_content<'a>(bytes: &mut &'a [u8]) -> Option<Cow<'a, [u8]>> {
    let zero = bytes.iter().position(|byte| *byte == 0)?;
    if let [0, 0, rest @ ..] = &bytes[zero..] {
        let content = &bytes[..zero];
        *bytes = rest;
        return Some(Cow::Borrowed(content));
    }
    take_key_bytes(bytes).map(Cow::Owned)
}

pub(super) fn take_array<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}

pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

pub(super) fn put_sized(out: &mut Vec<u8>, content: &[u8]) {
    put_varint(out, content.len() as u64);
    out.extend_from_slice(content);
}

pub(super) fn take_sized<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(take_varint(bytes)?).ok()?;
    let (head, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(head)
}
