//! The sensor engine: a pure state machine for each sensor, which turns records into changes of views.
//!
//! A worker's engine owns the sensors of the worker's partitions. Within a tick it takes entities first,
//! then records by position, then deadlines; then it says what changed, one row a key. What a newcomer
//! would get wrong: history is not here. An hour's readings are in memory as a `block` or have to be
//! supplied before the tick that needs them is run.

mod block;
mod cache;
mod deadlines;
mod emit;
mod hours;
mod state;
mod take;
mod tenants;

use openinfra_schemas::{
    AfterImage, EntityChange, EntityKind, SensorId, TenantId,
    key::{partition_of_bucket, reading_key, sensor_bucket},
    time::{Millis, hour_of},
};

use crate::{
    change::{Change, HistoryRow},
    dataflow::TickOutput,
    input::{InputRecord, RecordBody, TickInput},
    views::facts::Fact,
};

use self::{
    block::Block, cache::BlockCache, deadlines::Deadlines, state::SensorState, tenants::Tenants,
};

/// Names an hour of a sensor's history as of an offset.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BlockId {
    pub tenant: TenantId,
    pub sensor_id: SensorId,
    pub bucket: i32,
    pub hour: Millis,
    /// Only rows of smaller offsets count: what stood before the tick is fed, replayed or not.
    pub below_offset: i64,
}

/// What a host may set.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// How much the blocks of one worker may hold, in bytes.
    pub block_cache_bytes: usize,
    /// Partitions of `readings`.
    pub partitions: i32,
    /// This worker; it owns the partitions p with p mod `workers` = `worker`.
    pub worker: usize,
    pub workers: usize,
}

/// The sensors of one worker.
pub struct Engine {
    config: EngineConfig,
    tenants: Tenants,
    sensors: Vec<SensorState>,
    blocks: BlockCache,
    deadlines: Deadlines,
    /// Sensors that the tick has touched.
    touched: Vec<u32>,
    /// Hours that the tick has changed: sensor, hour, and the aggregate when it was folded on the way.
    hours: Vec<(u32, Millis, Option<state::OpenWindow>)>,
    changes: Vec<Change>,
    facts: Vec<(Fact, isize)>,
}

impl Engine {
    pub fn new(config: EngineConfig) -> Self {
        Self {
            blocks: BlockCache::new(config.block_cache_bytes),
            config,
            tenants: Tenants::default(),
            sensors: Vec::new(),
            deadlines: Deadlines::default(),
            touched: Vec::new(),
            hours: Vec::new(),
            changes: Vec::new(),
            facts: Vec::new(),
        }
    }

    /// The blocks that the records of a tick need and the engine lacks. Nothing is applied.
    ///
    /// A reading newer than all before it needs none, nor does one into an hour without rows, nor one that
    /// repeats the newest.
    pub fn blocks_needed(&mut self, input: &TickInput) -> Vec<BlockId> {
        let mut needed = Vec::new();
        let mut asked = std::collections::HashSet::new();
        for record in &input.records {
            let RecordBody::Reading { reading, bucket } = &record.body else {
                continue;
            };
            let Some(place) = self.place(&reading.tenant, &reading.sensor_id) else {
                continue;
            };
            let sensor = &mut self.sensors[place as usize];
            if sensor.planned.0 != input.tick {
                let newest = sensor
                    .newest
                    .as_ref()
                    .map_or(Millis::MIN, |newest| newest.event_ts);
                sensor.planned = (input.tick, newest);
            }
            if reading.event_ts > sensor.planned.1 {
                sensor.planned.1 = reading.event_ts;
                continue;
            }
            let hour = hour_of(reading.event_ts);
            // Behind a newer reading of this same tick, what is the newest now is looked up like any other.
            let repeats = sensor
                .newest
                .as_ref()
                .is_some_and(|n| n.event_ts == sensor.planned.1 && n.is_repeated_by(reading));
            if repeats || !sensor.hours.contains(hour) || self.blocks.contains(&(place, hour)) {
                continue;
            }
            if asked.insert((place, hour)) {
                needed.push(BlockId {
                    tenant: reading.tenant.clone(),
                    sensor_id: reading.sensor_id.clone(),
                    bucket: *bucket,
                    hour,
                    below_offset: first_offset(input, record),
                });
            }
        }
        needed
    }

    /// Hands over the rows of a block, in any order; all of them, corrections too.
    pub fn supply(&mut self, block: &BlockId, rows: Vec<HistoryRow>) {
        if let Some(place) = self.place(&block.tenant, &block.sensor_id) {
            self.blocks
                .supply((place, block.hour), Block::of_rows(&rows));
        }
    }

    /// Says that every row of ticks up to this one is durable in the store: what only they hold may leave
    /// memory.
    pub fn acknowledged(&mut self, tick: Millis) {
        self.blocks.acknowledge(tick);
        self.blocks.evict();
    }

    /// The earliest tick at which a view changes though nothing is heard, after the ticks run so far. One
    /// that was put off since may still be named.
    pub fn next_due(&mut self) -> Option<Millis> {
        self.deadlines.next()
    }

    /// Takes the first part of a tick's input, and says what it changed by itself. The rest is fed
    /// as ever and ends the tick; all together is as if it had come at once. Changes of entities stand in
    /// the first part.
    pub fn begin(&mut self, part: TickInput) -> Vec<Change> {
        self.take_in(part);
        self.blocks.evict();
        std::mem::take(&mut self.changes)
    }

    fn take_in(&mut self, input: TickInput) {
        let tick = input.tick;
        for change in &input.entities {
            self.entity(change, tick);
        }
        for (index, record) in input.records.into_iter().enumerate() {
            self.record(index, record, tick);
        }
    }

    /// Runs a tick: entities, records, deadlines. Facts that changed go to `facts`.
    pub(crate) fn run(&mut self, input: TickInput, facts: &mut Vec<(Fact, isize)>) -> TickOutput {
        let tick = input.tick;
        self.take_in(input);
        while let Some(sensor) = self.deadlines.pop(tick) {
            self.touch(sensor);
        }
        self.emit_hours(tick);
        for sensor in std::mem::take(&mut self.touched) {
            self.emit_sensor(sensor, tick);
        }
        for tenant in self.tenants.drain_new() {
            self.changes.push(Change::Tenant(tenant));
        }
        self.blocks.evict();
        facts.append(&mut self.facts);
        TickOutput {
            tick,
            changes: std::mem::take(&mut self.changes),
            outcomes: self.tenants.drain_counts(),
        }
    }

    fn entity(&mut self, change: &EntityChange, tick: Millis) {
        match EntityKind::parse(&change.kind) {
            Some(EntityKind::TenantSettings) => {
                let tenant = self.tenants.entry(&change.tenant);
                if change.version > tenant.settings_version {
                    tenant.settings_version = change.version;
                    tenant.settings = match &change.after {
                        AfterImage::TenantSettings(settings) => Some(settings.clone()),
                        _ => None,
                    };
                }
            }
            Some(EntityKind::Sensor) => self.sensor_entity(change, tick),
            None => {}
        }
    }

    fn sensor_entity(&mut self, change: &EntityChange, tick: Millis) {
        let sensor_id = SensorId::trusted(&change.id);
        self.tenants.entry(&change.tenant);
        let bucket = sensor_bucket(
            &reading_key(&change.tenant, &sensor_id),
            self.config.partitions,
        );
        if !self.owns(partition_of_bucket(bucket)) {
            return;
        }
        let place = self.place_or_new(&change.tenant, &sensor_id, bucket);
        let sensor = &mut self.sensors[place as usize];
        if change.version <= sensor.version {
            return;
        }
        sensor.version = change.version;
        sensor.dirty.seen |= sensor.seen.is_some();
        sensor.seen = None;
        if let AfterImage::Sensor(entity) = &change.after {
            sensor.entity = Some(Box::new(entity.clone()));
            sensor.registered_at.get_or_insert(tick);
        } else {
            sensor.entity = None;
            sensor.registered_at = None;
        }
        let (in_force, rule) = sensor.rule();
        let evaluated = rule.edit(in_force, tick);
        self.alert_evaluated(place, evaluated);
        self.touch(place);
    }

    fn record(&mut self, index: usize, record: InputRecord, tick: Millis) {
        let InputRecord { offset, body, .. } = record;
        match body {
            RecordBody::Reading { reading, bucket } => {
                self.reading(
                    index,
                    reading,
                    take::At {
                        offset,
                        bucket,
                        tick,
                    },
                );
            }
            RecordBody::Refused(entry) => self.refused(index, entry),
            RecordBody::Rejected {
                tenant,
                reason,
                detail,
            } => {
                self.rejected(index, tenant, reason, detail);
            }
        }
    }

    fn owns(&self, partition: i32) -> bool {
        partition as usize % self.config.workers == self.config.worker
    }

    fn place(&self, tenant: &TenantId, sensor: &SensorId) -> Option<u32> {
        self.tenants.find(tenant)?.sensors.get(sensor).copied()
    }

    fn place_or_new(&mut self, tenant: &TenantId, sensor: &SensorId, bucket: i32) -> u32 {
        let known = self.tenants.entry(tenant);
        if let Some(place) = known.sensors.get(sensor) {
            return *place;
        }
        let place =
            u32::try_from(self.sensors.len()).expect("a worker has fewer than 2^32 sensors");
        known.sensors.insert(sensor.clone(), place);
        self.sensors
            .push(SensorState::new(tenant.clone(), sensor.clone(), bucket));
        place
    }

    fn touch(&mut self, place: u32) {
        let dirty = &mut self.sensors[place as usize].dirty;
        if !dirty.listed {
            dirty.listed = true;
            self.touched.push(place);
        }
    }
}

/// The first offset of the record's partition in this tick: rows at or above it are the tick's own, or of
/// ticks that will be replayed.
fn first_offset(input: &TickInput, record: &InputRecord) -> i64 {
    let place = input
        .records
        .partition_point(|other| (other.topic, other.partition) < (record.topic, record.partition));
    input.records[place].offset
}
