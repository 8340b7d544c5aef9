//! What a worker is fed for one tick.

use openinfra_schemas::{
    EntityChange, LedgerEntry, Reading, Reason, TenantId, Topic, time::Millis,
};

/// Everything one worker takes in at one tick.
#[derive(Debug, Clone, Default)]
pub struct TickInput {
    pub tick: Millis,
    /// All changes of entities at this tick, in (partition, offset) order; every worker gets all of them.
    pub entities: Vec<EntityChange>,
    /// Records of the worker's partitions of `readings` and `ledger`, in (topic, partition, offset) order.
    pub records: Vec<InputRecord>,
}

/// One record, decoded and checked by the host.
#[derive(Debug, Clone)]
pub struct InputRecord {
    pub topic: Topic,
    pub partition: i32,
    pub offset: i64,
    pub body: RecordBody,
}

/// What the record turned out to be.
#[derive(Debug, Clone)]
pub enum RecordBody {
    /// A reading in its key's partition; `bucket` is its sensor's.
    Reading { reading: Reading, bucket: i32 },
    /// What a connector refused.
    Refused(LedgerEntry),
    /// Bytes in the log that are no such record, or stand in the wrong partition.
    Rejected {
        tenant: TenantId,
        reason: Reason,
        detail: String,
    },
}
