//! The sensor engine and every view: pure functions of the log.
//!
//! Nothing here knows a clock, a file, a socket or an executor. A host feeds the records of one tick at
//! a time, worker by worker, and takes out what the tick changed. What a newcomer would get wrong: the
//! engine may lack blocks of history, and never waits for them; the host asks [`Engine::blocks_needed`]
//! before it feeds a tick and supplies what is missing.

pub mod change;
pub mod dataflow;
pub mod input;
pub mod sensor;
pub mod views;

pub use change::{
    AlertChange, AlertKey, AssetHealth, Change, EpisodeChange, HistoryRow, HourlyRow, IndexChange,
    IndicatorChange, LatestRow, LedgerChange, Outcome, OutcomeCounts, SeenChange, StatusRow,
};
pub use dataflow::JobDataflow;
pub use input::{InputRecord, RecordBody, TickInput};
pub use sensor::{BlockId, Engine, EngineConfig};
