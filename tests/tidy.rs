//! Holds the workspace to its shape: who depends on whom, and how each file opens. What is absent cannot
//! be seen by reading, so it is checked from the manifests.
#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

#[path = "support/skip.rs"]
mod skip;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// Set in a process that [`what_is_skipped_is_told`] starts.
const CHILD: &str = "OPENINFRA_TEST_TIDY_CHILD";

/// A package's manifest, as far as it is looked at.
struct Package {
    name: String,
    /// What the package links when it is used: not what only its tests need.
    dependencies: BTreeSet<String>,
    dev_dependencies: BTreeSet<String>,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn packages() -> BTreeMap<String, Package> {
    let text = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let workspace: toml::Table = text.parse().unwrap();
    let members = workspace["workspace"]["members"].as_array().unwrap();
    let folders = members
        .iter()
        .map(|member| root().join(member.as_str().unwrap()));
    let read = |folder: PathBuf| {
        let manifest: toml::Table = fs::read_to_string(folder.join("Cargo.toml"))
            .unwrap()
            .parse()
            .unwrap();
        let names = |section: &str| {
            let table = manifest.get(section).and_then(|section| section.as_table());
            table
                .map(|table| table.keys().cloned().collect())
                .unwrap_or_default()
        };
        let name = manifest["package"]["name"].as_str().unwrap().to_owned();
        let package = Package {
            name: name.clone(),
            dependencies: names("dependencies"),
            dev_dependencies: names("dev-dependencies"),
        };
        (name, package)
    };
    folders.chain([root()]).map(read).collect()
}

/// Everything a package links from this workspace, itself included.
fn reach(packages: &BTreeMap<String, Package>, from: &str) -> BTreeSet<String> {
    let mut reached = BTreeSet::from([from.to_owned()]);
    let mut open = vec![from.to_owned()];
    while let Some(name) = open.pop() {
        for dependency in &packages[&name].dependencies {
            if packages.contains_key(dependency) && reached.insert(dependency.clone()) {
                open.push(dependency.clone());
            }
        }
    }
    reached
}

#[test]
fn dependencies_point_one_way() {
    let packages = packages();
    let layer = |name: &str| match name {
        "openinfra-schemas" => 0,
        "openinfra-operators" | "openinfra-log" | "openinfra-store" | "openinfra-intake" => 1,
        "openinfra-codecs" | "openinfra-embedded" | "openinfra-http" | "openinfra-kafka"
        | "openinfra-mqtt" | "openinfra-registry" | "openinfra-scylla" => 2,
        "openinfra-ingest" | "openinfra-views" | "openinfra-verify" | "openinfra-api" => 3,
        "openinfra" | "openinfra-load-tests" | "openinfra-testing" => 4,
        other => panic!("{other} has no layer: give it one"),
    };
    for package in packages.values() {
        for dependency in package
            .dependencies
            .iter()
            .filter(|name| packages.contains_key(*name))
        {
            let (from, to) = (layer(&package.name), layer(dependency));
            let sideways = from == to && from == 1;
            assert!(
                to < from || sideways,
                "{} depends on {dependency}, which is not below it",
                package.name
            );
        }
    }
}

#[test]
fn operators_know_no_clock_file_or_executor() {
    let allowed = [
        "openinfra-schemas",
        "timely",
        "differential-dataflow",
        "serde",
    ];
    for dependency in &packages()["openinfra-operators"].dependencies {
        assert!(
            allowed.contains(&dependency.as_str()),
            "operators depend on {dependency}"
        );
    }
    let banned = [
        "SystemTime",
        "Instant::now",
        "std::fs",
        "std::net",
        "tokio",
        "std::thread",
    ];
    for file in rust_files(&root().join("operators/src")) {
        let text = fs::read_to_string(&file).unwrap();
        for word in banned {
            assert!(!text.contains(word), "{} names {word}", file.display());
        }
    }
}

#[test]
fn the_api_never_links_the_dataflow() {
    let packages = packages();
    let linked = reach(&packages, "openinfra-api");
    assert!(!linked.contains("openinfra-operators") && !linked.contains("openinfra-views"));
    for name in linked {
        assert!(
            !packages[&name].dependencies.contains("timely"),
            "{name} links timely"
        );
    }
}

#[test]
fn verification_shares_no_code_with_what_it_verifies() {
    let linked = reach(&packages(), "openinfra-verify");
    for name in ["openinfra-operators", "openinfra-views", "openinfra-api"] {
        assert!(!linked.contains(name), "openinfra-verify links {name}");
    }
}

#[test]
fn each_outside_system_is_met_in_one_package() {
    for (library, home) in [
        ("fjall", "openinfra-embedded"),
        ("mqtt-protocol-core", "openinfra-mqtt"),
        ("rdkafka", "openinfra-kafka"),
        ("rumqttc", "openinfra-mqtt"),
        ("scylla", "openinfra-scylla"),
    ] {
        for package in packages().values() {
            let uses = package.dependencies.contains(library)
                || package.dev_dependencies.contains(library);
            assert!(
                !uses || package.name == home,
                "{} depends on {library}",
                package.name
            );
        }
    }
}

#[test]
fn every_file_says_what_it_is() {
    let mut seen = 0;
    for file in rust_files(&root()) {
        seen += 1;
        let text = fs::read_to_string(&file).unwrap();
        assert!(
            text.starts_with("//!"),
            "{} does not open with //!",
            file.display()
        );
    }
    assert!(seen > 100, "the walk found only {seen} files");
}

/// Stands for a test without a server; it runs in [`what_is_skipped_is_told`].
#[test]
fn child_without_a_server() {
    if std::env::var_os(CHILD).is_some() {
        assert_eq!(skip::server("OPENINFRA_TEST_NOWHERE"), None);
        assert_eq!(skip::server("OPENINFRA_TEST_NOWHERE"), None);
    }
}

/// To whoever runs tests that pass, once; where servers are required none is skipped.
#[test]
fn what_is_skipped_is_told() {
    let run = |required: &str| -> Output {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_without_a_server"])
            .env(CHILD, "1")
            .env("OPENINFRA_TEST_SERVICES", required)
            .output()
            .unwrap()
    };
    let passed = run("");
    let told = String::from_utf8_lossy(&passed.stderr);
    let line = "skipped: OPENINFRA_TEST_NOWHERE is not set (tests/services/services env)\n";
    assert!(passed.status.success() && told == line, "{passed:?}");
    let failed = run("required");
    assert_eq!(failed.status.code(), Some(101), "{failed:?}");

    let printed = ["println!(\"skip", "left out\""];
    for file in rust_files(&root())
        .iter()
        .filter(|f| !f.ends_with("tidy.rs"))
    {
        let text = fs::read_to_string(file).unwrap();
        let found = printed.iter().find(|words| text.contains(**words));
        assert!(found.is_none(), "{}: use skip::tell", file.display());
    }
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                files.extend(rust_files(&path));
            }
        } else if name.ends_with(".rs") {
            files.push(path);
        }
    }
    files
}
