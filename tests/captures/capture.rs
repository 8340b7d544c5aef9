//! Where captures are, and one of them as lines for `openinfra replay`.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

use super::support::skip;

/// Names the folder of all captures.
const FOLDER: &str = "OPENINFRA_TEST_DATA";

/// A capture as NDJSON in a temporary folder, where a server's data may stand beside it.
pub struct Capture {
    /// The folder of all captures, where the files stand as their owners published them.
    pub source: PathBuf,
    pub file: PathBuf,
    scratch: TempDir,
}

impl Capture {
    /// Writes the capture `name`; none, and a line that says why, when it cannot be had
    /// and need not be.
    pub fn normalize(name: &str, flags: &[&str]) -> Option<Self> {
        let source = folder();
        let script = source.join("normalize.py");
        if !script.is_file() {
            let why = format!("there are no captures in {}", source.display());
            skip::unless(are_required(), &why);
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
                skip::unless(are_required(), &format!("no python3: {error}"));
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

/// Where all that is needed is required, so is the folder that somebody named.
fn are_required() -> bool {
    let named = std::env::var_os(FOLDER).is_some();
    skip::is_required("OPENINFRA_TEST_CAPTURES")
        || named && skip::is_required("OPENINFRA_TEST_SERVICES")
}

fn folder() -> PathBuf {
    std::env::var_os(FOLDER).map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"),
        PathBuf::from,
    )
}
