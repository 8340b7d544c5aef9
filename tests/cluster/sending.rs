//! Readings sent as long as something is done to those who take them, however long that takes.
//!
//! What a newcomer would get wrong: how long a fault lasts depends on the machine, so that readings of a fixed
//! number are over too soon on one and take for ever on another.

use std::{
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::{
    io::AsyncWriteExt,
    process::{Child, ChildStdin},
    task::JoinHandle,
};

use super::support::command::openinfra;

/// The first reading is so old: event time goes by faster than time does, and must not overtake it.
const BEGIN: Duration = Duration::from_secs(6 * 3_600);
/// How long the last readings may take.
const END: Duration = Duration::from_secs(300);

/// `openinfra replay` of readings that have no end until they are told to.
pub struct Sending {
    replay: Child,
    rounds: JoinHandle<u64>,
    enough: Arc<AtomicBool>,
}

impl Sending {
    /// Sends readings of `sensors` sensors, `rate` a second in all, to an address as `replay --to` takes it.
    pub fn start(to: &str, sensors: u32, rate: u32) -> Self {
        Self::start_of(to, "s", sensors, rate)
    }

    /// As [`Sending::start`], of sensors whose names begin in another way.
    pub fn start_of(to: &str, prefix: &str, sensors: u32, rate: u32) -> Self {
        let rate = rate.to_string();
        let args = ["replay", "-", "--to", to, "--rate", &rate, "--json"];
        let mut replay = openinfra(&[&args[..], &["--give-up-after", "180"]].concat())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let enough = Arc::new(AtomicBool::new(false));
        let lines = replay.stdin.take().unwrap();
        let rounds = tokio::spawn(write(lines, prefix.to_owned(), sensors, enough.clone()));
        Self {
            replay,
            rounds,
            enough,
        }
    }

    /// Ends it; how many readings were sent and acknowledged, which must be all.
    pub async fn end(self) -> u64 {
        self.enough.store(true, Ordering::Relaxed);
        let output = tokio::time::timeout(END, self.replay.wait_with_output()).await;
        let output = output.expect("the replay ends").unwrap();
        assert!(output.status.success(), "{output:?}");
        self.rounds.await.unwrap()
    }
}

/// Writes rounds of a reading of each sensor, a second apart; how many readings were written.
async fn write(
    mut lines: ChildStdin,
    prefix: String,
    sensors: u32,
    enough: Arc<AtomicBool>,
) -> u64 {
    let begin = SystemTime::now() - BEGIN;
    let begin = begin.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let mut readings = 0;
    for round in 0_u32.. {
        if enough.load(Ordering::Relaxed) {
            break;
        }
        let ts = begin.as_millis() + u128::from(round) * 1_000;
        let mut text = String::new();
        for sensor in 0..sensors {
            let value = f64::from(round * 7 + sensor) / 4.0;
            let line = format!(r#"{{"sensor_id":"{prefix}-{sensor}","ts":{ts},"value":{value}}}"#);
            text.push_str(&line);
            text.push('\n');
        }
        if lines.write_all(text.as_bytes()).await.is_err() {
            break;
        }
        readings += u64::from(sensors);
    }
    readings
}
