//! A producer of somebody else's: it knows the registry, the topic and Avro, and nothing of ours.
//!
//! What a newcomer would get wrong: keys have to be in the partition that our own partitioner gives them,
//! which is that of Kafka's Java client.

use apache_avro::{Schema, types::Value as Datum, writer::datum::GenericDatumWriter};
use openinfra_kafka::{Config, KafkaLog};
use openinfra_log::{AppendBatch, Log as _};
use openinfra_schemas::{Topic, key::partition_of};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::cluster::Cluster;

/// The schema of readings, as the repository has it.
const READING: &str = include_str!("../../schemas/avro/reading.avsc");

/// The schema of readings with one field more, in the midst of the others.
pub fn with_field(field: Value) -> String {
    let mut schema: Value = serde_json::from_str(READING).unwrap();
    schema["fields"].as_array_mut().unwrap().insert(5, field);
    schema.to_string()
}

/// Registers a schema; the status and the body of the answer.
pub async fn register(registry: &str, subject: &str, schema: &str) -> (StatusCode, Value) {
    let url = format!("{registry}/subjects/{subject}/versions");
    let body = json!({"schema": schema}).to_string();
    let request = reqwest::Client::new()
        .post(url)
        .header("content-type", "application/vnd.schemaregistry.v1+json")
        .body(body);
    let answer = request.send().await.unwrap();
    let status = answer.status();
    let text = answer.text().await.unwrap();
    let json = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{status}: {e}: {text}"));
    (status, json)
}

/// Appends to the topic of readings.
pub struct Producer {
    log: KafkaLog,
    /// Before each datum; a test may lie here.
    pub schema_id: u32,
    schema: Schema,
}

impl Producer {
    /// A producer of records by one schema, with the id that stands before them.
    pub async fn new(cluster: &Cluster, schema: &str, schema_id: u32) -> Self {
        let config = Config {
            brokers: cluster
                .servers
                .kafka
                .split(',')
                .map(str::to_owned)
                .collect(),
            topic_prefix: format!("{}.", cluster.name),
            ..Config::default()
        };
        let metrics = prometheus::Registry::new();
        Self {
            log: KafkaLog::open(config, &metrics).await.unwrap(),
            schema_id,
            schema: Schema::parse_str(schema).unwrap(),
        }
    }

    /// Appends readings, given as all of the schema's fields but those that [`reading`] gives, and waits
    /// until they are there.
    pub async fn append(&self, readings: &[Value]) {
        let writer = GenericDatumWriter::builder(&self.schema).build().unwrap();
        let partitions = self.log.partitions(Topic::Readings);
        let mut batch = AppendBatch::default();
        for reading in readings {
            let datum = Datum::try_from(reading.clone()).unwrap();
            let datum = datum.resolve(&self.schema).unwrap();
            let mut value = vec![0];
            value.extend(self.schema_id.to_be_bytes());
            value.extend(writer.write_value_to_vec(datum).unwrap());
            let part = |name: &str| reading[name].as_str().unwrap();
            let key = format!("{}/{}", part("tenant"), part("sensor_id"));
            let partition = partition_of(key.as_bytes(), partitions);
            batch.push(Topic::Readings, partition, key.as_bytes(), &value);
        }
        self.log.append(batch).await.unwrap();
    }
}

/// A reading of a sensor, its time in milliseconds.
pub fn reading(sensor: &str, ts: i64, value: f64) -> Value {
    json!({
        "tenant": "default", "sensor_id": sensor, "event_ts": ts, "recv_ts": ts,
        "ts_source": "DEVICE", "value": value, "unit": null, "quality": "GOOD", "event_id": null,
        "sequence": null, "battery_pct": null, "signal_dbm": null, "source": "outside",
        "readmits": null,
    })
}
