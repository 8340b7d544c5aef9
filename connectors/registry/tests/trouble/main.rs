//! The client against registries that answer badly, late or not at all: nothing is concluded from that.

#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod stub;

use std::time::{Duration, Instant};

use openinfra_registry::{Config, RegistryClient};
use openinfra_schemas::{
    Secret,
    registry::{Registry, RegistryError},
};

use crate::stub::{Reply, Stub};

const INT: &str = r#""int""#;
const SCHEMA: &str = r#"{"schema":"\"int\""}"#;
const LEVEL: &str = r#"{"compatibilityLevel":"BACKWARD"}"#;
const NO_SUBJECT: &str = r#"{"error_code":40401,"message":"Subject not found"}"#;
const NO_SCHEMA: &str = r#"{"error_code":40403,"message":"Schema not found"}"#;

fn client(url: &str) -> RegistryClient {
    let config = Config {
        timeout_ms: 300,
        ..Config::new(url)
    };
    RegistryClient::new(&config).unwrap()
}

fn unavailable<T: std::fmt::Debug>(answer: Result<T, RegistryError>) -> String {
    match answer {
        Err(RegistryError::Unavailable(cause)) => cause,
        other => panic!("{other:?}"),
    }
}

/// Every way in which an answer says nothing of the id, how often it is asked for, and a word of the cause.
#[tokio::test]
async fn what_is_not_the_registry_s_word_says_nothing_of_an_id() {
    let proxy = r#"{"error_code":404,"message":"HTTP 404 Not Found"}"#;
    let no_auth = r#"{"error_code":401,"message":"Unauthorized"}"#;
    for (reply, times, word) in [
        (Reply::Say(404, ""), 1, "404"),
        (Reply::Say(404, "<html>gone</html>"), 1, "gone"),
        (Reply::Say(404, proxy), 1, "HTTP 404"),
        (Reply::Say(404, NO_SUBJECT), 1, "Subject not found"),
        (Reply::Say(401, no_auth), 1, "user and password"),
        (Reply::Say(403, ""), 1, "user and password"),
        (Reply::Say(302, ""), 1, "302"),
        (Reply::Say(200, "<html>log in</html>"), 1, "log in"),
        (Reply::Say(200, "{}"), 1, "not the registry's"),
        (Reply::Say(500, NO_SCHEMA), 4, "500"),
        (Reply::Say(503, ""), 4, "503"),
        (Reply::Say(429, ""), 4, "429"),
        (Reply::Cut(SCHEMA), 4, ""),
        (Reply::Close, 4, ""),
        (Reply::Hang, 4, "time"),
    ] {
        let answer = reply.clone();
        let stub = Stub::start(move |_, _| answer.clone()).await;
        let cause = unavailable(client(&stub.url).schema(7).await);
        assert!(cause.contains(word), "{reply:?}: {cause}");
        assert!(cause.contains("/schemas/ids/7"), "{reply:?}: {cause}");
        assert_eq!(stub.lines().len(), times, "{reply:?}");
    }
}

#[tokio::test]
async fn where_nobody_listens_the_registry_is_away() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let cause = unavailable(client(&url).schema(7).await);
    assert!(cause.contains("refused"), "{cause}");
    let cause = unavailable(client(&url).register("s", INT).await);
    assert!(cause.contains("refused"), "{cause}");
}

#[tokio::test]
async fn the_registry_s_own_word_counts() {
    let stub = Stub::start(|_, _| Reply::Say(404, NO_SCHEMA)).await;
    let client = client(&stub.url);
    for _ in 0..2 {
        let answer = client.schema(7).await;
        assert!(
            matches!(answer, Err(RegistryError::UnknownId(7))),
            "{answer:?}"
        );
    }
    // It is asked each time: the id may be given out.
    assert_eq!(stub.lines().len(), 2);
}

#[tokio::test]
async fn ids_that_no_registry_has_are_not_asked_for() {
    let stub = Stub::start(|_, _| Reply::Say(500, "")).await;
    let answer = client(&stub.url).schema(1 << 31).await;
    assert!(matches!(answer, Err(RegistryError::UnknownId(_))));
    assert!(stub.lines().is_empty());
}

#[tokio::test]
async fn a_registry_that_comes_back_is_not_noticed() {
    let stub = Stub::start(|_, times| match times {
        0 => Reply::Close,
        1 => Reply::Say(503, ""),
        2 => Reply::Hang,
        _ => Reply::Say(200, SCHEMA),
    })
    .await;
    assert_eq!(client(&stub.url).schema(7).await.unwrap(), INT);
}

#[tokio::test]
async fn a_text_is_asked_for_once_and_an_error_each_time() {
    let stub = Stub::start(|seen, times| match (seen.line.as_str(), times) {
        ("GET /schemas/ids/8", _) => Reply::Say(404, ""),
        (_, 0) => Reply::Say(200, SCHEMA),
        _ => Reply::Say(500, ""),
    })
    .await;
    let client = client(&stub.url);
    for _ in 0..3 {
        assert_eq!(client.schema(7).await.unwrap(), INT);
        unavailable(client.schema(8).await);
    }
    let asked = |line: &str| stub.lines().iter().filter(|l| *l == line).count();
    assert_eq!(asked("GET /schemas/ids/7"), 1);
    assert_eq!(asked("GET /schemas/ids/8"), 3);
}

/// What stands under an id stays there, of whatever kind it is.
#[tokio::test]
async fn another_kind_of_schema_is_asked_for_once() {
    let protobuf = r#"{"schemaType":"PROTOBUF","schema":"message A {}"}"#;
    let stub = Stub::start(|_, _| Reply::Say(200, protobuf)).await;
    let client = client(&stub.url);
    for _ in 0..2 {
        let answer = client.schema(7).await;
        assert!(
            matches!(&answer, Err(RegistryError::NotAvro { id: 7, kind }) if kind == "PROTOBUF"),
            "{answer:?}"
        );
    }
    assert_eq!(stub.lines().len(), 1);
}

#[tokio::test]
async fn silence_is_waited_for_only_so_long() {
    let stub = Stub::start(|_, _| Reply::Hang).await;
    let begun = Instant::now();
    unavailable(client(&stub.url).schema(7).await);
    // Four times the timeout, and the pauses between.
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn credentials_are_sent_and_never_told() {
    let stub = Stub::start(|_, _| Reply::Say(401, "")).await;
    let config = Config {
        user: Some("city".to_owned()),
        password: Some(Secret::new("swordfish")),
        ..Config::new(&stub.url)
    };
    let client = RegistryClient::new(&config).unwrap();
    let cause = unavailable(client.schema(7).await);
    // "city:swordfish"
    let sent = &stub.seen()[0].headers["authorization"];
    assert_eq!(sent, "Basic Y2l0eTpzd29yZGZpc2g=");
    for text in [cause, format!("{client:?}")] {
        assert!(
            !text.contains("swordfish") && !text.contains("Y2l0"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn only_the_right_credentials_get_an_answer() {
    let stub = Stub::start(|seen, _| match seen.headers.get("authorization") {
        // "city:swordfish"
        Some(sent) if sent == "Basic Y2l0eTpzd29yZGZpc2g=" => Reply::Say(200, SCHEMA),
        _ => Reply::Say(401, r#"{"error_code":401,"message":"Unauthorized"}"#),
    })
    .await;
    let ask = async |user: Option<&str>, password: Option<&str>| {
        let config = Config {
            user: user.map(str::to_owned),
            password: password.map(Secret::new),
            ..Config::new(&stub.url)
        };
        RegistryClient::new(&config).unwrap().schema(7).await
    };
    assert_eq!(ask(Some("city"), Some("swordfish")).await.unwrap(), INT);
    for (user, password) in [
        (None, None),
        (Some("city"), None),
        (Some("city"), Some("sardine")),
        (Some("town"), Some("swordfish")),
    ] {
        let cause = unavailable(ask(user, password).await);
        assert!(
            cause.contains("401") && cause.contains("user and password"),
            "{cause}"
        );
        assert!(
            !cause.contains("sardine") && !cause.contains("swordfish"),
            "{cause}"
        );
    }
}

/// A registry in which nothing stands under the subject `p-s` yet, at the level `level`.
fn empty(line: &str, level: &'static str) -> Reply {
    match line {
        "POST /subjects/p-s" | "GET /subjects/p-s/versions/latest" => Reply::Say(404, NO_SUBJECT),
        "GET /config/p-s" => Reply::Say(404, r#"{"error_code":40408,"message":"none"}"#),
        "GET /config" => Reply::Say(200, level),
        "POST /subjects/p-s/versions" => Reply::Say(200, r#"{"id":9}"#),
        "GET /schemas/ids/9" => Reply::Say(200, SCHEMA),
        other => panic!("{other}"),
    }
}

fn prefixed(url: &str) -> RegistryClient {
    let config = Config {
        subject_prefix: "p-".to_owned(),
        ..Config::new(url)
    };
    RegistryClient::new(&config).unwrap()
}

#[tokio::test]
async fn a_first_schema_is_registered_under_the_prefix() {
    let stub = Stub::start(|seen, _| empty(&seen.line, LEVEL)).await;
    assert_eq!(prefixed(&stub.url).register("s", INT).await.unwrap(), 9);
    let sent = stub.seen();
    let sent = sent.iter().find(|seen| seen.line.ends_with("/versions"));
    let sent = sent.unwrap();
    assert_eq!(sent.body, r#"{"schema":"\"int\"","schemaType":"AVRO"}"#);
    let kind = &sent.headers["content-type"];
    assert_eq!(kind, "application/vnd.schemaregistry.v1+json");
}

#[tokio::test]
async fn a_level_that_cannot_be_set_ends_it() {
    let stub = Stub::start(|seen, _| match seen.line.as_str() {
        "PUT /config/p-s" => Reply::Say(403, r#"{"error_code":40301,"message":"no"}"#),
        line => empty(line, r#"{"compatibilityLevel":"NONE"}"#),
    })
    .await;
    let cause = unavailable(prefixed(&stub.url).register("s", INT).await);
    for word in ["p-s", "NONE", "BACKWARD", "403"] {
        assert!(cause.contains(word), "{cause}");
    }
    // Nothing was registered.
    assert!(
        !stub
            .lines()
            .contains(&"POST /subjects/p-s/versions".to_owned())
    );
}

#[tokio::test]
async fn a_level_that_stays_as_it_was_ends_it() {
    let stub = Stub::start(|seen, _| match seen.line.as_str() {
        "PUT /config/p-s" => Reply::Say(200, r#"{"compatibility":"BACKWARD"}"#),
        line => empty(line, r#"{"compatibilityLevel":"NONE"}"#),
    })
    .await;
    let cause = unavailable(prefixed(&stub.url).register("s", INT).await);
    assert!(cause.contains("still NONE"), "{cause}");
}

/// A refusal without a reason is asked about.
#[tokio::test]
async fn the_reason_of_a_conflict_is_found_out() {
    for (conflict, verbose, reason) in [
        (
            r#"{"error_code":409,"message":"of its own"}"#,
            "",
            "of its own",
        ),
        (
            "",
            r#"{"is_compatible":false,"messages":["one","two"]}"#,
            "one; two",
        ),
        ("", r#"{"is_compatible":false}"#, "gives no reason"),
    ] {
        let stub = Stub::start(move |seen, _| match seen.line.as_str() {
            "POST /subjects/p-s/versions" => Reply::Say(409, conflict),
            "POST /compatibility/subjects/p-s/versions/latest?verbose=true" => {
                Reply::Say(200, verbose)
            }
            line => empty(line, LEVEL),
        })
        .await;
        match prefixed(&stub.url).register("s", INT).await {
            Err(RegistryError::Incompatible { subject, reason: r }) => {
                assert_eq!(subject, "p-s");
                assert!(r.contains(reason), "{r}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_refused_schema_and_a_registry_that_takes_none_are_two_things() {
    let refused = |body| {
        Stub::start(move |seen, _| match seen.line.as_str() {
            "POST /subjects/p-s/versions" => Reply::Say(422, body),
            line => empty(line, LEVEL),
        })
    };
    let stub = refused(r#"{"error_code":42201,"message":"bad"}"#).await;
    match prefixed(&stub.url).register("s", INT).await {
        Err(RegistryError::Unparsable { subject, reason }) => {
            assert_eq!((subject.as_str(), reason.as_str()), ("p-s", "bad"));
        }
        other => panic!("{other:?}"),
    }
    let stub = refused(r#"{"error_code":42205,"message":"read-only"}"#).await;
    let cause = unavailable(prefixed(&stub.url).register("s", INT).await);
    assert!(cause.contains("read-only"), "{cause}");
}

/// A registry may have other rules than ours, whatever level it names.
#[tokio::test]
async fn our_own_check_comes_before_the_registry_s() {
    let stub = Stub::start(|seen, _| match seen.line.as_str() {
        "GET /subjects/p-s/versions/latest" => Reply::Say(200, r#"{"schema":"\"string\""}"#),
        line => empty(line, LEVEL),
    })
    .await;
    match prefixed(&stub.url).register("s", INT).await {
        Err(RegistryError::Incompatible { subject, .. }) => assert_eq!(subject, "p-s"),
        other => panic!("{other:?}"),
    }
    let added = "POST /subjects/p-s/versions".to_owned();
    assert!(!stub.lines().contains(&added));
}

/// Records would carry an id by which nobody could read them.
#[tokio::test]
async fn an_id_that_stands_for_other_bytes_is_not_used() {
    let stub = Stub::start(|seen, _| match seen.line.as_str() {
        "GET /schemas/ids/9" => Reply::Say(200, r#"{"schema":"\"long\""}"#),
        line => empty(line, LEVEL),
    })
    .await;
    match prefixed(&stub.url).register("s", INT).await {
        Err(RegistryError::Incompatible { reason, .. }) => assert!(reason.contains("id 9")),
        other => panic!("{other:?}"),
    }
}

/// What is no schema is not sent anywhere.
#[tokio::test]
async fn what_does_not_parse_is_not_sent() {
    let stub = Stub::start(|_, _| Reply::Say(500, "")).await;
    let answer = prefixed(&stub.url).register("s", r#"{"type":"#).await;
    assert!(matches!(answer, Err(RegistryError::Unparsable { .. })));
    assert!(stub.lines().is_empty());
}
