//! `up` and `demo`: what a server is started with.

use std::net::SocketAddr;

use clap::Args;

use super::{DeploymentArgs, positive};

const UP_HELP: &str = "\
Examples:
  openinfra up --dev
  openinfra up --data /var/lib/openinfra --http 0.0.0.0:8080 --mqtt 0.0.0.0:1883 --config openinfra.toml

Configuration: every key of the TOML file can also be a variable, OPENINFRA_<SECTION>__<KEY>:
  [job]                               OPENINFRA_JOB__WORKERS=4
  workers = 4
An unknown key or variable is an error that names it. Where several say something, the flag
counts, then the variable, then the file.

Without --dev every device needs a key: see `openinfra admin create-key --help`.
The server stops on SIGINT or SIGTERM: it takes no more input, finishes what it took, and
exits 0. A second signal stops it at once; acknowledged readings are safe either way.";

#[derive(Debug, Args)]
// A script may append flags to a line that has them; the last one counts.
#[command(after_help = UP_HELP, args_override_self = true)]
pub struct UpArgs {
    #[command(flatten)]
    pub server: ServerArgs,
    /// For trying out: loopback addresses only, no authentication, everything in tenant `default`
    #[arg(long)]
    pub dev: bool,
}

/// What `up` and `demo` share.
#[derive(Debug, Clone, Default, Args)]
pub struct ServerArgs {
    #[command(flatten)]
    pub deployment: DeploymentArgs,
    /// Address of the HTTP API; port 0 takes a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    pub http: Option<SocketAddr>,
    /// Address of the MQTT listener; port 0 takes a free one [default: 127.0.0.1:1883]
    #[arg(long, value_name = "ADDR")]
    pub mqtt: Option<SocketAddr>,
    /// Worker threads of the job that keeps the views [default: 2]
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
    /// Which of several processes that share a configuration this is: {instance} in the client ids of
    /// the section `broker` [default: the host's name]
    #[arg(long, value_name = "NAME")]
    pub instance: Option<String>,
    /// Prints the addresses, and what follows, as JSON objects, one a line; logs as JSON too
    #[arg(long)]
    pub json: bool,
}

const DEMO_HELP: &str = "\
Each second a line shows the rate of readings, how old a reading is when it can be read
(freshness, from publishing to readable, measured by reading back), open alerts, and sensors
online. Try, with the address it prints:
  curl -s http://127.0.0.1:8080/api/v1/alerts?state=open
  curl -s http://127.0.0.1:8080/api/v1/views";

#[derive(Debug, Args)]
#[command(after_help = DEMO_HELP, args_override_self = true)]
pub struct DemoArgs {
    #[command(flatten)]
    pub server: ServerArgs,
    /// Taken for the sake of scripts that also run `up`; a demo is always --dev
    #[arg(long, hide = true)]
    pub dev: bool,
    /// How many assets the city has; an asset has two to four sensors
    #[arg(long, value_name = "N", default_value_t = 220, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub assets: u32,
    /// Seconds between two readings of a sensor
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = positive)]
    pub interval: f64,
    /// The same seed gives the same city
    #[arg(long, value_name = "N", default_value_t = 7)]
    pub seed: u64,
}
