//! The binary, run once: `openinfra …` to its end.
//!
//! What a newcomer would get wrong: variables that set our tests (`OPENINFRA_TEST_DATA`) would set the server
//! too, so that none of ours is passed on.

use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// `openinfra` with these arguments, not yet started; it is killed when it is dropped.
pub fn openinfra(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_openinfra"));
    let ours = std::env::vars_os()
        .map(|(name, _)| name)
        .filter(|name| name.to_string_lossy().starts_with("OPENINFRA_"));
    for name in ours {
        command.env_remove(name);
    }
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs `openinfra` to its end.
pub async fn run(args: &[&str]) -> Ended {
    Ended::of(openinfra(args)).await
}

impl Ended {
    /// How this one ends.
    pub async fn of(mut command: Command) -> Self {
        let output = command.output().await.unwrap();
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Standard output as one JSON value.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error} in the output of {self:?}"))
    }

    /// Itself, if it ended with `code`.
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.stdout, self.stderr);
        self
    }
}
