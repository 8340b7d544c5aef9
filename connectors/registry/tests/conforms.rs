//! The client passes what every registry must pass, against the registry that OPENINFRA_TEST_REGISTRY names.

#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

#[path = "../../../tests/support/skip.rs"]
mod skip;

use std::sync::Arc;

use openinfra_registry::{Config, RegistryClient};
use openinfra_schemas::registry::{Registry, RegistryError, conformance};
use reqwest::Client;
use serde_json::{Value, json};
use uuid::Uuid;

/// The address of a registry for tests; none: the test is to be skipped.
fn address() -> Option<String> {
    skip::server("OPENINFRA_TEST_REGISTRY")
}

/// A client whose subjects no other test has, and their prefix.
fn client(address: &str) -> (Arc<dyn Registry>, String) {
    let prefix = format!("test-{}-", Uuid::new_v4().simple());
    let config = Config {
        subject_prefix: prefix.clone(),
        ..Config::new(address)
    };
    (Arc::new(RegistryClient::new(&config).unwrap()), prefix)
}

#[tokio::test]
async fn it_conforms() {
    let Some(address) = address() else { return };
    let (registry, _) = client(&address);
    conformance::run(&registry, "subject").await;
}

async fn level(address: &str, subject: &str) -> Value {
    let url = format!("{address}/config/{subject}");
    let answer = Client::new().get(url).send().await.unwrap();
    answer.json::<Value>().await.unwrap()["compatibilityLevel"].clone()
}

#[tokio::test]
async fn a_subject_that_takes_anything_is_made_to_look_back() {
    let Some(address) = address() else { return };
    let (registry, prefix) = client(&address);
    for (before, after) in [
        ("NONE", "BACKWARD"),
        ("FORWARD", "FULL"),
        ("BACKWARD_TRANSITIVE", "BACKWARD_TRANSITIVE"),
    ] {
        let subject = format!("{prefix}{before}");
        let url = format!("{address}/config/{subject}");
        let set = Client::new()
            .put(url)
            .json(&json!({"compatibility": before}));
        assert!(set.send().await.unwrap().status().is_success());
        assert_eq!(level(&address, &subject).await, before);
        registry.register(before, r#""int""#).await.unwrap();
        assert_eq!(level(&address, &subject).await, after);
    }
}

/// The level let it through; from now on it lets no more through.
#[tokio::test]
async fn what_others_put_there_is_not_followed_blindly() {
    let Some(address) = address() else { return };
    let (registry, prefix) = client(&address);
    let subject = format!("{prefix}theirs");
    let http = Client::new();
    let set = http
        .put(format!("{address}/config/{subject}"))
        .json(&json!({"compatibility": "NONE"}));
    assert!(set.send().await.unwrap().status().is_success());
    let theirs = http
        .post(format!("{address}/subjects/{subject}/versions"))
        .json(&json!({"schema": r#""string""#}));
    assert!(theirs.send().await.unwrap().status().is_success());
    match registry.register("theirs", r#""int""#).await {
        Err(RegistryError::Incompatible { subject: s, .. }) => assert_eq!(s, subject),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_schema_of_another_kind_is_none_of_ours() {
    let Some(address) = address() else { return };
    let (registry, prefix) = client(&address);
    let text = r#"{"$schema":"http://json-schema.org/draft-07/schema#","type":"string"}"#;
    let made = Client::new()
        .post(format!("{address}/subjects/{prefix}json/versions"))
        .json(&json!({"schema": text, "schemaType": "JSON"}));
    let made: Value = made.send().await.unwrap().json().await.unwrap();
    let id = u32::try_from(made["id"].as_u64().unwrap()).unwrap();
    match registry.schema(id).await {
        Err(RegistryError::NotAvro { id: of, kind }) => {
            assert_eq!((of, kind.as_str()), (id, "JSON"));
        }
        other => panic!("{other:?}"),
    }
    match registry.register("json", r#""string""#).await {
        Err(RegistryError::Incompatible { reason, .. }) => assert!(reason.contains("JSON")),
        other => panic!("{other:?}"),
    }
}
