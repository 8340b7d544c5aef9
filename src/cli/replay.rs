//! `replay`: a capture, where it goes and how fast.

use std::{path::PathBuf, str::FromStr};

use clap::{Args, ValueEnum};

use super::positive;
use crate::deployment::without_credentials;

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
    /// The server's API, where --to is not it, as with `ingest`; --probe and --horizon-from-file
    /// need it
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
            let given = without_credentials(text);
            format!(
                "{given:?} is no target: http://HOST:PORT, mqtt://HOST:PORT or log:DIR expected, and a key with \
                 --api-key"
            )
        };
        if let Some(dir) = text.strip_prefix("log:") {
            return if dir.is_empty() {
                Err(wrong())
            } else {
                Ok(Self::Log(dir.into()))
            };
        }
        if text.contains('@') {
            return Err(wrong());
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

#[cfg(test)]
mod tests {
    use super::*;

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
        for bad in ["mqtt://u:swordfish@h", "http://u:swordfish@h"] {
            let error = read(bad).unwrap_err();
            assert!(
                error.contains("***@h") && error.contains("--api-key"),
                "{error}"
            );
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
}
