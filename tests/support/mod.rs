//! What end-to-end tests share: the real binary, run as people run it, and its answers read back.
//!
//! What a newcomer would get wrong: nothing here links the server. A test that wants to know something asks
//! over HTTP or through a subcommand, as a script would.

pub mod command;
pub mod place;
pub mod platform;
pub mod skip;
pub mod wait;
