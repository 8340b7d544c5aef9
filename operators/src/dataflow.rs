//! The dataflow of the job: the engine as one operator, and differential collections over what it says.
//!
//! * **Operators** an input of whole ticks, the engine, `asset_health` and `indicators` over its facts,
//!   and a probe behind both.
//! * **Frontiers** the input stands at the tick after the one fed last. A tick is done when the probe's
//!   frontier is beyond it on every worker.
//! * **Invariants** the engine acts on a tick when its data arrives, which is whole and in order: one
//!   worker's input goes to that worker's engine, and the host feeds one tick after the other. It holds
//!   no capability beyond the call, as all it says is at the tick's own time.

use std::{cell::RefCell, collections::HashMap, hash::Hash, rc::Rc};

use differential_dataflow::AsCollection;
use openinfra_schemas::time::Millis;
use timely::{
    container::CapacityContainerBuilder,
    dataflow::{
        InputHandle, ProbeHandle,
        channels::pact::Pipeline,
        operators::{Input, generic::operator::Operator},
    },
    worker::Worker,
};

use crate::{
    AssetHealth, Change, Engine, IndicatorChange, OutcomeCounts, TickInput,
    change::AssetHealthColumns,
    views::{
        asset_health::{AssetKey, asset_health},
        indicators::{IndicatorKey, indicators},
    },
};

/// What one worker has to say about one tick. The host adds up what the workers say.
#[derive(Debug, Default)]
pub struct TickOutput {
    pub tick: Millis,
    pub changes: Vec<Change>,
    pub outcomes: Vec<OutcomeCounts>,
}

/// A row of a collection, the tick, and how often it was added.
type Update<K, V> = ((K, V), u64, isize);

/// Updates of a collection as they were seen.
type Updates<K, V> = Rc<RefCell<Vec<Update<K, V>>>>;

/// The handles of one worker's part of the dataflow.
pub struct JobDataflow {
    input: InputHandle<u64, CapacityContainerBuilder<Vec<TickInput>>>,
    probe: ProbeHandle<u64>,
    said: Rc<RefCell<Vec<TickOutput>>>,
    health: Updates<AssetKey, AssetHealthColumns>,
    counts: Updates<IndicatorKey, isize>,
}

impl JobDataflow {
    /// Builds the dataflow on this worker; every worker must. The engine stays with the host too, to be
    /// asked for blocks between ticks.
    pub fn build(worker: &mut Worker, engine: Rc<RefCell<Engine>>) -> Self {
        let mut input = InputHandle::new();
        let probe = ProbeHandle::new();
        let said = Rc::new(RefCell::new(Vec::new()));
        let health = Updates::default();
        let counts = Updates::default();
        worker.dataflow::<u64, _, _>(|scope| {
            let said = Rc::clone(&said);
            let facts = scope
                .input_from(&mut input)
                .unary(Pipeline, "sensor engine", move |_, _| {
                    let mut changed = Vec::new();
                    move |input, output| {
                        input.for_each_time(|time, ticks| {
                            let mut session = output.session(&time);
                            for tick in ticks.flat_map(|ticks: &mut Vec<TickInput>| ticks.drain(..))
                            {
                                let at = *time.time();
                                let output = engine.borrow_mut().run(tick, &mut changed);
                                said.borrow_mut().push(output);
                                session.give_iterator(
                                    changed.drain(..).map(|(fact, diff)| (fact, at, diff)),
                                );
                            }
                        });
                    }
                })
                .as_collection();
            asset_health(facts.clone())
                .inspect_batch(remember(&health))
                .probe_with(&probe);
            indicators(facts)
                .inspect_batch(remember(&counts))
                .probe_with(&probe);
        });
        Self {
            input,
            probe,
            said,
            health,
            counts,
        }
    }

    /// Feeds everything of one tick and closes it. Ticks ascend; every worker must be fed every tick.
    pub fn feed(&mut self, input: TickInput) {
        let tick = time_of(input.tick);
        self.input.advance_to(tick);
        self.input.send(input);
        self.input.advance_to(tick + 1);
        self.input.flush();
    }

    /// Whether all of this tick has passed, on every worker.
    pub fn is_done(&self, tick: Millis) -> bool {
        !self.probe.less_than(&(time_of(tick) + 1))
    }

    /// What this worker's operators said at `tick`, which must be done.
    pub fn take_output(&mut self, tick: Millis) -> TickOutput {
        let mut said = self.said.borrow_mut();
        let mut output = match said.iter().position(|output| output.tick == tick) {
            Some(place) => said.remove(place),
            None => TickOutput {
                tick,
                ..TickOutput::default()
            },
        };
        for (key, before, now) in take_changes(&self.health, tick) {
            let (tenant, asset_id) = key;
            output.changes.push(Change::AssetHealth(AssetHealth {
                tenant,
                asset_id: asset_id.to_string(),
                columns: now,
                is_new: before.is_none(),
            }));
        }
        for (key, before, now) in take_changes(&self.counts, tick) {
            let (tenant, name) = key;
            output.changes.push(Change::Indicator(IndicatorChange {
                tenant,
                name,
                value: now.map(|count| count as i64),
                is_new: before.is_none(),
            }));
        }
        output
    }
}

/// Ticks are milliseconds since the epoch: never negative, as the log's clock is ours.
fn time_of(tick: Millis) -> u64 {
    u64::try_from(tick).expect("a tick is not before 1970")
}

fn remember<K: Clone + 'static, V: Clone + 'static>(
    updates: &Updates<K, V>,
) -> impl FnMut(&u64, &[Update<K, V>]) + 'static {
    let updates = Rc::clone(updates);
    move |_, batch| updates.borrow_mut().extend_from_slice(batch)
}

/// The rows that changed at a tick: key, the row before, the row now, one or both of them there.
fn take_changes<K: Clone + Eq + Hash + Ord, V: Clone + Ord>(
    updates: &Updates<K, V>,
    tick: Millis,
) -> Vec<(K, Option<V>, Option<V>)> {
    let time = time_of(tick);
    let mut at_tick = Vec::new();
    updates.borrow_mut().retain(|(row, at, diff)| {
        let later = *at > time;
        if !later {
            at_tick.push((row.clone(), *diff));
        }
        later
    });
    differential_dataflow::consolidation::consolidate(&mut at_tick);
    let mut changes: HashMap<K, (Option<V>, Option<V>)> = HashMap::new();
    for ((key, row), diff) in at_tick {
        let change = changes.entry(key).or_default();
        if diff < 0 {
            change.0 = Some(row);
        } else {
            change.1 = Some(row);
        }
    }
    let mut changes: Vec<_> = changes
        .into_iter()
        .map(|(key, (before, now))| (key, before, now))
        .collect();
    changes.sort_by(|a, b| a.0.cmp(&b.0));
    changes
}
