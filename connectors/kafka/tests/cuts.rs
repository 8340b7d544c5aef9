//! Connections to a real broker that are cut: what is sent again because its answer was lost stands once.
//!
//! What a newcomer would get wrong: the imitated brokers of `faults` cannot show this, as they store again what
//! comes again. The broker is that of `tests/services/services`, whose second listener tells its clients that it is
//! where the proxies stand.

#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod support;

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use openinfra_kafka::Config;
use openinfra_log::Log;
use openinfra_schemas::Topic;
use prometheus::Registry;
use support::{
    broker, open,
    proxy::{Passing, Proxy},
    skip,
    traffic::Traffic,
    until,
};

const ROUNDS: usize = 5;
const SOON: Duration = Duration::from_secs(30);

/// One test at a time has the ports at which the proxies stand.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Writers and followers behind a proxy before each broker, and the log without them.
struct Behind {
    proxies: Vec<Proxy>,
    traffic: Traffic,
    direct: Arc<dyn Log>,
}

impl Behind {
    /// None, and a line that says so, where the environment names no broker of `services`.
    async fn start() -> Option<Self> {
        let brokers = broker()?;
        if std::env::var_os("SERVICES_DIR").is_none() {
            skip::tell("the broker is not that of tests/services/services");
            return None;
        }
        let mut proxies = Vec::new();
        for broker in brokers.split(',') {
            let port = broker.parse::<SocketAddr>().unwrap().port();
            let second = format!("127.0.0.1:{}", port + 200);
            proxies.push(Proxy::start(port + 300, &second).await);
        }
        let addresses: Vec<String> = proxies.iter().map(|p| p.address.to_string()).collect();
        let traffic = Traffic::start(&addresses).await;
        let direct = Config {
            brokers: brokers.split(',').map(str::to_owned).collect(),
            ..traffic.real.config.clone()
        };
        Some(Self {
            direct: open(&direct, &Registry::new()).await,
            proxies,
            traffic,
        })
    }

    fn let_pass(&self, passing: Passing) {
        for proxy in &self.proxies {
            proxy.let_pass(passing);
        }
    }

    fn cut(&self) {
        for proxy in &self.proxies {
            proxy.cut();
        }
    }

    /// Waits until no writer is told of anything any more, and more is stored than they were told of.
    async fn owes_answers(&self) {
        let watch = &self.traffic.watch;
        watch.stands_still().await;
        let silent_since = watch.acknowledged.load(Relaxed);
        let deadline = Instant::now() + SOON;
        loop {
            let told = watch.acknowledged.load(Relaxed);
            let ends = self.direct.end_offsets(Topic::Readings).await.unwrap();
            let stored = usize::try_from(ends.iter().sum::<i64>()).unwrap();
            assert_eq!(told, silent_since, "answers come through");
            if stored > told {
                return;
            }
            assert!(Instant::now() < deadline, "{stored} stored, {told} told");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn end(self) {
        self.traffic.check().await;
        drop(self.proxies);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_stored_and_not_answered_stands_once() {
    let _alone = ALONE.lock().await;
    let Some(behind) = Behind::start().await else {
        return;
    };
    for _ in 0..ROUNDS {
        behind.traffic.watch.goes_on("appends before").await;
        behind.let_pass(Passing::Unanswered);
        behind.owes_answers().await;
        behind.cut();
        behind.let_pass(Passing::All);
        behind.traffic.watch.goes_on("appends after").await;
    }
    behind.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_in_part_stands_once() {
    let _alone = ALONE.lock().await;
    let Some(behind) = Behind::start().await else {
        return;
    };
    // So that some answers are always on their way.
    behind.let_pass(Passing::Late(Duration::from_millis(20)));
    for bytes in [0, 70, 700, 9_000, 60_000] {
        behind.traffic.watch.goes_on("appends before").await;
        for proxy in &behind.proxies {
            let before = proxy.cuts();
            proxy.cut_after(bytes);
            until("a connection is cut", || proxy.cuts() > before).await;
        }
        behind.traffic.watch.goes_on("appends after").await;
    }
    behind.end().await;
}
