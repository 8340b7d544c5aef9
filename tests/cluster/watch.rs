//! What a process says of itself, waited for.
//!
//! What a newcomer would get wrong: while a server is away a request may fail, and that is no end of the wait.

use std::time::{Duration, Instant};

use super::support::{platform::Platform, wait::eventually};

/// How long anything may take to come right, once nothing is in its way any more.
pub const SOON: Duration = Duration::from_secs(180);

/// The sum of a metric over its labels.
pub async fn metric(platform: &Platform, name: &str) -> f64 {
    eventually(&format!("{name} is told"), SOON, async || {
        told(platform, name).await
    })
    .await
}

/// The same; none when that is not answered.
async fn told(platform: &Platform, name: &str) -> Option<f64> {
    let request = platform.request(reqwest::Method::GET, "/metrics");
    let text = request.send().await.ok()?.text().await.ok()?;
    let of_it = text
        .lines()
        .filter(|line| line.split(['{', ' ']).next() == Some(name));
    let values = of_it.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    Some(values.sum())
}

/// Waits until a metric is none.
pub async fn is_none(platform: &Platform, name: &str) {
    comes_to(platform, name, "is 0", |value| value == 0.0).await;
}

/// Waits until a metric is at least so much.
pub async fn reaches(platform: &Platform, name: &str, enough: f64) {
    comes_to(platform, name, &format!("is {enough}"), |value| {
        value >= enough
    })
    .await;
}

async fn comes_to(platform: &Platform, name: &str, what: &str, is_there: impl Fn(f64) -> bool) {
    eventually(&format!("{name} {what}"), SOON, async || {
        told(platform, name).await.filter(|value| is_there(*value))
    })
    .await;
}

/// What tells an operator that a server is away, and that it is back.
#[derive(Clone, Copy)]
pub struct Signs {
    /// Grows by one at least.
    pub metric: &'static str,
    /// In the process's log.
    pub gone: &'static str,
    pub back: &'static str,
}

pub const KAFKA_AWAY: Signs = Signs {
    metric: "openinfra_kafka_brokers_down",
    gone: "no Kafka broker answers",
    back: "Kafka answers again",
};

/// One of several.
pub const A_BROKER_AWAY: Signs = Signs {
    metric: "openinfra_kafka_brokers_down",
    gone: "a Kafka broker is down",
    back: "a Kafka broker is back",
};

pub const CQL_AWAY: Signs = Signs {
    metric: "openinfra_store_errors_total",
    gone: "the store does not answer",
    back: "the store answers again",
};

pub const MQTT_AWAY: Signs = Signs {
    metric: "openinfra_broker_connections_lost_total",
    gone: "lost the MQTT broker; connecting again",
    back: "connected to the MQTT broker",
};

/// A process that is to show signs of an outage, and how it was before.
pub struct Watched<'a> {
    platform: &'a Platform,
    signs: Signs,
    metric: f64,
    /// Lines of its log.
    lines: usize,
}

impl Signs {
    pub async fn of(self, platform: &Platform) -> Watched<'_> {
        Watched {
            platform,
            signs: self,
            metric: metric(platform, self.metric).await,
            lines: platform.logged().lines().count(),
        }
    }
}

impl Watched<'_> {
    /// Waits until the process says that the server is away.
    pub async fn gone(&self) {
        reaches(self.platform, self.signs.metric, self.metric + 1.0).await;
        self.logs(self.signs.gone).await;
    }

    /// Waits until the process says that the server is back.
    pub async fn back(&self) {
        self.logs(self.signs.back).await;
    }

    async fn logs(&self, line: &str) {
        eventually(line, SOON, async || {
            let log = self.platform.logged();
            let mut new = log.lines().skip(self.lines);
            new.any(|new| new.contains(line)).then_some(())
        })
        .await;
    }
}

/// Waits until `more` readings have been counted than when it was called first; how long that took.
pub async fn goes_on(serve: &Platform, what: &str, more: u64) -> Duration {
    let since = Instant::now();
    let mut first = None;
    eventually(what, SOON, async || {
        let now = accepted(serve).await?;
        let first = *first.get_or_insert(now);
        (now >= first + more).then_some(())
    })
    .await;
    since.elapsed()
}

/// How many readings the views have; none when that is not answered.
async fn accepted(serve: &Platform) -> Option<u64> {
    let request = serve.request(reqwest::Method::GET, "/api/v1/ledger/summary");
    let answer = request.send().await.ok()?.error_for_status().ok()?;
    let summary: serde_json::Value = answer.json().await.ok()?;
    summary["accepted"].as_u64()
}

/// Waits until each says by itself that all is well, with parts that it can do without too; how long that took.
pub async fn healed(platforms: &[&Platform]) -> Duration {
    let since = Instant::now();
    for platform in platforms {
        eventually("everything answers again", SOON, async || {
            platform.parts().await?.values().all(|ok| *ok).then_some(())
        })
        .await;
    }
    since.elapsed()
}
