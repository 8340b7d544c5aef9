//! The contracts: what stands in the log, under which keys, in which bytes.
//!
//! Everything that two processes must agree on is here and nowhere else. This package does no IO;
//! a [`Registry`](registry::Registry) is a trait whose implementations live with the connectors.

pub mod alert;
mod classify;
pub mod codec;
pub mod compatibility;
pub mod entity;
pub mod ids;
pub mod key;
pub mod ledger;
pub mod reading;
pub mod registry;
mod resolve;
pub mod secret;
pub mod tick;
pub mod time;
pub mod topic;
mod writer;

pub use codec::{Codec, DecodeError};
pub use entity::{AfterImage, EntityChange, EntityKind, Point, Sensor, TenantSettings, Thresholds};
pub use ids::{SensorId, TenantId};
pub use ledger::{LedgerEntry, Reason};
pub use reading::{Position, Quality, Reading, TsSource};
pub use secret::Secret;
pub use tick::{Begin, KnownSchema, LogId, PartitionEnd, Tick, TickRecord, Verdicts};
pub use topic::Topic;
pub use writer::Writer;
