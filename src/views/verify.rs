//! `views verify`: whether the views equal a batch recomputation of the log.
//!
//! What a newcomer would get wrong: 1 says that a row differs, 2 that it could not be found out. A script
//! that takes both for "different" cries wolf when a server holds the folder.

use std::time::Duration;

use anyhow::Context as _;
use openinfra_api::VerifyResponse;
use openinfra_verify::Options;
use reqwest::Method;
use serde_json::Value;

use crate::{
    cli::VerifyArgs,
    client::{Client, ClientError},
    config::Config,
    deployment::Deployment,
    exit::{self, Failure, Outcome},
    verification,
    views::still::Still,
};

/// How long a server may take; it gives up by itself before.
const TIMEOUT: Duration = Duration::from_secs(3_600);

/// Runs the whole command.
pub async fn run(args: VerifyArgs) -> Outcome {
    let report = match &args.place.url {
        Some(url) => from_server(url, args.api_key.as_deref()).await?,
        None => from_store(&args).await?,
    };
    print(&report, args.json);
    Ok(if report["equal"] == true {
        exit::DONE
    } else {
        exit::FAILED
    })
}

async fn from_store(args: &VerifyArgs) -> Result<Value, Failure> {
    let config = Config::load_deployment(&args.place.deployment)?;
    let deployment = Deployment::open_existing(&config).await?;
    let still = Still::at(&*deployment.store).await?;
    let found = verification::run(deployment.parts(), unsettled()).await;
    let stood = still.check(&*deployment.store).await;
    let closed = deployment.close().await;
    let found = found.map_err(|error| Failure::new(exit::UNKNOWN, error))?;
    stood?;
    closed?;
    // In the shape in which a server answers.
    let report = VerifyResponse::from(found);
    Ok(serde_json::to_value(report).context("the report")?)
}

/// A job may have been cut off in the middle of a tick.
fn unsettled() -> Options {
    Options {
        settled: false,
        ..Options::default()
    }
}

async fn from_server(url: &str, key: Option<&str>) -> Result<Value, Failure> {
    let client = Client::new(url, key).map_err(|error| Failure::new(exit::USAGE, error))?;
    let unknown = |error: ClientError| Failure::new(exit::UNKNOWN, error);
    let request = client
        .request(Method::POST, "/api/v1/views/verify")
        .timeout(TIMEOUT);
    let response = client
        .expect("verifying the views", request)
        .await
        .map_err(unknown)?;
    let report: Value = response.json().await.map_err(|error| {
        unknown(ClientError::Shape {
            what: "the verification".to_owned(),
            detail: error.to_string(),
        })
    })?;
    match report["equal"] {
        Value::Bool(_) => Ok(report),
        _ => Err(unknown(ClientError::Shape {
            what: "the verification".to_owned(),
            detail: "equal is missing".to_owned(),
        })),
    }
}

fn print(report: &Value, json: bool) {
    if json {
        println!("{report}");
        return;
    }
    let as_of = report["as_of"].as_str().unwrap_or("no tick");
    if report["equal"] == true {
        println!("equal: the views are what the log says, as of {as_of}");
        return;
    }
    println!("different, as of {as_of}; the first rows that differ:");
    for row in report["differing"].as_array().into_iter().flatten() {
        let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        println!("{} {}", text("view"), text("key"));
        println!("  the log gives  {}", or_none(&row["expected"]));
        println!("  the store has  {}", or_none(&row["found"]));
    }
}

fn or_none(row: &Value) -> String {
    if row.is_null() {
        "no such row".to_owned()
    } else {
        row.to_string()
    }
}
