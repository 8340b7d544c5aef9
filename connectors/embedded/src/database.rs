//! The fjall database in its folder: opening it, and the keyspaces in it.
//!
//! Folder: `lock` (held while open), `format.json` (what never changes), `ends` (the side file) and `db`
//! (fjall's). What a newcomer would get wrong: that fjall opens without an error does not mean that all
//! is there; `recover` compares it with the side file before anyone may read.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    panic::AssertUnwindSafe,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
    thread,
    time::Duration,
};

use fjall::{AbstractTree, Keyspace, KeyspaceCreateOptions, Snapshot};
use openinfra_schemas::Topic;

use crate::{
    error::{Failure, OpenError},
    folder,
    options::Options,
};

/// Threads that write memtables out and merge tables. fjall's first one only writes out, and spins while
/// merges wait for the others: with one other it did so for half of its time.
const WORKERS: usize = 3;

/// fjall makes a writer wait, without end if its workers have failed, when so many memtables of a table
/// wait to be written out. We wait before it does, and look whether there is anything to wait for.
const MOST_SEALED: usize = 3;

/// The open database.
pub(crate) struct Database {
    topics: [Keyspace; Topic::ALL.len()],
    meta: Keyspace,
    /// Keyspaces of store tables that were touched so far.
    tables: RwLock<HashMap<&'static str, Keyspace>>,
    /// What readers see: taken between two commits.
    shown: RwLock<Arc<Snapshot>>,
    db: fjall::Database,
    options: Options,
    /// Declared last, so that it is released when all else is closed.
    _lock: File,
}

impl Database {
    /// Opens what is in the folder, or makes it. The caller holds the lock.
    pub(crate) fn open(folder: &Path, options: &Options, lock: File) -> Result<Self, OpenError> {
        let path = folder.join(folder::DATABASE);
        if !path.exists() {
            make(folder, &path, options)?;
        }
        let opened = std::panic::catch_unwind(AssertUnwindSafe(|| open_all(&path, options)));
        // fjall panics on some damage instead of returning an error.
        let (db, topics, meta) = match opened {
            Ok(opened) => opened.map_err(|error| open_error(folder, error))?,
            Err(_) => return Err(folder::damaged(folder, "the database cannot be read")),
        };
        Ok(Self {
            topics,
            meta,
            tables: RwLock::default(),
            shown: RwLock::new(Arc::new(db.snapshot())),
            db,
            options: options.clone(),
            _lock: lock,
        })
    }

    /// The keyspace of a topic's records.
    pub(crate) fn topic(&self, topic: Topic) -> &Keyspace {
        let at = Topic::ALL
            .iter()
            .position(|other| *other == topic)
            .expect("every topic stands in Topic::ALL");
        &self.topics[at]
    }

    /// The keyspace of what is neither log nor store.
    pub(crate) fn meta(&self) -> &Keyspace {
        &self.meta
    }

    /// The keyspace of a store table, if anything was ever written to it.
    pub(crate) fn table(&self, name: &'static str) -> Result<Option<Keyspace>, Failure> {
        if let Some(keyspace) = self.known_table(name) {
            return Ok(Some(keyspace));
        }
        if !self.db.keyspace_exists(&table_name(name)) {
            return Ok(None);
        }
        self.make_table(name).map(Some)
    }

    /// The keyspace of a store table, made if it is new.
    pub(crate) fn make_table(&self, name: &'static str) -> Result<Keyspace, Failure> {
        if let Some(keyspace) = self.known_table(name) {
            return Ok(keyspace);
        }
        let memtable_bytes = self.options.memtable_bytes;
        let keyspace = self
            .db
            .keyspace(&table_name(name), || table_options(memtable_bytes))?;
        self.tables
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name, keyspace.clone());
        Ok(keyspace)
    }

    fn known_table(&self, name: &'static str) -> Option<Keyspace> {
        self.tables
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned()
    }

    pub(crate) fn batch(&self) -> fjall::OwnedWriteBatch {
        self.db.batch()
    }

    /// What the last group left, whole.
    ///
    /// No other snapshot will do: fjall numbers the writing out of a memtable as it numbers batches, and
    /// when that ends while a batch is half applied, a snapshot taken then shows the half.
    pub(crate) fn shown(&self) -> Arc<Snapshot> {
        self.shown
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Shows readers what is committed now. Only the committer may ask for it, when no commit is under
    /// way.
    pub(crate) fn show(&self) {
        let snapshot = Arc::new(self.db.snapshot());
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = snapshot;
    }

    /// Waits until what is not written out yet fits into memory, so that a commit is not held up where it
    /// could not be ended. Fails when nothing is written out any more.
    pub(crate) fn make_room(&self) -> Result<(), Failure> {
        loop {
            let keyspaces = self.keyspaces();
            let sealed: Vec<usize> = keyspaces
                .iter()
                .map(Keyspace::sealed_memtable_count)
                .collect();
            let over = self.db.write_buffer_size() > self.options.write_buffer_bytes;
            if !over && sealed.iter().all(|count| *count < MOST_SEALED) {
                return Ok(());
            }
            // Errs when a worker has failed.
            self.db.persist(fjall::PersistMode::Buffer)?;
            if sealed.iter().all(|count| *count == 0) {
                let fullest = keyspaces
                    .iter()
                    .max_by_key(|keyspace| keyspace.tree.active_memtable().size());
                if let Some(fullest) = fullest {
                    fullest.rotate_memtable()?;
                }
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn keyspaces(&self) -> Vec<Keyspace> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        let own = self.topics.iter().chain([&self.meta]);
        own.chain(tables.values()).cloned().collect()
    }

    /// Syncs the journal.
    pub(crate) fn sync(&self) -> Result<(), Failure> {
        self.db
            .persist(fjall::PersistMode::SyncAll)
            .map_err(Failure::from)
    }
}

/// Makes an empty database, and gives it its name when it is whole: fjall does not open one that a crash
/// left half made.
fn make(folder: &Path, path: &Path, options: &Options) -> Result<(), OpenError> {
    let new = folder.join(folder::NEW_DATABASE);
    match fs::remove_dir_all(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(folder::io_error(folder)(error));
        }
        _ => {}
    }
    let (db, ..) = open_all(&new, options).map_err(|error| open_error(folder, error))?;
    db.persist(fjall::PersistMode::SyncAll)
        .map_err(|error| open_error(folder, error))?;
    drop(db);
    fs::rename(&new, path).map_err(folder::io_error(folder))?;
    folder::sync_folder(folder).map_err(folder::io_error(folder))
}

/// The database, the keyspaces of the topics and the one of what is neither log nor store.
fn open_all(
    path: &Path,
    options: &Options,
) -> fjall::Result<(fjall::Database, [Keyspace; Topic::ALL.len()], Keyspace)> {
    let db = fjall::Database::builder(path)
        .cache_size(options.cache_bytes)
        .max_journaling_size(options.journal_bytes.max(64 << 20))
        .worker_threads(WORKERS)
        .open()?;
    let topic = |name: &str| {
        db.keyspace(&format!("log-{name}"), || {
            table_options(options.memtable_bytes)
        })
    };
    let topics = [
        topic(Topic::ALL[0].name())?,
        topic(Topic::ALL[1].name())?,
        topic(Topic::ALL[2].name())?,
        topic(Topic::ALL[3].name())?,
    ];
    let meta = db.keyspace("meta", || table_options(options.memtable_bytes))?;
    Ok((db, topics, meta))
}

fn table_name(name: &str) -> String {
    format!("table-{name}")
}

fn table_options(memtable_bytes: u64) -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default().max_memtable_size(memtable_bytes)
}

/// Which errors of opening are damage, and which are not.
fn open_error(folder: &Path, error: fjall::Error) -> OpenError {
    match error {
        fjall::Error::Locked => OpenError::Locked(folder.to_owned()),
        fjall::Error::InvalidVersion(_) => OpenError::Format {
            folder: folder.to_owned(),
            what: "the database in it has another format".into(),
        },
        fjall::Error::Io(error)
            if !matches!(
                error.kind(),
                io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::InvalidData
                    | io::ErrorKind::NotFound
                    | io::ErrorKind::Other
            ) =>
        {
            folder::io_error(folder)(error)
        }
        other => folder::damaged(folder, &other.to_string()),
    }
}
