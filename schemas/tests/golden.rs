//! Bytes of every released schema are read today as they were meant then.
//!
//! The files of `golden/` are frozen: a test that fails here is a break of what stands in logs, never a reason
//! to edit a file there.
#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

mod common;

use std::fmt::{Debug, Write};

use common::{bare_reading, change, codec, codec_with, ledger_entry, reading, sensor, settings};
use openinfra_schemas::{
    AfterImage, Begin, KnownSchema, LogId, PartitionEnd, Quality, Reading, Tick, TickRecord,
    Verdicts,
    codec::Record,
    compatibility::{canonical, check_backward},
    reading::NO_VALUE,
};

/// A released version of a schema and what it wrote.
struct Released<T> {
    schema: &'static str,
    /// (what, the datum in hex, the record)
    cases: Vec<(&'static str, &'static str, T)>,
}

macro_rules! released {
    ($folder:literal, $version:literal, $($case:literal => $record:expr,)*) => {
        Released {
            schema: include_str!(concat!("golden/", $folder, "/", $version, ".avsc")),
            cases: vec![$((
                concat!($folder, "/", $version, "-", $case),
                include_str!(concat!("golden/", $folder, "/", $version, "-", $case, ".hex")),
                $record,
            )),*],
        }
    };
}

#[test]
fn readings() {
    check(&[released! { "reading", "v1",
        "full" => reading(),
        "bare" => bare_reading(),
    }]);
}

/// A reading without value has NaN for one, which equals nothing.
#[test]
fn bad_readings() {
    let (codec, head) = codec_with(include_str!("golden/reading/v1.avsc"));
    let datum = unhex(include_str!("golden/reading/v1-bad.hex"));
    let bytes = [head, datum].concat();
    let read: Reading = codec.decode(&bytes).unwrap();
    assert_eq!(read.quality, Quality::Bad);
    assert_eq!(read.value.to_bits(), NO_VALUE.to_bits());
    assert_eq!(hex(&codec.encode_to_vec(&read)[5..]), hex(&bytes[5..]));
}

#[test]
fn entity_changes() {
    check(&[released! { "entity_change", "v1",
        "deleted" => change(AfterImage::Deleted),
        "sensor" => change(AfterImage::Sensor(sensor())),
        "tenant_settings" => change(AfterImage::TenantSettings(settings())),
    }]);
}

#[test]
fn tick_records() {
    let ends = vec![
        PartitionEnd {
            topic: "readings".to_owned(),
            partition: 0,
            end: 7,
        },
        PartitionEnd {
            topic: "entities".to_owned(),
            partition: 31,
            end: 1 << 40,
        },
    ];
    let log_id = || {
        let id = "7f0ac2f2-5cd2-4d5c-9f40-1b8e2a4f2e55".to_owned();
        TickRecord::LogId(LogId { id })
    };
    let begin = || {
        TickRecord::Begin(Begin {
            attempt: 3,
            processes: 1,
            generation: 2,
            tzdata: "2026a".to_owned(),
        })
    };
    let tick = || {
        TickRecord::Tick(Tick {
            attempt: 3,
            tick: 1_656_633_600_000,
            ends: ends.clone(),
        })
    };
    let verdicts = TickRecord::Verdicts(Verdicts {
        attempt: 3,
        tick: 1_656_633_600_000,
        known: vec![KnownSchema {
            id: 7,
            schema: r#"{"type":"int"}"#.to_owned(),
        }],
        unknown: vec![9, 4_000_000_000],
    });
    let versions = [
        released! { "tick_record", "v1",
            "log_id" => log_id(), "begin" => begin(), "tick" => tick(),
        },
        released! { "tick_record", "v2",
            "log_id" => log_id(), "begin" => begin(), "tick" => tick(), "verdicts" => verdicts,
        },
    ];
    check(&versions);
    // Whoever reads `ticks` takes every version for the newest one.
    let (codec, _) = codec();
    for version in &versions {
        for (name, datum, record) in &version.cases {
            let bytes = [vec![0, 0, 0, 0, 99], unhex(datum)].concat();
            let read: TickRecord = codec.decode_own(&bytes).unwrap();
            assert_eq!(&read, record, "{name}");
        }
    }
}

#[test]
fn ledger_entries() {
    check(&[released! { "ledger_entry", "v1", "full" => ledger_entry(), }]);
}

/// `versions` are all that were released, the newest last.
fn check<T: Record + PartialEq + Debug>(versions: &[Released<T>]) {
    let newest = versions.last().unwrap();
    assert_eq!(
        canonical(T::SCHEMA),
        canonical(newest.schema),
        "the schema of {} changed: freeze it as a new version",
        T::SUBJECT
    );
    for version in versions {
        assert_eq!(check_backward(T::SCHEMA, version.schema), Ok(()));
        let (codec, head) = codec_with(version.schema);
        for (name, datum, record) in &version.cases {
            let bytes = [head.as_slice(), &unhex(datum)].concat();
            assert_eq!(&codec.decode::<T>(&bytes).unwrap(), record, "{name}");
        }
    }
    let (codec, _) = codec();
    for (name, datum, record) in &newest.cases {
        let written = hex(&codec.encode_to_vec(record)[5..]);
        assert_eq!(written, datum.trim(), "{name} is written otherwise today");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.trim().chars().collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(&String::from_iter(pair), 16).unwrap())
        .collect()
}
