//! The captures read from their owners' own files, without the script that writes the lines to replay.
//!
//! What a newcomer would get wrong: the order is that of the script, as it decides which value of a time is
//! a correction.

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use flate2::read::GzDecoder;
use jiff::{civil::DateTime, tz::TimeZone};

use super::model::Sample;

/// Seven single series, a file each.
pub fn nab(folder: &Path) -> Vec<Sample> {
    let time = |row: &[String]| time(&row[0], "%Y-%m-%d %H:%M:%S");
    let paths = files(&folder.join("04_nab"), |name| name.ends_with(".csv"));
    let series = paths.iter().flat_map(|path| {
        let name = path.file_stem().unwrap().to_str().unwrap();
        wide(path, &format!("nab/{name}"), ',', &[], time)
    });
    series.collect()
}

/// Experiments on one pump, in the order of their first rows; they overlap.
pub fn skab(folder: &Path) -> Vec<Sample> {
    let mut paths = files(&folder.join("01_skab"), |name| {
        name.ends_with(".csv") && name.contains('_')
    });
    paths.sort_by_cached_key(|path| text(path).lines().nth(1).unwrap().to_owned());
    let time = |row: &[String]| time(&row[0], "%Y-%m-%d %H:%M:%S");
    paths
        .iter()
        .flat_map(|path| wide(path, "skab", ';', &["anomaly", "changepoint"], time))
        .collect()
}

/// Drinking water, one row a minute from a chosen start.
pub fn gecco(folder: &Path) -> Vec<Sample> {
    let start = time("2016-08-03 09:49:00", "%Y-%m-%d %H:%M:%S");
    let paths = files(&folder.join("02_gecco_water_quality"), |name| {
        name.ends_with(".csv.gz")
    });
    let time = |row: &[String]| start + (row[0].parse::<i64>().unwrap() - 1) * 60_000;
    wide(&paths[0], "gecco", ',', &["event"], time)
}

/// District inflows and weather by a wall clock with an hour that occurs twice.
pub fn bwdf(folder: &Path) -> Vec<Sample> {
    let paths = files(&folder.join("07_bwdf_water_dma"), |name| {
        name.ends_with(".csv.gz") && name.contains("_20")
    });
    let time = |row: &[String]| time(&row[0], "%d/%m/%Y %H:%M") - 3_600_000;
    paths
        .iter()
        .flat_map(|path| wide(path, "ferrara", ',', &[], time))
        .collect()
}

/// Air monitors, hourly; holes are left out.
pub fn airnow(folder: &Path) -> Vec<Sample> {
    let path = folder.join("05_airnow_nw_megafires/pm25_hourly_wide.csv.gz");
    let time = |row: &[String]| time(&row[0], "%Y-%m-%dT%H:%M:%SZ");
    let mut samples = wide(&path, "airnow", ',', &[], time);
    samples.retain(|sample| sample.value.is_some());
    samples
}

/// A table with a column of times and a column for each sensor.
fn wide(
    path: &Path,
    prefix: &str,
    separator: char,
    left_out: &[&str],
    time: impl Fn(&[String]) -> i64,
) -> Vec<Sample> {
    let mut rows = records(path, separator);
    let header = rows.next().unwrap();
    let sensors: Vec<_> = (header.iter().enumerate().skip(1))
        .filter(|(_, name)| !left_out.contains(&name.as_str()))
        .map(|(column, name)| (column, format!("{prefix}/{name}")))
        .collect();
    let mut samples = Vec::new();
    for row in rows {
        let ts = time(&row);
        for (column, sensor) in &sensors {
            let value = row.get(*column).and_then(|cell| number(cell));
            samples.push(Sample {
                sensor: sensor.clone(),
                ts,
                value,
            });
        }
    }
    samples
}

fn files(folder: &Path, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = entries
        .filter(|path| wanted(path.file_name().unwrap().to_str().unwrap()))
        .collect();
    paths.sort();
    paths
}

fn text(path: &Path) -> String {
    let mut text = String::new();
    let mut file = File::open(path).unwrap();
    if path.extension().is_some_and(|extension| extension == "gz") {
        GzDecoder::new(file).read_to_string(&mut text).unwrap();
    } else {
        file.read_to_string(&mut text).unwrap();
    }
    text
}

/// The rows of a CSV file; a cell in quotes may hold separators, none holds a line break.
fn records(path: &Path, separator: char) -> impl Iterator<Item = Vec<String>> {
    let text = text(path);
    let rows: Vec<_> = text.lines().map(|line| cells(line, separator)).collect();
    rows.into_iter()
}

fn cells(line: &str, separator: char) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    for character in line.chars() {
        match character {
            '"' => quoted = !quoted,
            c if c == separator && !quoted => cells.push(String::new()),
            c => cells.last_mut().unwrap().push(c),
        }
    }
    cells
}

/// A wall clock's time, read as UTC, in milliseconds.
fn time(text: &str, format: &str) -> i64 {
    let civil = DateTime::strptime(format, text).unwrap();
    civil
        .to_zoned(TimeZone::UTC)
        .unwrap()
        .timestamp()
        .as_millisecond()
}

fn number(cell: &str) -> Option<f64> {
    cell.trim()
        .parse()
        .ok()
        .filter(|value: &f64| !value.is_nan())
}

#[test]
fn quoted_cells_hold_separators() {
    assert_eq!(cells("a,\"b,c\",,1", ','), ["a", "b,c", "", "1"]);
}
