//! Which schemas the log says that ids have, for the records of each tick.
//!
//! What was said first of an id at a tick counts, and one that is said to have a schema has it at every tick.
//! A newcomer would ask the registry. It may know ids by now that were unknown then, and have lost others; it
//! is asked only where the log says nothing, as logs do of the time before such records were written.

use std::collections::HashMap;

use openinfra_schemas::{
    Codec, DecodeError, Reason, Verdicts, Writer,
    codec::{Record, unframe},
    registry::{RegistryError, SchemaId},
    time::Millis,
};

use crate::{VerifyError, ticks::Ticks};

/// What all records of `ticks` say of ids, voids left out.
#[derive(Debug, Default)]
pub(crate) struct Schemas {
    known: HashMap<SchemaId, Known>,
    /// Ids without schema, each with the number of a tick; sorted once all are there.
    unknown: Vec<(SchemaId, u32)>,
}

#[derive(Debug)]
struct Known {
    writer: Writer,
    /// Whether there are ticks before, at which it was unknown.
    doubted: bool,
}

impl Schemas {
    /// Hears what is said next. `number` is that of the tick of which it is said; none when no tick that is
    /// verified has its time.
    pub(crate) fn hear(&mut self, codec: &Codec, said: &Verdicts, number: Option<usize>) {
        for known in &said.known {
            self.known.entry(known.id).or_insert_with(|| Known {
                writer: codec.writer(&known.schema),
                doubted: false,
            });
        }
        if let Some(number) = number.and_then(|number| u32::try_from(number).ok()) {
            let unknown = said.unknown.iter().copied();
            let unheard = unknown.filter(|id| !self.known.contains_key(id));
            self.unknown.extend(unheard.map(|id| (id, number)));
        }
    }

    /// All has been said.
    pub(crate) fn finish(&mut self) {
        self.unknown.sort_unstable();
        self.unknown.dedup();
        for (id, known) in &mut self.known {
            let first = self.unknown.partition_point(|(other, _)| other < id);
            known.doubted = self
                .unknown
                .get(first)
                .is_some_and(|(other, _)| other == id);
        }
    }

    /// How records of an id at the tick of a number are read: not at all, if it was unknown. None: the log
    /// does not say.
    fn of(&self, id: SchemaId, number: impl FnOnce() -> usize) -> Option<Option<&Writer>> {
        let known = self.known.get(&id);
        if let Some(known) = known.filter(|known| !known.doubted) {
            return Some(Some(&known.writer));
        }
        let number = number() as u32;
        if self.unknown.binary_search(&(id, number)).is_ok() {
            return Some(None);
        }
        known.map(|known| Some(&known.writer))
    }
}

/// Decodes a record of a tick. The inner error is the reason that the record gets.
pub(crate) async fn decode<T: Record>(
    codec: &Codec,
    ticks: &Ticks,
    tick: Millis,
    bytes: &[u8],
) -> Result<Result<T, Reason>, VerifyError> {
    let Ok((id, _)) = unframe(bytes) else {
        return Ok(Err(Reason::Undecodable));
    };
    let decoded = match ticks.schemas.of(id, || ticks.number(tick)) {
        Some(Some(writer)) => codec.decode_by::<T>(writer, bytes),
        Some(None) => return Ok(Err(Reason::SchemaRejected)),
        None => match codec.learn(id).await {
            Ok(()) => codec.decode::<T>(bytes),
            Err(error @ RegistryError::Unavailable(_)) => return Err(error.into()),
            Err(_) => return Ok(Err(Reason::SchemaRejected)),
        },
    };
    Ok(decoded.map_err(|error| match error {
        DecodeError::Frame(_) | DecodeError::Datum { .. } => Reason::Undecodable,
        DecodeError::UnknownSchema(_) | DecodeError::SchemaRejected { .. } => {
            Reason::SchemaRejected
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_first_counts() {
        let mut schemas = Schemas {
            known: HashMap::new(),
            unknown: vec![(7, 3), (7, 1), (8, 1), (7, 3)],
        };
        schemas.finish();
        let of = |id, number| schemas.of(id, || number).map(|writer| writer.is_some());
        assert_eq!(of(7, 1), Some(false));
        assert_eq!(of(7, 2), None);
        assert_eq!(of(7, 3), Some(false));
        assert_eq!(of(8, 1), Some(false));
        assert_eq!(of(8, 3), None);
        assert_eq!(of(9, 1), None);
    }
}
