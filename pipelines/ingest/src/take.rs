//! One message to records: a reading for each item that is one, a ledger entry for each that is not.
//!
//! What a newcomer would get wrong: nothing here looks at how old a reading is. Whether it is late or
//! ahead is the views' to say, from the record and the settings in force at its tick.

use openinfra_codecs::json::{self, Item, ItemError};
use openinfra_intake::{Delivery, Format, Principal, Rejection, Verdict};
use openinfra_log::AppendBatch;
use openinfra_schemas::{
    LedgerEntry, Reading, Reason, SensorId, Topic, TsSource, key, reading::NO_VALUE, time::Millis,
};

use crate::{
    Ingest,
    fit::fit,
    metrics::{accepted_tag, rejected_tag},
    originals::Originals,
};

/// Of how many records in a batch one is looked at for the skew of its clock.
const SKEW_SAMPLE: usize = 16;

/// One delivery on its way into a batch.
pub struct Taking<'a> {
    ingest: &'a Ingest,
    who: &'a Principal,
    delivery: &'a Delivery<'a>,
    batch: &'a mut AppendBatch,
    /// The reading and the key that are filled in for each item, so that an item costs as few
    /// allocations as can be.
    reading: Option<Reading>,
    key: Vec<u8>,
    originals: Originals<'a>,
    verdict: Verdict,
}

impl<'a> Taking<'a> {
    pub fn new(
        ingest: &'a Ingest,
        who: &'a Principal,
        delivery: &'a Delivery<'a>,
        batch: &'a mut AppendBatch,
    ) -> Self {
        Self {
            ingest,
            who,
            delivery,
            batch,
            reading: None,
            key: Vec::new(),
            originals: Originals::new(delivery.payload, delivery.format),
            verdict: Verdict::default(),
        }
    }

    pub fn run(mut self) -> Verdict {
        if let Some(tenant) = self.delivery.tenant
            && tenant != self.who.tenant.as_str()
        {
            let shown: String = tenant.chars().take(80).collect();
            let detail = format!("tenant {shown:?} is not that of the credentials");
            return self.refuse_whole(Reason::UnknownTenant, detail);
        }
        let Delivery {
            payload, format, ..
        } = *self.delivery;
        let mut each = |index, item: Result<Item<'_>, ItemError>| self.item(index, item);
        match format {
            Format::SensorJson => json::read_sensor_message(payload, &mut each),
            Format::BatchJson => json::read_batch(payload, &mut each),
            Format::Ndjson => json::read_ndjson(payload, &mut each),
        }
        self.verdict
    }

    /// Refuses the delivery without looking for items in it.
    pub fn refuse_whole(mut self, reason: Reason, detail: String) -> Verdict {
        let sensor = self.delivery.sensor.map(str::to_owned);
        let payload = self.delivery.payload;
        self.refuse(0, reason, detail, sensor, None, payload);
        self.verdict
    }

    fn item(&mut self, index: usize, item: Result<Item<'_>, ItemError>) {
        let named = self.delivery.sensor;
        let read = item.and_then(|item| item.sensor(named).map(|sensor| (sensor, item)));
        match read {
            Ok((sensor, item)) if self.who.may_send_for(sensor.as_str()) => {
                self.accept(sensor, &item);
            }
            Ok((sensor, item)) => {
                self.verdict.forbidden += 1;
                let detail = format!("this key may not send for sensor {:?}", sensor.as_str());
                let sensor = Some(sensor.as_str().to_owned());
                self.refuse_item(index, Reason::Invalid, detail, sensor, item.timestamp);
            }
            Err(error) => {
                let detail = match error.pointer.as_str() {
                    "" => error.detail,
                    pointer => format!("{pointer}: {}", error.detail),
                };
                let sensor = named.map(str::to_owned);
                self.refuse_item(index, error.reason, detail, sensor, None);
            }
        }
    }

    fn accept(&mut self, sensor: SensorId, item: &Item<'_>) {
        let recv_ts = self.recv_ts(item);
        self.key.clear();
        self.key
            .extend_from_slice(self.who.tenant.as_str().as_bytes());
        self.key.push(b'/');
        self.key.extend_from_slice(sensor.as_str().as_bytes());
        let partition = key::partition_of(&self.key, self.ingest.readings_partitions);

        let reading = self.reading.get_or_insert_with(|| Reading {
            tenant: self.who.tenant.clone(),
            sensor_id: sensor.clone(),
            event_ts: 0,
            recv_ts: 0,
            ts_source: TsSource::Device,
            value: NO_VALUE,
            unit: None,
            quality: item.quality,
            event_id: None,
            sequence: None,
            battery_pct: None,
            signal_dbm: None,
            source: self.delivery.source.to_owned(),
            readmits: None,
        });
        reading.sensor_id = sensor;
        reading.event_ts = item.timestamp.unwrap_or(recv_ts);
        reading.recv_ts = recv_ts;
        reading.ts_source = match item.timestamp {
            Some(_) => TsSource::Device,
            None => TsSource::Server,
        };
        reading.value = item.value.unwrap_or(NO_VALUE);
        reading.quality = item.quality;
        put_text(&mut reading.unit, item.unit.as_deref());
        put_text(&mut reading.event_id, item.event_id.as_deref());
        reading.sequence = item.sequence;
        reading.battery_pct = item.battery;
        reading.signal_dbm = item.signal;

        let source = self.delivery.source;
        if item.timestamp.is_some() && self.batch.len().is_multiple_of(SKEW_SAMPLE) {
            let skew_ms = recv_ts.saturating_sub(reading.event_ts);
            self.ingest.metrics.skew(source, skew_ms);
        }
        self.batch
            .push_with(Topic::Readings, partition, &self.key, |out| {
                self.ingest.codec.encode(reading, out);
            });
        self.batch.tag_last(accepted_tag(source));
        self.verdict.accepted += 1;
    }

    /// Ours, unless the sender may say otherwise and asked for it.
    fn recv_ts(&self, item: &Item<'_>) -> Millis {
        if self.delivery.trust_recv && self.who.may_trust_recv {
            let told = item.recv_ts.or(item.timestamp);
            told.unwrap_or(self.delivery.recv_ts)
        } else {
            self.delivery.recv_ts
        }
    }

    fn refuse_item(
        &mut self,
        index: usize,
        reason: Reason,
        mut detail: String,
        sensor: Option<String>,
        event_ts: Option<Millis>,
    ) {
        let original = self.originals.of(index);
        if original.is_none() {
            detail.push_str(" (the message stands in the entry before)");
        }
        let payload = original.unwrap_or_default();
        self.refuse(index, reason, detail, sensor, event_ts, payload);
    }

    fn refuse(
        &mut self,
        index: usize,
        reason: Reason,
        detail: String,
        sensor_id: Option<String>,
        event_ts: Option<Millis>,
        payload: &[u8],
    ) {
        let source = self.delivery.source;
        let mut entry = LedgerEntry {
            tenant: self.who.tenant.clone(),
            source: source.to_owned(),
            reason: reason.as_str().to_owned(),
            detail,
            origin: self.delivery.origin.to_owned(),
            sensor_id,
            event_ts,
            recv_ts: self.delivery.recv_ts,
            payload: payload.to_vec(),
        };
        fit(&mut entry, self.ingest.max_record_bytes);
        let key = key::ledger_key(&entry.tenant, source);
        let partition = key::partition_of(&key, self.ingest.ledger_partitions);
        self.batch.push_with(Topic::Ledger, partition, &key, |out| {
            self.ingest.codec.encode(&entry, out);
        });
        self.batch.tag_last(rejected_tag(source, reason));
        self.verdict.rejected.push(Rejection {
            index,
            reason,
            detail: entry.detail,
        });
    }
}

/// Puts a text where one may stand already, in the room that it has.
fn put_text(place: &mut Option<String>, text: Option<&str>) {
    match (place.as_mut(), text) {
        (Some(place), Some(text)) => {
            place.clear();
            place.push_str(text);
        }
        (_, text) => *place = text.map(str::to_owned),
    }
}
