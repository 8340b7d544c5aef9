//! What is wrong with flags, variables and files is told before any port opens.

use super::support::command::{Ended, openinfra, run};

async fn with_variable(name: &str, value: &str) -> Ended {
    let output = openinfra(&["up", "--dev"])
        .env(name, value)
        .output()
        .await
        .unwrap();
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Ended as a wrong configuration does, naming what is wrong, with no address told.
fn check(ended: Ended, names: &str) {
    let ended = ended.expect_code(64);
    assert!(
        ended.stderr.contains(names),
        "{names:?} is not in {}",
        ended.stderr
    );
    assert_eq!(ended.stdout, "", "no port was opened");
}

#[tokio::test]
async fn an_unknown_key_of_the_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("openinfra.toml");
    for (text, names) in [
        ("[job]\nworkes = 3\n", "workes"),
        ("[jobs]\nworkers = 3\n", "jobs"),
        ("[mqtt]\nport = 1883\n", "port"),
        ("[job]\nworkers = 0\n", "workers"),
        ("[job\n", "openinfra.toml"),
        (
            "[kafka]\nbrokers = [\"k:9092\"]\nmax_record_bytes = 4194304\n",
            "http.max_body_bytes",
        ),
    ] {
        std::fs::write(&file, text).unwrap();
        check(
            run(&["up", "--dev", "--config", file.to_str().unwrap()]).await,
            names,
        );
    }
    check(
        run(&["up", "--config", "no/such/file.toml"]).await,
        "no/such/file.toml",
    );
}

#[tokio::test]
async fn an_unknown_variable_is_named() {
    for (name, value) in [
        ("OPENINFRA_NONSENSE", "1"),
        ("OPENINFRA_JOB__WORKES", "1"),
        ("OPENINFRA_JOB_WORKERS", "many"),
    ] {
        check(with_variable(name, value).await, name);
    }
    check(
        with_variable("OPENINFRA_LOG", "openinfra=loud").await,
        "openinfra=loud",
    );
}

#[tokio::test]
async fn dev_listens_on_loopback_only() {
    for flags in [
        ["--http", "0.0.0.0:0"],
        ["--mqtt", "0.0.0.0:0"],
        ["--http", "[::]:0"],
    ] {
        for command in [vec!["up", "--dev"], vec!["demo"]] {
            check(run(&[&command[..], &flags[..]].concat()).await, flags[1]);
        }
    }
}

/// Not by us, nor by the parser of the command line, which likes to repeat what it does not take.
#[tokio::test]
async fn a_password_in_a_flag_is_not_repeated() {
    for (flags, place) in [
        (
            ["--log", "kafka://u:swordfish@k:9092"],
            "OPENINFRA_KAFKA__SASL__PASSWORD",
        ),
        (
            ["--store", "cql://u:swordfish@c:9042/city"],
            "OPENINFRA_CQL__PASSWORD",
        ),
        (
            ["--registry", "ftp://u:swordfish@r:8081"],
            "OPENINFRA_REGISTRY__PASSWORD",
        ),
        (["--registry", "http://u:swordfish@r:8081"], "password"),
    ] {
        let ended = run(&[&["admin", "list-keys"], &flags[..]].concat()).await;
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert!(!said.contains("swordfish"), "{said}");
        check(ended, place);
    }
    for args in [
        &["replay", "-", "--to", "https://u:swordfish@h"][..],
        &["up", "kafka://u:swordfish@h:1"],
        &["kafka://u:swordfish@h:1"],
    ] {
        let ended = run(args).await;
        assert!(!ended.stderr.contains("swordfish"), "{}", ended.stderr);
        check(ended, "***@h");
    }
}

#[tokio::test]
async fn what_is_not_understood_ends_with_64() {
    for args in [
        &["fly"][..],
        &["up", "--workers", "none"],
        &["views", "verify"],
        &["views", "dump", "no_such_view", "--data", "."],
        &[
            "replay",
            "-",
            "--to",
            "http://127.0.0.1:1",
            "--horizon-from-file",
        ],
        &[
            "replay",
            "x",
            "--to",
            "mqtt://127.0.0.1:1",
            "--horizon-from-file",
        ],
        &["replay", "x", "--to", "mqtt://127.0.0.1:1", "--probe", "3"],
        &["replay", "x", "--to", "log:x", "--probe", "3"],
        &["replay", "x", "--to", "ftp://127.0.0.1"],
        &[
            "replay",
            "x",
            "--to",
            "http://127.0.0.1:1",
            "--speed",
            "fast",
        ],
    ] {
        let ended = run(args).await;
        assert_eq!(ended.code, Some(64), "{args:?}: {ended:?}");
    }
    run(&["--help"]).await.expect_code(0);
    run(&["--version"]).await.expect_code(0);
}
