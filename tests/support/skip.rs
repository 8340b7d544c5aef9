//! Tests that are left out where something is missing that they need; and that it is told.
//!
//! What a newcomer would get wrong: `eprintln!` tells nobody. What a test prints is kept from who runs it when the
//! test passes, unless it writes to standard error itself.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::{collections::BTreeSet, io::Write as _, sync::Mutex};

/// Says in a line that tests of this program are left out and why; the same line once.
pub fn tell(why: &str) {
    static TOLD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut told = TOLD.lock().expect("no holder panics");
    if told.insert(why.to_owned()) {
        // Whole and at once, so that no other line comes between.
        let line = format!("skipped: {why}\n");
        drop(std::io::stderr().write_all(line.as_bytes()));
    }
}

/// As [`tell`]; panics where `required`.
pub fn unless(required: bool, why: &str) {
    assert!(!required, "{why}, and it is required");
    tell(why);
}

/// Where the servers that a variable names are; none, and told, where it is not set.
pub fn server(variable: &str) -> Option<String> {
    let found = std::env::var(variable).ok();
    if found.is_none() {
        let why = format!("{variable} is not set (tests/services/services env)");
        unless(is_required("OPENINFRA_TEST_SERVICES"), &why);
    }
    found
}

/// Whether the variable says that what it speaks of has to be there.
pub fn is_required(variable: &str) -> bool {
    std::env::var(variable).is_ok_and(|value| value == "required")
}
