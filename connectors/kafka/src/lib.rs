//! The log on Kafka.
//!
//! One idempotent producer appends, a few consumers read, each partition from where its reader stands, and
//! a third client asks where partitions begin and end. No consumer groups, no commits, no transactions:
//! who reads keeps the offsets itself. What a newcomer would get wrong: everything librdkafka does waits
//! somewhere, and its defaults wait for half a second and more; see `client.rs`.

mod append;
mod client;
pub mod config;
mod delivery;
mod ends;
mod error;
mod events;
mod lane;
mod lanes;
mod layout;
mod lost;
mod metrics;
mod read;
mod refusal;
mod statistics;
mod taken;
mod topic_rules;
mod topics;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use openinfra_log::{AppendBatch, Appended, Fetch, Log, LogError, LogRecord};
use openinfra_schemas::Topic;
use rdkafka::{config::FromClientConfigAndContext, consumer::BaseConsumer};

pub use config::Config;
pub use error::OpenError;

use crate::{
    append::Appender,
    ends::Ends,
    events::{Events, Reports},
    layout::Layout,
    lost::Lost,
    metrics::Metrics,
    read::Reader,
    topics::Preparation,
};

/// How often the clients are asked for their reports.
const SERVE: Duration = Duration::from_millis(100);

/// The log on Kafka.
pub struct KafkaLog {
    layout: Layout,
    appender: Appender,
    ends: Arc<Ends>,
    lost: Lost,
    reader: Arc<Reader>,
    server: tokio::task::JoinHandle<()>,
}

impl KafkaLog {
    /// Connects, makes topics that are missing and checks those that are there. Needs a tokio runtime.
    pub async fn open(config: Config, registry: &prometheus::Registry) -> Result<Self, OpenError> {
        config.check().map_err(OpenError::Config)?;
        let reports = Reports::new(Metrics::new(registry)?);
        let layout = Layout::new(&config);
        let asker =
            BaseConsumer::from_config_and_context(&client::asker(&config), Events(reports.clone()));
        let asker = Arc::new(asker.map_err(|error| client::not_made(&config, error))?);
        let preparation = Preparation {
            config: &config,
            layout: &layout,
            client: asker.clone(),
            reports: reports.clone(),
        };
        preparation.run().await?;
        reports.well();
        let appender = Appender::open(&config, &layout, reports.clone())?;
        let timeout = config.request_timeout();
        let ends = Ends::new(asker.clone(), layout.clone(), timeout, reports.clone());
        let ends = Arc::new(ends);
        led(&ends, config.append_deadline()).await?;
        let reader = Arc::new(Reader::new(&config, &layout, ends.clone(), reports));
        Ok(Self {
            server: tokio::spawn(serve(asker, reader.clone())),
            layout,
            appender,
            ends,
            lost: Lost::default(),
            reader,
        })
    }
}

/// How often partitions without a leader are asked for again.
const LED: Duration = Duration::from_millis(50);

/// Waits until every partition has a leader that answers: those of a topic that was just made have none for
/// a moment, and for many moments where the broker has much else to do.
async fn led(ends: &Ends, timeout: Duration) -> Result<(), OpenError> {
    let deadline = tokio::time::Instant::now() + timeout;
    for topic in Topic::ALL {
        while let Err(error) = ends.all(topic).await {
            if tokio::time::Instant::now() >= deadline || !matches!(error, LogError::Unavailable(_))
            {
                return Err(error.into());
            }
            tokio::time::sleep(LED).await;
        }
    }
    Ok(())
}

impl Drop for KafkaLog {
    fn drop(&mut self) {
        self.server.abort();
        // Consumers wait for their threads when they end: not for a task to do.
        let reader = self.reader.clone();
        let closed = std::thread::Builder::new()
            .name("kafka-consumers-end".to_owned())
            .spawn(move || reader.close());
        if let Err(error) = closed {
            tracing::warn!(%error, "the Kafka consumers were ended in place");
        }
    }
}

/// Serves the clients until the task is aborted.
async fn serve(asker: Arc<BaseConsumer<Events>>, reader: Arc<Reader>) {
    let mut beat = tokio::time::interval(SERVE);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        let (asker, reader) = (asker.clone(), reader.clone());
        // Letting go of partitions waits for the client.
        let served = tokio::task::spawn_blocking(move || {
            events::serve(&asker);
            reader.serve();
        });
        if let Err(error) = served.await {
            tracing::warn!(%error, "the Kafka clients were not served");
        }
    }
}

#[async_trait]
impl Log for KafkaLog {
    fn partitions(&self, topic: Topic) -> i32 {
        self.layout.partitions(topic)
    }

    fn max_record_bytes(&self) -> usize {
        self.appender.max_record_bytes()
    }

    async fn append(&self, batch: AppendBatch) -> Result<Appended, LogError> {
        self.lost.check()?;
        if batch.is_empty() {
            self.ends.asked().await?;
            self.appender.check()?;
            return Ok(Appended {
                offsets: Vec::new(),
            });
        }
        let places = batch
            .iter()
            .map(|record| {
                let place = self.layout.index(record.topic, record.partition)?;
                // Before it is sent: what others append meanwhile may stand behind it.
                let known = self.ends.known_end(place);
                Ok((record.topic, record.partition, place, known))
            })
            .collect::<Result<Vec<_>, LogError>>()?;
        let offsets = self.appender.append(batch).await?;
        for ((topic, partition, place, known), offset) in places.into_iter().zip(&offsets) {
            if *offset < known {
                let name = self.layout.name(topic);
                return Err(self.lost.taken_below(&name, partition, known, *offset));
            }
            self.ends.reached(place, offset + 1);
        }
        Ok(Appended { offsets })
    }

    async fn read(&self, fetch: Fetch) -> Result<Vec<LogRecord>, LogError> {
        self.reader.read(fetch).await
    }

    async fn end_offsets(&self, topic: Topic) -> Result<Vec<i64>, LogError> {
        self.ends.all(topic).await
    }

    async fn start_offsets(&self, topic: Topic) -> Result<Vec<i64>, LogError> {
        self.ends
            .starts(topic, 0..self.layout.partitions(topic))
            .await
    }
}
