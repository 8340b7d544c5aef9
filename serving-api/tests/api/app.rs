//! The application under test, and how tests talk to it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, StatusCode},
};
use http_body_util::BodyExt;
use openinfra_api::{
    App, AppState, Config, CursorKey, Difference, JobControl, JobUnavailable, Parts, Verification,
    entities::Entities, router,
};
use openinfra_embedded::{Embedded, Options};
use openinfra_intake::{
    AuthError, CommitError, Credentials, Delivery, Intake, Keys, Principal, TooMany, Verdict,
};
use openinfra_log::{AppendBatch, Appended, Log};
use openinfra_schemas::{
    Codec, Reason, SensorId, TenantId, Topic,
    key::{reading_key, sensor_bucket},
    time::{Millis, parse_ts},
};
use openinfra_store::{Batch, Row, Store, WriteClass, tables::views::ProgressRow};
use serde_json::{Value, json};
use tower::ServiceExt;

/// The time at which tests' views are: noon of a day in 2022.
pub const NOON: &str = "2022-07-01T12:00:00.000Z";

pub struct TestApp {
    pub state: AppState,
    pub job: Arc<FakeJob>,
    router: Router,
    embedded: Option<Embedded>,
    _folder: tempfile::TempDir,
}

/// An answer, its body read.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
}

/// A job that only counts.
#[derive(Default)]
pub struct FakeJob {
    held: Arc<AtomicUsize>,
}

struct Held(Arc<AtomicUsize>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl FakeJob {
    /// How many hold it now.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl JobControl for FakeJob {
    async fn hold(&self) -> Result<Box<dyn Send>, JobUnavailable> {
        self.held.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(Held(Arc::clone(&self.held))))
    }

    async fn verify(&self) -> Result<Verification, JobUnavailable> {
        Ok(Verification {
            as_of: ts(NOON),
            equal: false,
            differing: vec![Difference {
                view: "readings".to_owned(),
                key: "default/s1".to_owned(),
                expected: Some(json!({"value": 1.0})),
                found: None,
            }],
        })
    }
}

/// Ingest is tested with its own package; here it only has to be there.
struct NoIntake(Keys);

#[async_trait]
impl Intake for NoIntake {
    async fn authenticate(&self, who: &Credentials) -> Result<Arc<Principal>, AuthError> {
        self.0.verify(who).await
    }

    fn admit(&self, _: &Principal, _: u32) -> Result<(), TooMany> {
        Ok(())
    }

    fn take(&self, _: &Principal, _: &Delivery<'_>, _: &mut AppendBatch) -> Verdict {
        Verdict::default()
    }

    fn refuse(&self, _: &Principal, _: &Delivery<'_>, _: Reason, _: &str, _: &mut AppendBatch) {}

    async fn commit(&self, _: AppendBatch) -> Result<Appended, CommitError> {
        Ok(Appended {
            offsets: Vec::new(),
        })
    }
}

impl TestApp {
    /// In dev mode, so that no test but those of credentials needs any; views at [`NOON`].
    pub async fn new() -> Self {
        let app = Self::start(true).await;
        app.progress(NOON).await;
        app
    }

    /// Asks for credentials.
    pub async fn guarded() -> Self {
        let app = Self::start(false).await;
        app.progress(NOON).await;
        app
    }

    /// `dev`, and no tick yet.
    pub async fn start(dev: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let embedded = Embedded::open(folder.path(), Options::default()).unwrap();
        let (log, store) = (embedded.log(), embedded.store());
        let codec = Arc::new(Codec::open(embedded.registry()).await.unwrap());
        let keys = Keys::new(Arc::clone(&store));
        let keys = if dev { keys.dev(tenant()) } else { keys };
        let clock: openinfra_api::entities::Clock = Arc::new(|| ts(NOON));
        let entities = Entities::new(
            Arc::clone(&store),
            Arc::clone(&log),
            Arc::clone(&codec),
            clock,
        );
        let job = Arc::new(FakeJob::default());
        let state = App::new(Parts {
            intake: Arc::new(NoIntake(keys.clone())),
            ops: Arc::clone(&job) as Arc<dyn JobControl>,
            registry: prometheus::Registry::new(),
            config: Config {
                cursor_key: CursorKey::new([7; 32]),
                after_timeout: std::time::Duration::from_millis(50),
                ..Config::default()
            },
            log,
            store,
            codec,
            keys,
            entities,
        })
        .unwrap();
        Self {
            router: router(Arc::clone(&state)),
            state,
            job,
            embedded: Some(embedded),
            _folder: folder,
        }
    }

    pub fn store(&self) -> &dyn Store {
        &*self.state.store
    }

    pub fn log(&self) -> &dyn Log {
        &*self.state.log
    }

    pub fn bucket(&self, id: &str) -> i32 {
        let key = reading_key(&tenant(), &SensorId::parse(id).unwrap());
        sensor_bucket(&key, self.state.partitions())
    }

    /// Writes rows as the job would.
    pub async fn rows<R: Row>(&self, rows: impl IntoIterator<Item = R>) {
        let mut batch = Batch::new(WriteClass::Durable);
        rows.into_iter().for_each(|row| batch.put(&row));
        self.store().write(batch).await.unwrap();
    }

    /// The views have all of the log, as of a tick.
    pub async fn progress(&self, as_of: &str) {
        let mut ends = serde_json::Map::new();
        for topic in [Topic::Readings, Topic::Entities, Topic::Ledger] {
            let of_topic = self.log().end_offsets(topic).await.unwrap();
            ends.insert(topic.name().to_owned(), json!(of_topic));
        }
        let row = ProgressRow {
            generation: self.state.config.generation,
            as_of: ts(as_of),
            attempt: 1,
            ends: Value::Object(ends).to_string(),
            rows: json!({"readings": 3}).to_string(),
            log_id: "log".to_owned(),
            tick_offset: 0,
        };
        self.rows([row]).await;
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            bytes: body.collect().await.unwrap().to_bytes().to_vec(),
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[], None).await
    }

    /// A request with headers and a JSON body.
    pub async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = match body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        self.send(request.body(body).unwrap()).await
    }

    /// The body of a 200.
    pub async fn ok(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    /// The problem that a path answers, checked for form.
    pub async fn refused(&self, path: &str, status: u16, slug: &str) -> Value {
        self.get(path).await.problem(status, slug)
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        if let Some(embedded) = self.embedded.take() {
            drop(embedded);
        }
    }
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .unwrap_or_else(|| panic!("no header {name}"))
            .to_str()
            .unwrap()
    }

    /// Checks that this is a problem of a kind, with all that a problem has.
    pub fn problem(&self, status: u16, slug: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["type"], format!("/problems/{slug}"), "{problem}");
        assert_eq!(problem["status"], status);
        let instance = format!("urn:uuid:{}", self.header("x-request-id"));
        assert_eq!(problem["instance"], instance);
        assert!(problem["title"].is_string());
        problem
    }
}

pub fn tenant() -> TenantId {
    TenantId::parse("default").unwrap()
}

pub fn ts(text: &str) -> Millis {
    parse_ts(text).unwrap()
}

/// The values of one field through all pages of a list; `path` has a query.
pub async fn pages(app: &TestApp, path: &str, field: &str) -> Vec<Value> {
    let mut seen = Vec::new();
    let mut page = app.ok(path).await;
    loop {
        seen.extend(column(&page, field));
        let Some(next) = page["next_cursor"].as_str() else {
            return seen;
        };
        page = app.ok(&format!("{path}&cursor={next}")).await;
    }
}

/// The values of one field of a page's items.
pub fn column(page: &Value, field: &str) -> Vec<Value> {
    let items = page["items"].as_array().unwrap();
    items.iter().map(|item| item[field].clone()).collect()
}
