//! The processes of a cluster on real servers: Kafka, a schema registry, Cassandra.
//!
//! What a newcomer would get wrong: the servers are those that the variables of `tests/services/services env`
//! name. Where they are not set a test says so in a line and passes, unless `OPENINFRA_TEST_SERVICES` is
//! `required`.
#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod brokers;
#[path = "../captures/capture.rs"]
#[expect(dead_code, reason = "its own tests use more of it")]
mod capture;
mod cluster;
mod cql;
mod dumps;
mod faults;
mod in_clear;
mod kafka;
mod leaders;
mod lossy;
mod outside;
mod processes;
#[expect(
    dead_code,
    reason = "shared with tests of Kafka, which use other parts of it"
)]
mod proxy;
mod refusals;
mod schemas;
mod secure;
mod sending;
mod servers;
#[path = "../support/mod.rs"]
#[expect(
    dead_code,
    reason = "shared with other tests, which use other parts of it"
)]
mod support;
mod watch;
