//! The schema registry's routes, in its own protocol and by our own client.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use openinfra_api::{Surface, serve};
use openinfra_intake::{PrincipalKind, keys::NewKey};
use openinfra_registry::{Config, RegistryClient};
use openinfra_schemas::{
    DecodeError, Quality, Reading, Secret, SensorId, TsSource,
    codec::{Record, unframe},
    registry::{Registry, RegistryError, conformance},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::app::{Answer, Setup, TestApp, tenant};

const PROTOCOL: &str = "application/vnd.schemaregistry.v1+json";
const INT: &str = r#""int""#;

impl TestApp {
    async fn post_schema(&self, path: &str, schema: &str) -> Answer {
        let body = json!({"schema": schema});
        self.call("POST", path, &[], Some(body)).await
    }
}

impl Answer {
    /// Checks that this is a refusal as the protocol has it.
    fn refusal(&self, status: u16, code: u32) -> String {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), PROTOCOL);
        let body = self.json();
        assert_eq!(body["error_code"], code, "{body}");
        body["message"].as_str().unwrap().to_owned()
    }

    fn done(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        assert_eq!(self.header("content-type"), PROTOCOL);
        self.json()
    }
}

#[tokio::test]
async fn schemas_are_found_in_every_way() {
    let app = TestApp::new().await;
    let made = app.post_schema("/registry/subjects/s/versions", INT).await;
    let id = made.done()["id"].clone();
    let made = app
        .post_schema("/registry/subjects/s/versions", r#""long""#)
        .await;
    let second = made.done()["id"].clone();
    assert_ne!(id, second);

    let get = async |path: &str| app.get(&format!("/registry{path}")).await.done();
    let subjects = get("/subjects").await;
    assert!(subjects.as_array().unwrap().contains(&json!("s")));
    assert!(
        subjects
            .as_array()
            .unwrap()
            .contains(&json!(Reading::SUBJECT))
    );
    assert_eq!(get("/subjects/s/versions").await, json!([1, 2]));
    let first = json!({"subject": "s", "version": 1, "id": id, "schema": INT});
    assert_eq!(get("/subjects/s/versions/1").await, first);
    assert_eq!(get("/subjects/s/versions/latest").await["id"], second);
    assert_eq!(get("/subjects/s/versions/-1").await["version"], 2);
    assert_eq!(get("/subjects/s/versions/1/schema").await, json!("int"));
    assert_eq!(
        get(&format!("/schemas/ids/{id}?fetchMaxId=false")).await,
        json!({"schema": INT})
    );
    let found = app.post_schema("/registry/subjects/s", " \"int\" ").await;
    assert_eq!(found.done(), first);
    for path in ["/config", "/config/s", "/config/none?defaultToGlobal=true"] {
        assert_eq!(
            get(path).await,
            json!({"compatibilityLevel": "BACKWARD"}),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_schema_is_judged_before_it_is_taken() {
    let app = TestApp::new().await;
    let versions = "/registry/subjects/s/versions";
    app.post_schema(versions, INT).await.done();
    let check = "/registry/compatibility/subjects/s/versions/latest?verbose=true";
    let fits = app.post_schema(check, r#""long""#).await.done();
    assert_eq!(fits, json!({"is_compatible": true, "messages": []}));
    let not = app.post_schema(check, r#""string""#).await.done();
    assert_eq!(not["is_compatible"], false);
    assert_eq!(not["messages"].as_array().unwrap().len(), 1);

    let message = app.post_schema(versions, r#""string""#).await;
    let message = message.refusal(409, 409);
    assert!(message.contains("not backward compatible"), "{message}");
    let answer = app.get("/registry/subjects/s/versions").await;
    assert_eq!(answer.done(), json!([1]));
}

#[tokio::test]
async fn refusals_are_those_that_clients_know() {
    let app = TestApp::new().await;
    app.post_schema("/registry/subjects/s/versions", INT)
        .await
        .done();
    for (path, status, code) in [
        ("/subjects/none/versions", 404, 40_401),
        ("/subjects/none/versions/latest", 404, 40_401),
        ("/subjects/s/versions/2", 404, 40_402),
        ("/subjects/s/versions/0", 422, 42_202),
        ("/subjects/s/versions/newest", 422, 42_202),
        ("/schemas/ids/999", 404, 40_403),
        ("/schemas/ids/4294967296", 404, 40_403),
        ("/schemas/ids/x", 404, 40_403),
        ("/subjects?colour=red", 400, 400),
    ] {
        let answer = app.get(&format!("/registry{path}")).await;
        answer.refusal(status, code);
    }
    let versions = "/registry/subjects/s/versions";
    for (body, status, code) in [
        (json!({"schema": "{"}), 422, 42_201),
        (json!({"schema": INT, "schemaType": "JSON"}), 422, 42_201),
        (
            json!({"schema": INT, "references": [{"name": "a"}]}),
            422,
            42_201,
        ),
        (json!({}), 422, 422),
        (json!([]), 422, 422),
    ] {
        let answer = app.call("POST", versions, &[], Some(body)).await;
        answer.refusal(status, code);
    }
    let answer = app.post_schema("/registry/subjects/none", INT).await;
    answer.refusal(404, 40_401);
    let answer = app.post_schema("/registry/subjects/s", r#""long""#).await;
    answer.refusal(404, 40_403);
    for name in ["a%00b", "a%0Ab", &"x".repeat(256)] {
        let path = format!("/registry/subjects/{name}/versions");
        app.post_schema(&path, INT).await.refusal(422, 42_208);
    }
    let level = async |path: &str, level: &str| {
        let body = json!({"compatibility": level});
        app.call("PUT", path, &[], Some(body)).await
    };
    level("/registry/config/s", "NONE")
        .await
        .refusal(422, 42_203);
    level("/registry/config", "FULL").await.refusal(422, 42_203);
    assert_eq!(
        level("/registry/config", "BACKWARD").await.done(),
        json!({"compatibility": "BACKWARD"})
    );
}

#[tokio::test]
async fn the_protocol_s_content_types_are_read_and_json_is_answered_where_it_is_asked_for() {
    let app = TestApp::new().await;
    for content_type in [
        PROTOCOL,
        "application/vnd.schemaregistry+json; charset=utf-8",
    ] {
        let request = axum::http::Request::post("/registry/subjects/s/versions")
            .header("content-type", content_type)
            .body(json!({"schema": INT, "schemaTags": []}).to_string().into())
            .unwrap();
        app.send(request).await.done();
    }
    let accept = async |accept: &str| {
        let path = "/registry/subjects";
        let answer = app.call("GET", path, &[("accept", accept)], None).await;
        answer.header("content-type").to_owned()
    };
    assert_eq!(accept("*/*").await, PROTOCOL);
    assert_eq!(accept("application/json").await, "application/json");
    assert_eq!(
        accept(&format!("{PROTOCOL}, application/json")).await,
        PROTOCOL
    );
}

async fn key(app: &TestApp, permissions: &[&str]) -> String {
    let new = NewKey {
        kind: PrincipalKind::Service,
        permissions: permissions.iter().map(|p| (*p).to_owned()).collect(),
        ..NewKey::device(tenant(), "tool")
    };
    app.state.keys.create(new).await.unwrap().key
}

#[tokio::test]
async fn who_may_read_may_not_register() {
    let app = TestApp::guarded().await;
    let device = app.state.keys.create(NewKey::device(tenant(), "d")).await;
    let device = device.unwrap().key;
    let reader = key(&app, &["view_operations"]).await;
    let writer = key(&app, &["manage_platform"]).await;
    let subjects = "/registry/subjects";
    let answer = app.get(subjects).await;
    answer.refusal(401, 40_101);
    assert!(answer.headers.contains_key("www-authenticate"));
    let get = async |key: &str| app.call("GET", subjects, &[("x-api-key", key)], None).await;
    get("abc.def").await.refusal(401, 40_101);
    let message = get(&device).await.refusal(403, 40_301);
    assert!(message.contains("view_operations"), "{message}");
    get(&reader).await.done();
    let post = async |key: &str| {
        let body = json!({"schema": INT});
        let path = "/registry/subjects/s/versions";
        app.call("POST", path, &[("x-api-key", key)], Some(body))
            .await
    };
    let message = post(&reader).await.refusal(403, 40_301);
    assert!(message.contains("manage_platform"), "{message}");
    post(&writer).await.done();
    let body = json!({"compatibility": "BACKWARD"});
    let header = [("x-api-key", reader.as_str())];
    let answer = app.call("PUT", "/registry/config", &header, Some(body));
    answer.await.refusal(403, 40_301);
}

#[tokio::test]
async fn a_name_and_a_password_are_a_key() {
    let app = TestApp::guarded().await;
    let key = key(&app, &["view_operations"]).await;
    let (prefix, secret) = key.split_once('.').unwrap();
    let basic = async |pair: &str| {
        let value = format!("Basic {}", BASE64_STANDARD.encode(pair));
        let header = [("authorization", value.as_str())];
        app.call("GET", "/registry/subjects", &header, None).await
    };
    basic(&format!("anyone:{key}")).await.done();
    basic(&format!("{prefix}:{secret}")).await.done();
    for wrong in ["", ":", "a:b", &format!("{prefix}:wrong")] {
        basic(wrong).await.refusal(401, 40_101);
    }
    // Elsewhere no browser may be made to send them.
    let value = format!("Basic {}", BASE64_STANDARD.encode(format!("a:{key}")));
    let header = [("authorization", value.as_str())];
    let answer = app.call("GET", "/api/v1/views", &header, None).await;
    answer.problem(401, "unauthenticated");
}

#[tokio::test]
async fn where_schemas_are_kept_elsewhere_it_is_said_where() {
    let app = TestApp::with(Setup {
        schemas_elsewhere: Some("http://registry:8081"),
        ..Setup::default()
    })
    .await;
    for path in ["/registry/subjects", "/registry/schemas/ids/1"] {
        let problem = app.refused(path, 404, "not-found").await;
        assert_eq!(problem["registry"], "http://registry:8081");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("http://registry:8081"), "{detail}");
    }
    // And no client takes that for a registry's word.
    let served = Served::start(app, Config::new).await;
    match served.client.schema(1).await {
        Err(RegistryError::Unavailable(_)) => {}
        other => panic!("{other:?}"),
    }
}

/// What somebody else's producer needs: it registers a schema of its own and writes records with its id.
#[tokio::test]
async fn a_record_by_an_outside_schema_is_read() {
    let app = TestApp::new().await;
    let mut schema: Value = serde_json::from_str(Reading::SCHEMA).unwrap();
    let fields = schema["fields"].as_array_mut().unwrap();
    fields.push(json!({"name": "firmware", "type": ["null", "string"], "default": null}));
    let path = format!("/registry/subjects/{}/versions", Reading::SUBJECT);
    let made = app.post_schema(&path, &schema.to_string()).await.done();
    let id = u32::try_from(made["id"].as_u64().unwrap()).unwrap();

    let reading = Reading {
        tenant: tenant(),
        sensor_id: SensorId::parse("pump-1").unwrap(),
        event_ts: 1,
        recv_ts: 2,
        ts_source: TsSource::Device,
        value: 1.5,
        unit: None,
        quality: Quality::Good,
        event_id: None,
        sequence: None,
        battery_pct: None,
        signal_dbm: None,
        source: "kcat".to_owned(),
        readmits: None,
    };
    let codec = &app.state.codec;
    let ours = codec.encode_to_vec(&reading);
    let (our_id, datum) = unframe(&ours).unwrap();
    assert_ne!(our_id, id);
    // The new field's datum: branch 1, one byte, "7".
    let theirs = [&[0], &id.to_be_bytes()[..], datum, &[2, 2, b'7']].concat();
    let first = codec.decode::<Reading>(&theirs);
    assert!(matches!(first, Err(DecodeError::UnknownSchema(of)) if of == id));
    codec.learn(id).await.unwrap();
    assert_eq!(codec.decode::<Reading>(&theirs).unwrap(), reading);
}

/// The application behind a port, and our client of it.
struct Served {
    client: Arc<dyn Registry>,
    stop: CancellationToken,
    _app: TestApp,
}

impl Served {
    async fn start(app: TestApp, config: impl FnOnce(String) -> Config) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(serve(
            listener,
            Arc::clone(&app.state),
            Surface::Api,
            stop.clone(),
        ));
        let config = config(format!("http://{address}/registry"));
        Self {
            client: Arc::new(RegistryClient::new(&config).unwrap()),
            stop,
            _app: app,
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The same that outside registries and the trait's other implementations pass.
#[tokio::test]
async fn it_conforms_through_the_client() {
    let app = TestApp::guarded().await;
    let key = key(&app, &["view_operations", "manage_platform"]).await;
    let served = Served::start(app, |url| Config {
        user: Some("tool".to_owned()),
        password: Some(Secret::new(key)),
        subject_prefix: "city-".to_owned(),
        ..Config::new(url)
    })
    .await;
    conformance::run(&served.client, "subject").await;
}

/// A key that may only read is enough for who finds all schemas in place.
#[tokio::test]
async fn a_reader_finds_what_is_registered() {
    let app = TestApp::guarded().await;
    let key = key(&app, &["view_operations"]).await;
    let served = Served::start(app, |url| Config {
        user: Some("tool".to_owned()),
        password: Some(Secret::new(key)),
        ..Config::new(url)
    })
    .await;
    let found = served.client.register(Reading::SUBJECT, Reading::SCHEMA);
    assert_eq!(found.await.unwrap(), 1);
    match served.client.register("new", INT).await {
        Err(RegistryError::Unavailable(cause)) => assert!(cause.contains("403"), "{cause}"),
        other => panic!("{other:?}"),
    }
}
