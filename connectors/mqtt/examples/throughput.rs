//! How many QoS 1 messages a second listener and publisher carry, with a log that takes a fixed time.
//!
//! `cargo run --release -p openinfra-mqtt --example throughput -- [connections] [messages] [commit_ms]`.
//! Publishers and listener share the process, so the figure is for both sides together; what decoding
//! readings and fsync cost is not in it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use openinfra_intake::{
    AuthError, Budget, CommitError, Credentials, Delivery, Intake, Principal, Room, TooMany,
    Verdict,
};
use openinfra_log::{AppendBatch, Appended};
use openinfra_mqtt::{
    listener::{Config, Listener},
    publisher::{Publisher, PublisherConfig},
};
use openinfra_schemas::{Reason, TenantId, Topic};
use tokio_util::sync::CancellationToken;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Takes everything; a commit takes `commit`.
struct Slow {
    who: Arc<Principal>,
    commit: Duration,
    budget: Arc<Budget>,
}

#[async_trait]
impl Intake for Slow {
    async fn authenticate(&self, _: &Credentials) -> Result<Arc<Principal>, AuthError> {
        Ok(Arc::clone(&self.who))
    }

    fn admit(&self, _: &Principal, _: u32) -> Result<(), TooMany> {
        Ok(())
    }

    fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    fn take(&self, _: &Principal, delivery: &Delivery<'_>, batch: &mut AppendBatch) -> Verdict {
        let key = delivery.sensor.unwrap_or_default();
        batch.push(Topic::Readings, 0, key.as_bytes(), delivery.payload);
        Verdict {
            accepted: 1,
            ..Verdict::default()
        }
    }

    fn refuse(&self, _: &Principal, _: &Delivery<'_>, _: Reason, _: &str, _: &mut AppendBatch) {}

    async fn commit(&self, batch: AppendBatch, _: Room) -> Result<Appended, CommitError> {
        tokio::time::sleep(self.commit).await;
        Ok(Appended {
            offsets: vec![0; batch.len()],
        })
    }
}

async fn publish(address: String, number: usize, messages: u64) -> Result<Vec<Duration>, Failure> {
    let config = PublisherConfig::new(address, format!("client-{number}"));
    let (mut publisher, mut acks) = Publisher::connect(config).await?;
    let topic = format!("sensors/throughput/{number}/data");
    for tag in 0..messages {
        let payload = format!("{{\"value\": {tag}.5, \"timestamp\": 1700000000000}}");
        publisher.publish(&topic, payload.as_bytes(), tag).await?;
    }
    publisher.finish().await?;
    let mut latencies = Vec::new();
    while let Some(ack) = acks.recv().await {
        latencies.push(ack.latency());
    }
    Ok(latencies)
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1).map(|a| a.parse::<u64>());
    let mut next = |default| arguments.next().unwrap_or(Ok(default));
    let (connections, messages, commit_ms) = (next(4)?, next(1_000_000)?, next(5)?);
    let intake = Arc::new(Slow {
        who: Arc::new(Principal::dev(TenantId::parse("default")?)),
        commit: Duration::from_millis(commit_ms),
        budget: Budget::new(64 << 20),
    });
    let config = Config {
        bind: "127.0.0.1:0".parse()?,
        ..Config::default()
    };
    let listener = Listener::bind(config, intake, &prometheus::Registry::new()).await?;
    let address = listener.local_addr()?.to_string();
    let cancel = CancellationToken::new();
    let server = tokio::spawn(listener.run(cancel.clone()));

    let each = messages / connections.max(1);
    let start = Instant::now();
    let publishers: Vec<_> = (0..connections as usize)
        .map(|number| tokio::spawn(publish(address.clone(), number, each)))
        .collect();
    let mut latencies = Vec::new();
    for publisher in publishers {
        latencies.extend(publisher.await??);
    }
    let took = start.elapsed();
    latencies.sort_unstable();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    println!(
        "{} messages over {connections} connections in {took:.2?}: {:.0}/s, PUBACK p50 {:.2?} p99 {:.2?}",
        latencies.len(),
        latencies.len() as f64 / took.as_secs_f64(),
        at(0.5),
        at(0.99),
    );
    cancel.cancel();
    server.await?;
    Ok(())
}
