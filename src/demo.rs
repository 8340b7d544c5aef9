//! `demo`: the server, a simulated city that publishes to it, and a line a second about both.
//!
//! What a newcomer would get wrong: what the line shows is asked of the API, as a dashboard would, and
//! measured from outside. Nothing is taken from the server's memory.

use std::{
    collections::VecDeque,
    io::{IsTerminal, Write},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use openinfra_schemas::time::format_ts;
use serde::Serialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{
    city::{self, City, Plan},
    cli::DemoArgs,
    client::Client,
    clock,
    config::Config,
    exit::{Failure, Outcome},
    platform::{Addresses, Platform, Role},
    replay::{Percentiles, Prober, histogram},
    signals, up,
};

/// Freshness is told over so many seconds.
const FRESHNESS_SECONDS: usize = 10;

/// What one line tells.
#[derive(Debug, Serialize)]
struct Line {
    at: String,
    /// Readings acknowledged a second.
    rate: f64,
    /// From publishing to readable, over the last ten seconds.
    fresh_ms: Option<Percentiles>,
    alerts_open: Option<i64>,
    sensors_online: Option<i64>,
    sensors_offline: Option<i64>,
}

/// Runs the whole command.
pub async fn run(args: DemoArgs) -> Outcome {
    let mut config = up::prepare(&args.server, true, "warn")?;
    let temporary = temporary_folder(&mut config, args.server.deployment.data.is_some())?;
    let cancel = signals::cancel_on_signal(up::DRAINING);
    let data = config.data.display().to_string();
    let platform = Platform::start(config, true, Role::All).await?;
    let addresses = platform.addresses;
    up::announce(&addresses, Role::All, args.server.json);
    if !args.server.json {
        println!("data       {data}");
    }
    let stop = CancellationToken::new();
    let mut server = tokio::spawn(platform.run(stop.clone()));
    let mut show = tokio::spawn(show(args, addresses, cancel.clone()));
    let ended = tokio::select! {
        // The server ends by itself only when it fails.
        ended = &mut server => {
            cancel.cancel();
            return ended.context("the server")?;
        }
        shown = &mut show => shown.context("the city")?,
    };
    stop.cancel();
    let drained = server.await.context("the server")?;
    // Removed when everything in it is closed.
    drop(temporary);
    ended?;
    drained
}

/// Registers the city, lets it publish, and tells about it every second, until cancelled.
async fn show(
    args: DemoArgs,
    addresses: Addresses,
    cancel: CancellationToken,
) -> Result<(), anyhow::Error> {
    let json = args.server.json;
    let plan = Plan::new(city::Settings {
        assets: args.assets,
        interval: Duration::from_secs_f64(args.interval),
        seed: args.seed,
    });
    let client = Client::new(&format!("http://{}", addresses.http), None)?;
    let began = Instant::now();
    tokio::select! {
        registered = city::register(&plan, &client) => registered.context("registering the city")?,
        () = cancel.cancelled() => return Ok(()),
    }
    if !json {
        let seconds = began.elapsed().as_secs_f64();
        println!(
            "city       {} sensors on {} assets, registered in {seconds:.1} s; Ctrl-C ends it",
            plan.devices.len(),
            args.assets,
        );
    }
    let prober = Arc::new(Prober::new(client.clone(), false));
    let mqtt = addresses.mqtt.context("a demo has an MQTT listener")?;
    let city = City::start(&plan, mqtt, &prober);
    let mut lines = Lines::new(client, prober);
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    seconds.tick().await;
    loop {
        tokio::select! {
            _ = seconds.tick() => lines.next(city.acknowledged()).await.print(json),
            () = cancel.cancelled() => break,
        }
    }
    if std::io::stdout().is_terminal() && !json {
        println!();
    }
    city.stop().await;
    Ok(())
}

/// What the lines are made from.
struct Lines {
    client: Client,
    prober: Arc<Prober>,
    seen: VecDeque<Histogram<u64>>,
    before: (Instant, u64),
}

impl Lines {
    fn new(client: Client, prober: Arc<Prober>) -> Self {
        Self {
            client,
            prober,
            seen: VecDeque::new(),
            before: (Instant::now(), 0),
        }
    }

    async fn next(&mut self, acknowledged: u64) -> Line {
        let now = Instant::now();
        let (then, before) = std::mem::replace(&mut self.before, (now, acknowledged));
        let rate = (acknowledged - before) as f64 / (now - then).as_secs_f64().max(0.001);
        self.seen.push_back(self.prober.take_latency());
        if self.seen.len() > FRESHNESS_SECONDS {
            self.seen.pop_front();
        }
        let mut all = histogram();
        for seen in &self.seen {
            all.add(seen).expect("all histograms have the same bounds");
        }
        let counts = self
            .client
            .get("the indicators", "/api/v1/indicators")
            .await;
        let counts = counts.map_or(Value::Null, |counts| counts.body);
        let count = |name: &str| counts["indicators"][name].as_i64();
        Line {
            at: format_ts(clock::now()),
            rate,
            fresh_ms: Percentiles::of(&all),
            alerts_open: count("alerts_open"),
            sensors_online: count("sensors_online"),
            sensors_offline: count("sensors_offline"),
        }
    }
}

impl Line {
    fn print(&self, json: bool) {
        let mut out = std::io::stdout();
        // On a terminal the line stays in its place.
        let written = if json {
            writeln!(
                out,
                "{}",
                serde_json::to_string(self).expect("numbers become JSON")
            )
        } else if out.is_terminal() {
            write!(out, "\r\x1b[2K{self}")
        } else {
            writeln!(out, "{self}")
        };
        // Nobody may read it any more; the city goes on.
        let _ = written.and_then(|()| out.flush());
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let time = self.at.get(11..19).unwrap_or_default();
        write!(f, "{time}  {:.0} readings/s  ", self.rate)?;
        match &self.fresh_ms {
            Some(fresh) => write!(f, "fresh p50 {:.0} ms p99 {:.0} ms  ", fresh.p50, fresh.p99)?,
            None => write!(f, "fresh -  ")?,
        }
        let count = |count: Option<i64>| count.map_or("-".to_owned(), |count| count.to_string());
        write!(
            f,
            "alerts {} open  sensors {} online, {} offline",
            count(self.alerts_open),
            count(self.sensors_online),
            count(self.sensors_offline),
        )
    }
}

/// A folder that goes when the demo ends, unless the operator named one.
fn temporary_folder(
    config: &mut Config,
    is_named: bool,
) -> Result<Option<tempfile::TempDir>, Failure> {
    if is_named || config.data != Config::default().data {
        return Ok(None);
    }
    let folder = tempfile::Builder::new().prefix("openinfra-demo-").tempdir();
    let folder = folder.context("making a temporary folder")?;
    config.data = folder.path().to_owned();
    Ok(Some(folder))
}
