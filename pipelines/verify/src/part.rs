//! One partition of `readings`: its messages, sorted by sensor, and what the log gives for them.

use std::collections::HashMap;

use openinfra_log::{Log, LogRecord};
use openinfra_schemas::{
    Codec, Reading, Reason, SensorId, TenantId, TenantSettings, Topic, TsSource,
    key::{BUCKETS_PER_PARTITION, partition_of, reading_key, sensor_bucket},
    time::Millis,
};
use openinfra_store::tables::views::LedgerRow;

use crate::{
    VerifyError,
    compare::Comparer,
    decode::{read_on, reading, refused_entry, tenant_of},
    entities::Entities,
    sensor::{Extras, Fate, Message, SensorLog},
    ticks::Ticks,
    views::{
        Totals,
        ledger::{Refusals, UNREADABLE},
        outcome, readings,
        sensors::{SensorRows, SingleRows},
    },
};

/// The sensors of one partition, and all that the log has of them.
pub(crate) struct Part<'a> {
    partition: i32,
    partitions: i32,
    entities: &'a Entities,
    sensors: Vec<SensorLog>,
    by_id: HashMap<(TenantId, SensorId), usize>,
    extras: Vec<Extras>,
    by_extras: HashMap<Extras, u32>,
}

impl<'a> Part<'a> {
    /// The partition before its first message: the sensors that entities name.
    pub(crate) fn new(partition: i32, partitions: i32, entities: &'a Entities) -> Self {
        let mut part = Self {
            partition,
            partitions,
            entities,
            sensors: Vec::new(),
            by_id: HashMap::new(),
            extras: Vec::new(),
            by_extras: HashMap::new(),
        };
        for (tenant, sensor, edits) in entities.sensors() {
            if partition_of(&reading_key(tenant, sensor), partitions) == partition {
                let place = part.place(tenant, sensor);
                part.sensors[place].edits = edits.to_vec();
            }
        }
        part
    }

    /// Reads all messages up to the last tick, and compares the refused ones on the way.
    pub(crate) async fn read(
        &mut self,
        log: &dyn Log,
        codec: &Codec,
        ticks: &Ticks,
        totals: &mut Totals,
        compare: &mut Comparer<'_>,
    ) -> Result<(), VerifyError> {
        let mut refusals = Refusals::new(Topic::Readings, self.partition);
        for span in ticks.spans(Topic::Readings, self.partition) {
            let mut next = span.from;
            while next < span.to {
                for record in read_on(log, Topic::Readings, self.partition, next, span.to).await? {
                    next = record.offset + 1;
                    let place = (self.partition, self.partitions);
                    let read = reading(codec, ticks, span.tick, &record, place).await?;
                    match read {
                        Err(reason) => {
                            refuse_unreadable(
                                &mut refusals,
                                totals,
                                compare,
                                &record,
                                reason,
                                span.tick,
                            );
                        }
                        Ok(reading) => {
                            totals.heard_of(&reading.tenant, span.tick);
                            compare.name_tenant(&reading.tenant);
                            let fed = totals.source(&reading.tenant, &reading.source);
                            fed.feed(span.tick);
                            if let Some(reason) = self.take(&reading, &record, span.tick) {
                                fed.refuse(reason);
                                refusals.push(refused(
                                    &reading,
                                    &record,
                                    self.partition,
                                    reason,
                                    span.tick,
                                ));
                            }
                        }
                    }
                    refusals.compare_when_full(compare).await?;
                }
            }
        }
        refusals.finish(compare).await
    }

    /// Takes a reading among its sensor's messages; says why it is refused, if it is.
    fn take(&mut self, reading: &Reading, record: &LogRecord, tick: Millis) -> Option<Reason> {
        let guards = self.entities.guards(&reading.tenant, tick);
        let known = self
            .by_id
            .get(&(reading.tenant.clone(), reading.sensor_id.clone()));
        let is_registered =
            known.is_some_and(|place| self.sensors[*place].entity_at(tick).is_some());
        let auto_register = guards
            .auto_register
            .unwrap_or(TenantSettings::DEFAULT_AUTO_REGISTER);
        if !is_registered && !auto_register {
            return Some(Reason::UnknownSensor);
        }
        let earliest = reading.recv_ts.saturating_sub(guards.horizon_ms);
        let latest = reading.recv_ts.saturating_add(guards.future_guard_ms);
        let reason = if reading.event_ts < earliest && reading.readmits.is_none() {
            Some(Reason::LateBeyondHorizon)
        } else if reading.event_ts > latest {
            Some(Reason::ClockFuture)
        } else {
            None
        };
        let place = match known {
            Some(place) => *place,
            None => self.place(&reading.tenant, &reading.sensor_id),
        };
        let message = Message {
            tick,
            offset: record.offset,
            event_ts: reading.event_ts,
            recv_ts: reading.recv_ts,
            value: Message::value_of(reading.quality, reading.value),
            extras: self.extras(reading),
            quality: reading.quality,
            device_ts: reading.ts_source == TsSource::Device,
            fate: reason.map_or(Fate::Undecided, |_| Fate::Refused),
        };
        self.sensors[place].messages.push(message);
        reason
    }

    fn place(&mut self, tenant: &TenantId, id: &SensorId) -> usize {
        let (sensors, partitions) = (&mut self.sensors, self.partitions);
        *self
            .by_id
            .entry((tenant.clone(), id.clone()))
            .or_insert_with(|| {
                sensors.push(SensorLog {
                    tenant: tenant.clone(),
                    id: id.clone(),
                    bucket: sensor_bucket(&reading_key(tenant, id), partitions),
                    edits: Vec::new(),
                    messages: Vec::new(),
                });
                sensors.len() - 1
            })
    }

    fn extras(&mut self, reading: &Reading) -> u32 {
        let is_same = |extras: &Extras| {
            extras.source == reading.source
                && extras.unit == reading.unit
                && extras.battery_pct == reading.battery_pct.map(f64::to_bits)
                && extras.signal_dbm == reading.signal_dbm.map(f64::to_bits)
        };
        // Most messages are like the one before them.
        if self.extras.last().is_some_and(is_same) {
            return self.extras.len() as u32 - 1;
        }
        let extras = Extras {
            source: reading.source.clone(),
            unit: reading.unit.clone(),
            battery_pct: reading.battery_pct.map(f64::to_bits),
            signal_dbm: reading.signal_dbm.map(f64::to_bits),
        };
        if let Some(known) = self.by_extras.get(&extras) {
            return *known;
        }
        let place = self.extras.len() as u32;
        self.extras.push(extras.clone());
        self.by_extras.insert(extras, place);
        place
    }

    /// Recomputes every view of the partition's sensors, and compares it tenant by tenant.
    pub(crate) async fn compare(
        mut self,
        ticks: &Ticks,
        totals: &mut Totals,
        compare: &mut Comparer<'_>,
    ) -> Result<(), VerifyError> {
        for sensor in &mut self.sensors {
            outcome::decide(&mut sensor.messages);
            for message in &sensor.messages {
                let source = &self.extras[message.extras as usize].source;
                totals.source(&sensor.tenant, source).decide(message);
            }
        }
        self.sensors
            .sort_by(|a, b| (a.bucket, &a.tenant, &a.id).cmp(&(b.bucket, &b.tenant, &b.id)));
        let first = self.partition * BUCKETS_PER_PARTITION;
        for tenant in compare.tenants() {
            let mut singles = SingleRows::new(&tenant, self.partition);
            for bucket in first..first + BUCKETS_PER_PARTITION {
                let sensors = self.of_bucket(bucket, &tenant);
                let mut rows = SensorRows::new(&tenant, bucket);
                for sensor in sensors {
                    let extras = &self.extras;
                    rows.add(sensor, extras, self.entities, ticks, &mut singles, totals);
                }
                let days = rows.compare(compare).await?;
                readings::compare(&tenant, bucket, sensors, &self.extras, &days, compare).await?;
            }
            singles.compare(compare).await?;
        }
        Ok(())
    }

    /// The sensors of a bucket and tenant, once they are sorted.
    fn of_bucket(&self, bucket: i32, tenant: &TenantId) -> &[SensorLog] {
        let place = |sensor: &SensorLog| (sensor.bucket, &sensor.tenant).cmp(&(bucket, tenant));
        let from = self.sensors.partition_point(|sensor| place(sensor).is_lt());
        let to = self.sensors.partition_point(|sensor| place(sensor).is_le());
        &self.sensors[from..to]
    }
}

/// Reads one partition of `ledger`: what connectors refused.
pub(crate) async fn read_refused(
    log: &dyn Log,
    codec: &Codec,
    ticks: &Ticks,
    partition: i32,
    totals: &mut Totals,
    compare: &mut Comparer<'_>,
) -> Result<(), VerifyError> {
    let partitions = log.partitions(Topic::Ledger);
    let mut refusals = Refusals::new(Topic::Ledger, partition);
    for span in ticks.spans(Topic::Ledger, partition) {
        let mut next = span.from;
        while next < span.to {
            for record in read_on(log, Topic::Ledger, partition, next, span.to).await? {
                next = record.offset + 1;
                let entry = if partition_of(&record.key, partitions) == partition {
                    refused_entry(codec, ticks, span.tick, &record).await?
                } else {
                    Err(Reason::Invalid)
                };
                match entry {
                    Err(reason) => {
                        refuse_unreadable(
                            &mut refusals,
                            totals,
                            compare,
                            &record,
                            reason,
                            span.tick,
                        );
                    }
                    Ok(entry) => {
                        // A reason that no version of ours names is no reason.
                        let reason = Reason::parse(&entry.reason).unwrap_or(Reason::Invalid);
                        totals.heard_of(&entry.tenant, span.tick);
                        compare.name_tenant(&entry.tenant);
                        let fed = totals.source(&entry.tenant, &entry.source);
                        fed.feed(span.tick);
                        fed.refuse(reason);
                        refusals.push(LedgerRow {
                            tenant: entry.tenant,
                            reason: reason.as_str().to_owned(),
                            topic: Topic::Ledger.name().to_owned(),
                            log_partition: partition,
                            offset: record.offset,
                            detail: entry.detail,
                            source: entry.source,
                            sensor_id: entry.sensor_id,
                            event_ts: entry.event_ts,
                            recv_ts: Some(entry.recv_ts),
                            payload: entry.payload,
                            tick: span.tick,
                        });
                    }
                }
                refusals.compare_when_full(compare).await?;
            }
        }
    }
    refusals.finish(compare).await
}

/// Bytes that are no record where they stand: of the tenant that the key names, from nobody.
fn refuse_unreadable(
    refusals: &mut Refusals,
    totals: &mut Totals,
    compare: &mut Comparer<'_>,
    record: &LogRecord,
    reason: Reason,
    tick: Millis,
) {
    let tenant = tenant_of(&record.key);
    totals.heard_of(&tenant, tick);
    compare.name_tenant(&tenant);
    let fed = totals.source(&tenant, UNREADABLE);
    fed.feed(tick);
    fed.refuse(reason);
    refusals.push(LedgerRow {
        tenant,
        reason: reason.as_str().to_owned(),
        topic: refusals.topic().name().to_owned(),
        log_partition: refusals.partition(),
        offset: record.offset,
        detail: String::new(),
        source: UNREADABLE.to_owned(),
        sensor_id: None,
        event_ts: None,
        recv_ts: None,
        payload: record.value.to_vec(),
        tick,
    });
}

/// A reading that the views refuse: its payload is the record itself.
fn refused(
    reading: &Reading,
    record: &LogRecord,
    partition: i32,
    reason: Reason,
    tick: Millis,
) -> LedgerRow {
    LedgerRow {
        tenant: reading.tenant.clone(),
        reason: reason.as_str().to_owned(),
        topic: Topic::Readings.name().to_owned(),
        log_partition: partition,
        offset: record.offset,
        detail: String::new(),
        source: reading.source.clone(),
        sensor_id: Some(reading.sensor_id.to_string()),
        event_ts: Some(reading.event_ts),
        recv_ts: Some(reading.recv_ts),
        payload: record.value.to_vec(),
        tick,
    }
}
