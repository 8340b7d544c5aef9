//! `views`: reads views whole, and proves them against the log.
//!
//! What a newcomer would get wrong: without `--url` nobody may keep the views meanwhile, with it a server
//! holds its ticks. Either way all rows are as of one tick.

mod dump;
mod still;
mod verify;

use crate::{cli::ViewsCommand, exit::Outcome, process};

/// Runs the whole command.
pub async fn run(command: ViewsCommand) -> Outcome {
    match command {
        ViewsCommand::Run(args) => process::run_views(args).await,
        ViewsCommand::Dump(args) => dump::run(args).await,
        ViewsCommand::Verify(args) => verify::run(args).await,
    }
}
