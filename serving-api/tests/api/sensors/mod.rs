//! `/iot/sensors`.

mod data;
mod list;
mod status;
mod write;
