//! The HTTP connector: the ingest routes, and the problems that every HTTP answer of the product uses.
//!
//! What a newcomer would get wrong: this package opens no port; [`ingest::router`] is merged into the
//! API's own.

pub mod ingest;
pub mod problem;
pub mod rate_limit;
