//! Records on their way into the log, their bytes in one buffer.

use openinfra_schemas::Topic;

/// Records to be appended together. Keys and values lie end to end in one buffer, so that filling a
/// batch allocates a few times, not a few times a record.
#[derive(Debug, Default, Clone)]
pub struct AppendBatch {
    bytes: Vec<u8>,
    records: Vec<Span>,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    topic: Topic,
    tag: u16,
    partition: i32,
    key_start: usize,
    value_start: usize,
    end: usize,
}

/// One record of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendRecord<'a> {
    pub topic: Topic,
    pub partition: i32,
    pub key: &'a [u8],
    pub value: &'a [u8],
}

impl AppendBatch {
    /// Adds a record; `value` writes its bytes to the end of the buffer it is given.
    pub fn push_with(
        &mut self,
        topic: Topic,
        partition: i32,
        key: &[u8],
        value: impl FnOnce(&mut Vec<u8>),
    ) {
        let key_start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        let value_start = self.bytes.len();
        value(&mut self.bytes);
        self.records.push(Span {
            topic,
            tag: 0,
            partition,
            key_start,
            value_start,
            end: self.bytes.len(),
        });
    }

    /// Adds a record.
    pub fn push(&mut self, topic: Topic, partition: i32, key: &[u8], value: &[u8]) {
        self.push_with(topic, partition, key, |out| out.extend_from_slice(value));
    }

    /// Adds all records of another batch behind this one's.
    pub fn append(&mut self, other: &Self) {
        for (record, tag) in other.iter().zip(other.tags()) {
            self.push(record.topic, record.partition, record.key, record.value);
            self.tag_last(tag);
        }
    }

    /// Marks the record added last for whoever appends the batch; no log keeps or reads it.
    pub fn tag_last(&mut self, tag: u16) {
        if let Some(span) = self.records.last_mut() {
            span.tag = tag;
        }
    }

    /// The tags of the records, in their order; 0 where none was set.
    pub fn tags(&self) -> impl ExactSizeIterator<Item = u16> {
        self.records.iter().map(|span| span.tag)
    }

    /// Topic and partition of each record, in their order.
    pub fn places(&self) -> Vec<(Topic, i32)> {
        self.records
            .iter()
            .map(|span| (span.topic, span.partition))
            .collect()
    }

    pub fn len(&self) -> usize {
        self.records.len()
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Keys and values together.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The records in the order they were added.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = AppendRecord<'_>> {
        self.records.iter().map(|span| AppendRecord {
            topic: span.topic,
            partition: span.partition,
            key: &self.bytes[span.key_start..span.value_start],
            value: &self.bytes[span.value_start..span.end],
        })
    }
}
