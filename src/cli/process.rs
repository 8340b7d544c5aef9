//! `ingest`, `serve` and `views run`: the parts of `up`, each as a process of its own.

use std::net::SocketAddr;

use clap::Args;

use super::{DeploymentArgs, ServerArgs};

const HELP: &str = "\
The processes of one deployment share log, registry and store; none of them may be embedded:
  openinfra admin migrate --store cql://127.0.0.1:9042/city --replication 1    # one node
  export OPENINFRA_CONFIG=city.toml    # with [kafka], [registry] and [cql]
  openinfra views run --http 127.0.0.1:8090
  openinfra ingest --http 127.0.0.1:8085 --mqtt 127.0.0.1:1883
  openinfra serve --http 127.0.0.1:8080 --views http://127.0.0.1:8090

Any number of `ingest` and `serve` may run, and one `views run`: a second one takes over from the
first, which stops.";

/// What the processes share.
#[derive(Debug, Args)]
pub struct ProcessArgs {
    #[command(flatten)]
    pub deployment: DeploymentArgs,
    /// Address of what it answers over HTTP, health and metrics included; port 0 takes a free one
    /// [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    pub http: Option<SocketAddr>,
    /// For trying out: loopback addresses only, no authentication, everything in tenant `default`
    #[arg(long)]
    pub dev: bool,
    /// Prints the addresses as a JSON object; logs as JSON too
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = HELP, args_override_self = true)]
pub struct IngestArgs {
    #[command(flatten)]
    pub process: ProcessArgs,
    /// Address of the MQTT listener; port 0 takes a free one [default: 127.0.0.1:1883]
    #[arg(long, value_name = "ADDR")]
    pub mqtt: Option<SocketAddr>,
    /// Which of the `ingest` that share a configuration this is, the same after a restart: {instance} in
    /// the client ids of the section `broker` [default: the host's name]
    #[arg(long, value_name = "NAME")]
    pub instance: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = HELP, args_override_self = true)]
pub struct ServeArgs {
    #[command(flatten)]
    pub process: ProcessArgs,
    /// Where `views run` listens, as http://HOST:PORT: it holds its ticks while views are dumped or
    /// verified
    #[arg(long, value_name = "URL")]
    pub views: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = HELP, args_override_self = true)]
pub struct RunViewsArgs {
    #[command(flatten)]
    pub process: ProcessArgs,
    /// Worker threads of the job [default: 2]
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
}

impl ProcessArgs {
    /// As a configuration takes them.
    pub fn server(&self) -> ServerArgs {
        ServerArgs {
            deployment: self.deployment.clone(),
            http: self.http,
            mqtt: None,
            workers: None,
            instance: None,
            json: self.json,
        }
    }
}
