//! The command line as a person reads it: every subcommand, flag, default and unit.
//!
//! A newcomer would expect flags to win over everything; they do: flag, then `OPENINFRA_…` variable,
//! then the file of `--config`, then the default (see `config`). So flags that a file may set have no
//! default here.

use std::{net::SocketAddr, path::PathBuf, str::FromStr};

use clap::{Args, Parser, Subcommand, ValueEnum};

const AFTER_HELP: &str = "\
Start here:
  openinfra demo                      a simulated city; open the printed address in a browser
  openinfra up --dev                  the same server without the city, for your own devices
  mosquitto_pub -V 5 -q 1 -t sensors/pump-1/data -m '{\"value\": 3.2}'

Exit codes: 0 done, 1 it failed or found a difference, 2 it could not be found out,
64 a flag, variable or configuration file is wrong.

Log output goes to standard error; OPENINFRA_LOG (or RUST_LOG) filters it, as in
OPENINFRA_LOG=warn,openinfra_mqtt=debug.";

/// Keeps a live, exact picture of a city's infrastructure: readings in over MQTT and HTTP, views out
/// over a REST API, all in one process and one data folder.
#[derive(Debug, Parser)]
#[command(name = "openinfra", version, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs the server with a simulated city that publishes to it
    Demo(DemoArgs),
    /// Runs the server: MQTT listener, HTTP API and the job that keeps the views
    Up(UpArgs),
    /// Sends a capture of readings, at its own pace or faster, and reports what became of it
    Replay(ReplayArgs),
    /// Reads views whole, or proves them against the log
    #[command(subcommand)]
    Views(ViewsCommand),
    /// Tasks of whoever runs the server
    #[command(subcommand)]
    Admin(AdminCommand),
}

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
#[derive(Debug, Clone, Args)]
pub struct ServerArgs {
    /// Folder that keeps log and views; made when it is not there [default: .openinfra/data, for
    /// `demo` a temporary folder]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Address of the HTTP API; port 0 takes a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    pub http: Option<SocketAddr>,
    /// Address of the MQTT listener; port 0 takes a free one [default: 127.0.0.1:1883]
    #[arg(long, value_name = "ADDR")]
    pub mqtt: Option<SocketAddr>,
    /// Worker threads of the job that keeps the views [default: 2]
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
    /// Configuration in TOML
    #[arg(long, value_name = "FILE", env = "OPENINFRA_CONFIG")]
    pub config: Option<PathBuf>,
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

const REPLAY_HELP: &str = "\
A line of FILE is {\"sensor_id\", \"ts\", \"value\", \"unit\", \"lat\", \"lon\"} with, if it likes, recv_ts,
quality and event_id; ts and recv_ts are milliseconds since 1970, a value of null is a hole.

Examples:
  openinfra replay capture.ndjson --to http://127.0.0.1:8080 --speed max --horizon-from-file
  openinfra replay capture.ndjson --to mqtt://127.0.0.1:1883 --speed 60
  openinfra replay load.ndjson --to mqtt://127.0.0.1:1883 --api http://127.0.0.1:8080 \\
      --rate 20000 --probe 500
  zcat capture.ndjson.gz | openinfra replay - --to log:./data --speed max --trust-recv

The readings of one sensor are sent in the file's order. What was not acknowledged is sent
again, for as long as it takes; readings are counted once however often they are sent.
Exits 0 only when every reading was acknowledged and none was rejected by the connector.
Readings that the views refuse, as one beyond the tenant's horizon, are acknowledged: they
stand in the ledger, see GET /api/v1/ledger/summary.";

#[derive(Debug, Clone, Args)]
#[command(after_help = REPLAY_HELP)]
pub struct ReplayArgs {
    /// The capture; `-` is standard input
    pub file: PathBuf,
    /// What a line is
    #[arg(long, value_enum, default_value_t = CaptureFormat::Ndjson)]
    pub format: CaptureFormat,
    /// Where to: http://HOST:PORT, mqtt://HOST:PORT, or log:DIR, a data folder that no server has
    /// open
    #[arg(long, value_name = "TARGET")]
    pub to: Target,
    /// How many times faster than the event times go by; `max`: as fast as it is taken
    #[arg(
        long,
        value_name = "N|max",
        default_value = "1",
        conflicts_with = "rate"
    )]
    pub speed: Speed,
    /// Readings a second, whatever their event times say
    #[arg(long, value_name = "N", value_parser = positive)]
    pub rate: Option<f64>,
    /// The server's API, where --to is not it; --probe and --horizon-from-file need it
    #[arg(long, value_name = "URL")]
    pub api: Option<String>,
    /// The receive time is the line's recv_ts, or its event time where it has none. A server takes
    /// this with --dev, or with a key that has the permission trust_receive_time
    #[arg(long)]
    pub trust_recv: bool,
    /// First widens the tenant's horizon (and its future guard) to what the capture needs. Reads
    /// the file twice
    #[arg(long)]
    pub horizon_from_file: bool,
    /// Reads N of the readings back through the API, and reports how long it took from publishing
    /// until they could be read
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub probe: usize,
    /// Connections; a sensor's readings go over one of them
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub connections: u16,
    /// Key to send with, as `admin create-key` printed it
    #[arg(
        long,
        value_name = "KEY",
        env = "OPENINFRA_API_KEY",
        hide_env_values = true
    )]
    pub api_key: Option<String>,
    /// Seconds to go on without any progress before giving up; a server may restart meanwhile
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0, value_parser = positive)]
    pub give_up_after: f64,
    /// Whose readings they are, with log:DIR
    #[arg(long, value_name = "TENANT", default_value = "default")]
    pub tenant: String,
    /// Prints the result as one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CaptureFormat {
    /// One JSON object a line
    Ndjson,
}

/// Where a replay goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The base URL, without a slash at its end.
    Http(String),
    /// Host and port.
    Mqtt(String),
    /// A data folder.
    Log(PathBuf),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("{text:?} is no target: http://HOST:PORT, mqtt://HOST:PORT or log:DIR expected")
        };
        if let Some(dir) = text.strip_prefix("log:") {
            return if dir.is_empty() {
                Err(wrong())
            } else {
                Ok(Self::Log(dir.into()))
            };
        }
        if text.starts_with("http://") {
            return Ok(Self::Http(text.trim_end_matches('/').to_owned()));
        }
        let host = text
            .strip_prefix("mqtt://")
            .ok_or_else(wrong)?
            .trim_end_matches('/');
        if host.is_empty() || host.contains('/') {
            return Err(wrong());
        }
        let with_port = host
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        Ok(Self::Mqtt(if with_port {
            host.to_owned()
        } else {
            format!("{host}:1883")
        }))
    }
}

/// How fast event time goes by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Speed {
    Times(f64),
    Max,
}

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Max);
        }
        positive(text).map(Self::Times).map_err(|_| {
            format!("{text:?} is no speed: a number above 0 (60: an hour in a minute) or `max`")
        })
    }
}

#[derive(Debug, Subcommand)]
pub enum ViewsCommand {
    /// Prints every row of a view in key order, as of one tick, one JSON object a line
    Dump(DumpArgs),
    /// Computes all views anew from the log, with another program than the one that keeps them, and
    /// compares row by row
    ///
    /// Exits 0 when they are equal, 1 when a row differs (the first ones are printed), 2 when it
    /// could not be found out.
    Verify(VerifyArgs),
}

/// Where views are.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub struct Place {
    /// A data folder that no server has open
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// A running server, as http://127.0.0.1:8080
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
}

#[derive(Debug, Args)]
pub struct DumpArgs {
    /// readings, latest_reading, hourly_aggregate, sensor_status, offline_episode, sensor_seen,
    /// alert, ledger, asset_health or indicators
    pub name: String,
    #[command(flatten)]
    pub place: Place,
    /// Leaves out what depends on when and where a record came (recv_ts, pos, ticks, last seen,
    /// raised_at, final, late_count, revised_at), so that two runs over the same readings compare
    #[arg(long)]
    pub by_content: bool,
    /// Whose rows, with --data [default: every tenant's, one after the other]
    #[arg(long, value_name = "TENANT", conflicts_with = "url")]
    pub tenant: Option<String>,
    /// Key to ask with, with --url
    #[arg(
        long,
        value_name = "KEY",
        env = "OPENINFRA_API_KEY",
        hide_env_values = true
    )]
    pub api_key: Option<String>,
    /// Taken by every command; rows are JSON with and without it
    #[arg(long, hide = true)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    pub place: Place,
    /// Key to ask with, with --url
    #[arg(
        long,
        value_name = "KEY",
        env = "OPENINFRA_API_KEY",
        hide_env_values = true
    )]
    pub api_key: Option<String>,
    /// Prints the report as one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum AdminCommand {
    /// Makes an API key and prints it; only a hash of it is kept, so it cannot be shown again
    CreateKey(CreateKeyArgs),
}

const KEY_HELP: &str = "\
A key is `prefix.secret`. Over HTTP it goes into X-API-Key or Authorization: Bearer; over MQTT
the prefix is the user name and the secret the password (or the whole key is the password).

Example:
  openinfra admin create-key --data .openinfra/data --tenant default --name 'pump house 3'
  mosquitto_pub -u PREFIX -P SECRET -q 1 -t sensors/pump-1/data -m '{\"value\": 3.2}'";

#[derive(Debug, Args)]
#[command(after_help = KEY_HELP)]
pub struct CreateKeyArgs {
    /// Data folder; no server may have it open
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Whose data the key gives access to
    #[arg(long, value_name = "TENANT", default_value = "default")]
    pub tenant: String,
    /// What the key is for, in your words
    #[arg(long, value_name = "NAME")]
    pub name: String,
    /// Who uses it
    #[arg(long, value_enum, default_value_t = KeyKind::Device)]
    pub kind: KeyKind,
    /// What it may do, separated by commas; a device or gateway may hold ingest_readings and
    /// trust_receive_time alone [default: ingest_readings]
    #[arg(long, value_name = "PERMISSION", value_delimiter = ',')]
    pub permissions: Vec<String>,
    /// A sensor that it may send for; may be repeated; none: any sensor of the tenant
    #[arg(long = "sensor", value_name = "SENSOR_ID")]
    pub sensors: Vec<String>,
    /// Most readings a second [default: 20000]
    #[arg(long, value_name = "N")]
    pub readings_per_s: Option<u32>,
    /// Prints the key as a JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KeyKind {
    /// One device
    Device,
    /// Something that sends for many devices
    Gateway,
    /// A program that uses the API
    Service,
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err("a number above 0 expected".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn targets_are_told_apart_by_their_scheme() {
        let read = |text: &str| text.parse::<Target>();
        assert_eq!(
            read("http://h:1/"),
            Ok(Target::Http("http://h:1".to_owned()))
        );
        assert_eq!(read("mqtt://h"), Ok(Target::Mqtt("h:1883".to_owned())));
        assert_eq!(
            read("mqtt://[::1]:7"),
            Ok(Target::Mqtt("[::1]:7".to_owned()))
        );
        assert_eq!(read("log:./d"), Ok(Target::Log("./d".into())));
        for bad in ["log:", "h:1", "mqtt://", "mqtt://h/topic", "ftp://h"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_speed_is_a_number_above_zero_or_max() {
        assert_eq!("max".parse(), Ok(Speed::Max));
        assert_eq!("60".parse(), Ok(Speed::Times(60.0)));
        for bad in ["0", "-1", "NaN", "inf", "fast"] {
            assert!(bad.parse::<Speed>().is_err(), "{bad}");
        }
    }

    #[test]
    fn views_are_in_one_place() {
        assert!(Cli::try_parse_from(["openinfra", "views", "verify"]).is_err());
        let both = ["openinfra", "views", "verify", "--data", "d", "--url", "u"];
        assert!(Cli::try_parse_from(both).is_err());
        Cli::try_parse_from(["openinfra", "views", "dump", "alert", "--data", "d"]).unwrap();
    }
}
