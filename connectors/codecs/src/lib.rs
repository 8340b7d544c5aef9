//! Bytes of devices to readings, without any IO.
//!
//! A codec judges what the bytes say, and nothing that depends on time, tenant or settings: a reading of the
//! year 2099 is well-formed here, and refused where the horizon is known.

pub mod capture;
mod field;
pub mod json;
mod timestamp;
