//! `views dump`: every row of a view in key order, one JSON object a line.
//!
//! What a newcomer would get wrong: a dump that breaks off is an error, never a short answer; only with
//! exit code 0 are the lines all there are.

use std::{
    io::{self, Write},
    time::Duration,
};

use anyhow::Context as _;
use openinfra_api::{
    Progress,
    dump::{Dump, View, dump_view},
};
use openinfra_schemas::{TenantId, Topic};
use reqwest::Method;

use crate::{
    cli::DumpArgs,
    client::Client,
    config::Config,
    deployment::Deployment,
    exit::{self, Failure, Outcome},
    views::still::Still,
};

/// How long a server may take to stream a view; it gives up by itself before.
const STREAM_TIMEOUT: Duration = Duration::from_secs(3_600);

/// Runs the whole command.
pub async fn run(args: DumpArgs) -> Outcome {
    let view = view(&args.name)?;
    let dumped = match &args.place.url {
        Some(url) => from_server(url, view, &args).await,
        None => from_store(view, &args).await,
    };
    match dumped {
        // Whoever read the lines has enough of them, as `| head` has.
        Err(failure) if failure.is_broken_pipe() => Ok(exit::DONE),
        other => other,
    }
}

fn view(name: &str) -> Result<View, Failure> {
    View::parse(name).ok_or_else(|| {
        let known: Vec<_> = View::ALL.iter().map(|view| view.name()).collect();
        Failure::usage(format!(
            "there is no view {name:?}; there are {}",
            known.join(", ")
        ))
    })
}

async fn from_store(view: View, args: &DumpArgs) -> Outcome {
    let tenant = args.tenant.as_deref().map(TenantId::parse).transpose();
    let tenant = tenant.map_err(Failure::usage)?;
    let config = Config::load_deployment(&args.place.deployment)?;
    let deployment = Deployment::open_existing(&config).await?;
    let still = Still::at(&*deployment.store).await?;
    let progress = &still.progress;
    warn_of_lag(&deployment, progress).await?;
    let dump = Dump {
        view,
        by_content: args.by_content,
        tenant,
        partitions: deployment.log.partitions(Topic::Readings),
        as_of: progress.as_of,
    };
    let mut out = io::BufWriter::new(io::stdout());
    let mut emit = |lines: Vec<u8>| out.write_all(&lines);
    let dumped = dump_view(&*deployment.store, &dump, &mut emit).await;
    let flushed = out.flush();
    let stood = still.check(&*deployment.store).await;
    deployment.close().await?;
    dumped.context("reading the view")?;
    flushed.context("writing the rows")?;
    stood?;
    Ok(exit::DONE)
}

/// Views are as of their tick; records behind it are in no row.
async fn warn_of_lag(deployment: &Deployment, progress: &Progress) -> Result<(), anyhow::Error> {
    let mut behind = 0;
    for topic in [Topic::Readings, Topic::Entities, Topic::Ledger] {
        let ends = deployment
            .log
            .end_offsets(topic)
            .await
            .context("reading the log")?;
        let missing = (0..)
            .zip(ends)
            .map(|(partition, end)| end - progress.end(topic, partition));
        behind += missing.filter(|missing| *missing > 0).sum::<i64>();
    }
    if behind > 0 {
        tracing::warn!(
            "{behind} records of the log have not reached the views; a server started on it brings them up"
        );
    }
    Ok(())
}

async fn from_server(url: &str, view: View, args: &DumpArgs) -> Outcome {
    let client = Client::new(url, args.api_key.as_deref())
        .map_err(|error| Failure::new(exit::USAGE, error))?;
    let path = format!(
        "/api/v1/views/{}/rows?by_content={}",
        view.name(),
        args.by_content
    );
    let request = client.request(Method::GET, &path).timeout(STREAM_TIMEOUT);
    let mut response = client
        .expect("dumping a view", request)
        .await
        .map_err(|error| Failure::new(exit::UNKNOWN, error))?;
    let mut out = io::BufWriter::new(io::stdout());
    while let Some(chunk) = response.chunk().await.context("the rows broke off")? {
        out.write_all(&chunk).context("writing the rows")?;
    }
    out.flush().context("writing the rows")?;
    Ok(exit::DONE)
}
