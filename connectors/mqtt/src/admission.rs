//! How many of the messages that wait may be taken now.
//!
//! A client's rate is in readings, and how many a message holds is known once it has been taken. So a message is
//! admitted as one reading, and what it held beyond that is owed: the next ones wait until it is admitted too.

use openinfra_intake::{Intake, Principal, TooMany, Verdict};

/// What one client owes of its rate.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    /// Readings beyond one a message that were taken, and are still to be admitted.
    owed: u32,
}

impl Admission {
    /// How many of `waiting` messages may be taken now, at least none. Asks for all, then for half, and so on,
    /// because a limit may be smaller than what one read brought.
    pub fn admitted(
        &mut self,
        intake: &dyn Intake,
        who: &Principal,
        waiting: usize,
    ) -> Result<usize, TooMany> {
        let mut ask = u32::try_from(waiting)
            .unwrap_or(u32::MAX)
            .saturating_add(self.owed);
        let granted = loop {
            match intake.admit(who, ask) {
                Ok(()) => break ask,
                Err(wait) if ask <= 1 => return Err(wait),
                Err(_) => ask /= 2,
            }
        };
        let paid = self.owed.min(granted);
        self.owed -= paid;
        Ok((granted - paid) as usize)
    }

    /// A message was taken, and held what this says.
    pub fn took(&mut self, verdict: &Verdict) {
        let items = verdict.accepted + verdict.rejected.len();
        let extra = u32::try_from(items.saturating_sub(1)).unwrap_or(u32::MAX);
        self.owed = self.owed.saturating_add(extra);
    }
}
