//! The one binary: reads the command line, runs one subcommand, exits with its code.
//!
//! What a newcomer would get wrong: nothing here listens or opens a folder. `up` and `demo` compose the
//! server in `platform`; every other subcommand is a client of it, or opens the folder in its place.

mod admin;
mod city;
mod cli;
mod client;
mod clock;
mod config;
mod demo;
mod deployment;
mod exit;
mod job_control;
mod logging;
mod platform;
mod process;
mod replay;
mod signals;
mod stoppable;
mod up;
mod verification;
mod views;

use std::process::ExitCode;

use anyhow::Context as _;

/// Rows travel from thread to thread in buffers of every size; the system's allocator keeps half as much
/// again of them (docs/adr/0006-allocator.md).
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = match cli::Cli::read() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() {
                exit::USAGE
            } else {
                exit::DONE
            };
            // Standard output may be closed, as by `openinfra --help | head`.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    // Crash tests say through FAILPOINTS where this process is to end.
    #[cfg(feature = "failpoints")]
    let _faults = fail::FailScenario::setup();
    match run(cli.command) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.report(),
    }
}

fn run(command: cli::Command) -> exit::Outcome {
    // The servers' log filter may stand in their configuration; the other commands have none.
    if !command.is_server() {
        logging::start("warn", false).map_err(exit::Failure::usage)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let ended = runtime.block_on(async {
        match command {
            cli::Command::Demo(args) => demo::run(args).await,
            cli::Command::Up(args) => up::run(args).await,
            cli::Command::Ingest(args) => process::ingest(args).await,
            cli::Command::Serve(args) => process::serve(args).await,
            cli::Command::Replay(args) => replay::run(args).await,
            cli::Command::Admin(command) => admin::run(command).await,
            cli::Command::Views(command) => views::run(command).await,
        }
    });
    // A read of standard input that nobody waits for any more would keep the process.
    runtime.shutdown_background();
    ended
}
