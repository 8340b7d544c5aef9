//! `admin`: tasks of whoever runs the server.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

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
