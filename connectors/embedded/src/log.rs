//! The log on the database.
//!
//! Reads run on the calling task: they are look-ups in memory or a few blocks of a local disk.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use openinfra_log::{AppendBatch, Appended, Fetch, Log, LogError, LogRecord};
use openinfra_schemas::Topic;

use crate::{
    chunk::{self, Chunk},
    committer::Request,
    error::Failure,
    handle::Handle,
};

pub(crate) struct EmbeddedLog {
    pub(crate) handle: Arc<Handle>,
}

#[async_trait]
impl Log for EmbeddedLog {
    fn partitions(&self, topic: Topic) -> i32 {
        self.handle.published().partitions(topic)
    }

    async fn append(&self, batch: AppendBatch) -> Result<Appended, LogError> {
        for record in batch.iter() {
            self.published_end(record.topic, record.partition)?;
        }
        let answer = self
            .handle
            .ask(|reply| Request::Append { batch, reply })
            .await?;
        Ok(answer?)
    }

    async fn read(&self, fetch: Fetch) -> Result<Vec<LogRecord>, LogError> {
        let end = self.published_end(fetch.topic, fetch.partition)?;
        if fetch.from < 0 {
            return Err(LogError::Gone {
                topic: fetch.topic,
                partition: fetch.partition,
                wanted: fetch.from,
                start: 0,
            });
        }
        self.read_below(&fetch, end.min(fetch.to))
    }

    async fn end_offsets(&self, topic: Topic) -> Result<Vec<i64>, LogError> {
        Ok(self.handle.published().of_topic(topic))
    }

    async fn start_offsets(&self, topic: Topic) -> Result<Vec<i64>, LogError> {
        // Nothing is trimmed here.
        let partitions = usize::try_from(self.partitions(topic)).unwrap_or(0);
        Ok(vec![0; partitions])
    }
}

impl EmbeddedLog {
    fn published_end(&self, topic: Topic, partition: i32) -> Result<i64, LogError> {
        self.handle
            .published()
            .get(topic, partition)
            .ok_or_else(|| LogError::NoPartition {
                topic,
                partition,
                partitions: self.partitions(topic),
            })
    }

    fn read_below(&self, fetch: &Fetch, end: i64) -> Result<Vec<LogRecord>, LogError> {
        let mut records = Vec::new();
        let mut next = fetch.from;
        if next >= end || fetch.max_records == 0 {
            return Ok(records);
        }
        let damaged = |offset: i64| {
            LogError::Damaged(format!(
                "the record {offset} of {}/{} is not where it was written",
                fetch.topic, fetch.partition
            ))
        };
        let mut bytes = 0;
        let chunks = self
            .handle
            .database()
            .topic(fetch.topic)
            .range(chunk::key(fetch.partition, next)..=chunk::key(fetch.partition, i64::MAX));
        for entry in chunks {
            let value = entry.value().map_err(Failure::from)?;
            let mut chunk = Chunk::open(Bytes::from_owner(value)).ok_or_else(|| damaged(next))?;
            // Offsets have no gaps, so a chunk that begins later means that one before it is gone.
            if chunk.base_offset > next {
                return Err(damaged(next));
            }
            chunk.skip_to(next).ok_or_else(|| damaged(next))?;
            while next < end
                && let Some(record) = chunk.next_record()
            {
                let record = record.ok_or_else(|| damaged(next))?;
                next += 1;
                bytes += record.key.len() + record.value.len();
                records.push(record);
                if records.len() >= fetch.max_records || bytes >= fetch.max_bytes {
                    return Ok(records);
                }
            }
            if next >= end {
                return Ok(records);
            }
        }
        Err(damaged(next))
    }
}
