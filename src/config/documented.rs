//! That every key is documented, under its whole name or in the table of its section.
//!
//! The keys are those that the parser itself lists when it meets one that it does not know, so that a new one
//! cannot be forgotten here.

use super::testing::from_file;

const OPERATIONS: &str = include_str!("../../docs/OPERATIONS.md");
const README: &str = include_str!("../../README.md");
const KAFKA: &str = include_str!("../../connectors/kafka/README.md");
const REGISTRY: &str = include_str!("../../connectors/registry/README.md");
const CQL: &str = include_str!("../../connectors/scylla/README.md");
const MQTT: &str = include_str!("../../connectors/mqtt/README.md");

/// The keys of a table, as the parser lists them.
fn keys(table: &str) -> Vec<String> {
    let text = format!("{table}\nno_such_key = 1\n");
    let told = from_file(&text).expect_err("no such key").to_string();
    let (_, listed) = told.split_once("expected ").expect("the keys are listed");
    let names = listed.split('`').skip(1).step_by(2);
    names.map(str::to_owned).collect()
}

/// Whether a key stands in code quotes, by itself or as a table of its own.
fn names(document: &str, key: &str) -> bool {
    [
        format!("`{key}`"),
        format!("`{key}."),
        format!("`[{key}]`"),
        format!("`[[{key}]]`"),
    ]
    .iter()
    .any(|shape| document.contains(shape))
}

#[test]
fn every_key_is_documented() {
    let (listener, client) = MQTT
        .split_once("\n## The client of a broker\n")
        .expect("the document has both parts");
    let mut seen = 0;
    // How each table opens, the documents that name its keys, and what stands before them there.
    for (table, documents, before) in [
        ("", [OPERATIONS, README], ""),
        ("[http]", [OPERATIONS, README], "http."),
        ("[http.limits]", [OPERATIONS, README], "http.limits."),
        ("[ingest]", [OPERATIONS, README], "ingest."),
        ("[job]", [OPERATIONS, README], "job."),
        ("[log]", [OPERATIONS, README], "log."),
        ("[views]", [OPERATIONS, README], "views."),
        ("[kafka]", [KAFKA, ""], ""),
        ("[kafka.tls]", [KAFKA, ""], "tls."),
        ("[kafka.sasl]", [KAFKA, ""], "sasl."),
        ("[registry]", [REGISTRY, ""], ""),
        ("[cql]", [CQL, ""], ""),
        ("[cql.tls]", [CQL, ""], "tls."),
        ("[mqtt]", [listener, ""], ""),
        ("[mqtt.tls]", [listener, ""], "tls."),
        ("[[broker]]", [client, ""], ""),
        ("[[broker]]\n[broker.tls]", [client, ""], "tls."),
    ] {
        for key in keys(table) {
            seen += 1;
            let whole = format!("{before}{key}");
            let found = documents.iter().any(|document| names(document, &whole));
            assert!(found, "`{whole}` of {table:?} is documented nowhere");
        }
    }
    assert!(seen > 90, "the parser lists only {seen} keys");
}
