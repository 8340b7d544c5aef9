//! The registry as the trait has it, over the protocol.
//!
//! A newcomer would leave the rules to the registry. It may have others, or none: Apicurio checks nothing
//! unless it is told to. So whether a schema may follow is checked here too, the subject's level is seen to,
//! and an id is believed only when its schema writes what ours does.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, RwLock},
    time::Duration,
};

use async_trait::async_trait;
use openinfra_schemas::{
    compatibility::{canonical, check_backward, write_alike},
    registry::{Registry, RegistryError, SchemaId},
};
use reqwest::{Method, StatusCode};

use crate::{
    config::{Config, ConfigError},
    http::{Call, Http},
    level::needed_instead_of,
    refusal::Refusal,
    wire::{
        CompatibilityAnswer, IdAnswer, LevelAnswer, LevelRequest, NO_SCHEMA, NO_SUBJECT,
        NO_SUBJECT_LEVEL, NO_VERSION, NOT_PERMITTED, SchemaAnswer, SchemaRequest,
    },
};

/// The protocol's ids are a signed 32-bit number, so that no registry can have a greater one; asked for it,
/// some answer as if the path were wrong.
const GREATEST_ID: SchemaId = i32::MAX as SchemaId;

/// A client of one registry. Connects when it is first asked.
pub struct RegistryClient {
    http: Http,
    subject_prefix: String,
    /// What an id stands for never changes, so nothing ever leaves; errors are not kept.
    texts: RwLock<HashMap<SchemaId, Text>>,
}

/// What stands under an id: the text of an Avro schema, or of which other kind it is.
type Text = Result<Arc<str>, Arc<str>>;

impl RegistryClient {
    /// Errs on a configuration that cannot work; nothing is asked of the registry yet.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        Ok(Self {
            http: Http::new(config)?,
            subject_prefix: config.subject_prefix.clone(),
            texts: RwLock::default(),
        })
    }

    /// Shows what it counts in the process's metrics: `openinfra_registry_requests_total{outcome}` and
    /// `openinfra_registry_up`.
    ///
    /// # Errors
    /// Another client's are there.
    pub fn metered(self, registry: &prometheus::Registry) -> Result<Self, prometheus::Error> {
        self.http.reports.register(registry)?;
        Ok(self)
    }

    /// Asks again and again whether the registry answers, and never returns. Known ids are never asked for, so
    /// that metrics and log would else tell of an outage when the first new one comes.
    pub async fn watch(&self, every: Duration) {
        loop {
            tokio::time::sleep(every).await;
            // One that it gave us before: whoever may ask for nothing else may ask for that.
            let known = self.least_known().map(|id| id.to_string());
            let path = match &known {
                Some(id) => &["schemas", "ids", id][..],
                None => &["config"],
            };
            // What became of it is told where every request's outcome is.
            drop(self.http.ask::<serde_json::Value>(&Call::get(path)).await);
        }
    }

    /// The registry's address, without credentials.
    pub fn url(&self) -> &str {
        self.http.base()
    }

    /// The id that a schema has in a subject, whichever version it is.
    async fn find(&self, subject: &str, schema: &str) -> Result<Option<SchemaId>, RegistryError> {
        let path = ["subjects", subject];
        let call = Call::new(Method::POST, &path).body(&SchemaRequest::avro(schema));
        match self.http.ask::<IdAnswer>(&call).await? {
            Ok(found) => Ok(Some(found.id)),
            Err(refusal) if refusal.is(&[NO_SUBJECT, NO_SCHEMA]) => Ok(None),
            Err(refusal) => Err(unparsable(subject, refusal)),
        }
    }

    /// Sees to it that the subject's level is BACKWARD at least, by setting it where it is not.
    async fn secure_level(&self, subject: &str) -> Result<(), RegistryError> {
        let level = self.level(subject).await?;
        let unusable =
            |why: String| RegistryError::Unavailable(format!("subject {subject}: {why}"));
        let Some(needed) = needed_instead_of(&level).map_err(unusable)? else {
            return Ok(());
        };
        let path = ["config", subject];
        let call = Call::new(Method::PUT, &path).body(&LevelRequest { level: needed });
        let set = self.http.ask::<serde_json::Value>(&call).await;
        let set = set.and_then(|answer| answer.map_err(Refusal::unavailable));
        set.map_err(|cause| {
            unusable(format!(
                "its level of compatibility is {level}, and cannot be set to {needed}: {cause}"
            ))
        })?;
        let now = self.level(subject).await?;
        if needed_instead_of(&now).map_err(unusable)?.is_some() {
            return Err(unusable(format!(
                "its level of compatibility was set to {needed}, and is still {now}"
            )));
        }
        tracing::warn!(
            subject,
            was = %level,
            is = %now,
            "the level of compatibility let through what cannot be read; it was set for the subject"
        );
        Ok(())
    }

    /// The level in force for a subject: its own, else that of all.
    async fn level(&self, subject: &str) -> Result<String, RegistryError> {
        let path = ["config", subject];
        let refusal = match self.http.ask::<LevelAnswer>(&Call::get(&path)).await? {
            Ok(own) => return Ok(own.level),
            Err(refusal) => refusal,
        };
        if !refusal.is(&[NO_SUBJECT, NO_SUBJECT_LEVEL]) {
            return Err(refusal.unavailable());
        }
        let call = Call::get(&["config"]);
        let of_all = self.http.ask::<LevelAnswer>(&call).await?;
        of_all
            .map(|of_all| of_all.level)
            .map_err(Refusal::unavailable)
    }

    /// Checks that a schema reads what the subject's newest wrote.
    async fn check_newest(&self, subject: &str, schema: &str) -> Result<(), RegistryError> {
        let path = ["subjects", subject, "versions", "latest"];
        let newest = match self.http.ask::<SchemaAnswer>(&Call::get(&path)).await? {
            Ok(newest) => newest,
            Err(refusal) if refusal.is(&[NO_SUBJECT, NO_VERSION]) => return Ok(()),
            Err(refusal) => return Err(refusal.unavailable()),
        };
        newest
            .avro()
            .map_err(|kind| format!("the subject's newest schema is no Avro but {kind}"))
            .and_then(|newest| check_backward(schema, &newest))
            .map_err(|reason| incompatible(subject, reason))
    }

    async fn add(&self, subject: &str, schema: &str) -> Result<SchemaId, RegistryError> {
        let path = ["subjects", subject, "versions"];
        let call = Call::new(Method::POST, &path).body(&SchemaRequest::avro(schema));
        let refusal = match self.http.ask::<IdAnswer>(&call).await? {
            Ok(added) => return Ok(added.id),
            Err(refusal) => refusal,
        };
        if refusal.status != StatusCode::CONFLICT {
            return Err(unparsable(subject, refusal));
        }
        let reason = match refusal.code.filter(|_| !refusal.message.is_empty()) {
            Some(_) => refusal.message,
            None => self.reason(subject, schema).await,
        };
        Err(incompatible(subject, reason))
    }

    /// Why the registry took a schema for incompatible, as far as it tells.
    async fn reason(&self, subject: &str, schema: &str) -> String {
        let path = ["compatibility", "subjects", subject, "versions", "latest"];
        let call = Call::new(Method::POST, &path)
            .query("verbose=true")
            .body(&SchemaRequest::avro(schema));
        match self.http.ask::<CompatibilityAnswer>(&call).await {
            Ok(Ok(answer)) if !answer.messages.is_empty() => answer.messages.join("; "),
            _ => "the registry gives no reason".to_owned(),
        }
    }

    async fn fetch(&self, id: SchemaId) -> Result<Text, RegistryError> {
        if id > GREATEST_ID {
            return Err(RegistryError::UnknownId(id));
        }
        let text = id.to_string();
        let path = ["schemas", "ids", &text];
        match self.http.ask::<SchemaAnswer>(&Call::get(&path)).await? {
            Ok(answer) => Ok(answer.avro().map(Arc::from).map_err(Arc::from)),
            Err(refusal) if refusal.is(&[NO_SCHEMA]) => Err(RegistryError::UnknownId(id)),
            Err(refusal) => Err(refusal.unavailable()),
        }
    }

    fn least_known(&self) -> Option<SchemaId> {
        let texts = self.texts.read().expect("no holder of the lock panics");
        texts.keys().min().copied()
    }

    fn known(&self, id: SchemaId) -> Option<Text> {
        let texts = self.texts.read().expect("no holder of the lock panics");
        texts.get(&id).cloned()
    }

    async fn text(&self, id: SchemaId) -> Result<Arc<str>, RegistryError> {
        let text = match self.known(id) {
            Some(known) => known,
            None => self.learn(id).await?,
        };
        text.map_err(|kind| RegistryError::NotAvro {
            id,
            kind: kind.as_ref().to_owned(),
        })
    }

    async fn learn(&self, id: SchemaId) -> Result<Text, RegistryError> {
        let text = self.fetch(id).await?;
        if let Err(kind) = &text {
            // Who refuses the records says only that no schema of ours is there.
            tracing::warn!(id, %kind, "the registry has another kind of schema than Avro under this id: records that carry it are refused");
        }
        let mut texts = self.texts.write().expect("no holder of the lock panics");
        Ok(texts.entry(id).or_insert(text).clone())
    }

    /// Registries join texts that they take for one schema; records may carry the id only when it stands for
    /// the same bytes.
    async fn check_id(
        &self,
        subject: &str,
        id: SchemaId,
        schema: &str,
    ) -> Result<(), RegistryError> {
        let text = self.text(id).await?;
        match write_alike(&text, schema) {
            Ok(true) => Ok(()),
            Ok(false) => Err(incompatible(
                subject,
                format!("the registry gives it id {id}, which stands for another schema"),
            )),
            Err(why) => Err(incompatible(
                subject,
                format!("the schema under its id {id}: {why}"),
            )),
        }
    }
}

#[async_trait]
impl Registry for RegistryClient {
    async fn register(&self, subject: &str, schema: &str) -> Result<SchemaId, RegistryError> {
        let subject = &format!("{}{subject}", self.subject_prefix);
        canonical(schema).map_err(|reason| RegistryError::Unparsable {
            subject: subject.clone(),
            reason,
        })?;
        let found = self.find(subject, schema).await?;
        self.secure_level(subject).await?;
        let id = match found {
            Some(id) => id,
            None => {
                self.check_newest(subject, schema).await?;
                self.add(subject, schema).await?
            }
        };
        self.check_id(subject, id, schema).await?;
        Ok(id)
    }

    async fn schema(&self, id: SchemaId) -> Result<String, RegistryError> {
        self.text(id).await.map(|text| text.to_string())
    }
}

impl fmt::Debug for RegistryClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryClient")
            .field("url", &self.url())
            .field("subject_prefix", &self.subject_prefix)
            .finish_non_exhaustive()
    }
}

fn incompatible(subject: &str, reason: String) -> RegistryError {
    RegistryError::Incompatible {
        subject: subject.to_owned(),
        reason,
    }
}

/// What a refusal of a schema says, where it is not that the schema is incompatible.
fn unparsable(subject: &str, refusal: Refusal) -> RegistryError {
    if refusal.status != StatusCode::UNPROCESSABLE_ENTITY || refusal.is(&[NOT_PERMITTED]) {
        return refusal.unavailable();
    }
    RegistryError::Unparsable {
        subject: subject.to_owned(),
        reason: refusal.message,
    }
}
