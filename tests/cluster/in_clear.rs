//! What tools of others read in topics and tables: a producer's bytes by the registry's schema, columns by
//! their names.

use apache_avro::{Schema, reader::datum::GenericDatumReader, types::Value as Datum};
use serde_json::Value;
use tokio::process::Command;

use super::{
    cluster::{Cluster, assert_counted_once},
    cql,
    support::skip,
};

/// The next record as `kcat` prints it: the key in a line, and the value behind its length, of four bytes.
const FORMAT: &str = "%k\n%R%s";

fn take(bytes: &mut &[u8]) -> (String, Vec<u8>) {
    let line = bytes.iter().position(|byte| *byte == b'\n').unwrap();
    let (key, rest) = bytes.split_at(line);
    let (length, rest) = rest[1..].split_first_chunk().unwrap();
    let (value, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
    *bytes = rest;
    (String::from_utf8(key.to_vec()).unwrap(), value.to_vec())
}

/// Keys and values of a topic; none, and told, where there is no `kcat`.
async fn consume(broker: &str, topic: &str) -> Option<Vec<(String, Vec<u8>)>> {
    let args = ["-C", "-e", "-q", "-b", broker, "-t", topic, "-f", FORMAT];
    let output = match Command::new("kcat").args(args).output().await {
        Ok(output) => output,
        Err(error) => {
            let required = skip::is_required("OPENINFRA_TEST_SERVICES");
            skip::unless(required, &format!("no kcat: {error}"));
            return None;
        }
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kcat {args:?}: {said}");
    let mut rest = &output.stdout[..];
    let mut records = Vec::new();
    while !rest.is_empty() {
        records.push(take(&mut rest));
    }
    Some(records)
}

/// The schema of a Confluent frame, and the datum behind its five bytes.
async fn framed<'a>(registry: &str, value: &'a [u8]) -> (Schema, &'a [u8]) {
    let (&[magic, a, b, c, d], datum) = value.split_first_chunk().unwrap();
    assert_eq!(magic, 0);
    let id = u32::from_be_bytes([a, b, c, d]);
    let answer = reqwest::get(format!("{registry}/schemas/ids/{id}")).await;
    let answer: Value = answer.unwrap().json().await.unwrap();
    let schema = answer["schema"].as_str().unwrap();
    (Schema::parse_str(schema).unwrap(), datum)
}

/// The cells of what `cqlsh` shows, its heading too; none, and told, where it is not installed.
async fn shown(server: &str, query: &str) -> Option<Vec<Vec<String>>> {
    let (host, port) = server.split_once(':').unwrap();
    let args = ["--no-color", host, port, "-e", query];
    let output = match Command::new("cqlsh").args(args).output().await {
        Ok(output) => output,
        Err(error) => {
            skip::tell(&format!("no cqlsh: {error}"));
            return None;
        }
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cqlsh {args:?}: {said}");
    let shown = String::from_utf8(output.stdout).unwrap();
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect();
    Some(shown.lines().map(cells).collect())
}

#[tokio::test]
async fn others_read_topics_and_tables() {
    let Some(cluster) = Cluster::new("in_clear").await else {
        return;
    };
    // The second and last round: 1.75, 2 and 2.25.
    let file = cluster.readings("s", 3, 2);
    let platform = cluster.start("up", &["up", "--mqtt", "127.0.0.1:0"]).await;
    platform.replay(&file, &[]).await;
    assert_counted_once(&platform.ledger().await, 6);

    let topic = format!("{}.readings", cluster.name);
    if let Some(records) = consume(&cluster.servers.kafka, &topic).await {
        let mut seen = Vec::new();
        for (key, value) in &records {
            let (schema, mut datum) = framed(&cluster.servers.registry, value).await;
            let reader = GenericDatumReader::builder(&schema).build().unwrap();
            let Datum::Record(fields) = reader.read_value(&mut datum).unwrap() else {
                panic!("no record: {value:?}");
            };
            let field = |name: &str| fields.iter().find(|(n, _)| n == name).unwrap().1.clone();
            let Datum::String(sensor) = field("sensor_id") else {
                panic!("{fields:?}");
            };
            assert_eq!(*key, format!("default/{sensor}"));
            seen.push((sensor, field("value")));
        }
        seen.sort_by(|(a, _), (b, _)| a.cmp(b));
        let sensors: Vec<_> = seen.iter().map(|(sensor, _)| sensor.as_str()).collect();
        assert_eq!(sensors, ["s-0", "s-0", "s-1", "s-1", "s-2", "s-2"]);
        assert!(
            seen.contains(&("s-2".to_owned(), Datum::Double(2.25))),
            "{seen:?}"
        );
    }

    let select = format!(
        "SELECT JSON tenant, sensor_id, value, quality FROM \"{}\".latest_reading",
        cluster.name
    );
    let rows = cql::execute(&cluster.servers.cql, &select).await;
    let rows = String::from_utf8_lossy(&rows);
    for (sensor, value) in [("s-0", "1.75"), ("s-1", "2.0"), ("s-2", "2.25")] {
        let row = format!(
            r#"{{"tenant": "default", "sensor_id": "{sensor}", "value": {value}, "quality": "GOOD"}}"#
        );
        assert!(rows.contains(&row), "{row} is not in {rows}");
    }
    let select = format!(
        "SELECT tenant, sensor_id, value, quality FROM \"{}\".latest_reading",
        cluster.name
    );
    if let Some(lines) = shown(&cluster.servers.cql, &select).await {
        for (sensor, value) in [("s-0", "1.75"), ("s-1", "2"), ("s-2", "2.25")] {
            let row = ["default", sensor, value, "GOOD"];
            assert!(lines.iter().any(|line| *line == row), "{row:?}: {lines:?}");
        }
    }
    platform.stop().await;
    cluster.end().await;
}
