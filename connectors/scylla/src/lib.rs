//! The store on ScyllaDB or Cassandra: typed tables, one for each of the product's, through CQL.
//!
//! Rows come encoded and go encoded; between them and the columns of a table stands only the table's
//! declaration, so that nothing here knows a row by name. What a newcomer would get wrong: view rows carry
//! their tick as write timestamp, and what is written conditionally is never written otherwise.

mod away;
mod bind;
mod chunk;
mod cluster;
mod conditional;
mod config;
mod decode;
mod error;
mod lwt;
mod metrics;
pub mod migrate;
mod prepared;
mod read;
mod request;
mod schema;
mod statement;
mod store;
mod tls;
mod write;

pub use cluster::Cluster;
pub use config::{Config, TlsConfig};
pub use error::OpenError;
pub use migrate::{MigrateError, Migrated, Replication, SchemaOptions};
pub use store::ScyllaStore;
