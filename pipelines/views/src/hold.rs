//! How far ticks are decided, acted on and committed, and the gate that holds them.
//!
//! A newcomer would check the gate and then act. Both are one step here: a tick is let through and
//! counted as in flight under the lock that a holder takes too, so that none slips past a hold.

use std::{sync::Arc, time::Duration};

use openinfra_schemas::time::Millis;
use tokio::sync::watch;

use crate::JobError;

/// The state of the gate. Ticks are [`Millis::MIN`] before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FlowState {
    holders: usize,
    /// The newest tick let through.
    pub(crate) dispatched: Millis,
    /// The newest tick whose rows are acknowledged, or were before this instance began.
    pub(crate) committed: Millis,
    /// The tick as of which no row waits to be written; not after `committed`.
    settled: Millis,
}

/// Shared by the ticker, the tick reader, the commit stage and whoever holds.
#[derive(Debug, Clone)]
pub(crate) struct Flow(Arc<watch::Sender<FlowState>>);

impl Flow {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(FlowState {
            holders: 0,
            dispatched: Millis::MIN,
            committed: Millis::MIN,
            settled: Millis::MIN,
        })))
    }

    pub(crate) fn state(&self) -> FlowState {
        *self.0.borrow()
    }

    pub(crate) fn is_held(&self) -> bool {
        self.state().holders > 0
    }

    /// Waits until nobody holds, and counts the tick as in flight.
    pub(crate) async fn dispatch(&self, tick: Millis) {
        let mut states = self.0.subscribe();
        loop {
            let passed = self.0.send_if_modified(|state| {
                let open = state.holders == 0;
                if open {
                    state.dispatched = tick;
                }
                open
            });
            if passed {
                return;
            }
            self.wait(&mut states, |state| state.holders == 0).await;
        }
    }

    /// A tick is committed; rows that changed after `settled` may still wait.
    pub(crate) fn committed(&self, tick: Millis, settled: Millis) {
        self.0.send_modify(|state| {
            state.committed = tick;
            state.settled = settled;
        });
    }

    /// Waits until somebody holds, and only rows that wait keep the views from standing still.
    pub(crate) async fn wants_settled(&self) {
        let mut states = self.0.subscribe();
        self.wait(&mut states, |state| {
            state.holders > 0
                && state.committed >= state.dispatched
                && state.settled < state.committed
        })
        .await;
    }

    /// Waits until the state is as asked; `self` keeps the channel open.
    async fn wait(
        &self,
        states: &mut watch::Receiver<FlowState>,
        mut is: impl FnMut(&FlowState) -> bool,
    ) {
        states
            .wait_for(|state| is(state))
            .await
            .expect("the sender lives as long as self");
    }

    /// Waits until nobody holds and `is` holds of the newest committed tick.
    pub(crate) async fn wait_committed(&self, mut is: impl FnMut(Millis) -> bool) {
        let mut states = self.0.subscribe();
        self.wait(&mut states, |state| {
            state.holders == 0 && is(state.committed)
        })
        .await;
    }

    /// Closes the gate, then waits until no tick is in flight and no row waits.
    pub(crate) async fn hold(&self, timeout: Duration) -> Result<Held, JobError> {
        let mut states = self.0.subscribe();
        self.0.send_modify(|state| state.holders += 1);
        // From here on dropping, also when the caller's future is dropped, opens the gate again.
        let mut held = Held {
            flow: self.clone(),
            as_of: None,
        };
        let quiet = self.wait(&mut states, |state| {
            state.committed >= state.dispatched && state.settled >= state.committed
        });
        if tokio::time::timeout(timeout, quiet).await.is_err() {
            return Err(JobError::StillInFlight {
                waited_ms: timeout.as_millis() as u64,
            });
        }
        let committed = self.state().committed;
        held.as_of = (committed != Millis::MIN).then_some(committed);
        Ok(held)
    }
}

/// While this lives the views do not change: no tick is acted on. Dropping it lets the job go on.
#[derive(Debug)]
#[must_use = "the job goes on as soon as this is dropped"]
pub struct Held {
    flow: Flow,
    as_of: Option<Millis>,
}

impl Held {
    /// The tick that all views are as of; none before the first.
    pub fn as_of(&self) -> Option<Millis> {
        self.as_of
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.flow.0.send_modify(|state| state.holders -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(30);
    const LONG: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_hold_waits_for_what_is_in_flight_and_stops_the_rest() {
        let flow = Flow::new();
        flow.dispatch(1).await;
        assert!(matches!(
            flow.hold(SOON).await,
            Err(JobError::StillInFlight { .. })
        ));
        assert!(!flow.is_held(), "a hold that failed is none");
        flow.committed(1, 0);
        assert!(flow.hold(SOON).await.is_err(), "rows wait");
        flow.committed(1, 1);
        let first = flow.hold(LONG).await.unwrap();
        let second = flow.hold(LONG).await.unwrap();
        assert_eq!(first.as_of(), Some(1));
        drop(first);
        assert!(
            tokio::time::timeout(SOON, flow.dispatch(2)).await.is_err(),
            "two holders: both must let go"
        );
        drop(second);
        tokio::time::timeout(LONG, flow.dispatch(2)).await.unwrap();
        assert_eq!(flow.state().dispatched, 2);
    }

    #[tokio::test]
    async fn an_idle_job_is_held_at_once() {
        let flow = Flow::new();
        assert_eq!(flow.hold(LONG).await.unwrap().as_of(), None);
    }
}
