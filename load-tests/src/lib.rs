//! Benchmarks of the parts and of the whole, run by command and never as assertions in tests.
//!
//! Nothing is here but `benches/`: what is measured is the product's own packages, as they are linked into
//! the binary.
