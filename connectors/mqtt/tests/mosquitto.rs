//! A client that others wrote: `mosquitto_pub`, where it is installed.

#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod support;

use std::process::{Output, Stdio};

use support::{Server, skip, until};
use tokio::process::Command;

async fn mosquitto(server: &Server, arguments: &[&str]) -> Output {
    Command::new("mosquitto_pub")
        .args(["-h", "127.0.0.1", "-p", &server.address.port().to_string()])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap()
}

async fn installed() -> bool {
    let found = Command::new("mosquitto_pub")
        .arg("--help")
        .output()
        .await
        .is_ok();
    if !found {
        let required = skip::is_required("OPENINFRA_TEST_SERVICES");
        skip::unless(required, "mosquitto_pub is not installed");
    }
    found
}

#[tokio::test]
async fn mosquitto_pub_publishes_in_both_versions() {
    if !installed().await {
        return;
    }
    let server = Server::start().await;
    let mut expected = 0;
    for version in ["mqttv311", "mqttv5"] {
        for qos in ["0", "1"] {
            let topic = format!("sensors/{version}/{qos}/data");
            let sent = mosquitto(
                &server,
                &[
                    "-V",
                    version,
                    "-q",
                    qos,
                    "-t",
                    &topic,
                    "-m",
                    "{\"value\": 1.5}",
                ],
            )
            .await;
            assert!(sent.status.success(), "{version} QoS {qos}: {sent:?}");
            expected += 1;
            until("taken", || server.intake.seen_len() == expected).await;
            let seen = server.intake.seen();
            let last = seen.last().unwrap();
            assert_eq!(last.sensor, Some(format!("{version}/{qos}")));
            assert_eq!(last.payload, b"{\"value\": 1.5}");
        }
    }
    // Retained, with a will, with credentials.
    let more = [
        "-q",
        "1",
        "-r",
        "-u",
        "key",
        "-P",
        "secret",
        "--will-topic",
        "w",
        "--will-payload",
        "x",
    ];
    let message = ["-t", "sensors/r/data", "-m", "1"];
    let sent = mosquitto(&server, &[&more[..], &message].concat()).await;
    assert!(sent.status.success(), "{sent:?}");
    until("taken", || server.intake.seen_len() == expected + 1).await;
}

#[tokio::test]
async fn mosquitto_pub_hears_what_is_refused() {
    if !installed().await {
        return;
    }
    let server = Server::start().await;
    let message = ["-q", "1", "-t", "sensors/a/data", "-m", "1"];
    for version in ["mqttv311", "mqttv5"] {
        let wrong = ["-V", version, "-u", "key", "-P", "wrong"];
        let sent = mosquitto(&server, &[&wrong[..], &message].concat()).await;
        assert!(!sent.status.success(), "{version}: {sent:?}");
    }
    let elsewhere = ["-V", "mqttv5", "-q", "1", "-t", "weather", "-m", "1"];
    let sent = mosquitto(&server, &elsewhere).await;
    let said = String::from_utf8_lossy(&sent.stderr).into_owned();
    assert!(
        said.contains("Topic name invalid") || said.contains("Publish"),
        "{sent:?}"
    );
}
