//! Sends into a data folder that no server has open: the same path into the log, without a wire.
//!
//! What a newcomer would get wrong: nothing here computes views. The readings are in the log; the server
//! that opens the folder next brings the views up to them.

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use anyhow::Context as _;
use openinfra_api::entities::{Entities, SettingsFields, WriteError};
use openinfra_intake::{Delivery, Format, Intake, Principal, Room, Verdict};
use openinfra_log::AppendBatch;
use openinfra_schemas::TenantId;
use tokio::sync::mpsc::Receiver;

use super::{
    Context, Fatal, Spread, Widened,
    patience::Patience,
    settle::{Refused, Settlement},
    source::Item,
};
use crate::{clock::now, config::Config, deployment::Deployment};

/// The most readings of one append.
const BATCH: usize = 10_000;
/// Who wrote, in the entities' history.
const ACTOR: &str = "replay";

/// An open data folder, and who sends into it.
pub struct Folder {
    open: Deployment,
    ingest: Arc<dyn Intake>,
    entities: Entities,
    who: Arc<Principal>,
}

impl Folder {
    pub async fn open(dir: &Path, tenant: &str) -> Result<Self, crate::exit::Failure> {
        let tenant = TenantId::parse(tenant).map_err(crate::exit::Failure::usage)?;
        let registry = prometheus::Registry::new();
        let open = Deployment::open(&Config::of_folder(dir), &registry).await?;
        let ingest = open.ingest(open.keys(), openinfra_ingest::Config::default(), &registry);
        let entities = open.entities();
        Ok(Self {
            ingest,
            entities,
            open,
            who: Arc::new(Principal::dev(tenant)),
        })
    }

    /// A sender into this folder.
    pub fn sender(&self, trust_recv: bool, context: Arc<Context>) -> Sender {
        Sender {
            ingest: Arc::clone(&self.ingest),
            who: Arc::clone(&self.who),
            trust_recv,
            context,
        }
    }

    /// Widens the tenant's settings; what a crash left of an earlier write is finished first.
    pub async fn widen(&self, spread: Spread) -> Result<Widened, anyhow::Error> {
        self.entities
            .relay_pass(0)
            .await
            .context("finishing earlier writes")?;
        self.widen_settings(spread)
            .await
            .context("widening the tenant's horizon")
    }

    async fn widen_settings(&self, spread: Spread) -> Result<Widened, WriteError> {
        let stands = self.entities.settings(&self.who.tenant).await?;
        let mut fields = SettingsFields::from(&stands.entity);
        let wanted = spread.widen(fields.horizon_ms, fields.future_guard_ms);
        if wanted.changed {
            fields.horizon_ms = wanted.horizon_ms;
            fields.future_guard_ms = wanted.future_guard_ms;
            let tenant = &self.who.tenant;
            self.entities
                .update_settings(ACTOR, tenant, stands.version, fields)
                .await?;
        }
        Ok(wanted)
    }

    pub async fn close(self) -> Result<(), anyhow::Error> {
        drop((self.ingest, self.entities));
        self.open.close().await
    }
}

/// Appends what it is given, batch by batch.
pub struct Sender {
    ingest: Arc<dyn Intake>,
    who: Arc<Principal>,
    trust_recv: bool,
    context: Arc<Context>,
}

impl Sender {
    pub async fn run(self, mut chunks: Receiver<Vec<Item>>) -> Result<(), Fatal> {
        while let Some(mut items) = chunks.recv().await {
            while items.len() < BATCH {
                let Ok(chunk) = chunks.try_recv() else { break };
                items.extend(chunk);
            }
            // A batch of more than the codec takes is refused whole.
            for part in items.chunks(BATCH) {
                self.send(part).await?;
            }
        }
        Ok(())
    }

    async fn send(&self, items: &[Item]) -> Result<(), Fatal> {
        let started = Instant::now();
        let count = items.len() as u64;
        self.context.tally.sending(count);
        let body: Vec<u8> = items.iter().flat_map(|item| &item.body).copied().collect();
        let delivery = Delivery {
            source: "file",
            origin: "replay",
            format: Format::Ndjson,
            sensor: None,
            tenant: None,
            payload: &body,
            recv_ts: now(),
            trust_recv: self.trust_recv,
        };
        let mut batch = AppendBatch::default();
        let verdict = self.ingest.take(&self.who, &delivery, &mut batch);
        let mut patience = Patience::new(self.context.give_up_after);
        loop {
            let room = self.room(batch.size_bytes()).await?;
            let Err(error) = self.ingest.commit(batch.clone(), room).await else {
                break;
            };
            patience
                .wait(&self.context, &error.to_string(), None)
                .await?;
            self.context.tally.resent.fetch_add(count, Relaxed);
        }
        settlement(&verdict).settle(&self.context.tally, items, started);
        Ok(())
    }

    async fn room(&self, bytes: usize) -> Result<Room, Fatal> {
        let mut room = self.ingest.budget().room();
        tokio::select! {
            () = room.resize(bytes) => Ok(room),
            () = self.context.cancel.cancelled() => Err(Fatal::Cancelled),
        }
    }
}

fn settlement(verdict: &Verdict) -> Settlement<'_> {
    let refused = verdict.rejected.iter().map(|rejection| Refused {
        index: rejection.index,
        reason: rejection.reason.as_str(),
        detail: &rejection.detail,
    });
    Settlement {
        accepted: verdict.accepted,
        refused: refused.collect(),
    }
}
