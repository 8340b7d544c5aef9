//! Runs a [`Plan`] over the bytes of one datum.
//!
//! Strict: a datum that ends early, holds a number out of its range, an unknown branch or text that is not
//! UTF-8 is an error, in fields that are left out too.

use super::{Origin, Plan};

/// The datum of the reader's schema; what is left of `input` after the writer's is an error.
pub(crate) fn transcode(plan: &Plan, mut input: &[u8]) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(input.len() + 16);
    run(plan, &mut input, &mut out)?;
    if input.is_empty() {
        Ok(out)
    } else {
        Err(format!("{} bytes are left over", input.len()))
    }
}

fn run(plan: &Plan, input: &mut &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    match plan {
        Plan::Null => {}
        Plan::Boolean => match take(input, 1)? {
            [bit @ (0 | 1)] => out.push(*bit),
            other => return Err(format!("{other:?} is no boolean")),
        },
        Plan::Int => write_long(read_int(input)?.into(), out),
        Plan::Long => write_long(read_long(input)?, out),
        Plan::Float => out.extend_from_slice(take(input, 4)?),
        Plan::Double => out.extend_from_slice(take(input, 8)?),
        Plan::Fixed(size) => out.extend_from_slice(take(input, *size)?),
        // The nearest float or double, as Avro's promotions are defined.
        Plan::IntegerToFloat => {
            out.extend_from_slice(&(read_long(input)? as f32).to_le_bytes());
        }
        Plan::IntegerToDouble => {
            out.extend_from_slice(&(read_long(input)? as f64).to_le_bytes());
        }
        Plan::FloatToDouble => {
            let bytes = take(input, 4)?.try_into().expect("four were taken");
            out.extend_from_slice(&f64::from(f32::from_le_bytes(bytes)).to_le_bytes());
        }
        Plan::Bytes => write_bytes(read_bytes(input)?, out),
        Plan::Text => write_bytes(read_text(input)?, out),
        Plan::Enum(symbols) => {
            let index = read_long(input)?;
            let symbol =
                pick(symbols, index).ok_or_else(|| format!("no symbol has the index {index}"))?;
            write_long(*symbol, out);
        }
        Plan::Array(item) => blocks(input, out, |input, out| run(item, input, out))?,
        Plan::Map(value) => blocks(input, out, |input, out| {
            write_bytes(read_text(input)?, out);
            run(value, input, out)
        })?,
        Plan::OutOfUnion(branches) => {
            let index = read_long(input)?;
            let branch =
                pick(branches, index).ok_or_else(|| format!("no branch has the index {index}"))?;
            run(branch, input, out)?;
        }
        Plan::IntoUnion(index, value) => {
            write_long(*index, out);
            run(value, input, out)?;
        }
        Plan::Record { read, write } => record(read, write, input, out)?,
    }
    Ok(())
}

fn record(
    read: &[Plan],
    write: &[Origin],
    input: &mut &[u8],
    out: &mut Vec<u8>,
) -> Result<(), String> {
    // The reader's order may differ from the writer's, so the fields are first written one after another.
    let mut fields = Vec::with_capacity(input.len());
    let mut ends = Vec::with_capacity(read.len());
    for plan in read {
        run(plan, input, &mut fields)?;
        ends.push(fields.len());
    }
    for origin in write {
        match origin {
            Origin::Default(bytes) => out.extend_from_slice(bytes),
            Origin::Field(index) => {
                let start = index.checked_sub(1).map_or(0, |before| ends[before]);
                out.extend_from_slice(&fields[start..ends[*index]]);
            }
        }
    }
    Ok(())
}

/// Reads blocks of items and writes them as blocks of the same counts, without their sizes in bytes.
fn blocks(
    input: &mut &[u8],
    out: &mut Vec<u8>,
    mut item: impl FnMut(&mut &[u8], &mut Vec<u8>) -> Result<(), String>,
) -> Result<(), String> {
    // An item may have no bytes, so that a few bytes could ask for endless work.
    let most = input.len() as u64;
    let mut total = 0_u64;
    loop {
        let count = read_long(input)?;
        if count < 0 {
            // A negative count announces the size of the block, which only a reader that skips needs.
            read_long(input)?;
        }
        let count = count.unsigned_abs();
        total = total.saturating_add(count);
        if total > most {
            return Err(format!(
                "a block has {count} items, more than the datum has bytes"
            ));
        }
        write_long(count as i64, out);
        if count == 0 {
            return Ok(());
        }
        for _ in 0..count {
            item(input, out)?;
        }
    }
}

fn pick<T>(items: &[T], index: i64) -> Option<&T> {
    items.get(usize::try_from(index).ok()?)
}

fn take<'a>(input: &mut &'a [u8], count: usize) -> Result<&'a [u8], String> {
    let (taken, rest) = input
        .split_at_checked(count)
        .ok_or_else(|| format!("ends {} bytes early", count - input.len()))?;
    *input = rest;
    Ok(taken)
}

fn read_bytes<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], String> {
    let length = read_long(input)?;
    let length = usize::try_from(length).map_err(|_| format!("{length} is no length"))?;
    take(input, length)
}

fn read_text<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], String> {
    let bytes = read_bytes(input)?;
    std::str::from_utf8(bytes).map_err(|e| format!("text is not UTF-8: {e}"))?;
    Ok(bytes)
}

fn read_int(input: &mut &[u8]) -> Result<i32, String> {
    let long = read_long(input)?;
    i32::try_from(long).map_err(|_| format!("{long} is no int"))
}

/// A zigzag number of variable length, ten bytes at most.
fn read_long(input: &mut &[u8]) -> Result<i64, String> {
    let mut bits = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = take(input, 1)?[0];
        if shift == 63 && byte > 1 {
            break;
        }
        bits |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok((bits >> 1) as i64 ^ -((bits & 1) as i64));
        }
    }
    Err("a number has more than 64 bits".to_owned())
}

pub(super) fn write_long(long: i64, out: &mut Vec<u8>) {
    let mut bits = ((long << 1) ^ (long >> 63)) as u64;
    while bits >= 0x80 {
        out.push(bits as u8 | 0x80);
        bits >>= 7;
    }
    out.push(bits as u8);
}

pub(super) fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    write_long(bytes.len() as i64, out);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn longs_come_back(long in any::<i64>()) {
            let mut out = Vec::new();
            write_long(long, &mut out);
            let mut input = out.as_slice();
            prop_assert_eq!(read_long(&mut input), Ok(long));
            prop_assert!(input.is_empty());
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let item = Plan::OutOfUnion(vec![Plan::Null, Plan::Text, Plan::Long]);
            let _ = transcode(&Plan::Array(Box::new(Plan::Map(Box::new(item)))), &bytes);
        }
    }

    #[test]
    fn longs_of_too_many_bits_are_refused() {
        let mut eleven: &[u8] = &[0xff; 11];
        assert!(read_long(&mut eleven).is_err());
        let mut most: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(read_long(&mut most), Ok(i64::MIN));
    }

    #[test]
    fn few_bytes_cannot_ask_for_endless_work() {
        let mut bytes = Vec::new();
        write_long(i64::MAX, &mut bytes);
        assert!(transcode(&Plan::Array(Box::new(Plan::Null)), &bytes).is_err());
    }
}
