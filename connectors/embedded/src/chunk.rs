//! Chunks: the records of one partition that were committed together, as one value.
//!
//! Key: partition (u32, big-endian), last offset (u64, big-endian). So the chunk that holds offset o is
//! the first one at or after (partition, o). Value: form (1 byte), append time (i64), base offset (i64),
//! records (u32), all little-endian; then for each record its key and its value, each behind its length
//! as a varint. What a newcomer would get wrong: records are slices of the chunk, so keeping one record
//! keeps its whole chunk in memory.

use bytes::Bytes;
use openinfra_log::LogRecord;
use openinfra_schemas::time::Millis;

const FORM: u8 = 1;
const HEADER: usize = 1 + 8 + 8 + 4;

/// The key of the chunk whose last record has this offset.
pub(crate) fn key(partition: i32, last_offset: i64) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&partition.cast_unsigned().to_be_bytes());
    key[4..].copy_from_slice(&last_offset.cast_unsigned().to_be_bytes());
    key
}

/// Collects the records of one partition.
#[derive(Debug)]
pub(crate) struct ChunkBuilder {
    bytes: Vec<u8>,
    base_offset: i64,
    records: u32,
}

impl ChunkBuilder {
    pub(crate) fn new(base_offset: i64) -> Self {
        Self {
            bytes: vec![0; HEADER],
            base_offset,
            records: 0,
        }
    }

    pub(crate) fn push(&mut self, key: &[u8], value: &[u8]) {
        for part in [key, value] {
            put_varint(&mut self.bytes, part.len());
            self.bytes.extend_from_slice(part);
        }
        self.records += 1;
    }

    pub(crate) fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The offset behind the last record.
    pub(crate) fn end_offset(&self) -> i64 {
        self.base_offset + i64::from(self.records)
    }

    /// The chunk's value.
    pub(crate) fn finish(mut self, append_ts: Millis) -> Vec<u8> {
        self.bytes[0] = FORM;
        self.bytes[1..9].copy_from_slice(&append_ts.to_le_bytes());
        self.bytes[9..17].copy_from_slice(&self.base_offset.to_le_bytes());
        self.bytes[17..21].copy_from_slice(&self.records.to_le_bytes());
        self.bytes
    }
}

/// Walks the records of a chunk without copying them.
#[derive(Debug)]
pub(crate) struct Chunk {
    bytes: Bytes,
    at: usize,
    pub(crate) append_ts: Millis,
    pub(crate) base_offset: i64,
    next_offset: i64,
    end_offset: i64,
}

impl Chunk {
    /// None when the bytes are no chunk.
    pub(crate) fn open(bytes: Bytes) -> Option<Self> {
        let header: &[u8; HEADER] = bytes.first_chunk()?;
        if header[0] != FORM {
            return None;
        }
        let append_ts = i64::from_le_bytes(header[1..9].try_into().ok()?);
        let base_offset = i64::from_le_bytes(header[9..17].try_into().ok()?);
        let records = u32::from_le_bytes(header[17..21].try_into().ok()?);
        Some(Self {
            bytes,
            at: HEADER,
            append_ts,
            base_offset,
            next_offset: base_offset,
            end_offset: base_offset + i64::from(records),
        })
    }

    pub(crate) fn end_offset(&self) -> i64 {
        self.end_offset
    }

    /// Passes over records below an offset. None when the bytes end too early.
    pub(crate) fn skip_to(&mut self, offset: i64) -> Option<()> {
        while self.next_offset < offset.min(self.end_offset) {
            self.take_part()?;
            self.take_part()?;
            self.next_offset += 1;
        }
        Some(())
    }

    /// The next record, if there is one; none within the option when the bytes end too early.
    pub(crate) fn next_record(&mut self) -> Option<Option<LogRecord>> {
        if self.next_offset >= self.end_offset {
            return None;
        }
        Some(self.take_record())
    }

    fn take_record(&mut self) -> Option<LogRecord> {
        let key = self.take_part()?;
        let value = self.take_part()?;
        let offset = self.next_offset;
        self.next_offset += 1;
        Some(LogRecord {
            offset,
            append_ts: self.append_ts,
            key: self.bytes.slice(key),
            value: self.bytes.slice(value),
        })
    }

    fn take_part(&mut self) -> Option<std::ops::Range<usize>> {
        let len = self.take_varint()?;
        let start = self.at;
        let end = start.checked_add(len)?;
        if end > self.bytes.len() {
            return None;
        }
        self.at = end;
        Some(start..end)
    }

    fn take_varint(&mut self) -> Option<usize> {
        let mut value = 0usize;
        for shift in (0..35).step_by(7) {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read_all(chunk: &mut Chunk) -> Vec<LogRecord> {
        std::iter::from_fn(|| chunk.next_record())
            .map(Option::unwrap)
            .collect()
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(
            records in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..200), prop::collection::vec(any::<u8>(), 0..300)), 1..50),
            base in 0i64..1 << 40,
            skip in 0usize..60,
        ) {
            let mut builder = ChunkBuilder::new(base);
            for (key, value) in &records {
                builder.push(key, value);
            }
            let end = builder.end_offset();
            let mut chunk = Chunk::open(builder.finish(17).into()).unwrap();
            prop_assert_eq!(chunk.end_offset(), end);
            chunk.skip_to(base + skip as i64).unwrap();
            let read = read_all(&mut chunk);
            let expected: Vec<_> = records.iter().enumerate().skip(skip).map(|(i, (key, value))| LogRecord {
                offset: base + i as i64,
                append_ts: 17,
                key: key.clone().into(),
                value: value.clone().into(),
            }).collect();
            prop_assert_eq!(read, expected);
        }

        #[test]
        fn a_cut_chunk_is_noticed(cut in 0usize..26) {
            let mut builder = ChunkBuilder::new(5);
            builder.push(b"k", b"vv");
            let bytes = builder.finish(0);
            prop_assert_eq!(bytes.len(), 26);
            let opened = Chunk::open(bytes[..cut].to_vec().into());
            let whole = opened.and_then(|mut chunk| chunk.next_record().flatten());
            prop_assert_eq!(whole, None);
        }
    }

    #[test]
    fn keys_order_by_partition_then_offset() {
        assert!(key(0, i64::MAX) < key(1, 0));
        assert!(key(1, 255) < key(1, 256));
    }
}
