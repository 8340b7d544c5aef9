//! What each message is to the others of its event time: the first is accepted, one that says what is in
//! force there is a duplicate, any other a correction.

use crate::sensor::{Fate, Message};

/// Decides the messages of one sensor, which are in log order.
pub(crate) fn decide(messages: &mut [Message]) {
    let mut order: Vec<u32> = (0..messages.len() as u32)
        .filter(|place| messages[*place as usize].fate == Fate::Undecided)
        .collect();
    order.sort_by_key(|place| messages[*place as usize].event_ts);
    let mut in_force: Option<Message> = None;
    for place in order {
        let message = &mut messages[place as usize];
        let there = in_force.filter(|there| there.event_ts == message.event_ts);
        message.fate = match there {
            None => Fate::Accepted,
            Some(there) if there.agrees(message) => Fate::Duplicate,
            Some(_) => Fate::Correction,
        };
        if message.is_taken() {
            in_force = Some(*message);
        }
    }
}

/// The messages taken, by (event time, offset).
pub(crate) fn by_event_time(messages: &[Message]) -> Vec<&Message> {
    let mut taken: Vec<&Message> = messages.iter().filter(|m| m.is_taken()).collect();
    taken.sort_by_key(|message| message.event_ts);
    taken
}

#[cfg(test)]
mod tests {
    use openinfra_schemas::Quality;

    use super::*;
    use crate::sensor::testing::message;

    fn fates(messages: &[(i64, f64, Quality)]) -> Vec<Fate> {
        let mut messages: Vec<Message> = messages
            .iter()
            .map(|(event_ts, value, quality)| Message {
                fate: Fate::Undecided,
                quality: *quality,
                value: Message::value_of(*quality, *value),
                ..message(*event_ts, 0.0)
            })
            .collect();
        decide(&mut messages);
        messages.iter().map(|message| message.fate).collect()
    }

    #[test]
    fn a_b_a_is_an_acceptance_and_two_corrections() {
        use Fate::{Accepted, Correction, Duplicate};
        let good = |ts, value| (ts, value, Quality::Good);
        assert_eq!(
            fates(&[
                good(5, 1.0),
                good(5, 2.0),
                good(3, 1.0),
                good(5, 1.0),
                good(5, 1.0)
            ]),
            [Accepted, Correction, Accepted, Correction, Duplicate]
        );
        // By their bits, quality included.
        assert_eq!(
            fates(&[good(5, 0.0), good(5, -0.0), (5, -0.0, Quality::Uncertain)]),
            [Accepted, Correction, Correction]
        );
        // BAD has no value, whatever its writer put there.
        assert_eq!(
            fates(&[(5, 1.0, Quality::Bad), (5, 2.0, Quality::Bad), good(5, 2.0)]),
            [Accepted, Duplicate, Correction]
        );
    }
}
