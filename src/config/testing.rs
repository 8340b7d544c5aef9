//! Configurations of tests, read as those of a process are.

use super::{Config, ConfigError};

/// Of these variables alone.
pub fn from_env(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let owned = variables
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    Config::read(None, owned)
}

/// Of a file with this text.
pub fn from_file(text: &str) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("openinfra.toml");
    std::fs::write(&path, text).expect("a file");
    Config::read(Some(&path), std::iter::empty())
}
