//! Three real brokers that a test may kill: those of `BROKERS=3 tests/services/services up kafka`.
//!
//! What a newcomer would get wrong: they are everybody's. Who kills one brings it back and waits until it has
//! caught up, and nobody else uses them meanwhile.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer},
};
use tokio::process::Command;

/// How long a broker may take to come back and catch up.
const SOON: Duration = Duration::from_secs(120);

pub struct Brokers {
    pub addresses: Vec<String>,
    client: std::sync::Arc<BaseConsumer>,
}

/// A broker that stands still.
pub struct Paused(i32);

impl Drop for Paused {
    fn drop(&mut self) {
        let resumed = std::process::Command::new(script())
            .args(["resume", &format!("kafka-{}", self.0)])
            .status();
        if !resumed.is_ok_and(|status| status.success()) {
            eprintln!("broker {} stands still for ever", self.0);
        }
    }
}

/// A partition, as the brokers say it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub leader: i32,
    pub in_sync: usize,
}

impl Brokers {
    /// None, and a line that says so, where the environment does not name three that are ours to kill.
    pub fn three() -> Option<Self> {
        let addresses: Vec<String> = super::broker()?.split(',').map(str::to_owned).collect();
        if addresses.len() < 3 || std::env::var_os("SERVICES_DIR").is_none() {
            super::skip::tell("there are no three brokers (BROKERS=3 tests/services/services)");
            return None;
        }
        let client = ClientConfig::new()
            .set("bootstrap.servers", addresses.join(","))
            .create()
            .unwrap();
        Some(Self {
            addresses,
            client: std::sync::Arc::new(client),
        })
    }

    /// Kills one with SIGKILL.
    pub async fn kill(&self, id: i32) {
        services(&["kill", &format!("kafka-{id}")]).await;
    }

    /// Lets one stand still until what is returned is dropped.
    pub async fn pause(&self, id: i32) -> Paused {
        services(&["pause", &format!("kafka-{id}")]).await;
        Paused(id)
    }

    /// Brings all back.
    pub async fn up(&self) {
        services(&["up", "kafka"]).await;
    }

    /// Who leads a partition; none while that is not known.
    pub async fn place(&self, topic: &str, partition: i32) -> Option<Place> {
        let (client, topic) = (self.client.clone(), topic.to_owned());
        let asked = tokio::task::spawn_blocking(move || {
            let answer = client.fetch_metadata(Some(&topic), Duration::from_secs(5));
            let answer = answer.ok()?;
            let topic = answer.topics().first()?;
            let found = topic.partitions().iter().find(|p| p.id() == partition)?;
            Some(Place {
                leader: found.leader(),
                in_sync: found.isr().len(),
            })
        });
        asked.await.unwrap().filter(|place| place.leader >= 0)
    }

    /// Waits until a partition is as wanted.
    pub async fn wait_for(
        &self,
        topic: &str,
        partition: i32,
        wanted: impl Fn(&Place) -> bool,
    ) -> Place {
        let deadline = Instant::now() + SOON;
        loop {
            let place = self.place(topic, partition).await;
            if let Some(place) = place.clone().filter(&wanted) {
                return place;
            }
            assert!(
                Instant::now() < deadline,
                "{topic} [{partition}] is {place:?}"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/services/services")
}

async fn services(args: &[&str]) {
    let done = Command::new(script()).args(args).output().await.unwrap();
    assert!(done.status.success(), "{args:?}: {done:?}");
}
