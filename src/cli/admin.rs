//! `admin`: tasks of whoever runs the server.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub enum AdminCommand {
    /// Makes an API key and prints it; only a hash of it is kept, so it cannot be shown again
    CreateKey(CreateKeyArgs),
    /// Lists a tenant's API keys: what each may do, and whether it is revoked; never a secret
    ListKeys(ListKeysArgs),
    /// Ends an API key for good
    RevokeKey(RevokeKeyArgs),
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

const LIST_HELP: &str = "\
A line a key, oldest first: prefix, good or revoked, when it was made, kind, permissions, name.

Examples:
  openinfra admin list-keys --data .openinfra/data
  openinfra admin list-keys --data .openinfra/data --tenant water --json";

#[derive(Debug, Args)]
#[command(after_help = LIST_HELP)]
pub struct ListKeysArgs {
    /// Data folder; no server may have it open
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Whose keys
    #[arg(long, value_name = "TENANT", default_value = "default")]
    pub tenant: String,
    /// Prints a JSON object a line
    #[arg(long)]
    pub json: bool,
}

const REVOKE_HELP: &str = "\
What the key sent before stays. Exits 1 when there is no key of this prefix.

Example:
  openinfra admin list-keys --data .openinfra/data
  openinfra admin revoke-key --data .openinfra/data 3f9c1a5b7d20";

#[derive(Debug, Args)]
#[command(after_help = REVOKE_HELP)]
pub struct RevokeKeyArgs {
    /// Data folder; no server may have it open
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// The key's prefix: what stands before the dot
    #[arg(value_name = "PREFIX")]
    pub prefix: String,
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
