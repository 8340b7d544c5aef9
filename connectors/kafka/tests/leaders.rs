//! Leaders that are killed and come back, on three real brokers: what was acknowledged is there, once, in its
//! order, and everything goes on by itself.
//!
//! `OPENINFRA_FAULTS=full` kills a leader of each partition in turn instead of one.

mod support;

use std::time::Instant;

use openinfra_schemas::Topic;
use support::{
    brokers::{Brokers, Place},
    traffic::{PARTITIONS, Traffic},
};

/// One test at a time has the brokers.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Waits until all brokers have all that is written.
async fn in_sync(traffic: &Traffic, brokers: &Brokers) {
    let name = traffic.real.name(Topic::Readings);
    for partition in 0..PARTITIONS {
        let all = |place: &Place| place.in_sync == brokers.addresses.len();
        brokers.wait_for(&name, partition, all).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_is_killed_and_comes_back() {
    let _alone = ALONE.lock().await;
    let Some(brokers) = Brokers::three() else {
        return;
    };
    let traffic = Traffic::start(&brokers.addresses).await;
    let name = traffic.real.name(Topic::Readings);
    let rounds = match std::env::var("OPENINFRA_FAULTS").as_deref() {
        Ok("full") => PARTITIONS,
        _ => 1,
    };
    for partition in 0..rounds {
        traffic.watch.goes_on("appends before").await;
        in_sync(&traffic, &brokers).await;
        let leader = brokers.wait_for(&name, partition, |_| true).await.leader;
        brokers.kill(leader).await;
        let begun = Instant::now();
        let other = |place: &Place| place.leader != leader;
        brokers.wait_for(&name, partition, other).await;
        let led = begun.elapsed();
        traffic.watch.goes_on("appends to the new leader").await;
        let on = begun.elapsed();
        brokers.up().await;
        in_sync(&traffic, &brokers).await;
        traffic.watch.goes_on("appends with all brokers").await;
        eprintln!(
            "broker {leader} killed: {led:.1?} to another leader, {on:.1?} to appends again, {:.1?} to all",
            begun.elapsed()
        );
    }
    traffic.check().await;
}

/// The followers stand still while the leader takes what nobody else has, and then it is killed: what it alone had
/// is lost, so that it must not have been acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_a_killed_leader_had_was_not_acknowledged() {
    let _alone = ALONE.lock().await;
    let Some(brokers) = Brokers::three() else {
        return;
    };
    let traffic = Traffic::start(&brokers.addresses).await;
    let name = traffic.real.name(Topic::Readings);
    traffic.watch.goes_on("appends before").await;
    in_sync(&traffic, &brokers).await;
    let leader = brokers.wait_for(&name, 0, |_| true).await.leader;
    let mut paused = Vec::new();
    for other in (1..=3).filter(|id| *id != leader) {
        paused.push(brokers.pause(other).await);
    }
    let alone = traffic.watch.stands_still().await;
    brokers.kill(leader).await;
    let begun = Instant::now();
    drop(paused);
    let other = |place: &Place| place.leader != leader;
    brokers.wait_for(&name, 0, other).await;
    traffic.watch.goes_on("appends to the new leader").await;
    eprintln!(
        "{alone} records acknowledged by broker {leader} alone, {:.1?} to appends again",
        begun.elapsed()
    );
    brokers.up().await;
    in_sync(&traffic, &brokers).await;
    traffic.watch.goes_on("appends with all brokers").await;
    traffic.check().await;
}
