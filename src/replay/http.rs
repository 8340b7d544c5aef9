//! Sends over HTTP: batches of NDJSON, one request at a time on each connection.
//!
//! What a newcomer would get wrong: only one request may be under way on a connection. A second one
//! could overtake the first when that has to be sent again, and turn a sensor's readings around.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use reqwest::{Method, Response, StatusCode, header};
use serde::Deserialize;
use tokio::sync::mpsc::Receiver;

use super::{
    Context, Fatal,
    patience::Patience,
    settle::{Refused, Settlement},
    source::Item,
};
use crate::client::{Client, problem};

/// The most readings and bytes of one request; a server takes 10,000 and 10 MiB.
const BATCH_READINGS: usize = 5_000;
const BATCH_BYTES: usize = 4 << 20;

/// What an ingest route answers, with 202 and with 422.
#[derive(Debug, Default, Deserialize)]
struct Answer {
    #[serde(default)]
    accepted: usize,
    #[serde(default)]
    rejected: usize,
    #[serde(default)]
    errors: Vec<Rejected>,
}

#[derive(Debug, Deserialize)]
struct Rejected {
    #[serde(default)]
    index: usize,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    detail: String,
}

/// What to do after an answer.
enum Next {
    Done(Answer),
    Again {
        why: String,
        after: Option<Duration>,
    },
    Never(String),
}

/// One connection: sends what it is given until there is no more.
pub struct Sender {
    client: Client,
    path: &'static str,
    context: Arc<Context>,
}

impl Sender {
    pub fn new(client: Client, trust_recv: bool, context: Arc<Context>) -> Self {
        let path = if trust_recv {
            "/api/v1/iot/sensors/batch-ingest?trust_recv=true"
        } else {
            "/api/v1/iot/sensors/batch-ingest"
        };
        Self {
            client,
            path,
            context,
        }
    }

    pub async fn run(self, mut chunks: Receiver<Vec<Item>>) -> Result<(), Fatal> {
        while let Some(batch) = next_batch(&mut chunks).await {
            self.send(batch).await?;
        }
        Ok(())
    }

    async fn send(&self, batch: Vec<Item>) -> Result<(), Fatal> {
        let count = batch.len() as u64;
        let body = bytes::Bytes::from(
            batch
                .iter()
                .flat_map(|i| &i.body)
                .copied()
                .collect::<Vec<u8>>(),
        );
        let started = Instant::now();
        let mut patience = Patience::new(self.context.give_up_after);
        self.context.tally.sending(count);
        self.context.publish(&batch);
        loop {
            match self.attempt(body.clone()).await {
                Next::Done(answer) => {
                    answer
                        .settlement()
                        .settle(&self.context.tally, &batch, started);
                    return Ok(());
                }
                Next::Never(why) => return Err(Fatal::Refused(why)),
                Next::Again { why, after } => {
                    patience.wait(&self.context, &why, after).await?;
                    self.context.tally.resent.fetch_add(count, Relaxed);
                }
            }
        }
    }

    async fn attempt(&self, body: bytes::Bytes) -> Next {
        let request = self
            .client
            .request(Method::POST, self.path)
            .header(header::CONTENT_TYPE, "application/x-ndjson")
            .body(body);
        match self.client.send("sending readings", request).await {
            Ok(response) => judge(response).await,
            Err(error) => Next::Again {
                why: format!("{:#}", anyhow::Error::new(error)),
                after: None,
            },
        }
    }
}

impl Answer {
    fn settlement(&self) -> Settlement<'_> {
        let refused = self.errors.iter().map(|error| Refused {
            index: error.index,
            reason: &error.reason,
            detail: &error.detail,
        });
        Settlement {
            accepted: self.accepted,
            refused: refused.collect(),
        }
    }
}

async fn next_batch(chunks: &mut Receiver<Vec<Item>>) -> Option<Vec<Item>> {
    let mut batch = chunks.recv().await?;
    let mut bytes: usize = batch.iter().map(|item| item.body.len()).sum();
    // What is there goes together; nobody waits for more.
    while batch.len() + batch.len().min(512) <= BATCH_READINGS && bytes < BATCH_BYTES {
        let Ok(chunk) = chunks.try_recv() else { break };
        bytes += chunk.iter().map(|item| item.body.len()).sum::<usize>();
        batch.extend(chunk);
    }
    Some(batch)
}

async fn judge(response: Response) -> Next {
    let status = response.status();
    let after = retry_after(&response);
    match status {
        _ if status.is_success() => match response.json().await {
            Ok(answer) => Next::Done(answer),
            // 2xx means that the log has it, whatever happened to the body; sending again is harmless.
            Err(error) => Next::Again {
                why: format!("the answer broke off: {error}"),
                after,
            },
        },
        StatusCode::UNPROCESSABLE_ENTITY => {
            let text = response.text().await.unwrap_or_default();
            match serde_json::from_str::<Answer>(&text) {
                Ok(answer) if answer.rejected > 0 => Next::Done(answer),
                _ => Next::Never(format!(
                    "{status}: {}",
                    text.chars().take(300).collect::<String>()
                )),
            }
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Next::Again {
            why: format!("{status}"),
            after,
        },
        _ if status.is_server_error() => Next::Again {
            why: format!("{status}: {}", problem(response).await),
            after,
        },
        _ => Next::Never(format!("{status}: {}", problem(response).await)),
    }
}

fn retry_after(response: &Response) -> Option<Duration> {
    let text = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    text.parse().ok().map(Duration::from_secs)
}
