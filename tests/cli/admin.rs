//! Keys: made in a folder or a keyspace, good for what they say on the server that opens it.

use std::path::Path;

use super::{
    capture, now,
    support::{
        command::{Ended, openinfra, run},
        place,
        wait::eventually,
    },
};
use serde_json::Value;
use std::{process::Stdio, time::Duration};
use tokio::io::{AsyncBufReadExt, BufReader};

/// `openinfra admin` on what stands for the folder.
async fn admin(command: &str, data: &Path, more: &[&str]) -> Ended {
    let place = place::flags(data);
    let place: Vec<_> = place.iter().map(String::as_str).collect();
    run(&[&["admin", command], &place[..], more].concat()).await
}

async fn create_key(data: &Path, more: &[&str]) -> Ended {
    admin("create-key", data, &[&["--name", "test"], more].concat()).await
}

#[tokio::test]
async fn a_key_is_printed_once_and_opens_a_server_that_asks_for_one() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    place::prepare(&data).await;
    let made = create_key(&data, &["--tenant", "water", "--json"])
        .await
        .expect_code(0)
        .json();
    let key = made["key"].as_str().unwrap();
    assert!(key.starts_with(made["prefix"].as_str().unwrap()));
    let args = [
        "up",
        "--json",
        "--http",
        "127.0.0.1:0",
        "--mqtt",
        "127.0.0.1:0",
    ];
    let mut server = openinfra(&args)
        .args(place::flags(&data))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let said: Value = serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
    let address = |name: &str| said["listening"][name].as_str().unwrap().to_owned();
    let (http, mqtt) = (
        format!("http://{}", address("http")),
        format!("mqtt://{}", address("mqtt")),
    );
    eventually("the server is ready", Duration::from_secs(60), async || {
        reqwest::get(format!("{http}/health/ready"))
            .await
            .ok()
            .filter(|a| a.status() == 200)
    })
    .await;
    let file = capture(folder.path(), now() - 60_000, 2, 5);
    let send = async |to: &str, key: &[&str]| {
        let fixed = [
            "replay",
            file.to_str().unwrap(),
            "--to",
            to,
            "--speed",
            "max",
        ];
        run(&[&fixed[..], key].concat()).await
    };
    for to in [&http, &mqtt] {
        send(to, &["--api-key", key]).await.expect_code(0);
        let refused = send(to, &[]).await.expect_code(1);
        assert!(refused.stdout.contains("refuses"), "{refused:?}");
        send(to, &["--api-key", "0123456789ab.wrong"])
            .await
            .expect_code(1);
    }
    let spoofed = send(&http, &["--api-key", key, "--trust-recv"])
        .await
        .expect_code(1);
    assert!(spoofed.stdout.contains("trust_receive_time"), "{spoofed:?}");
}

/// Flags of the store that stands for the folder, and of a log and a registry that nobody is at.
fn store_alone(data: &Path) -> Vec<String> {
    let mut flags = if place::is_cluster() {
        let (cql, keyspace) = place::keyspace(data);
        vec!["--store".to_owned(), format!("cql://{cql}/{keyspace}")]
    } else {
        place::flags(data)
    };
    let nobody = [
        "--log",
        "kafka://127.0.0.1:1",
        "--registry",
        "http://127.0.0.1:1",
    ];
    flags.extend(nobody.map(str::to_owned));
    flags
}

/// A leaked key is revoked while Kafka and the registry are away.
#[tokio::test]
async fn keys_want_the_store_alone() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    place::prepare(&data).await;
    let key_command = async |command: &str, more: &[&str]| {
        let mut process = openinfra(&["admin", command]);
        process
            .args(store_alone(&data))
            .args(more)
            .current_dir(folder.path());
        Ended::of(process).await.expect_code(0)
    };
    let made = key_command("create-key", &["--name", "leaked", "--json"]).await;
    let prefix = made.json()["prefix"].as_str().unwrap().to_owned();
    key_command("revoke-key", &[&prefix]).await;
    let listed = key_command("list-keys", &["--json"]).await.json();
    assert_eq!(
        (&listed["prefix"], &listed["revoked"]),
        (&prefix.into(), &true.into())
    );
}

#[tokio::test]
async fn keys_in_a_cluster_make_no_folder() {
    if !place::is_cluster() {
        // They are in the folder.
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    place::prepare(&data).await;
    let (cql, keyspace) = place::keyspace(&data);
    let store = format!("cql://{cql}/{keyspace}");
    // The log is embedded where no flag names another.
    for more in [
        &["create-key", "--name", "one"][..],
        &["list-keys"],
        &["revoke-key", "0123456789ab"],
    ] {
        let mut process = openinfra(&["admin"]);
        process
            .args(more)
            .args(["--store", &store])
            .current_dir(folder.path());
        let ended = Ended::of(process).await;
        assert!(!ended.stderr.contains("folder"), "{ended:?}");
        let left: Vec<_> = folder.path().read_dir().unwrap().collect();
        assert!(left.is_empty(), "{more:?} made {left:?}");
    }
}

#[tokio::test]
async fn a_key_that_makes_no_sense_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    place::prepare(&data).await;
    create_key(&data, &["--tenant", "Not A Slug"])
        .await
        .expect_code(64);
    create_key(&data, &["--kind", "person"])
        .await
        .expect_code(64);
    let ended = create_key(&data, &["--permissions", "manage_iot"])
        .await
        .expect_code(1);
    assert!(ended.stderr.contains("manage_iot"), "{}", ended.stderr);
    let ended = create_key(
        &data,
        &["--kind", "service", "--permissions", "manage_itos"],
    )
    .await
    .expect_code(64);
    assert!(ended.stderr.contains("manage_itos"), "{}", ended.stderr);
    assert!(ended.stderr.contains("manage_iot,"), "{}", ended.stderr);
    create_key(&data, &["--sensor", ""]).await.expect_code(1);
}

#[tokio::test]
async fn a_revoked_key_is_listed_and_good_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    place::prepare(&data).await;
    let made = create_key(&data, &["--json"]).await.expect_code(0).json();
    let (key, prefix) = (
        made["key"].as_str().unwrap(),
        made["prefix"].as_str().unwrap(),
    );
    create_key(&data, &["--tenant", "water"])
        .await
        .expect_code(0);
    let list = async || {
        let listed = admin("list-keys", &data, &["--json"]).await;
        listed.expect_code(0).json()
    };
    let before = list().await;
    assert_eq!(
        (&before["prefix"], &before["revoked"]),
        (&made["prefix"], &false.into())
    );
    assert!(!before.to_string().contains(key.split_once('.').unwrap().1));
    for _ in 0..2 {
        // Again is as good as once.
        let revoke = admin("revoke-key", &data, &[prefix]).await;
        revoke.expect_code(0);
    }
    assert_eq!(list().await["revoked"], true);
    let unknown = admin("revoke-key", &data, &["0123456789ab"]).await;
    assert!(unknown.expect_code(1).stderr.contains("0123456789ab"));
    let nowhere = folder.path().join("nowhere");
    admin("list-keys", &nowhere, &[]).await.expect_code(2);
}
