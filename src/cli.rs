//! The command line as a person reads it: every subcommand, flag, default and unit.
//!
//! A newcomer would expect flags to win over everything; they do: flag, then `OPENINFRA_…` variable,
//! then the file of `--config`, then the default (see `config`). So flags that a file may set have no
//! default here.

mod admin;
mod deployment;
mod process;
mod replay;
mod server;
mod views;

use clap::{
    Parser, Subcommand,
    error::{ContextKind, ContextValue},
};

use crate::deployment::without_credentials;

pub use admin::{AdminCommand, CreateKeyArgs, KeyKind, ListKeysArgs, MigrateArgs, RevokeKeyArgs};
pub use deployment::DeploymentArgs;
pub use process::{IngestArgs, RunViewsArgs, ServeArgs};
pub use replay::{ReplayArgs, Speed, Target};
pub use server::{DemoArgs, ServerArgs, UpArgs};
pub use views::{DumpArgs, VerifyArgs, ViewsCommand};

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

impl Cli {
    /// The command line of this process.
    ///
    /// # Errors
    /// As its parser says it, which repeats the value that it does not take: without what may be a password.
    pub fn read() -> Result<Self, clap::Error> {
        Self::try_parse().map_err(blanked)
    }
}

fn blanked(mut error: clap::Error) -> clap::Error {
    use ContextKind::{InvalidArg, InvalidSubcommand, InvalidValue};
    for kind in [InvalidArg, InvalidSubcommand, InvalidValue] {
        if let Some(ContextValue::String(given)) = error.get(kind) {
            let shown = without_credentials(given);
            error.insert(kind, ContextValue::String(shown));
        }
    }
    error
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs the server with a simulated city that publishes to it
    Demo(DemoArgs),
    /// Runs the server: MQTT listener, HTTP API and the job that keeps the views
    Up(UpArgs),
    /// Runs the way in alone: MQTT and HTTP into the log, as one of several processes
    Ingest(IngestArgs),
    /// Runs the API alone, as one of several processes
    Serve(ServeArgs),
    /// Sends a capture of readings, at its own pace or faster, and reports what became of it
    Replay(ReplayArgs),
    /// Keeps views, reads them whole, or proves them against the log
    #[command(subcommand)]
    Views(ViewsCommand),
    /// Tasks of whoever runs the server
    #[command(subcommand)]
    Admin(AdminCommand),
}

impl Command {
    /// Whether it runs until it is stopped, with a configuration of its own for what it logs.
    pub fn is_server(&self) -> bool {
        matches!(
            self,
            Self::Demo(_)
                | Self::Up(_)
                | Self::Ingest(_)
                | Self::Serve(_)
                | Self::Views(ViewsCommand::Run(_))
        )
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err("a number above 0 expected".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn views_are_in_one_place() {
        assert!(Cli::try_parse_from(["openinfra", "views", "verify"]).is_err());
        let both = ["openinfra", "views", "verify", "--data", "d", "--url", "u"];
        assert!(Cli::try_parse_from(both).is_err());
        Cli::try_parse_from(["openinfra", "views", "dump", "alert", "--data", "d"]).unwrap();
    }
}
