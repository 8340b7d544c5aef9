//! The topics: made where they are missing, and looked at before anything is written.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use openinfra_schemas::Topic;
use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication},
    config::FromClientConfigAndContext,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    types::RDKafkaErrorCode as Code,
};

use crate::{
    OpenError, client,
    config::{Config, Topics},
    error::{Class, class},
    events::{Events, Reports},
    layout::Layout,
    topic_rules::{Found, Settings, new_settings, wrong},
};

/// How long the cause of a failure is listened for: the client reports it on another thread than the failure.
const HEAR: Duration = Duration::from_millis(300);

/// Copies of a new topic, if there are as many brokers.
const COPIES: usize = 3;

/// Makes and checks the topics as the configuration says.
pub(crate) struct Preparation<'a> {
    pub(crate) config: &'a Config,
    pub(crate) layout: &'a Layout,
    pub(crate) client: Arc<BaseConsumer<Events>>,
    pub(crate) reports: Arc<Reports>,
}

/// What the brokers say of the topics that are there, by topic, and how many brokers there are.
type Cluster = (BTreeMap<Topic, Shape>, usize);

/// Partitions and copies of a topic.
#[derive(Debug, Clone, Copy)]
struct Shape {
    partitions: usize,
    copies: usize,
    /// Every partition is led by somebody.
    led: bool,
}

impl Preparation<'_> {
    pub(crate) async fn run(&self) -> Result<(), OpenError> {
        let (mut shapes, brokers) = self.look().await?;
        let missing: Vec<Topic> = Topic::ALL
            .into_iter()
            .filter(|topic| !shapes.contains_key(topic))
            .collect();
        if !missing.is_empty() {
            if self.config.topics != Topics::Create {
                return Err(OpenError::Topics(
                    missing.iter().map(|t| self.absent(*t)).collect(),
                ));
            }
            self.make(&missing, brokers).await?;
        }
        shapes = self.wait_for_leaders(shapes).await?;
        let settings = match self.config.topics {
            Topics::Trust => BTreeMap::new(),
            Topics::Create | Topics::Check => self.describe().await?,
        };
        let wrong: Vec<String> = Topic::ALL
            .into_iter()
            .flat_map(|topic| {
                let shape = shapes[&topic];
                let found = Found {
                    name: self.layout.name(topic),
                    partitions: shape.partitions,
                    copies: shape.copies,
                    settings: settings.get(&topic),
                };
                let partitions = self.layout.partitions(topic) as usize;
                let bytes = client::max_message_bytes(self.config);
                wrong(&found, partitions, bytes, &self.config.bootstrap())
            })
            .collect();
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(OpenError::Topics(wrong))
        }
    }

    fn absent(&self, topic: Topic) -> String {
        format!(
            "{} is not there; make it, or set topics to `create`: kafka-topics.sh \
             --bootstrap-server {} --create --topic {0} --partitions {}{}",
            self.layout.name(topic),
            self.config.bootstrap(),
            self.layout.partitions(topic),
            new_settings(client::max_message_bytes(self.config), COPIES)
                .iter()
                .map(|(name, value)| format!(" --config {name}={value}"))
                .collect::<String>()
        )
    }

    /// Asks until somebody answers, at most for the request timeout.
    async fn look(&self) -> Result<Cluster, OpenError> {
        let client = self.client.clone();
        let names = self.layout.names();
        let timeout = self.config.request_timeout();
        let asked = tokio::task::spawn_blocking(move || look(&client, &names, timeout));
        match asked.await {
            Ok(answer) => answer.map_err(|error| self.refused(&error)),
            Err(ended) => Err(OpenError::Client(ended.to_string())),
        }
    }

    /// New topics are led a moment after they are made.
    async fn wait_for_leaders(
        &self,
        mut shapes: BTreeMap<Topic, Shape>,
    ) -> Result<BTreeMap<Topic, Shape>, OpenError> {
        let deadline = Instant::now() + self.config.append_deadline();
        let is_ready = |shapes: &BTreeMap<Topic, Shape>| {
            Topic::ALL
                .iter()
                .all(|t| shapes.get(t).is_some_and(|s| s.led))
        };
        while !is_ready(&shapes) {
            if Instant::now() >= deadline {
                let waiting = Topic::ALL
                    .iter()
                    .filter(|t| !shapes.get(t).is_some_and(|s| s.led));
                let say = |t: &Topic| {
                    format!(
                        "{} has partitions that no broker leads; see which brokers are down",
                        self.layout.name(*t)
                    )
                };
                return Err(OpenError::Topics(waiting.map(say).collect()));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            shapes = self.look().await?.0;
        }
        Ok(shapes)
    }

    fn admin(&self) -> Result<AdminClient<Events>, OpenError> {
        let events = Events(self.reports.clone());
        AdminClient::from_config_and_context(&client::common(self.config), events)
            .map_err(|error| client::not_made(self.config, error))
    }

    async fn make(&self, missing: &[Topic], brokers: usize) -> Result<(), OpenError> {
        let copies = match self.config.replication_factor {
            Some(copies) => copies,
            None => brokers.clamp(1, COPIES) as i32,
        };
        if copies < 2 {
            tracing::warn!(
                copies,
                brokers,
                "new topics have one copy: what is acknowledged is lost with that broker's disk"
            );
        }
        let names: Vec<String> = missing.iter().map(|t| self.layout.name(*t)).collect();
        let settings = new_settings(client::max_message_bytes(self.config), copies as usize);
        let new = missing.iter().zip(&names).map(|(topic, name)| {
            let partitions = self.layout.partitions(*topic);
            let new = NewTopic::new(name, partitions, TopicReplication::Fixed(copies));
            settings
                .iter()
                .fold(new, |new, (key, value)| new.set(key, value))
        });
        let new: Vec<NewTopic<'_>> = new.collect();
        let timeout = self.config.request_timeout();
        let options = AdminOptions::new()
            .request_timeout(Some(timeout))
            .operation_timeout(Some(timeout));
        let admin = self.admin()?;
        let made = admin.create_topics(&new, &options).await;
        self.end(admin).await;
        for outcome in made.map_err(|error| self.refused(&error))? {
            match outcome {
                Ok(name) => tracing::info!(topic = name, copies, "made a topic"),
                // Another process is starting, too. What it made is checked like any other.
                Err((_, Code::TopicAlreadyExists)) => {}
                Err((name, code)) => return Err(not_made(&name, code, copies, brokers)),
            }
        }
        Ok(())
    }

    async fn describe(&self) -> Result<BTreeMap<Topic, Settings>, OpenError> {
        let names = self.layout.names();
        let asked: Vec<_> = names
            .iter()
            .map(|name| ResourceSpecifier::Topic(name))
            .collect();
        let options = AdminOptions::new().request_timeout(Some(self.config.request_timeout()));
        let admin = self.admin()?;
        let answer = admin.describe_configs(&asked, &options).await;
        self.end(admin).await;
        let answer = answer.map_err(|error| self.refused(&error))?;
        let mut settings = BTreeMap::new();
        for (topic, described) in Topic::ALL.into_iter().zip(answer) {
            let described = described.map_err(|code| self.refused(&KafkaError::AdminOp(code)))?;
            let values = described.entries.into_iter();
            let values = values.filter_map(|entry| Some((entry.name, entry.value?)));
            settings.insert(topic, values.collect());
        }
        Ok(settings)
    }

    /// Ending a client waits for its thread.
    async fn end(&self, admin: AdminClient<Events>) {
        let _ = tokio::task::spawn_blocking(move || drop(admin)).await;
    }

    fn refused(&self, error: &KafkaError) -> OpenError {
        // What the client has to say beyond the error waits to be fetched, or is about to come.
        let deadline = Instant::now() + HEAR;
        let denied = |heard: &(Code, String)| class(heard.0) == Class::Denied;
        while Instant::now() < deadline && !self.reports.heard().as_ref().is_some_and(denied) {
            let _ = self.client.poll(Duration::from_millis(10));
        }
        let heard = self.reports.heard();
        let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
        let (code, cause) = match heard {
            Some((heard, reason)) if class(heard) == Class::Denied => (heard, reason),
            Some((_, reason)) => (code, format!("{code}; {reason}")),
            None => (code, code.to_string()),
        };
        if class(code) == Class::Denied {
            return OpenError::Denied(cause);
        }
        OpenError::Unreachable {
            brokers: self.config.bootstrap(),
            cause,
        }
    }
}

fn not_made(name: &str, code: Code, copies: i32, brokers: usize) -> OpenError {
    match (code, class(code)) {
        (_, Class::Denied) => OpenError::Denied(format!("making {name}: {code}")),
        (Code::InvalidReplicationFactor, _) => OpenError::Topics(vec![format!(
            "{name} cannot be made with {copies} copies, as there are {brokers} brokers; set \
             replication_factor"
        )]),
        _ => OpenError::Topics(vec![format!("{name} cannot be made: {code}")]),
    }
}

/// A topic that is not there is left out.
fn look(
    client: &BaseConsumer<Events>,
    names: &[String; Topic::ALL.len()],
    timeout: Duration,
) -> Result<Cluster, KafkaError> {
    let mut shapes = BTreeMap::new();
    let mut brokers = 0;
    for (topic, name) in Topic::ALL.into_iter().zip(names) {
        let metadata = client.fetch_metadata(Some(name), timeout)?;
        brokers = metadata.brokers().len();
        let found = metadata.topics().iter().find(|found| found.name() == name);
        let error = found.and_then(|f| f.error()).map(Code::from);
        match (found, error) {
            (_, Some(Code::UnknownTopicOrPartition | Code::UnknownTopic)) | (None, _) => {}
            // It is about to have leaders.
            (Some(found), None | Some(Code::LeaderNotAvailable)) => {
                let partitions = found.partitions();
                let copies = partitions.iter().map(|p| p.replicas().len()).min();
                let shape = Shape {
                    partitions: partitions.len(),
                    copies: copies.unwrap_or(0),
                    led: !partitions.is_empty() && partitions.iter().all(|p| p.leader() >= 0),
                };
                shapes.insert(topic, shape);
            }
            (_, Some(code)) => return Err(KafkaError::MetadataFetch(code)),
        }
    }
    Ok((shapes, brokers))
}
