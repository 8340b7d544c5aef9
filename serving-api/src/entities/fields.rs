//! Reads the fields of a JSON object, gathering everything that is wrong with them.
//!
//! Every field is taken once; what is left at the end is unknown, which is an error and never ignored. A
//! null is an absent field.

use serde_json::{Map, Value};
use unicode_normalization::UnicodeNormalization;

use super::error::Violation;

/// What answers carry and bodies may not.
const READ_ONLY: [&str; 7] = [
    "version",
    "registered",
    "status",
    "created_at",
    "created_by",
    "updated_at",
    "updated_by",
];

/// An object being read.
pub(super) struct Fields<'a> {
    object: Map<String, Value>,
    /// Pointer of the object itself.
    at: String,
    violations: &'a mut Vec<Violation>,
}

impl<'a> Fields<'a> {
    /// None, and a violation, when the value is no object.
    pub(super) fn of(
        value: &Value,
        at: &str,
        violations: &'a mut Vec<Violation>,
    ) -> Option<Fields<'a>> {
        match value {
            Value::Object(object) => Some(Self {
                object: object.clone(),
                at: at.to_owned(),
                violations,
            }),
            other => {
                violations.push(Violation::new(at, "type", wanted("an object", other)));
                None
            }
        }
    }

    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        self.take(name, "a string", |value| match value {
            Value::String(text) => Some(text.clone()),
            _ => None,
        })
    }

    pub(super) fn number(&mut self, name: &str) -> Option<f64> {
        self.take(name, "a number", Value::as_f64)
    }

    /// A whole number; `60000.0` is one.
    pub(super) fn whole(&mut self, name: &str) -> Option<i64> {
        const EXACT: f64 = 9_007_199_254_740_992.0;
        self.take(name, "a whole number", |value| {
            value.as_i64().or_else(|| {
                let double = value.as_f64()?;
                (double.fract() == 0.0 && double.abs() < EXACT).then_some(double as i64)
            })
        })
    }

    pub(super) fn flag(&mut self, name: &str) -> Option<bool> {
        self.take(name, "true or false", Value::as_bool)
    }

    /// A value that is read elsewhere.
    pub(super) fn value(&mut self, name: &str) -> Option<Value> {
        self.object.remove(name).filter(|value| !value.is_null())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.object.get(name).is_some_and(|value| !value.is_null())
    }

    pub(super) fn pointer(&self, name: &str) -> String {
        pointer(&self.at, name)
    }

    pub(super) fn violation(&mut self, violation: Violation) {
        self.violations.push(violation);
    }

    pub(super) fn violations(&mut self) -> &mut Vec<Violation> {
        self.violations
    }

    /// Nothing further is known: what is left is reported.
    pub(super) fn done(self) {
        for name in self.object.keys() {
            let at = pointer(&self.at, name);
            self.violations.push(if READ_ONLY.contains(&name.as_str()) {
                Violation::new(at, "read_only", "the server sets this field; leave it out")
            } else {
                Violation::new(at, "unknown_field", "there is no such field here")
            });
        }
    }

    fn take<T>(&mut self, name: &str, what: &str, read: impl Fn(&Value) -> Option<T>) -> Option<T> {
        let value = self.value(name)?;
        let taken = read(&value);
        if taken.is_none() {
            let at = self.pointer(name);
            self.violation(Violation::new(at, "type", wanted(what, &value)));
        }
        taken
    }
}

/// Trims and composes (NFC) a text that must have 1 to `longest` characters and no control characters.
pub(super) fn clean_text(
    text: Option<String>,
    at: &str,
    longest: usize,
    violations: &mut Vec<Violation>,
) -> Option<String> {
    let text: String = text?.trim().nfc().collect();
    let length = text.chars().count();
    if let Some(control) = text.chars().find(|c| c.is_control()) {
        violations.push(Violation::new(
            at,
            "control_character",
            format!("holds the control character U+{:04X}", control as u32),
        ));
    } else if !(1..=longest).contains(&length) {
        violations.push(Violation::new(
            at,
            "length",
            format!("has {length} characters, 1 to {longest} expected"),
        ));
    }
    Some(text)
}

/// Checks a whole number against its bounds, both allowed.
pub(super) fn check_range(
    value: Option<i64>,
    at: &str,
    least: i64,
    most: i64,
    violations: &mut Vec<Violation>,
) {
    if let Some(value) = value.filter(|value| !(least..=most).contains(value)) {
        violations.push(Violation::new(
            at,
            "out_of_range",
            format!("is {value}, {least} to {most} expected"),
        ));
    }
}

/// RFC 6901: `~` and `/` in a name are escaped.
fn pointer(at: &str, name: &str) -> String {
    format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"))
}

pub(super) fn wanted(what: &str, got: &Value) -> String {
    let got = match got {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    format!("is {got}, {what} expected")
}
