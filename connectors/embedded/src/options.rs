//! What an operator may set about a data folder.

use openinfra_schemas::topic::DEFAULT_PARTITIONS;

/// Settings of a data folder. Only `partitions` is fixed by the folder's first opening; the sizes may
/// change from one opening to the next, though tables keep the memtable size they were created with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Partitions of keyed topics; 1 or more, fixed for the folder's life.
    pub partitions: i32,
    /// Memory for blocks read from disk, in bytes.
    pub cache_bytes: u64,
    /// How much of one table is gathered in memory before it is written out, in bytes.
    pub memtable_bytes: u64,
    /// How much of all tables together may wait in memory for being written out, in bytes, before writers
    /// are made to wait. What it takes in memory is about twice that.
    pub write_buffer_bytes: u64,
    /// How large the journals may grow before rarely written tables are written out, in bytes; at least
    /// 64 MiB.
    pub journal_bytes: u64,
    /// A group of requests is committed when it holds so many bytes, even if more are waiting.
    pub group_bytes: usize,
    /// Records of one partition that are appended together are stored together up to so many bytes.
    pub chunk_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        const MIB: u64 = 1 << 20;
        Self {
            partitions: DEFAULT_PARTITIONS,
            cache_bytes: 32 * MIB,
            memtable_bytes: 8 * MIB,
            write_buffer_bytes: 32 * MIB,
            journal_bytes: 128 * MIB,
            group_bytes: 8 << 20,
            chunk_bytes: 256 << 10,
        }
    }
}
