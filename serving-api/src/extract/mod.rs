//! What handlers take from a request, every failure a problem.
//!
//! axum's own extractors answer in plain text and ignore what they do not know; none of them is used in a
//! handler's arguments but `State`.

mod caller;
mod json;
mod path;
mod preconditions;
mod query;
mod strict;

pub use caller::{Allowed, AnyOne, permission};
pub(crate) use caller::{Identity, address};
pub use json::{ApiJson, JsonBody};
pub use path::{ApiPath, SensorPath};
pub(crate) use preconditions::malformed;
pub use preconditions::{IdempotencyKey, IfMatch, IfNoneMatch, PutCondition};
pub(crate) use query::malformed as malformed_parameter;
pub use query::{ApiQuery, NoQuery};
