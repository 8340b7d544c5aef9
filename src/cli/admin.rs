//! `admin`: tasks of whoever runs the server.

use std::str::FromStr;

use clap::{Args, Subcommand, ValueEnum};
use openinfra_scylla::{Replication, SchemaOptions};

use super::DeploymentArgs;

#[derive(Debug, Subcommand)]
pub enum AdminCommand {
    /// Makes the keyspace and brings its tables to what this version needs
    Migrate(MigrateArgs),
    /// Makes an API key and prints it; only a hash of it is kept, so it cannot be shown again
    CreateKey(CreateKeyArgs),
    /// Lists a tenant's API keys: what each may do, and whether it is revoked; never a secret
    ListKeys(ListKeysArgs),
    /// Ends an API key for good
    RevokeKey(RevokeKeyArgs),
}

const MIGRATE_HELP: &str = "\
Run it before a new version starts; again, or twice at once, does no harm. A server that finds older
tables does not start and says so.

Examples:
  openinfra admin migrate --store cql://db1:9042,db2:9042,db3:9042/city
  openinfra admin migrate --store cql://127.0.0.1:9042/city --replication 1    # one node";

#[derive(Debug, Args)]
#[command(after_help = MIGRATE_HELP)]
pub struct MigrateArgs {
    #[command(flatten)]
    pub deployment: DeploymentArgs,
    /// Copies of each row, where the keyspace is made: N, or DATACENTER=N for each data centre
    /// [default: 3]. One copy is lost with its node. A keyspace that is there stays as it is, and to
    /// ask for another number than it has is an error
    #[arg(long, value_name = "COPIES", value_delimiter = ',')]
    pub replication: Vec<Copies>,
    /// CQL added to the keyspace's options, as "tablets = {'enabled': false}" for a ScyllaDB before
    /// 2025.4
    #[arg(long, value_name = "CQL")]
    pub keyspace_options: Option<String>,
    /// CQL added to the options of each table
    #[arg(long, value_name = "CQL")]
    pub table_options: Option<String>,
}

/// `--replication`: how many copies, where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copies {
    /// None: wherever.
    pub datacenter: Option<String>,
    pub copies: u32,
}

impl FromStr for Copies {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (datacenter, copies) = match text.split_once('=') {
            Some((datacenter, copies)) => (Some(datacenter.to_owned()), copies),
            None => (None, text),
        };
        match copies.parse() {
            Ok(copies @ 1..=100) => Ok(Self { datacenter, copies }),
            _ => Err("N or DATACENTER=N expected, N from 1 to 100".to_owned()),
        }
    }
}

impl MigrateArgs {
    /// # Errors
    /// In a sentence, where data centres and a bare number are mixed.
    pub fn options(&self) -> Result<SchemaOptions, String> {
        let replication = match self.replication.as_slice() {
            [] => None,
            [
                Copies {
                    datacenter: None,
                    copies,
                },
            ] => Some(Replication::Simple(*copies)),
            several => {
                let named = several.iter().map(|one| {
                    let datacenter = one.datacenter.clone();
                    Some((datacenter?, one.copies))
                });
                Some(Replication::Network(named.collect::<Option<_>>().ok_or(
                    "--replication: one N, or DATACENTER=N for each data centre, expected",
                )?))
            }
        };
        Ok(SchemaOptions {
            replication,
            keyspace_options: self.keyspace_options.clone(),
            table_options: self.table_options.clone(),
        })
    }
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
    #[command(flatten)]
    pub deployment: DeploymentArgs,
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
    #[command(flatten)]
    pub deployment: DeploymentArgs,
    /// Whose keys
    #[arg(long, value_name = "TENANT", default_value = "default")]
    pub tenant: String,
    /// Prints a JSON object a line
    #[arg(long)]
    pub json: bool,
}

const REVOKE_HELP: &str = "\
What the key sent before stays. Exits 1 when there is no key of this prefix. Only the store is opened:
the log and the registry may be away.

Examples:
  openinfra admin list-keys --data .openinfra/data
  openinfra admin revoke-key --data .openinfra/data 3f9c1a5b7d20
  openinfra admin revoke-key --store cql://127.0.0.1:9042/city 3f9c1a5b7d20";

#[derive(Debug, Args)]
#[command(after_help = REVOKE_HELP)]
pub struct RevokeKeyArgs {
    #[command(flatten)]
    pub deployment: DeploymentArgs,
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
