//! From publishing to readable: reads sampled readings back through the API.
//!
//! What a newcomer would get wrong: a reading that was there before it was sent (a repeat in the capture)
//! would be seen at once. Such a probe says nothing and is counted apart.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use openinfra_schemas::time::{Millis, format_ts, parse_ts};
use reqwest::Method;
use serde::Serialize;
use serde_json::Value;
use tokio::{sync::Semaphore, task::JoinSet};

use super::tally::{Percentiles, histogram, record};
use crate::{
    client::{Client, segment},
    clock::now,
};

/// Least pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// A pause is this part of what was waited so far, or more when many look: with few under way what is measured is
/// 6 % or [`LOOK_EVERY`] too long at most, plus one request. Looks at every turn cost a cluster as much as the load.
const PART_OF_WAIT: u32 = 16;
/// So many probes look so often; when more are under way each looks less often, as probes must not be the
/// load that they measure.
const AT_FULL_PACE: u32 = 8;
/// Probes under way at once.
const AT_ONCE: usize = 64;
/// A reading that cannot be seen for so long is missed.
pub const MISSED_AFTER: Duration = Duration::from_secs(30);
/// By how much the clocks of server and prober may differ.
const CLOCKS_DIFFER_MS: Millis = 2_000;

/// Starts and collects probes.
#[derive(Debug)]
pub struct Prober {
    client: Client,
    /// Whether a row's receive time says when it was taken.
    recv_is_clock: bool,
    at_once: Arc<Semaphore>,
    running: Mutex<JoinSet<()>>,
    found: Arc<Mutex<Found>>,
}

#[derive(Debug)]
struct Found {
    latency: Histogram<u64>,
    missed: u64,
    already_there: u64,
    skipped: u64,
}

/// What all probes found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub seen: u64,
    /// Not readable within 30 seconds: refused, or the views are far behind.
    pub missed: u64,
    /// Readable before they were sent: repeats.
    pub already_there: u64,
    /// Not looked for, as too many looks were under way.
    pub skipped: u64,
    /// From publishing to readable.
    pub readable_ms: Option<Percentiles>,
}

/// One reading to look for.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub sensor: String,
    pub ts: Millis,
    pub value: Option<f64>,
    pub published: Instant,
}

enum Look {
    Seen,
    AlreadyThere,
    NotYet,
}

impl Prober {
    pub fn new(client: Client, trust_recv: bool) -> Self {
        Self {
            client,
            recv_is_clock: !trust_recv,
            at_once: Arc::new(Semaphore::new(AT_ONCE)),
            running: Mutex::default(),
            found: Arc::new(Mutex::new(Found {
                latency: histogram(),
                missed: 0,
                already_there: 0,
                skipped: 0,
            })),
        }
    }

    /// A reading goes out now; looks for it until it is there.
    pub fn published(&self, sensor: &str, ts: Millis, value: Option<f64>) {
        let Ok(permit) = Arc::clone(&self.at_once).try_acquire_owned() else {
            self.found.lock().expect("no holder panics").skipped += 1;
            return;
        };
        let wanted = Wanted {
            sensor: sensor.to_owned(),
            ts,
            value,
            published: Instant::now(),
        };
        let (client, found) = (self.client.clone(), Arc::clone(&self.found));
        let sent_at = self.recv_is_clock.then(now);
        let probe = async move {
            look_for(&client, &wanted, sent_at, &found, permit.semaphore()).await;
            drop(permit);
        };
        self.running.lock().expect("no holder panics").spawn(probe);
    }

    /// Waits for the probes under way.
    pub async fn finish(&self) -> Report {
        let running = std::mem::take(&mut *self.running.lock().expect("no holder panics"));
        running.join_all().await;
        self.report()
    }

    /// What was found so far.
    pub fn report(&self) -> Report {
        let found = self.found.lock().expect("no holder panics");
        Report {
            seen: found.latency.len(),
            missed: found.missed,
            already_there: found.already_there,
            skipped: found.skipped,
            readable_ms: Percentiles::of(&found.latency),
        }
    }

    /// How long it took to see what was seen since this was asked last, in microseconds.
    pub fn take_latency(&self) -> Histogram<u64> {
        // Probes end one by one; those that did are no longer of use.
        let mut running = self.running.lock().expect("no holder panics");
        while running.try_join_next().is_some() {}
        let mut found = self.found.lock().expect("no holder panics");
        std::mem::replace(&mut found.latency, histogram())
    }
}

async fn look_for(
    client: &Client,
    wanted: &Wanted,
    sent_at: Option<Millis>,
    found: &Mutex<Found>,
    at_once: &Semaphore,
) {
    loop {
        let look = look(client, wanted, sent_at).await;
        let waited = wanted.published.elapsed();
        let mut found = match look {
            Look::NotYet if waited < MISSED_AFTER => {
                let under_way = (AT_ONCE - at_once.available_permits()) as u32;
                tokio::time::sleep(pause(waited, under_way)).await;
                continue;
            }
            _ => found.lock().expect("no holder panics"),
        };
        match look {
            Look::Seen => record(&mut found.latency, waited, 1),
            Look::AlreadyThere => found.already_there += 1,
            Look::NotYet => found.missed += 1,
        }
        return;
    }
}

/// How long to leave the server alone between two looks for a reading that is waited for since `waited`.
fn pause(waited: Duration, under_way: u32) -> Duration {
    (waited / PART_OF_WAIT).max(LOOK_EVERY * under_way.div_ceil(AT_FULL_PACE))
}

async fn look(client: &Client, wanted: &Wanted, sent_at: Option<Millis>) -> Look {
    let path = format!("/api/v1/iot/sensors/{}/data", segment(&wanted.sensor));
    let request = client.request(Method::GET, &path).query(&[
        ("from", format_ts(wanted.ts)),
        ("to", format_ts(wanted.ts + 1)),
        ("granularity", "raw".to_owned()),
    ]);
    // A server that is restarting, or does not know the sensor yet, has not got it yet.
    let Ok(response) = client.expect("looking for a reading", request).await else {
        return Look::NotYet;
    };
    let Ok(answer) = response.json::<Value>().await else {
        return Look::NotYet;
    };
    let Some(row) = answer["items"].get(0) else {
        return Look::NotYet;
    };
    judge(row, wanted, sent_at)
}

fn judge(row: &Value, wanted: &Wanted, sent_at: Option<Millis>) -> Look {
    let same = row["value"].as_f64() == wanted.value;
    let recv_ts = row["recv_ts"].as_str().and_then(parse_ts);
    match (sent_at, recv_ts) {
        (Some(sent_at), Some(recv_ts)) if recv_ts < sent_at - CLOCKS_DIFFER_MS => {
            // An older row of another value will be corrected by the one that is looked for.
            if same {
                Look::AlreadyThere
            } else {
                Look::NotYet
            }
        }
        _ => Look::Seen,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn looks_are_the_rarer_the_longer_they_take() {
        let ms = Duration::from_millis;
        assert_eq!(pause(ms(0), 1), ms(2));
        assert_eq!(pause(ms(30), 8), ms(2));
        assert_eq!(pause(ms(30), 64), ms(16));
        assert_eq!(pause(ms(960), 8), ms(60));
    }

    #[test]
    fn what_was_there_before_says_nothing() {
        let wanted = Wanted {
            sensor: "a".to_owned(),
            ts: 0,
            value: Some(1.0),
            published: Instant::now(),
        };
        let row =
            |value: f64, recv_ts: Millis| json!({"value": value, "recv_ts": format_ts(recv_ts)});
        let sent_at = Some(10_000_000);
        assert!(matches!(
            judge(&row(1.0, 10_000_000), &wanted, sent_at),
            Look::Seen
        ));
        assert!(matches!(
            judge(&row(1.0, 1_000_000), &wanted, sent_at),
            Look::AlreadyThere
        ));
        assert!(matches!(
            judge(&row(2.0, 1_000_000), &wanted, sent_at),
            Look::NotYet
        ));
        assert!(matches!(
            judge(&row(1.0, 1_000_000), &wanted, None),
            Look::Seen
        ));
    }
}
