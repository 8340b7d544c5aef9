//! Where captures are, and one of them as lines for `openinfra replay`.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

/// A capture as NDJSON in a temporary folder, where a server's data may stand beside it.
pub struct Capture {
    /// The folder of all captures, where the files stand as their owners published them.
    pub source: PathBuf,
    pub file: PathBuf,
    scratch: TempDir,
}

impl Capture {
    /// Writes the capture `name`; none, and a line that says why, when it cannot be had.
    pub fn normalize(name: &str, flags: &[&str]) -> Option<Self> {
        let source = folder();
        let script = source.join("normalize.py");
        if !script.is_file() {
            eprintln!("no captures in {}: {name} is left out", source.display());
            return None;
        }
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join(format!("{name}.ndjson"));
        let status = Command::new("python3")
            .arg(&script)
            .arg(name)
            .args(flags)
            .stdin(Stdio::null())
            .stdout(File::create(&file).unwrap())
            .status();
        match status {
            Ok(status) => assert!(status.success(), "normalize.py {name}: {status}"),
            Err(error) => {
                eprintln!("no python3 ({error}): {name} is left out");
                return None;
            }
        }
        Some(Self {
            source,
            file,
            scratch,
        })
    }

    /// A path in the temporary folder: of a data folder that is not there yet, or of another file.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }
}

fn folder() -> PathBuf {
    std::env::var_os("OPENINFRA_TEST_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"),
        PathBuf::from,
    )
}
