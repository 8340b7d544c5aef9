//! Several processes are one product: what one takes in another shows, and each may be killed.

use std::time::Duration;

use super::{
    cluster::{Cluster, assert_counted_once, faults_are_full},
    proxy::{Passing, Proxy},
    sending::Sending,
    support::{platform::Platform, wait::eventually},
    watch::{CQL_AWAY, healed, metric, reaches},
};

const SOON: Duration = Duration::from_secs(60);
const CONTENT: [&str; 3] = ["readings", "latest_reading", "hourly_aggregate"];

/// Sends a file to ingest while `disturb` runs; everything must be acknowledged in the end.
async fn replay(ingest: &Platform, file: &std::path::Path) {
    ingest.replay(file, &[]).await;
}

#[tokio::test]
async fn one_takes_in_one_computes_one_answers() {
    let Some(cluster) = Cluster::new("apart").await else {
        return;
    };
    let file = cluster.readings("s", 200, 100);
    let views = cluster.views().await;
    let (ingest, serve) = tokio::join!(cluster.ingest(), cluster.serve(&views));
    replay(&ingest, &file).await;
    assert_counted_once(&serve.ledger().await, 20_000);
    replay(&ingest, &file).await;
    let ledger = serve.ledger().await;
    assert_counted_once(&ledger, 20_000);
    assert_eq!(ledger.duplicates, 20_000);
    serve.verify().await;
    assert_eq!(serve.digests(&CONTENT).await["readings"].rows, 20_000);

    // What one process is not, it does not answer.
    for (platform, path) in [(&ingest, "/api/v1/views"), (&views, "/api/v1/views")] {
        let answer = platform.request(reqwest::Method::GET, path).send().await;
        assert_eq!(answer.unwrap().status(), 404);
    }
    for platform in [serve, ingest, views] {
        platform.stop().await;
    }
    let ended = cluster.verify_alone().await.expect_code(0);
    assert!(ended.stdout.starts_with("equal"), "{ended:?}");
    cluster.end().await;
}

#[tokio::test]
async fn a_second_job_takes_over_and_the_first_stops_even_if_it_slept() {
    let Some(cluster) = Cluster::new("fenced").await else {
        return;
    };
    let file = cluster.readings("s", 100, 200);
    let mut first = cluster.views().await;
    let ingest = cluster.ingest().await;
    replay(&ingest, &file).await;
    let serve = cluster.serve(&first).await;
    serve.caught_up().await;
    // It sleeps with ticks of its own under way.
    let again = cluster.readings("t", 100, 200);
    let covered = metric(&first, "openinfra_log_records_total").await;
    let sending = replay(&ingest, &again);
    let sleep = async {
        reaches(&first, "openinfra_log_records_total", covered + 1.0).await;
        first.signal("STOP");
    };
    tokio::join!(sending, sleep);
    if faults_are_full() {
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    let mut second = cluster.start("second", &["views", "run"]).await;
    let serve = {
        serve.stop().await;
        cluster.serve(&second).await
    };
    assert_counted_once(&serve.ledger().await, 40_000);
    first.signal("CONT");
    let code = first.ended(SOON).await;
    assert_eq!(code, Some(3), "{}", first.logged());
    assert!(
        first.logged().contains("superseded by attempt"),
        "{}",
        first.logged()
    );
    let more = cluster.readings("u", 100, 10);
    replay(&ingest, &more).await;
    assert_counted_once(&serve.ledger().await, 41_000);
    serve.verify().await;

    // By mistake: the newer one takes over, and a third from it.
    let third = cluster.start("third", &["views", "run"]).await;
    assert_eq!(second.ended(SOON).await, Some(3), "{}", second.logged());
    serve.stop().await;
    let serve = cluster.serve(&third).await;
    assert_counted_once(&serve.ledger().await, 41_000);
    serve.verify().await;
    for platform in [serve, ingest, third] {
        platform.stop().await;
    }
    cluster.end().await;
}

#[tokio::test]
async fn kills_lose_nothing_and_count_nothing_twice() {
    let Some(cluster) = Cluster::new("killed").await else {
        return;
    };
    let kills = if faults_are_full() { 10 } else { 3 };
    let mut views = cluster.views().await;
    let mut ingest = cluster.ingest().await;
    let (http, mqtt) = (ingest.http.to_string(), ingest.mqtt().to_string());
    // It sends again what was not acknowledged, until the one that took over answers.
    let sending = Sending::start(&ingest.url(), 200, 6_000);
    for kill in 0..kills {
        reaches(&ingest, "openinfra_ingest_accepted_total", 2_000.0).await;
        ingest.kill().await;
        let flags = ["ingest", "--http", &http, "--mqtt", &mqtt];
        ingest = cluster.start(&format!("ingest-{kill}"), &flags).await;
        // In the midst of what it reads anew, or of what comes in; of what it reads anew it counts each
        // record, too.
        let more = match kill % 2 {
            0 => 1_000.0,
            _ => {
                reaches(&views, "openinfra_hydration_complete", 1.0).await;
                metric(&views, "openinfra_log_records_total").await + 1_000.0
            }
        };
        reaches(&views, "openinfra_log_records_total", more).await;
        views.kill().await;
        views = cluster
            .start(&format!("views-{kill}"), &["views", "run"])
            .await;
    }
    let all = sending.end().await;
    let serve = cluster.serve(&views).await;
    let ledger = serve.ledger().await;
    assert_counted_once(&ledger, all);
    serve.verify().await;
    eprintln!(
        "{kills} kills each: {} of {all} counted once, {} came twice",
        ledger.accepted, ledger.duplicates
    );
    for platform in [serve, ingest, views] {
        platform.stop().await;
    }
    cluster.end().await;
}

#[tokio::test]
async fn a_hold_is_not_taken_for_one_when_its_job_is_gone() {
    let Some(cluster) = Cluster::new("lost").await else {
        return;
    };
    let views = cluster.views().await;
    let serve = cluster.serve(&views).await;
    views.kill().await;
    let answer = serve
        .request(reqwest::Method::POST, "/api/v1/views/verify")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 503, "{:?}", answer.text().await);
    eventually("it answers again", SOON, async || {
        let views = serve.get("/api/v1/views").await;
        views["as_of"].is_string().then_some(())
    })
    .await;
    serve.stop().await;
    cluster.end().await;
}

#[tokio::test]
async fn who_takes_readings_is_in_service_without_the_store() {
    let Some(mut cluster) = Cluster::new("without_store").await else {
        return;
    };
    let views = cluster.views().await;
    let serve = cluster.serve(&views).await;
    let proxy = Proxy::start(0, &cluster.servers.cql).await;
    cluster.servers.cql = proxy.address.to_string();
    let ingest = cluster.ingest().await;
    let file = cluster.readings("s", 10, 10);
    // It tells although nobody but a probe asks for the store, and in the time that a probe has.
    let watched = CQL_AWAY.of(&ingest).await;
    proxy.let_pass(Passing::Silence);
    eventually(
        "ingest is in service, and says what is away",
        SOON,
        async || {
            let probe = ingest.request(reqwest::Method::GET, "/health/ready");
            let answer = probe.timeout(Duration::from_secs(1)).send().await.ok()?;
            let is_ready = answer.status() == 200;
            let body: serde_json::Value = answer.json().await.ok()?;
            let store = body["checks"]
                .as_array()?
                .iter()
                .find(|c| c["name"] == "store")?;
            (is_ready && store["status"] == "unavailable").then_some(())
        },
    )
    .await;
    eventually("a probe has found the store away", SOON, async || {
        ingest.parts().await?;
        let log = ingest.logged();
        log.contains(CQL_AWAY.gone).then_some(())
    })
    .await;
    watched.gone().await;
    replay(&ingest, &file).await;
    assert_counted_once(&serve.ledger().await, 100);
    proxy.let_pass(Passing::All);
    healed(&[&ingest]).await;
    watched.back().await;
    for platform in [serve, ingest, views] {
        platform.stop().await;
    }
    cluster.end().await;
}
