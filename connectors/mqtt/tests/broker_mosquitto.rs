//! The whole way from a real broker into a real log, with each part failing in its turn: nothing is lost.

#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod support;

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use openinfra_mqtt::{
    broker::{BrokerClient, Config, Tls},
    publisher::PublisherConfig,
};
use openinfra_schemas::Secret;
use support::{
    PATIENCE,
    broker::metric,
    log::Bench,
    mosquitto::{Mosquitto, free_port, publish, publish_as, shared, unique},
    until,
};
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

/// One ingest process, as far as this matters.
struct Process {
    registry: prometheus::Registry,
    log_is_down: Arc<AtomicBool>,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

impl Process {
    fn start(bench: &Bench, config: Config) -> Self {
        let registry = prometheus::Registry::new();
        let (intake, log_is_down) = bench.intake(&registry);
        let client = BrokerClient::new(config, intake, bench.store(), &registry).unwrap();
        let cancel = CancellationToken::new();
        Self {
            registry,
            log_is_down,
            task: tokio::spawn(client.run(cancel.clone())),
            cancel,
        }
    }

    /// Started, and the broker has granted what it asked for.
    async fn subscribed(bench: &Bench, config: Config) -> Self {
        let process = Self::start(bench, config);
        until("subscribed", || {
            metric(&process.registry, "openinfra_broker_subscriptions", None) == 1.0
        })
        .await;
        process
    }

    fn messages(&self, kind: &str) -> f64 {
        metric(
            &self.registry,
            "openinfra_broker_messages_total",
            Some(kind),
        )
    }

    fn retries(&self) -> f64 {
        metric(
            &self.registry,
            "openinfra_broker_commit_retries_total",
            None,
        )
    }

    async fn stop(self) {
        self.cancel.cancel();
        timeout(PATIENCE, self.task).await.unwrap().unwrap();
    }

    /// As a killed process leaves: without a word.
    async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

fn config(address: &str, tenant: &str, process: &str) -> Config {
    Config {
        client_id: format!("{tenant}-{process}"),
        topics: vec![format!("tenants/{tenant}/sensors/+/data")],
        share: tenant.to_owned(),
        session_expiry_s: 300,
        reconnect_max_ms: 200,
        ..Config::new(format!("mqtt://{address}"), tenant)
    }
}

/// Waits until the values from 0 to `count` are in the log.
async fn complete(bench: &Bench, count: u64) {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let found = bench.readings().await.len() as u64;
        if found == count {
            return;
        }
        let late = tokio::time::Instant::now() > end;
        assert!(!late && found < count, "{found} of {count}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_log_is_away_the_broker_keeps_what_it_has() {
    let Some(address) = shared() else { return };
    let (bench, tenant) = (Bench::new().await, unique("outage"));
    let process = Process::subscribed(&bench, config(&address, &tenant, "a")).await;
    process.log_is_down.store(true, SeqCst);
    publish(&address, &tenant, 0..500).await;
    until("offered again", || process.retries() >= 2.0).await;
    assert_eq!(process.messages("acknowledged"), 0.0);
    assert!(bench.readings().await.is_empty());
    process.log_is_down.store(false, SeqCst);
    complete(&bench, 500).await;
    until("acknowledged", || process.messages("acknowledged") == 500.0).await;
    for (sensor, order) in bench.orders().await {
        assert!(order.is_sorted(), "{sensor}: {order:?}");
    }
    process.stop().await;
    // The broker has nothing to send again, and kept what came while nobody was there.
    publish(&address, &tenant, 500..510).await;
    let process = Process::subscribed(&bench, config(&address, &tenant, "a")).await;
    complete(&bench, 510).await;
    assert_eq!(process.messages("redelivered"), 0.0);
    assert_eq!(process.messages("received"), 10.0);
    process.stop().await;
    assert!(bench.readings().await.values().all(|times| *times == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_process_had_not_acknowledged_comes_again() {
    let Some(address) = shared() else { return };
    let (bench, tenant) = (Bench::new().await, unique("killed"));
    let killed = Process::subscribed(&bench, config(&address, &tenant, "a")).await;
    let other = Process::subscribed(&bench, config(&address, &tenant, "b")).await;
    killed.log_is_down.store(true, SeqCst);
    publish(&address, &tenant, 0..300).await;
    until("it has some", || killed.messages("received") > 0.0).await;
    killed.kill().await;
    publish(&address, &tenant, 300..600).await;
    // The other goes on with its share; the rest waits in the session of the one that is gone.
    until("the other goes on", || {
        other.messages("acknowledged") > 200.0
    })
    .await;
    let back = Process::subscribed(&bench, config(&address, &tenant, "a")).await;
    complete(&bench, 600).await;
    assert!(back.messages("redelivered") > 0.0);
    back.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_the_load() {
    let Some(address) = shared() else { return };
    let (bench, tenant) = (Bench::new().await, unique("shared"));
    let a = Process::subscribed(&bench, config(&address, &tenant, "a")).await;
    let b = Process::subscribed(&bench, config(&address, &tenant, "b")).await;
    publish(&address, &tenant, 0..1_000).await;
    complete(&bench, 1_000).await;
    let received = [a.messages("received"), b.messages("received")];
    assert!(received.iter().all(|n| *n > 200.0), "{received:?}");
    assert_eq!(received.iter().sum::<f64>(), 1_000.0);
    a.stop().await;
    b.stop().await;
    assert!(bench.readings().await.values().all(|times| *times == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_broker_sends_again_what_was_not_acknowledged() {
    for share in ["", "group"] {
        let start = Mosquitto::start(|_| "allow_anonymous true".to_owned()).await;
        let Some(mut broker) = start else { return };
        let (bench, tenant) = (Bench::new().await, unique("restart"));
        let address = broker.address();
        let config = Config {
            share: share.to_owned(),
            ..config(&address, &tenant, "a")
        };
        let process = Process::subscribed(&bench, config).await;
        publish(&address, &tenant, 0..200).await;
        complete(&bench, 200).await;
        process.log_is_down.store(true, SeqCst);
        publish(&address, &tenant, 200..400).await;
        until("offered again", || process.retries() >= 1.0).await;
        let of = |name: &str| metric(&process.registry, name, None);
        broker.terminate().await;
        until("lost", || of("openinfra_broker_connected") == 0.0).await;
        process.log_is_down.store(false, SeqCst);
        assert!(broker.up().await);
        if !share.is_empty() {
            // Mosquitto keeps no shared subscription over its restart, though it keeps the session: what comes
            // before it is asked for again goes nowhere.
            until("subscribed", || of("openinfra_broker_subscriptions") == 1.0).await;
        }
        publish(&address, &tenant, 400..600).await;
        complete(&bench, 600).await;
        assert_eq!(of("openinfra_broker_sessions_lost_total"), 0.0);
        process.stop().await;
    }
}

/// A certificate authority with two certificates: for `localhost`, and for a client.
fn certificates(folder: &Path) {
    // A certificate whose subject is its issuer's counts as signed by itself.
    let named = |name: &str, hosts: Vec<String>| {
        let mut params = rcgen::CertificateParams::new(hosts).unwrap();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        params
    };
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = named("authority", Vec::new());
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    fs::write(
        folder.join("ca.pem"),
        ca.self_signed(&ca_key).unwrap().pem(),
    )
    .unwrap();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    for name in ["localhost", "client"] {
        let key = rcgen::KeyPair::generate().unwrap();
        let own = named(name, vec![name.to_owned()]);
        let signed = own.signed_by(&key, &issuer).unwrap();
        fs::write(folder.join(format!("{name}.pem")), signed.pem()).unwrap();
        fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_of_both_sides_and_a_password() {
    // The publisher takes another port, without TLS.
    let plain = free_port();
    let start = Mosquitto::start(|folder| {
        certificates(folder.path());
        let path = folder.path().display();
        let passwords = folder.path().join("passwords");
        std::process::Command::new("mosquitto_passwd")
            .args(["-c", "-b"])
            .args([passwords.as_os_str(), "reader".as_ref(), "pssst".as_ref()])
            .status()
            .ok();
        format!(
            "allow_anonymous false\npassword_file {path}/passwords\ncafile {path}/ca.pem\n\
             certfile {path}/localhost.pem\nkeyfile {path}/localhost.key\nrequire_certificate true\n\
             listener {plain} 127.0.0.1"
        )
    });
    let Some(broker) = start.await else { return };
    let file = |name: &str| broker.folder.path().join(name);
    let (bench, tenant) = (Bench::new().await, unique("tls"));
    let secure = Config {
        url: format!("mqtts://localhost:{}", broker.port),
        user: Some("reader".to_owned()),
        password: Some(Secret::new("pssst")),
        tls: Some(Tls {
            ca: file("ca.pem"),
            cert: Some(file("client.pem")),
            key: Some(file("client.key")),
        }),
        ..config("", &tenant, "a")
    };
    // Without a certificate of its own, and with another password, it does not get in.
    let without = Config {
        tls: Some(Tls {
            ca: file("ca.pem"),
            cert: None,
            key: None,
        }),
        ..secure.clone()
    };
    let wrong = Config {
        password: Some(Secret::new("wrong")),
        ..secure.clone()
    };
    for bad in [without, wrong] {
        let process = Process::start(&bench, bad);
        let failed = "openinfra_broker_connects_total";
        until("refused", || {
            metric(&process.registry, failed, Some("failed")) >= 2.0
        })
        .await;
        assert_eq!(metric(&process.registry, failed, Some("accepted")), 0.0);
        process.stop().await;
    }
    let process = Process::subscribed(&bench, secure).await;
    let mut publisher = PublisherConfig::new(format!("127.0.0.1:{plain}"), "publisher");
    publisher.username = Some("reader".to_owned());
    publisher.password = Some("pssst".to_owned());
    publish_as(publisher, &tenant, 0..30).await;
    complete(&bench, 30).await;
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_change_of_share_or_topics_every_message_comes_once() {
    let start = Mosquitto::start(|_| "allow_anonymous true".to_owned()).await;
    let Some(broker) = start else { return };
    let address = broker.address();
    for (before, after) in [
        (("", "sensors/+/data"), ("group", "sensors/+/data")),
        (("group", "sensors/+/data"), ("", "sensors/+/data")),
        (("", "sensors/#"), ("", "sensors/+/data")),
    ] {
        let (bench, tenant) = (Bench::new().await, unique("changed"));
        let config = |(share, topics): (&str, &str)| Config {
            share: share.to_owned(),
            topics: vec![format!("tenants/{tenant}/{topics}")],
            receive_maximum: 20,
            ..config(&address, &tenant, "a")
        };
        let process = Process::subscribed(&bench, config(before)).await;
        publish(&address, &tenant, 0..10).await;
        complete(&bench, 10).await;
        process.stop().await;
        // The session keeps these, more than it may send at once.
        publish(&address, &tenant, 10..210).await;
        let process = Process::subscribed(&bench, config(after)).await;
        until("the old one is left", || {
            metric(
                &process.registry,
                "openinfra_broker_unsubscribed_total",
                None,
            ) == 1.0
        })
        .await;
        publish(&address, &tenant, 210..310).await;
        complete(&bench, 310).await;
        assert_eq!(process.messages("received"), 300.0, "{before:?} {after:?}");
        process.stop().await;
        assert!(bench.readings().await.values().all(|times| *times == 1));
    }
}
