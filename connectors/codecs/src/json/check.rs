//! The rules of single fields: what each may be, and the sentence for what it is not.

use std::borrow::Cow;

use openinfra_schemas::{Quality, SensorId};

use super::ItemError;
use crate::field::Field;

pub(super) fn check_value(field: &Field<'_>, pointer: &str) -> Result<Option<f64>, ItemError> {
    let name = &pointer[1..];
    match field {
        Field::Absent => {
            let detail = "has neither value nor readings; expected {\"value\": number}";
            Err(ItemError::invalid(pointer, detail))
        }
        field => field.number().map_err(|kind| {
            ItemError::invalid(
                pointer,
                format!("{name} is {kind}, expected a number or null"),
            )
        }),
    }
}

pub(super) fn check_quantities(
    value: &Field<'_>,
    quantities: &[(Cow<'_, str>, Field<'_>)],
) -> Result<(), ItemError> {
    let invalid = |detail: String| Err(ItemError::invalid("/readings", detail));
    if *value != Field::Absent {
        return invalid("has both value and readings; expected one of them".to_owned());
    }
    if quantities.is_empty() {
        return invalid("readings is empty; expected {quantity: number}".to_owned());
    }
    let mut names: Vec<&str> = quantities.iter().map(|(name, _)| name.as_ref()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => invalid(format!("the quantity {:?} stands twice", pair[0])),
        None => Ok(()),
    }
}

pub(super) fn sensor_id(field: Field<'_>) -> Result<Cow<'_, str>, ItemError> {
    let invalid = |detail: String| ItemError::invalid("/sensor_id", detail);
    let text = field
        .text()
        .map_err(|kind| invalid(format!("sensor_id is {kind}, expected a text")))?
        .ok_or_else(|| invalid("sensor_id is missing".to_owned()))?;
    SensorId::check(&text).map_err(|e| invalid(e.to_string()))?;
    Ok(text)
}

pub(super) fn quality(field: Field<'_>) -> Result<Quality, ItemError> {
    let invalid = |what: &str| {
        let detail = format!("quality is {what}, expected GOOD, UNCERTAIN or BAD");
        ItemError::invalid("/quality", detail)
    };
    match field.text().map_err(invalid)? {
        Some(text) => Quality::parse(&text).ok_or_else(|| {
            let shown: String = text.chars().take(40).collect();
            invalid(&format!("{shown:?}"))
        }),
        None => Ok(Quality::Good),
    }
}

/// An empty text says nothing, as an absent one.
pub(super) fn text<'a>(
    field: Field<'a>,
    name: &str,
    max: usize,
) -> Result<Option<Cow<'a, str>>, ItemError> {
    let invalid = |detail: String| ItemError::invalid(format!("/{name}"), detail);
    let text = field
        .text()
        .map_err(|kind| invalid(format!("{name} is {kind}, expected a text")))?
        .filter(|text| !text.is_empty());
    match &text {
        Some(text) if text.len() > max => Err(invalid(format!(
            "{name} has {} bytes, more than {max}",
            text.len()
        ))),
        Some(text) if text.chars().any(char::is_control) => {
            Err(invalid(format!("{name} holds a control character")))
        }
        _ => Ok(text),
    }
}

pub(super) fn number(field: &Field<'_>, name: &str) -> Result<Option<f64>, ItemError> {
    field.number().map_err(|kind| {
        ItemError::invalid(
            format!("/{name}"),
            format!("{name} is {kind}, expected a number"),
        )
    })
}

pub(super) fn sequence(field: &Field<'_>) -> Result<Option<i64>, ItemError> {
    match field {
        Field::Absent | Field::Null => Ok(None),
        Field::Integer(number) => Ok(Some(*number)),
        other => {
            let detail = format!(
                "sequence is {}, expected an integer of 64 bits",
                other.kind()
            );
            Err(ItemError::invalid("/sequence", detail))
        }
    }
}
