//! The one thread that writes: it gathers what is waiting, commits it as one group, and answers.
//!
//! A group is one fjall batch, so it is in the database whole or not at all. The order of its end is what
//! everything rests on: journal synced, side file synced, ends published, requests answered. What a
//! newcomer would get wrong: after the first commit that fails nothing is written any more, because
//! nobody can know what of it is on disk; only opening the folder again finds out.

use std::{sync::Arc, thread};

use openinfra_log::{AppendBatch, Appended};
use openinfra_schemas::registry::{RegistryError, SchemaId};
use openinfra_store::{Batch, ConditionalBatch, Outcome, WriteClass};
use tokio::sync::{mpsc, oneshot};

use crate::{
    condition,
    database::Database,
    ends::PublishedEnds,
    error::Failure,
    group::Group,
    options::Options,
    recover::Standing,
    schemas,
    side_file::{Mark, SideFile},
};

/// How many requests may wait; who sends more waits with them.
const QUEUE: usize = 1024;

/// The thread; it says whether all was synced at its end.
pub(crate) type Thread = thread::JoinHandle<Result<(), Failure>>;

/// Where an answer goes.
pub(crate) type Reply<T, E = Failure> = oneshot::Sender<Result<T, E>>;

/// What the committer is asked to do.
pub(crate) enum Request {
    /// The partitions exist: whoever sends this has checked.
    Append {
        batch: AppendBatch,
        reply: Reply<Appended>,
    },
    Write {
        batch: Batch,
        reply: Reply<()>,
    },
    /// All of it is in one partition: whoever sends this has checked.
    WriteIf {
        batch: ConditionalBatch,
        reply: Reply<Outcome>,
    },
    Register {
        subject: String,
        schema: String,
        reply: Reply<SchemaId, RegistryError>,
    },
    /// Commit what came before, sync, and end.
    Close,
}

/// Starts the thread; it ends when it is closed or all senders are gone.
pub(crate) fn start(
    database: Arc<Database>,
    published: Arc<PublishedEnds>,
    standing: Standing,
    side: SideFile,
    options: &Options,
) -> std::io::Result<(mpsc::Sender<Request>, Thread)> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let committer = Committer {
        database,
        published,
        standing,
        side,
        group_bytes: options.group_bytes,
        chunk_bytes: options.chunk_bytes,
        failed: None,
    };
    let thread = thread::Builder::new()
        .name("committer".into())
        .spawn(move || committer.run(receiver))?;
    Ok((sender, thread))
}

struct Committer {
    database: Arc<Database>,
    published: Arc<PublishedEnds>,
    /// As of the last commit and the group that is being gathered.
    standing: Standing,
    side: SideFile,
    group_bytes: usize,
    chunk_bytes: usize,
    /// Set by the first commit that fails.
    failed: Option<Failure>,
}

impl Committer {
    fn run(mut self, mut requests: mpsc::Receiver<Request>) -> Result<(), Failure> {
        while let Some(first) = requests.blocking_recv() {
            let mut group = self.new_group();
            let mut next = Some(first);
            while let Some(request) = next {
                if let Request::Close = request {
                    self.commit(group);
                    return self.finish();
                }
                group = self.take(group, request);
                next = (group.size_bytes() < self.group_bytes)
                    .then(|| requests.try_recv().ok())
                    .flatten();
            }
            self.commit(group);
        }
        self.finish()
    }

    fn new_group(&self) -> Group {
        Group::new(
            self.database.clone(),
            self.standing.append_ts,
            self.chunk_bytes,
        )
    }

    /// Adds a request to the group, or answers it at once.
    fn take(&mut self, mut group: Group, request: Request) -> Group {
        if let Some(failure) = &self.failed {
            refuse(request, failure);
            return group;
        }
        match request {
            Request::Append { batch, reply } => {
                group.append(&mut self.standing.ends, &batch, reply);
                group
            }
            Request::Write { batch, reply } => {
                let newest = self.standing.tick;
                let is_over = match batch.class {
                    WriteClass::Tick(tick) => newest.is_some_and(|newest| tick <= newest),
                    WriteClass::Rest(tick) => newest.is_some_and(|newest| tick < newest),
                    WriteClass::Durable | WriteClass::Numbered(_) | WriteClass::Ahead(_) => false,
                };
                if is_over {
                    group.answer_with_group(reply);
                } else if group.write(&batch, reply)
                    && let WriteClass::Tick(tick) | WriteClass::Rest(tick) = batch.class
                {
                    self.standing.tick = Some(tick);
                }
                group
            }
            Request::WriteIf { batch, reply } => self.write_if(group, &batch, reply),
            Request::Register {
                subject,
                schema,
                reply,
            } => self.register(group, &subject, &schema, reply),
            Request::Close => group,
        }
    }

    fn write_if(&mut self, group: Group, batch: &ConditionalBatch, reply: Reply<Outcome>) -> Group {
        // The conditions are judged on what is committed, so what this group would change of the
        // partition has to be committed first.
        let mut group = if group.touches(batch) {
            self.commit(group);
            self.new_group()
        } else {
            group
        };
        if let Some(failure) = &self.failed {
            let _ = reply.send(Err(failure.clone()));
            return group;
        }
        match condition::evaluate(&self.database, batch) {
            Ok(Outcome::Applied) => group.write_conditional(batch, reply),
            // The refusal may rest on nothing that is not durable: what is committed of tables that
            // are written conditionally is synced.
            refused_or_failed => {
                let _ = reply.send(refused_or_failed);
            }
        }
        group
    }

    fn register(
        &mut self,
        group: Group,
        subject: &str,
        schema: &str,
        reply: Reply<SchemaId, RegistryError>,
    ) -> Group {
        self.commit(group);
        let mut group = self.new_group();
        if let Some(failure) = &self.failed {
            let _ = reply.send(Err(schemas::unavailable(failure.clone())));
            return group;
        }
        match schemas::decide(&self.database, subject, schema) {
            Ok(registration) => group.register(registration, reply),
            Err(error) => {
                let _ = reply.send(Err(error));
            }
        }
        group
    }

    /// Commits a group and answers its requests.
    fn commit(&mut self, mut group: Group) {
        if group.is_empty() {
            group.answer(&Ok(()));
            return;
        }
        self.standing.sequence += 1;
        self.standing.append_ts = group.append_ts();
        let outcome = self.write(&mut group);
        match &outcome {
            Ok(()) => {
                self.database.show();
                self.published.publish(&self.standing.ends);
            }
            Err(failure) => self.fail(failure),
        }
        group.answer(&outcome);
    }

    fn write(&mut self, group: &mut Group) -> Result<(), Failure> {
        group.commit(self.standing.sequence, self.standing.tick)?;
        if group.must_sync() {
            self.mark()?;
        }
        Ok(())
    }

    fn fail(&mut self, failure: &Failure) {
        tracing::error!(
            ?failure,
            "a commit failed; nothing more is written; restart when the disk is in order and has space"
        );
        self.failed = Some(match failure {
            // Callers tell their own what to do about it, which "unavailable" would hide.
            Failure::StorageFull => Failure::StorageFull,
            Failure::Unavailable(why) | Failure::Damaged(why) => Failure::Unavailable(format!(
                "an earlier write failed: {why}; restart when the disk is in order"
            )),
        });
    }

    fn mark(&mut self) -> Result<(), Failure> {
        let mark = Mark {
            sequence: self.standing.sequence,
            ends: self.standing.ends.clone(),
        };
        self.side.write(&mark).map_err(Failure::from)
    }

    /// Makes all that was written durable.
    fn finish(&mut self) -> Result<(), Failure> {
        if let Some(failure) = &self.failed {
            return Err(failure.clone());
        }
        self.database.sync()?;
        self.mark()
    }
}

fn refuse(request: Request, failure: &Failure) {
    let failure = failure.clone();
    match request {
        Request::Append { reply, .. } => drop(reply.send(Err(failure))),
        Request::Write { reply, .. } => drop(reply.send(Err(failure))),
        Request::Close => {}
        Request::WriteIf { reply, .. } => drop(reply.send(Err(failure))),
        Request::Register { reply, .. } => {
            drop(reply.send(Err(schemas::unavailable(failure))));
        }
    }
}
