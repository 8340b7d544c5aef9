//! Random logs, and views kept by the dataflow over them: what the property tests of the views share.
//!
//! The store is a map whose rows become visible only when their tick is acknowledged, some ticks late, and
//! blocks leave memory as soon as they may, so that every look-up that can happen does.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fmt::Debug,
    rc::Rc,
    sync::{Arc, Mutex},
};

use openinfra_schemas::{
    AfterImage, EntityChange, LedgerEntry, Quality, Reading, Reason, Sensor, SensorId, TenantId,
    TenantSettings, Thresholds, Topic, TsSource,
    key::{entity_key, partition_of, partition_of_bucket, reading_key, sensor_bucket},
    reading::NO_VALUE,
    time::{HOUR_MS, Millis, hour_of},
};
use proptest::{prelude::*, sample::select};

use crate::{
    change::*,
    dataflow::{JobDataflow, TickOutput},
    input::{InputRecord, RecordBody, TickInput},
    sensor::{Engine, EngineConfig},
};

pub const PARTITIONS: i32 = 4;
/// Around when the random logs are.
const START: Millis = 1_700_000_000_000 / HOUR_MS * HOUR_MS;

/// A sensor, over all tenants.
pub type SensorKey = (TenantId, SensorId);

/// Rows of all views by their keys, `is_new` set to false throughout.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Views {
    pub readings: BTreeMap<(SensorKey, Millis), HistoryRow>,
    pub latest: BTreeMap<SensorKey, LatestRow>,
    pub hourly: BTreeMap<(SensorKey, Millis), HourlyRow>,
    pub status: BTreeMap<SensorKey, StatusColumns>,
    pub episodes: BTreeMap<(SensorKey, Millis), Option<Millis>>,
    pub seen: BTreeMap<SensorKey, (Millis, Millis)>,
    pub index: BTreeMap<SensorKey, IndexColumns>,
    pub days: BTreeMap<(SensorKey, i32), i32>,
    pub alerts: BTreeMap<(TenantId, String), AlertChange>,
    pub ledger: BTreeMap<(Topic, i32, i64), (TenantId, Reason)>,
    pub health: BTreeMap<(TenantId, String), AssetHealthColumns>,
    pub indicators: BTreeMap<(TenantId, String), i64>,
    pub outcomes: BTreeMap<(TenantId, String), OutcomeCounts>,
}

/// Puts a row in or takes it out, and holds the change to what it says of the row before.
fn put<K: Ord + Debug + Clone, V: Debug>(
    map: &mut BTreeMap<K, V>,
    key: K,
    row: Option<V>,
    is_new: bool,
) {
    let before = match row {
        Some(row) => map.insert(key.clone(), row).is_some(),
        None => {
            assert!(!is_new, "the removal of {key:?} says that it is new");
            map.remove(&key).is_some()
        }
    };
    assert_eq!(
        before, !is_new,
        "{key:?}: is_new does not say whether the row was there"
    );
}

impl Views {
    fn apply(&mut self, input: &TickInput, output: TickOutput) {
        for change in output.changes {
            self.apply_change(input, change);
        }
        for counts in output.outcomes {
            let key = (counts.tenant.clone(), counts.source.clone());
            self.outcomes
                .entry(key)
                .or_insert_with(|| OutcomeCounts::new(counts.tenant.clone(), &counts.source))
                .merge(&counts);
        }
    }

    fn apply_change(&mut self, input: &TickInput, change: Change) {
        match change {
            Change::Reading(row) => {
                let key = ((row.tenant.clone(), row.sensor_id.clone()), row.event_ts);
                let is_new = row.is_new;
                put(
                    &mut self.readings,
                    key,
                    Some(HistoryRow {
                        is_new: false,
                        ..row
                    }),
                    is_new,
                );
            }
            Change::Latest(row) => {
                let key = (row.tenant.clone(), row.sensor_id.clone());
                let is_new = row.is_new;
                put(
                    &mut self.latest,
                    key,
                    Some(LatestRow {
                        is_new: false,
                        ..row
                    }),
                    is_new,
                );
            }
            Change::Hourly(row) => {
                let key = ((row.tenant.clone(), row.sensor_id.clone()), row.hour);
                let is_new = row.is_new;
                put(
                    &mut self.hourly,
                    key,
                    Some(HourlyRow {
                        is_new: false,
                        ..row
                    }),
                    is_new,
                );
            }
            Change::Status(row) => {
                put(
                    &mut self.status,
                    (row.tenant, row.sensor_id),
                    row.status,
                    row.is_new,
                );
            }
            Change::Episode(row) => {
                let key = ((row.tenant, row.sensor_id), row.offline_since);
                put(&mut self.episodes, key, row.recovered_at, row.is_new);
            }
            Change::Seen(row) => {
                put(
                    &mut self.seen,
                    (row.tenant, row.sensor_id),
                    row.seen,
                    row.is_new,
                );
            }
            Change::Index(row) => {
                let key = (row.tenant, row.sensor_id);
                let is_new = !self.index.contains_key(&key);
                put(&mut self.index, key, row.row, is_new);
            }
            Change::Day {
                tenant,
                sensor_id,
                month,
                days,
                ..
            } => {
                self.days.insert(((tenant, sensor_id), month), days);
            }
            Change::Alert(row) => {
                let key = (row.tenant.clone(), row.key.alert_id.clone());
                let stood = self.alerts.get(&key).map(|row| row.key.open);
                assert_eq!(stood, row.before, "{key:?}: before");
                self.alerts.insert(
                    key,
                    AlertChange {
                        before: None,
                        ..*row
                    },
                );
            }
            Change::Ledger(row) => {
                let record = &input.records[row.record];
                let key = (record.topic, record.partition, record.offset);
                assert!(
                    self.ledger.insert(key, (row.tenant, row.reason)).is_none(),
                    "{key:?}"
                );
            }
            Change::AssetHealth(row) => {
                put(
                    &mut self.health,
                    (row.tenant, row.asset_id),
                    row.columns,
                    row.is_new,
                );
            }
            Change::Indicator(row) => {
                put(
                    &mut self.indicators,
                    (row.tenant, row.name),
                    row.value,
                    row.is_new,
                );
            }
            Change::Tenant(_) => {}
        }
    }
}

/// One worker's dataflow with a store of its own.
struct Host {
    engine: Rc<RefCell<Engine>>,
    dataflow: JobDataflow,
    store: BTreeMap<(SensorKey, Millis), Vec<HistoryRow>>,
    /// Rows written and not yet acknowledged, by tick.
    written: Vec<(Millis, Vec<HistoryRow>)>,
}

impl Host {
    fn new(worker: &mut timely::worker::Worker) -> Self {
        let engine = Rc::new(RefCell::new(Engine::new(EngineConfig {
            block_cache_bytes: 0,
            partitions: PARTITIONS,
            worker: worker.index(),
            workers: worker.peers(),
        })));
        let dataflow = JobDataflow::build(worker, Rc::clone(&engine));
        Self {
            engine,
            dataflow,
            store: BTreeMap::new(),
            written: Vec::new(),
        }
    }

    /// Runs a tick; the writes of all but the last `lag` ticks are acknowledged after it.
    fn run(
        &mut self,
        worker: &mut timely::worker::Worker,
        input: TickInput,
        lag: usize,
    ) -> TickOutput {
        let tick = input.tick;
        let needed = self.engine.borrow_mut().blocks_needed(&input);
        for block in needed {
            let key = ((block.tenant.clone(), block.sensor_id.clone()), block.hour);
            let mut rows = self.store.get(&key).cloned().unwrap_or_default();
            rows.retain(|row| row.offset < block.below_offset);
            rows.reverse();
            self.engine.borrow_mut().supply(&block, rows);
        }
        self.dataflow.feed(input);
        worker.step_while(|| !self.dataflow.is_done(tick));
        let output = self.dataflow.take_output(tick);
        let rows = output.changes.iter().filter_map(|change| match change {
            Change::Reading(row) => Some(row.clone()),
            _ => None,
        });
        self.written.push((tick, rows.collect()));
        while self.written.len() > lag {
            let (tick, rows) = self.written.remove(0);
            for row in rows {
                let key = (
                    (row.tenant.clone(), row.sensor_id.clone()),
                    hour_of(row.event_ts),
                );
                self.store.entry(key).or_default().push(row);
            }
            self.engine.borrow_mut().acknowledged(tick);
        }
        output
    }
}

/// Runs a log on one worker; says what the views are after each tick.
pub fn run(log: &[TickInput], lag: usize) -> Vec<Views> {
    let log = log.to_vec();
    timely::execute_directly(move |worker| {
        let mut host = Host::new(worker);
        let mut views = Views::default();
        log.into_iter()
            .map(|input| {
                let output = host.run(worker, input.clone(), lag);
                views.apply(&input, output);
                views.clone()
            })
            .collect()
    })
}

/// Runs a log on several workers; says what the views are at its end.
pub fn run_on(workers: usize, log: &[TickInput]) -> Views {
    let log = Arc::new(log.to_vec());
    let outputs = Arc::new(Mutex::new(Vec::new()));
    let said = Arc::clone(&outputs);
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        let mut host = Host::new(worker);
        for input in log.iter() {
            let mut own = input.clone();
            own.records
                .retain(|r| r.partition as usize % worker.peers() == worker.index());
            let output = host.run(worker, own.clone(), 1);
            said.lock().unwrap().push((own, output));
        }
    });
    guards
        .unwrap()
        .join()
        .into_iter()
        .for_each(|joined| joined.unwrap());
    let mut outputs = std::mem::take(&mut *outputs.lock().unwrap());
    // Of one tick a worker may remove what another adds (a row of a rollup never moves, however).
    outputs.sort_by_key(|(input, _)| input.tick);
    let mut views = Views::default();
    for (input, output) in outputs {
        views.apply(&input, output);
    }
    views
}

/// Holds that a view kept by the dataflow is its definition, after every tick of a log.
pub fn check<V: PartialEq + Debug>(
    log: &Log,
    view: impl Fn(&Views) -> V,
    recompute: impl Fn(&[TickInput]) -> V,
) {
    let kept = run(&log.ticks, log.lag);
    for (at, views) in kept.iter().enumerate() {
        let prefix = &log.ticks[..=at];
        assert_eq!(
            view(views),
            recompute(prefix),
            "after tick {} of {prefix:#?}",
            prefix[at].tick
        );
    }
}

/// A random log.
#[derive(Debug, Clone)]
pub struct Log {
    pub ticks: Vec<TickInput>,
    /// How many ticks acknowledgements lag behind.
    pub lag: usize,
}

#[derive(Debug, Clone)]
enum Step {
    Register(usize, Box<Sensor>),
    Remove(usize),
    Settings(usize, Option<TenantSettings>),
    Reading(usize, Reading),
    Refused(usize),
    Rejected(usize),
}

/// Logs of up to 24 ticks over three sensors of two tenants.
pub fn logs() -> impl Strategy<Value = Log> {
    let step = prop_oneof![
        14 => readings(),
        2 => (0..3usize, sensors()).prop_map(|(who, sensor)| Step::Register(who, Box::new(sensor))),
        1 => (0..3usize).prop_map(Step::Remove),
        1 => (0..3usize, prop::option::of(settings())).prop_map(|(who, s)| Step::Settings(who, s)),
        1 => (0..3usize).prop_map(Step::Refused),
        1 => (0..3usize).prop_map(Step::Rejected),
    ];
    let tick = (
        select(vec![1, 20, 1_000, 61_000, 400_000, 2 * HOUR_MS]),
        prop::collection::vec(step, 0..7),
    );
    (prop::collection::vec(tick, 1..24), 0..3usize).prop_map(|(ticks, lag)| lay_out(ticks, lag))
}

fn who(place: usize) -> SensorKey {
    let (tenant, sensor) = [("a", "s/1"), ("a", "s/2"), ("b", "s/1")][place];
    (TenantId::trusted(tenant), SensorId::trusted(sensor))
}

/// Readings of few times, values and ages, so that they meet; their times are set when they are laid out.
fn readings() -> impl Strategy<Value = Step> {
    let value = prop_oneof![
        6 => select(vec![1.0, 50.0, 79.0, 80.0, 81.0, 101.0, 0.0, -0.0]).prop_map(Some),
        1 => Just(None)
    ];
    // How long before the tick it was received, and how long before that it happened.
    let received = select(vec![0, 0, 0, 10, 5_000, 130_000, 3 * HOUR_MS]);
    let age = prop_oneof![
        4 => select(vec![0, 0, 60_000, 120_000]),
        2 => select(vec![599_999, 600_000, 600_001, HOUR_MS, HOUR_MS + 60_000, 25 * HOUR_MS]),
        1 => select(vec![26 * HOUR_MS, 27 * HOUR_MS, -60_000, -300_000, -300_001]),
    ];
    let quality = select(vec![Quality::Good, Quality::Uncertain]);
    (0..3usize, value, received, age, quality, any::<bool>()).prop_map(
        |(place, value, received, age, quality, device)| {
            let (tenant, sensor_id) = who(place);
            Step::Reading(
                place,
                Reading {
                    tenant,
                    sensor_id,
                    event_ts: age,
                    recv_ts: received,
                    ts_source: if device {
                        TsSource::Device
                    } else {
                        TsSource::Server
                    },
                    // A writer may leave anything beside BAD; the device says nothing by it.
                    value: value.unwrap_or(if device { 5.0 } else { NO_VALUE }),
                    unit: None,
                    quality: if value.is_some() {
                        quality
                    } else {
                        Quality::Bad
                    },
                    event_id: None,
                    sequence: None,
                    battery_pct: None,
                    signal_dbm: None,
                    source: if device { "mqtt" } else { "http" }.to_owned(),
                    readmits: None,
                },
            )
        },
    )
}

fn sensors() -> impl Strategy<Value = Sensor> {
    let limits = prop::option::of((
        prop::option::of(select(vec![0.0, 10.0])),
        prop::option::of(select(vec![60.0, 80.0])),
        prop::option::of(select(vec![80.0, 100.0])),
        prop::option::of(select(vec![0.0, 5.0, 30.0])),
    ));
    let asset = prop::option::of(select(vec!["pump", "lamp"]));
    let timeout = prop::option::of(select(vec![60_000, 3_600_000]));
    let max_age = prop::option::of(select(vec![1_000, 200_000]));
    let interval = prop::option::of(select(vec![10, 60_000]));
    (limits, asset, timeout, max_age, interval).prop_map(
        |(limits, asset, timeout, max_age, interval)| Sensor {
            sensor_id: SensorId::trusted("set when laid out"),
            sensor_type: None,
            unit: None,
            asset_id: asset.map(str::to_owned),
            location: None,
            thresholds: limits.map(|(warning_min, warning_max, critical_max, deadband)| {
                Thresholds {
                    warning_min,
                    warning_max,
                    critical_min: None,
                    critical_max,
                    deadband,
                }
            }),
            offline_timeout_ms: timeout,
            max_age_ms: max_age,
            reporting_interval_ms: interval,
            created_at: 1,
            created_by: String::new(),
            updated_at: 1,
            updated_by: String::new(),
        },
    )
}

fn settings() -> impl Strategy<Value = TenantSettings> {
    (
        select(vec![HOUR_MS, 26 * HOUR_MS, 48 * HOUR_MS]),
        any::<bool>(),
    )
        .prop_map(|(horizon_ms, auto_register)| TenantSettings {
            horizon_ms,
            future_guard_ms: 60_000,
            auto_register,
            created_at: 1,
            created_by: String::new(),
            updated_at: 1,
            updated_by: String::new(),
        })
}

/// Gives steps their times, versions and positions. Every fourth entity change stands in the log twice.
fn lay_out(ticks: Vec<(Millis, Vec<Step>)>, lag: usize) -> Log {
    let mut now = START;
    let mut versions: BTreeMap<(TenantId, String), i64> = BTreeMap::new();
    let mut offsets: BTreeMap<(Topic, i32), i64> = BTreeMap::new();
    let mut changes = 0;
    let mut laid_out = Vec::new();
    for (ahead, steps) in ticks {
        now += ahead;
        let mut input = TickInput {
            tick: now,
            ..TickInput::default()
        };
        for step in steps {
            let mut change = |place: usize, kind: &str, id: String, after| {
                let tenant = who(place).0;
                let version = versions
                    .entry((tenant.clone(), format!("{kind}/{id}")))
                    .or_default();
                *version += 1;
                EntityChange {
                    tenant,
                    kind: kind.to_owned(),
                    id,
                    version: *version,
                    change_id: String::new(),
                    actor: String::new(),
                    at: now,
                    after,
                }
            };
            let mut record = |topic, partition, body| {
                let offset = offsets.entry((topic, partition)).or_default();
                *offset += 1;
                InputRecord {
                    topic,
                    partition,
                    offset: *offset,
                    body,
                }
            };
            match step {
                Step::Register(place, mut sensor) => {
                    sensor.sensor_id = who(place).1;
                    let id = sensor.sensor_id.to_string();
                    input
                        .entities
                        .push(change(place, "sensor", id, AfterImage::Sensor(*sensor)));
                }
                Step::Remove(place) => {
                    let id = who(place).1.to_string();
                    input
                        .entities
                        .push(change(place, "sensor", id, AfterImage::Deleted));
                }
                Step::Settings(place, settings) => {
                    let id = who(place).0.to_string();
                    let after = settings.map_or(AfterImage::Deleted, AfterImage::TenantSettings);
                    input
                        .entities
                        .push(change(place, "tenant_settings", id, after));
                }
                Step::Reading(place, mut reading) => {
                    reading.recv_ts = now - reading.recv_ts;
                    reading.event_ts = reading.recv_ts / 1_000 * 1_000 - reading.event_ts;
                    let (tenant, sensor) = who(place);
                    let bucket = sensor_bucket(&reading_key(&tenant, &sensor), PARTITIONS);
                    let partition = partition_of_bucket(bucket);
                    let body = RecordBody::Reading { reading, bucket };
                    input.records.push(record(Topic::Readings, partition, body));
                }
                Step::Refused(place) => {
                    let entry = LedgerEntry {
                        tenant: who(place).0,
                        source: "mqtt".to_owned(),
                        reason: Reason::Undecodable.as_str().to_owned(),
                        detail: String::new(),
                        origin: String::new(),
                        sensor_id: None,
                        event_ts: None,
                        recv_ts: now,
                        payload: Vec::new(),
                    };
                    input
                        .records
                        .push(record(Topic::Ledger, 0, RecordBody::Refused(entry)));
                }
                Step::Rejected(place) => {
                    let body = RecordBody::Rejected {
                        tenant: who(place).0,
                        reason: Reason::SchemaRejected,
                        detail: String::new(),
                    };
                    input.records.push(record(Topic::Readings, 1, body));
                }
            }
        }
        if let Some(change) = input.entities.last() {
            changes += 1;
            if changes % 4 == 0 {
                input.entities.push(change.clone());
            }
        }
        input.entities.sort_by_key(|change| {
            let kind = openinfra_schemas::EntityKind::parse(&change.kind).unwrap();
            partition_of(&entity_key(&change.tenant, kind, &change.id), PARTITIONS)
        });
        input
            .records
            .sort_by_key(|record| (record.topic, record.partition, record.offset));
        laid_out.push(input);
    }
    Log {
        ticks: laid_out,
        lag,
    }
}
