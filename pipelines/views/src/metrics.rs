//! The job's metrics. Labels come from closed sets; nothing here names a tenant or a sensor.

use openinfra_schemas::Topic;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, core::Collector,
};

use crate::{JobError, counts::View, ends::Ends};

/// All metrics of one instance.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) epoch_current: IntGauge,
    pub(crate) epoch_durable: IntGauge,
    pub(crate) epoch_age: prometheus::Gauge,
    pub(crate) commit_seconds: Histogram,
    pub(crate) event_to_view: Histogram,
    pub(crate) log_lag: IntGaugeVec,
    pub(crate) view_rows: IntGaugeVec,
    pub(crate) view_updates: IntCounterVec,
    pub(crate) hydrated: IntGauge,
    pub(crate) store_retries: IntCounter,
    pub(crate) log_retries: IntCounter,
    pub(crate) entity_undecodable: IntCounter,
    pub(crate) ticks_foreign: IntCounter,
    ledger_records: IntCounterVec,
    log_records: IntCounter,
    pub(crate) conservation_difference: IntGauge,
    pub(crate) block_fetches: IntCounter,
}

impl Metrics {
    /// Registers all of them; a registry takes one job.
    pub(crate) fn new(registry: &Registry) -> Result<Self, JobError> {
        Self::build(registry).map_err(|e| JobError::Metrics(e.to_string()))
    }

    fn build(registry: &Registry) -> prometheus::Result<Self> {
        let gauge = |name, help| keep(registry, IntGauge::new(name, help)?);
        let counter = |name, help| keep(registry, IntCounter::new(name, help)?);
        let gauges = |name, help, labels: &[&str]| {
            keep(registry, IntGaugeVec::new(Opts::new(name, help), labels)?)
        };
        let counters = |name, help, labels: &[&str]| {
            keep(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
        };
        let seconds = vec![
            0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
            60.0,
        ];
        let event_to_view = keep(
            registry,
            HistogramVec::new(
                HistogramOpts::new(
                    "openinfra_event_to_view_seconds",
                    "From the log's append of a tick's oldest record to the tick's commit",
                )
                .buckets(seconds.clone()),
                &["view"],
            )?,
        )?;
        Ok(Self {
            epoch_current: gauge(
                "openinfra_epoch_current",
                "The newest tick acted on, in milliseconds since 1970",
            )?,
            epoch_durable: gauge(
                "openinfra_epoch_durable",
                "The newest tick in the views, in milliseconds since 1970",
            )?,
            epoch_age: keep(
                registry,
                prometheus::Gauge::new(
                    "openinfra_epoch_age_seconds",
                    "How old the newest tick in the views is",
                )?,
            )?,
            commit_seconds: keep(
                registry,
                Histogram::with_opts(
                    HistogramOpts::new(
                        "openinfra_epoch_commit_seconds",
                        "How long the store took for a batch of ticks, retries included",
                    )
                    .buckets(seconds),
                )?,
            )?,
            event_to_view: event_to_view.with_label_values(&["all"]),
            log_lag: gauges(
                "openinfra_log_lag_records",
                "Records in the log that no committed tick covers",
                &["topic", "partition"],
            )?,
            view_rows: gauges("openinfra_view_rows", "Rows of a view", &["view"])?,
            view_updates: counters(
                "openinfra_view_updates_total",
                "Changes of rows of a view, replayed ones included",
                &["view"],
            )?,
            hydrated: gauge(
                "openinfra_hydration_complete",
                "1 when the replay reached the newest tick that was there at the start",
            )?,
            store_retries: counter(
                "openinfra_store_retries_total",
                "Requests of the job that the store refused and that were tried again",
            )?,
            log_retries: counter(
                "openinfra_log_retries_total",
                "Requests of the job that the log refused and that were tried again",
            )?,
            entity_undecodable: counter(
                "openinfra_entity_undecodable_total",
                "Records of entities that could not be read and were passed over",
            )?,
            ticks_foreign: counter(
                "openinfra_ticks_foreign_total",
                "Records of ticks that are not the views job's and mean nothing, replayed ones included",
            )?,
            ledger_records: counters(
                "openinfra_ledger_records_total",
                "Records of readings and ledger by what became of them, replayed ones included",
                &["outcome"],
            )?,
            log_records: counter(
                "openinfra_log_records_total",
                "Records of readings and ledger that ticks covered, replayed ones included",
            )?,
            conservation_difference: gauge(
                "openinfra_conservation_difference",
                "Records that ticks covered less those accounted for; anything but 0 is a defect",
            )?,
            block_fetches: counter(
                "openinfra_history_blocks_fetched_total",
                "Hours of a sensor's history read from the store",
            )?,
        })
    }

    pub(crate) fn rows(&self, view: View, rows: i64) {
        self.view_rows.with_label_values(&[view.name()]).set(rows);
    }

    /// Counts up to all records that ticks covered, and to those of each outcome. Both are sums since the
    /// log's beginning: a new process counts from 0 as it replays.
    pub(crate) fn records(
        &self,
        covered: i64,
        outcomes: impl Iterator<Item = (&'static str, i64)>,
    ) {
        count_up_to(&self.log_records, covered);
        for (outcome, records) in outcomes {
            count_up_to(&self.ledger_records.with_label_values(&[outcome]), records);
        }
    }

    /// Sets the lag of every partition between what is committed and what was seen in the log.
    pub(crate) fn lag(&self, topic: Topic, committed: &Ends, seen: &Ends) {
        let pairs = committed.of(topic).iter().zip(seen.of(topic));
        for (partition, (committed, seen)) in pairs.enumerate() {
            self.log_lag
                .with_label_values(&[topic.name(), &partition.to_string()])
                .set((seen - committed).max(0));
        }
    }
}

fn count_up_to(counter: &IntCounter, sum: i64) {
    let sum = u64::try_from(sum).unwrap_or_default();
    counter.inc_by(sum.saturating_sub(counter.get()));
}

fn keep<C: Collector + Clone + 'static>(registry: &Registry, metric: C) -> prometheus::Result<C> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_called_a_total_is_a_counter_and_never_falls() {
        let registry = Registry::new();
        let metrics = Metrics::new(&registry).unwrap();
        for sum in [3, 5, 4] {
            metrics.records(sum, [("accepted", sum)].into_iter());
        }
        let mut totals = 0;
        for family in registry.gather() {
            let is_counter = family.get_field_type() == prometheus::proto::MetricType::COUNTER;
            assert_eq!(
                is_counter,
                family.name().ends_with("_total"),
                "{}",
                family.name()
            );
            if family.name().ends_with("_records_total") {
                totals += 1;
                assert_eq!(family.get_metric()[0].get_counter().get_value(), 5.0);
            }
        }
        assert_eq!(totals, 2);
    }
}
