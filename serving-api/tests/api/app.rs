//! The application under test, and how tests talk to it.

use std::{
    net::IpAddr,
    num::NonZeroU32,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, StatusCode},
};
use http_body_util::BodyExt;
use openinfra_api::{
    App, AppState, Config, CursorKey, JobControl, Limits, Parts, Schemas, Surface,
    entities::Entities, router,
};
use openinfra_embedded::{Embedded, Options};
use openinfra_intake::{
    AuthError, Budget, CommitError, Credentials, Delivery, Intake, Keys, Principal, Room, TooMany,
    Verdict,
};
use openinfra_log::{AppendBatch, Appended, Log};
use openinfra_schemas::{
    Codec, Reason, SensorId, TenantId, Topic,
    key::{partition_of_bucket, reading_key, sensor_bucket},
    time::{Millis, parse_ts},
};
use openinfra_store::{Batch, Row, Store, WriteClass, tables::views::ProgressRow};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::job::FakeJob;

/// The time at which tests' views are: noon of a day in 2022.
pub const NOON: &str = "2022-07-01T12:00:00.000Z";

pub struct TestApp {
    pub state: AppState,
    pub job: Arc<FakeJob>,
    pub intake: Arc<NoIntake>,
    router: Router,
    embedded: Option<Embedded>,
    _folder: Option<tempfile::TempDir>,
}

/// What a log or a store is wrapped in.
pub type SeenThrough<T> = Box<dyn FnOnce(Arc<T>) -> Arc<T>>;

/// What a test may want otherwise.
pub struct Setup {
    /// Whether who shows no credentials may do everything.
    pub dev: bool,
    pub limits: Limits,
    pub config: fn(&mut Config),
    /// Where schemas are kept instead of the folder.
    pub schemas_elsewhere: Option<&'static str>,
    /// What the log is seen through.
    pub log: SeenThrough<dyn Log>,
    /// What the store is seen through.
    pub store: SeenThrough<dyn Store>,
    /// How long a write goes on trying.
    pub patience: Duration,
    /// A folder that is there already; none: one of the test's own.
    pub folder: Option<PathBuf>,
}

impl Default for Setup {
    /// In dev mode, with more requests than any test sends.
    fn default() -> Self {
        let many = NonZeroU32::new(1_000_000).unwrap();
        Self {
            dev: true,
            limits: Limits {
                requests_per_s: many,
                burst: many,
                anonymous_per_s: many,
                anonymous_burst: many,
                limit_dev: false,
            },
            config: |_| (),
            schemas_elsewhere: None,
            log: Box::new(|log| log),
            store: Box::new(|store| store),
            patience: openinfra_api::entities::DEFAULT_PATIENCE,
            folder: None,
        }
    }
}

/// An answer, its body read.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
}

/// Ingest is tested with its own package; here it only has to be there.
pub struct NoIntake {
    keys: Keys,
    budget: Arc<Budget>,
    refused: Mutex<Vec<(String, Option<IpAddr>)>>,
}

impl NoIntake {
    /// What it was told of credentials that were not good: why, and where they came from.
    pub fn refused(&self) -> Vec<(String, Option<IpAddr>)> {
        self.refused.lock().unwrap().clone()
    }
}

#[async_trait]
impl Intake for NoIntake {
    async fn authenticate(&self, who: &Credentials) -> Result<Arc<Principal>, AuthError> {
        self.keys.verify(who).await
    }

    fn count_refused(&self, error: &AuthError, address: Option<IpAddr>) {
        let mut refused = self.refused.lock().unwrap();
        refused.push((error.to_string(), address));
    }

    fn admit(&self, _: &Principal, _: u32) -> Result<(), TooMany> {
        Ok(())
    }

    fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    fn take(&self, _: &Principal, _: &Delivery<'_>, _: &mut AppendBatch) -> Verdict {
        Verdict::default()
    }

    fn refuse(&self, _: &Principal, _: &Delivery<'_>, _: Reason, _: &str, _: &mut AppendBatch) {}

    async fn commit(&self, _: AppendBatch, _: Room) -> Result<Appended, CommitError> {
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
        let setup = Setup {
            dev,
            ..Setup::default()
        };
        Self::set_up(setup).await
    }

    /// As it is asked for; views at [`NOON`].
    pub async fn with(setup: Setup) -> Self {
        let app = Self::set_up(setup).await;
        app.progress(NOON).await;
        app
    }

    async fn set_up(setup: Setup) -> Self {
        let own = setup.folder.is_none().then(|| tempfile::tempdir().unwrap());
        let folder = setup
            .folder
            .unwrap_or_else(|| own.as_ref().unwrap().path().to_owned());
        let embedded = Embedded::open(&folder, Options::default()).unwrap();
        let log = (setup.log)(embedded.log());
        let store = (setup.store)(embedded.store());
        let codec = Arc::new(Codec::open(embedded.registry()).await.unwrap());
        let schemas = match setup.schemas_elsewhere {
            None => Schemas::Own(embedded.registry()),
            Some(address) => Schemas::Elsewhere(address.to_owned()),
        };
        let keys = Keys::new(Arc::clone(&store));
        let keys = if setup.dev { keys.dev(tenant()) } else { keys };
        let clock: openinfra_api::entities::Clock = Arc::new(|| ts(NOON));
        let entities = Entities::new(
            Arc::clone(&store),
            Arc::clone(&log),
            Arc::clone(&codec),
            clock,
        )
        .patience(setup.patience);
        let job = Arc::new(FakeJob::default());
        let mut config = Config {
            limits: setup.limits,
            cursor_key: CursorKey::kept_in(&*store).await.unwrap(),
            after_timeout: Duration::from_millis(50),
            ..Config::default()
        };
        (setup.config)(&mut config);
        let intake = Arc::new(NoIntake {
            keys: keys.clone(),
            budget: Budget::new(0),
            refused: Mutex::default(),
        });
        let state = App::new(Parts {
            intake: Arc::clone(&intake) as Arc<dyn Intake>,
            ops: Arc::clone(&job) as Arc<dyn JobControl>,
            registry: prometheus::Registry::new(),
            config,
            log,
            store,
            codec,
            schemas,
            keys,
            entities,
        })
        .unwrap();
        Self {
            router: router(Arc::clone(&state), Surface::Api),
            state,
            job,
            intake,
            embedded: Some(embedded),
            _folder: own,
        }
    }

    /// What another process over the same store would be.
    pub async fn another(&self) -> Self {
        let of = &self.state;
        let mut config = of.config.clone();
        config.cursor_key = CursorKey::kept_in(&*of.store).await.unwrap();
        let state = App::new(Parts {
            log: Arc::clone(&of.log),
            store: Arc::clone(&of.store),
            codec: Arc::clone(&of.codec),
            schemas: of.schemas.clone(),
            keys: of.keys.clone(),
            intake: Arc::clone(&of.intake),
            entities: of.entities.clone(),
            ops: Arc::clone(&of.ops),
            registry: prometheus::Registry::new(),
            config,
        })
        .unwrap();
        Self {
            router: router(Arc::clone(&state), Surface::Api),
            state,
            job: Arc::clone(&self.job),
            intake: Arc::clone(&self.intake),
            embedded: None,
            _folder: None,
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

    pub fn log_partition(&self, id: &str) -> i32 {
        partition_of_bucket(self.bucket(id))
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
            marks: None,
            hourly_as_of: None,
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
