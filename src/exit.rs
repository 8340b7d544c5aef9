//! How a command ends: the exit codes that scripts rely on.
//!
//! A newcomer would expect 2 for a wrong flag, as clap has it; 2 says here that a question could not be
//! answered (`views verify`), and 64 that the command was not understood.

use std::{fmt, io::Write as _, process::ExitCode};

/// Done, and nothing was wrong.
pub const DONE: u8 = 0;
/// It failed, was refused in part, or found a difference.
pub const FAILED: u8 = 1;
/// It could not be found out.
pub const UNKNOWN: u8 = 2;
/// Another instance of the job took over, and this one stopped. Started again it takes over in turn: a
/// supervisor that restarts whatever fails had better leave it.
pub const SUPERSEDED: u8 = 3;
/// A flag, variable or configuration file is wrong (`EX_USAGE`).
pub const USAGE: u8 = 64;

/// An error with the exit code it ends the process with.
#[derive(Debug)]
pub struct Failure {
    pub code: u8,
    error: anyhow::Error,
}

impl Failure {
    pub fn new(code: u8, error: impl Into<anyhow::Error>) -> Self {
        Self {
            code,
            error: error.into(),
        }
    }

    /// What was asked for cannot be done as it was asked.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self {
            code: USAGE,
            error: anyhow::anyhow!("{message}"),
        }
    }

    /// The same failure of a command that was to do something, not to find something out.
    pub fn failed(self) -> Self {
        Self {
            code: FAILED,
            ..self
        }
    }

    /// Whether nobody reads any more what was to be written.
    pub fn is_broken_pipe(&self) -> bool {
        self.error.chain().any(|cause| {
            let io = cause.downcast_ref::<std::io::Error>();
            io.is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
        })
    }

    /// Says why, with all causes, and gives the code.
    pub fn report(&self) -> ExitCode {
        // Standard error may be closed; the code tells all the same.
        let _ = writeln!(std::io::stderr(), "openinfra: {:#}", self.error);
        ExitCode::from(self.code)
    }
}

/// The code of a server that ended for this.
pub fn code_of(error: &anyhow::Error) -> u8 {
    let superseded = |cause: &(dyn std::error::Error + 'static)| {
        let job = cause.downcast_ref::<openinfra_views::JobError>();
        matches!(job, Some(openinfra_views::JobError::Superseded { .. }))
    };
    match error.chain().any(superseded) {
        true => SUPERSEDED,
        false => FAILED,
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self {
            code: FAILED,
            error,
        }
    }
}

impl From<crate::config::ConfigError> for Failure {
    fn from(error: crate::config::ConfigError) -> Self {
        Self::new(USAGE, error)
    }
}

/// What a command returns: the code it ended with, or why it failed.
pub type Outcome = Result<u8, Failure>;

#[cfg(test)]
mod tests {
    use anyhow::Context as _;
    use openinfra_views::JobError;

    use super::*;

    #[test]
    fn a_job_that_was_superseded_ends_in_a_way_of_its_own() {
        let ended = |error: JobError| {
            let error: Result<(), _> = Err(error);
            code_of(&error.context("the views job stopped").unwrap_err())
        };
        assert_eq!(
            ended(JobError::Superseded { ours: 1, theirs: 2 }),
            SUPERSEDED
        );
        assert_eq!(ended(JobError::Stopped), FAILED);
    }
}
