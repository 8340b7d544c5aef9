//! What a replay ends with: for a person in lines, for a program in one JSON object.
//!
//! What a newcomer would get wrong: a reading that the views refuse (beyond the horizon) is acknowledged
//! here; the ledger of the server has it.

use serde::Serialize;

use super::{Fatal, Widened, probe, tally::Totals};
use crate::cli::ReplayArgs;

/// The whole result. `ended_early` says why not everything was sent and answered.
#[derive(Debug, Serialize)]
pub struct Report {
    pub file: String,
    #[serde(flatten)]
    pub totals: Totals,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings: Option<Widened>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probes: Option<probe::Report>,
    pub ended_early: Option<String>,
}

impl Report {
    pub fn new(
        args: &ReplayArgs,
        totals: Totals,
        settings: Option<Widened>,
        probes: Option<probe::Report>,
        ended: Option<Fatal>,
    ) -> Self {
        Self {
            file: args.file.display().to_string(),
            totals,
            settings,
            probes,
            ended_early: ended.map(|fatal| fatal.to_string()),
        }
    }

    /// Whether every line was sent and acknowledged.
    pub fn complete(&self) -> bool {
        self.ended_early.is_none() && self.totals.complete()
    }

    pub fn print(&self, json: bool) {
        if json {
            println!(
                "{}",
                serde_json::to_string(self).expect("numbers and texts become JSON")
            );
        } else {
            print!("{self}");
        }
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let t = &self.totals;
        if let Some(settings) = &self.settings {
            let days = settings.horizon_ms as f64 / 86_400_000.0;
            let done = if settings.changed {
                "set to"
            } else {
                "left at"
            };
            writeln!(f, "horizon       {done} {days:.1} days")?;
        }
        writeln!(f, "sent          {}", t.sent)?;
        writeln!(f, "acknowledged  {}", t.acknowledged)?;
        writeln!(f, "rejected      {}", t.rejected)?;
        for (reason, count) in &t.rejected_by_reason {
            writeln!(f, "              {count} {reason}")?;
        }
        for example in &t.examples {
            writeln!(f, "              e.g. {example}")?;
        }
        if t.unreadable > 0 {
            writeln!(f, "unreadable    {} lines, not sent", t.unreadable)?;
        }
        if t.resent > 0 {
            writeln!(f, "sent again    {}", t.resent)?;
        }
        writeln!(
            f,
            "achieved      {:.0} readings/s over {:.1} s",
            t.rate_per_s, t.seconds
        )?;
        if let Some(latency) = &t.ack_ms {
            writeln!(f, "to ack        {latency}")?;
        }
        if let Some(probes) = &self.probes {
            match &probes.readable_ms {
                Some(latency) => writeln!(f, "to readable   {latency} ({} probes)", probes.seen)?,
                None => writeln!(f, "to readable   no probe was seen")?,
            }
            let probe::Report {
                missed,
                already_there,
                skipped,
                ..
            } = probes;
            if missed + already_there + skipped > 0 {
                writeln!(
                    f,
                    "              {missed} missed, {already_there} were there before, {skipped} skipped"
                )?;
            }
        }
        match &self.ended_early {
            Some(why) => writeln!(f, "ended early   {why}"),
            None => Ok(()),
        }
    }
}
