//! `views`: reads views whole, and proves them against the log.
//!
//! What a newcomer would get wrong: with `--data` the folder must have no server, with `--url` a server
//! holds its ticks meanwhile. Either way all rows are as of one tick.

mod dump;
mod verify;

use crate::{cli::ViewsCommand, exit::Outcome};

/// Runs the whole command.
pub async fn run(command: ViewsCommand) -> Outcome {
    match command {
        ViewsCommand::Dump(args) => dump::run(args).await,
        ViewsCommand::Verify(args) => verify::run(args).await,
    }
}
