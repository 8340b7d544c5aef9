//! The tables of the product: what each holds, and under which key.
//!
//! Rows that are written together live together: what a sensor's readings change is partitioned by the
//! sensor's bucket, a fixed number of which nest in each partition of the log.

pub mod entities;
pub mod views;
