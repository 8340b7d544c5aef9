//! Proof that acknowledged records are gone: a topic was made anew under us, or cut short.
//!
//! A newcomer would go on as soon as the broker takes records again. Those would stand where others stood
//! that somebody has read already, and nobody reads them a second time. So one proof is enough: this
//! process appends no more, and whoever starts it again sees the log as it is now.

use std::sync::OnceLock;

use openinfra_log::LogError;

/// What is known of lost records; nothing, as a rule.
#[derive(Debug, Default)]
pub(crate) struct Lost(OnceLock<String>);

impl Lost {
    /// Errs once there is proof.
    pub(crate) fn check(&self) -> Result<(), LogError> {
        match self.0.get() {
            Some(proof) => Err(LogError::Damaged(proof.clone())),
            None => Ok(()),
        }
    }

    /// A record was taken at `offset` of a partition that had reached `known` before it was sent: a log gives
    /// no offset twice.
    pub(crate) fn taken_below(
        &self,
        name: &str,
        partition: i32,
        known: i64,
        offset: i64,
    ) -> LogError {
        let proof = self.0.get_or_init(|| {
            tracing::error!(
                topic = name,
                partition,
                offset,
                known,
                "acknowledged records are gone"
            );
            format!(
                "{name} [{partition}] took a record at {offset}, though it had reached {known} before: the \
                 topic was made anew or cut short, and what was acknowledged is missing; nothing is \
                 appended until this process is started again"
            )
        });
        LogError::Damaged(proof.clone())
    }
}

#[cfg(test)]
mod tests {
    use openinfra_log::{AppendBatch, Log};
    use openinfra_schemas::Topic;
    use prometheus::Registry;
    use rdkafka::{mocking::MockCluster, producer::DefaultProducerContext};

    use super::*;
    use crate::{Config, KafkaLog, config::Topics};

    async fn mock() -> (MockCluster<'static, DefaultProducerContext>, Config) {
        let cluster = MockCluster::new(1).unwrap();
        for topic in Topic::ALL {
            cluster
                .create_topic(topic.name(), topic.partitions(2), 1)
                .unwrap();
        }
        let config = Config {
            brokers: vec![cluster.bootstrap_servers()],
            partitions: 2,
            topics: Topics::Trust,
            request_timeout_ms: 2_000,
            delivery_timeout_ms: 4_000,
            ..Config::default()
        };
        (cluster, config)
    }

    async fn open(config: &Config) -> KafkaLog {
        let registry = Registry::new();
        KafkaLog::open(config.clone(), &registry).await.unwrap()
    }

    fn one(partition: i32) -> AppendBatch {
        let mut batch = AppendBatch::default();
        batch.push(Topic::Readings, partition, b"key", b"value");
        batch
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_record_below_what_was_reached_is_the_last_one() {
        let (_cluster, config) = mock().await;
        let log = open(&config).await;
        log.append(one(0)).await.unwrap();
        log.append(one(0)).await.unwrap();
        let place = log.layout.index(Topic::Readings, 0).unwrap();
        // As if the topic had been longer.
        log.ends.reached(place, 100);
        // Nothing is known of another partition, so that this is still acknowledged.
        assert_eq!(log.append(one(1)).await.unwrap().offsets, [0]);
        for partition in [0, 1] {
            let gone = log.append(one(partition)).await;
            assert!(
                matches!(&gone, Err(LogError::Damaged(text)) if text.contains("[0] took a record at 2")),
                "{gone:?}"
            );
        }
        let empty = log.append(AppendBatch::default()).await;
        assert!(matches!(empty, Err(LogError::Damaged(_))), "{empty:?}");
        // Another process sees the log as it is now.
        assert_eq!(
            open(&config).await.append(one(0)).await.unwrap().offsets,
            [3]
        );
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_end_that_stays_fallen_is_told() {
        let (_cluster, config) = mock().await;
        let log = open(&config).await;
        log.append(one(0)).await.unwrap();
        let place = log.layout.index(Topic::Readings, 0).unwrap();
        log.ends.reached(place, 100);
        let fallen = log.end_offsets(Topic::Readings).await;
        assert!(
            matches!(&fallen, Err(LogError::Damaged(text)) if text.contains("ended at 100 and ends at 1")),
            "{fallen:?}"
        );
        assert_eq!(log.end_offsets(Topic::Ledger).await.unwrap(), [0, 0]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_end_that_fell_for_a_moment_is_waited_for() {
        let (_cluster, config) = mock().await;
        let (log, other) = (open(&config).await, open(&config).await);
        let place = log.layout.index(Topic::Readings, 0).unwrap();
        log.ends.reached(place, 2);
        let (ends, ()) = tokio::join!(log.end_offsets(Topic::Readings), async {
            other.append(one(0)).await.unwrap();
            other.append(one(0)).await.unwrap();
        });
        assert_eq!(ends.unwrap(), [2, 0]);
    }
}
