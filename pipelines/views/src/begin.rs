//! How an instance begins: it learns which log it has, that the store belongs to it, and takes the next
//! attempt.
//!
//! A newcomer would start where `ticks` ended when it was read. Between that and our `Begin` an older
//! instance may still append ticks, and they count: the topic is read up to our own `Begin`.

use openinfra_log::{AppendBatch, Fetch, Log, LogError, LogRecord};
use openinfra_schemas::{Begin, Codec, DecodeError, LogId, TickRecord, Topic};
use openinfra_store::{
    Condition, ConditionalBatch, Freshness, KeyBuf, Outcome, Row, RowKey, Store, get_row,
    tables::views::{AttemptRow, GENERATION, ProgressRow},
};

use crate::{
    JobError,
    clock::Clock,
    ends::Ends,
    log_clock,
    same_log::{check_covered, check_log_id, check_progress, check_whole},
    tick_rules::{Meaning, TickRules},
};

/// Where a new instance stands.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) attempt: i64,
    pub(crate) log_id: String,
    /// Everything up to and with our own `Begin`.
    pub(crate) rules: TickRules,
    /// How far the store's views are; none when they are empty.
    pub(crate) progress: Option<ProgressRow>,
}

/// Checks log and store against each other, then takes the next attempt.
pub(crate) async fn begin(
    log: &dyn Log,
    store: &dyn Store,
    codec: &Codec,
    clock: &dyn Clock,
) -> Result<Begun, JobError> {
    let key = generation_key(ProgressRow::TABLE);
    let progress: Option<ProgressRow> = get_row(store, &key, Freshness::Acknowledged).await?;
    check_whole(log).await?;
    let mut rules = TickRules::new(Ends::zero(log));
    read_ticks(log, codec, &mut rules, |_| false).await?;
    if let Some(progress) = &progress {
        check_progress(log, progress, &rules).await?;
    } else if rules.log_id.is_none() {
        append(log, codec, &TickRecord::LogId(new_log_id())).await?;
        read_ticks(log, codec, &mut rules, |_| false).await?;
    }
    check_covered(log, &rules).await?;
    log_clock::check(log, codec, clock).await?;
    let attempt = take_attempt(store, rules.newest_attempt).await?;
    append(log, codec, &TickRecord::Begin(our_begin(attempt))).await?;
    let own = |meaning: &Meaning| matches!(meaning, Meaning::Begin(a) if *a >= attempt);
    read_ticks(log, codec, &mut rules, own).await?;
    if rules.newest_attempt > attempt {
        return Err(JobError::Superseded {
            ours: attempt,
            theirs: rules.newest_attempt,
        });
    }
    let log_id = rules.log_id.clone().ok_or_else(|| JobError::NotReadBack {
        offset: rules.next_offset,
        missing: "the log's id".to_owned(),
    })?;
    Ok(Begun {
        attempt,
        log_id,
        rules,
        progress,
    })
}

/// Whether the views of a store are of this log, for who writes into both and keeps no views: what the log is
/// given is read by the job of that store. A store without views is anybody's.
///
/// # Errors
/// [`JobError::OtherLog`] and [`JobError::LogBehind`]; what log and store answer when they do not.
pub async fn check_same_log(
    log: &dyn Log,
    store: &dyn Store,
    codec: &Codec,
) -> Result<(), JobError> {
    let key = generation_key(ProgressRow::TABLE);
    let progress: Option<ProgressRow> = get_row(store, &key, Freshness::Acknowledged).await?;
    let Some(progress) = progress else {
        return Ok(());
    };
    match first_log_id(log, codec).await {
        Ok((id, end)) => check_log_id(&progress, id.as_deref(), end),
        // What is left of the log does not say which it is.
        Err(LogError::Gone { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The id that the log says first, if it says one, and up to where it was looked for. Records of others may stand
/// before it.
async fn first_log_id(log: &dyn Log, codec: &Codec) -> Result<(Option<String>, i64), LogError> {
    let mut end = 0;
    loop {
        let records = log.read(ticks_from(end)).await?;
        let Some(last) = records.last() else {
            return Ok((None, end));
        };
        end = last.offset + 1;
        let id = records
            .iter()
            .find_map(|record| match codec.decode_own(&record.value) {
                Ok(TickRecord::LogId(id)) => Some(id.id),
                _ => None,
            });
        if id.is_some() {
            return Ok((id, end));
        }
    }
}

/// The key of the only row of this generation.
fn generation_key(table: &'static openinfra_store::Table) -> RowKey {
    RowKey::new(table, &KeyBuf::new().int(GENERATION), &KeyBuf::new())
}

fn new_log_id() -> LogId {
    LogId {
        id: uuid::Uuid::new_v4().to_string(),
    }
}

fn our_begin(attempt: i64) -> Begin {
    Begin {
        attempt,
        processes: 1,
        generation: GENERATION,
        // No view of this generation depends on a time zone.
        tzdata: String::new(),
    }
}

/// The bounds of one read of `ticks` from an offset on.
pub(crate) fn ticks_from(from: i64) -> Fetch {
    Fetch {
        topic: Topic::Ticks,
        partition: 0,
        from,
        to: i64::MAX,
        max_records: 4_096,
        max_bytes: 1 << 20,
    }
}

/// Adds one record of `ticks` to a batch.
pub(crate) fn push_tick_record(batch: &mut AppendBatch, codec: &Codec, record: &TickRecord) {
    batch.push_with(Topic::Ticks, 0, b"", |out| codec.encode(record, out));
}

/// Decodes a record of `ticks`: by our own schema, as versions of it only add kinds of records. None: it is not
/// even framed as one, so that no version of the job wrote it, and it is void.
///
/// # Errors
/// A framed record that our schema does not read may be a newer version's, and mean something.
pub(crate) fn decode_tick_record(
    codec: &Codec,
    record: &LogRecord,
) -> Result<Option<TickRecord>, JobError> {
    match codec.decode_own(&record.value) {
        Ok(body) => Ok(Some(body)),
        Err(DecodeError::Frame(_)) => Ok(None),
        Err(error) => Err(JobError::Ticks {
            offset: record.offset,
            reason: error.to_string(),
        }),
    }
}

async fn append(log: &dyn Log, codec: &Codec, record: &TickRecord) -> Result<(), JobError> {
    let mut batch = AppendBatch::default();
    push_tick_record(&mut batch, codec, record);
    log.append(batch).await?;
    Ok(())
}

/// Takes records until the topic's end, or until one of which `enough` holds.
async fn read_ticks(
    log: &dyn Log,
    codec: &Codec,
    rules: &mut TickRules,
    enough: impl Fn(&Meaning) -> bool,
) -> Result<(), JobError> {
    loop {
        let records = log.read(ticks_from(rules.next_offset)).await?;
        if records.is_empty() {
            return Ok(());
        }
        for record in &records {
            let meaning = rules
                .take(decode_tick_record(codec, record)?)
                .map_err(|reason| JobError::Ticks {
                    offset: record.offset,
                    reason,
                })?;
            if enough(&meaning) {
                return Ok(());
            }
        }
    }
}

/// Takes 1 + the greater of the store's attempt and the log's newest.
async fn take_attempt(store: &dyn Store, newest_begin: i64) -> Result<i64, JobError> {
    let key = generation_key(AttemptRow::TABLE);
    loop {
        let row: Option<AttemptRow> = get_row(store, &key, Freshness::Linearizable).await?;
        let condition = match &row {
            None => Condition::Absent(key.clone()),
            Some(row) => Condition::Equals {
                key: key.clone(),
                column: "attempt",
                value: row.attempt,
            },
        };
        let attempt = 1 + row.map_or(0, |row| row.attempt).max(newest_begin);
        let mut batch = ConditionalBatch::new(vec![condition]);
        batch.put(&AttemptRow {
            generation: GENERATION,
            attempt,
        });
        match store.write_if(batch).await? {
            Outcome::Applied => return Ok(attempt),
            // Another instance begins at this moment: the next number is ours.
            Outcome::Refused { .. } => {}
        }
    }
}
