//! `replay`: sends a capture to a server, or into a data folder, and says what became of every reading.
//!
//! A reader thread paces the lines and deals them out by sensor (`source`); a sender for each connection
//! sends them in order, again and again until they are acknowledged (`http`, `mqtt`, `folder`). What a
//! newcomer would get wrong: the tool must not measure itself. So a paced reading's latency counts from
//! when it was due, not from when the sender came round to it.

mod folder;
mod horizon;
mod http;
mod mqtt;
mod pace;
mod patience;
mod probe;
mod progress;
mod report;
mod settle;
mod source;
mod tally;

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Context as _;
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    cli::{ReplayArgs, Speed, Target},
    client::Client,
    exit::{self, Failure, Outcome},
    signals,
};
use pace::Pace;
use report::Report;
use source::{Item, Sampler, Shape, Source};
use tally::Tally;

pub use horizon::{Spread, Widened};
pub use probe::Prober;
pub use tally::{Percentiles, histogram};

/// Chunks of readings that wait for a connection.
const CHUNKS_WAITING: usize = 16;

/// What all senders of a replay share.
pub struct Context {
    pub tally: Tally,
    pub cancel: CancellationToken,
    /// How long to go on without any progress.
    pub give_up_after: Duration,
    pub prober: Option<Prober>,
    /// The last trouble told, so that it is told once.
    trouble: Mutex<String>,
}

/// Why a sender stopped before its last reading was acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    #[error("the server refuses to take readings: {0}")]
    Refused(String),
    #[error("gave up after {} s without progress: {why}", after.as_secs())]
    GaveUp { after: Duration, why: String },
    #[error("cancelled")]
    Cancelled,
    #[error("{0:#}")]
    Other(anyhow::Error),
}

/// Runs the whole command.
pub async fn run(args: ReplayArgs) -> Outcome {
    check(&args)?;
    let api = api(&args)?;
    let cancel = signals::cancel_on_signal("stopping; a second signal stops at once");
    let opened = match &args.to {
        Target::Log(dir) => Some(folder::Folder::open(dir, &args.tenant).await?),
        Target::Http(_) | Target::Mqtt(_) => None,
    };
    let widened = match args.horizon_from_file {
        true => Some(widen(&args, api.as_ref(), opened.as_ref()).await?),
        false => None,
    };
    let prober = match (&api, args.probe) {
        (Some(api), 1..) => Some(Prober::new(api.clone(), args.trust_recv)),
        _ => None,
    };
    let context = Arc::new(Context {
        tally: Tally::default(),
        cancel,
        give_up_after: Duration::from_secs_f64(args.give_up_after),
        prober,
        trouble: Mutex::default(),
    });
    let ended = send_all(&args, &context, opened.as_ref()).await;
    let probes = match &context.prober {
        Some(prober) => Some(prober.finish().await),
        None => None,
    };
    if let Some(opened) = opened {
        opened.close().await?;
    }
    let report = Report::new(&args, context.tally.totals(), widened, probes, ended.err());
    report.print(args.json);
    Ok(if report.complete() {
        exit::DONE
    } else {
        exit::FAILED
    })
}

fn check(args: &ReplayArgs) -> Result<(), Failure> {
    let stdin = is_stdin(&args.file);
    let mqtt = matches!(args.to, Target::Mqtt(_));
    let folder = matches!(args.to, Target::Log(_));
    let wrong = |message: &str| Err(Failure::usage(message));
    if stdin && args.horizon_from_file {
        return wrong(
            "--horizon-from-file reads the capture twice, which standard input cannot be; give a file",
        );
    }
    if mqtt && args.horizon_from_file && args.api.is_none() {
        return wrong(
            "--horizon-from-file with --to mqtt://… needs --api http://…, where the settings are",
        );
    }
    if mqtt && args.probe > 0 && args.api.is_none() {
        return wrong(
            "--probe with --to mqtt://… needs --api http://…, where readings are read back",
        );
    }
    if folder && args.probe > 0 {
        return wrong("--probe reads back from a running server, and log:DIR has none");
    }
    if folder && args.api.is_some() {
        return wrong("--api is of no use with log:DIR, which no server has open");
    }
    Ok(())
}

fn api(args: &ReplayArgs) -> Result<Option<Client>, Failure> {
    let base = match (&args.api, &args.to) {
        (Some(api), _) => api,
        (None, Target::Http(base)) => base,
        _ => return Ok(None),
    };
    let client = Client::new(base, args.api_key.as_deref());
    client
        .map(Some)
        .map_err(|error| Failure::new(exit::USAGE, error))
}

async fn widen(
    args: &ReplayArgs,
    api: Option<&Client>,
    opened: Option<&folder::Folder>,
) -> Result<Widened, Failure> {
    let capture = open(&args.file)?;
    let trust_recv = args.trust_recv;
    let spread = tokio::task::spawn_blocking(move || horizon::scan(capture.reader, trust_recv))
        .await
        .context("the first pass over the capture")?
        .with_context(|| format!("reading {}", args.file.display()))?;
    let widened = match (opened, api) {
        (Some(folder), _) => folder.widen(spread).await?,
        (None, Some(api)) => horizon::widen(api, spread)
            .await
            .map_err(horizon::explained)?,
        (None, None) => return Err(Failure::usage("--horizon-from-file needs --api")),
    };
    Ok(widened)
}

/// Sends the whole capture; returns when every reading is answered, or why that will not be.
async fn send_all(
    args: &ReplayArgs,
    context: &Arc<Context>,
    opened: Option<&folder::Folder>,
) -> Result<(), Fatal> {
    let capture = open(&args.file).map_err(Fatal::Other)?;
    let total = capture.total;
    let (shards, receivers): (Vec<_>, Vec<_>) = (0..args.connections)
        .map(|_| mpsc::channel(CHUNKS_WAITING))
        .unzip();
    let source = Source {
        pace: pace(args),
        shape: shape(args),
        sampler: Sampler::new(args.probe, total),
        shards,
        context: Arc::clone(context),
    };
    let mut senders = start_senders(args, context, opened, receivers)?;
    let reader = tokio::task::spawn_blocking(move || source.run(capture.reader));
    let progress = progress::start(total, Arc::clone(context));
    let mut ended = Ok(());
    while let Some(sender) = senders.join_next().await {
        let sent = sender.unwrap_or_else(|panic| Err(Fatal::Other(panic.into())));
        if let (Err(fatal), true) = (sent, ended.is_ok()) {
            // The others have nothing to wait for: not everything will be acknowledged.
            context.cancel.cancel();
            ended = Err(fatal);
        }
    }
    let read = reader.await.map_err(|panic| Fatal::Other(panic.into()))?;
    progress.finish().await;
    ended?;
    read.map_err(|error| Fatal::Other(anyhow::Error::new(error).context("reading the capture")))?;
    if context.cancel.is_cancelled() {
        Err(Fatal::Cancelled)
    } else {
        Ok(())
    }
}

fn start_senders(
    args: &ReplayArgs,
    context: &Arc<Context>,
    opened: Option<&folder::Folder>,
    receivers: Vec<mpsc::Receiver<Vec<Item>>>,
) -> Result<JoinSet<Result<(), Fatal>>, Fatal> {
    let mut senders = JoinSet::new();
    for (number, chunks) in receivers.into_iter().enumerate() {
        let context = Arc::clone(context);
        match (&args.to, opened) {
            (Target::Log(_), Some(folder)) => {
                senders.spawn(folder.sender(args.trust_recv, context).run(chunks));
            }
            (Target::Log(_), None) => unreachable!("a data folder is opened before it is sent to"),
            (Target::Http(base), _) => {
                let client = Client::new(base, args.api_key.as_deref());
                let client = client.map_err(|error| Fatal::Other(error.into()))?;
                senders.spawn(http::Sender::new(client, args.trust_recv, context).run(chunks));
            }
            (Target::Mqtt(host), _) => {
                let key = args.api_key.as_deref();
                let sender = mqtt::Sender::new(host, key, args.trust_recv, number, context);
                senders.spawn(sender.run(chunks));
            }
        }
    }
    Ok(senders)
}

fn pace(args: &ReplayArgs) -> Pace {
    match (args.rate, args.speed) {
        (Some(rate), _) => Pace::Rate(rate),
        (None, Speed::Times(times)) => Pace::Times(times),
        (None, Speed::Max) => Pace::Max,
    }
}

fn shape(args: &ReplayArgs) -> Shape {
    Shape {
        item: !matches!(args.to, Target::Mqtt(_)),
        trust_recv: args.trust_recv,
    }
}

impl Context {
    /// These readings are handed to the wire now; those that are to be read back are looked for.
    fn publish(&self, items: &[Item]) {
        if let Some(prober) = &self.prober {
            for item in items {
                if let Some((ts, value)) = item.probe {
                    prober.published(&item.sensor, ts, value);
                }
            }
        }
    }

    /// Tells a person why nothing goes on, once for each new reason.
    fn say_trouble(&self, why: &str) {
        let mut last = self.trouble.lock().expect("no holder panics");
        if *last != why {
            tracing::warn!("{why}; trying again");
            why.clone_into(&mut last);
        }
    }
}

#[cfg(test)]
impl Context {
    fn for_test() -> Self {
        Self {
            tally: Tally::default(),
            cancel: CancellationToken::new(),
            give_up_after: Duration::from_secs(5),
            prober: None,
            trouble: Mutex::default(),
        }
    }
}

struct Capture {
    reader: Box<dyn BufRead + Send>,
    /// Its length in bytes, where that is known.
    total: Option<u64>,
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn open(path: &Path) -> Result<Capture, anyhow::Error> {
    const BUFFER: usize = 1 << 20;
    let (input, total): (Box<dyn Read + Send>, _) = if is_stdin(path) {
        (Box::new(std::io::stdin()), None)
    } else {
        let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        let total = file
            .metadata()
            .ok()
            .filter(std::fs::Metadata::is_file)
            .map(|m| m.len());
        (Box::new(file), total)
    };
    Ok(Capture {
        reader: Box::new(BufReader::with_capacity(BUFFER, input)),
        total,
    })
}
