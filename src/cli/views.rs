//! `views`: dumps and verification.

use clap::{Args, Subcommand};

use super::{DeploymentArgs, RunViewsArgs};

#[derive(Debug, Subcommand)]
pub enum ViewsCommand {
    /// Runs the job that keeps the views, as one of several processes
    Run(RunViewsArgs),
    /// Prints every row of a view in key order, as of one tick, one JSON object a line
    Dump(DumpArgs),
    /// Computes all views anew from the log, with another program than the one that keeps them, and
    /// compares row by row
    ///
    /// Exits 0 when they are equal, 1 when a row differs (the first ones are printed), 2 when it
    /// could not be found out.
    Verify(VerifyArgs),
}

/// Where views are: behind a running server, or where none runs.
#[derive(Debug, Clone, Args)]
#[group(id = "place", required = true, multiple = true, args = ["url", "data", "log", "store", "config"])]
pub struct Place {
    /// A running server, as http://127.0.0.1:8080
    #[arg(long, value_name = "URL", conflicts_with_all = ["data", "log", "registry", "store", "config"])]
    pub url: Option<String>,
    #[command(flatten)]
    pub deployment: DeploymentArgs,
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
    /// Whose rows, without --url [default: every tenant's, one after the other]
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
