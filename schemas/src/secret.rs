//! Passwords and keys in settings.
//!
//! What a newcomer would get wrong: settings are printed whole, into logs and errors. A secret prints as a word
//! in its place, and is had only by asking for it.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

/// A text of the settings that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for whom it is meant for.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_string(Text)
    }
}

/// Takes texts. What else there is would be told in the error by serde, so that it is refused here.
struct Text;

impl Visitor<'_> for Text {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text in quotes")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Secret, E> {
        Ok(Secret::new(text))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Secret, E> {
        Err(no_text())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Secret, E> {
        Err(no_text())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Secret, E> {
        Err(no_text())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Secret, E> {
        Err(no_text())
    }
}

fn no_text<E: Error>() -> E {
    E::custom("a secret is a text in quotes")
}

#[cfg(test)]
mod tests {
    use serde::de::{IntoDeserializer, value};

    use super::*;

    #[test]
    fn it_is_read_as_a_text_and_not_shown() {
        let secret: Secret = serde_json::from_str(r#""swordfish""#).unwrap();
        assert_eq!(secret, Secret::new("swordfish"));
        assert_eq!(secret.reveal(), "swordfish");
        assert_eq!(format!("{:?}", Some(secret)), "Some((hidden))");
    }

    fn assert_refused<'de>(wrong: impl IntoDeserializer<'de, value::Error>) {
        let error = Secret::deserialize(wrong.into_deserializer()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("text in quotes"), "{text}");
        assert!(!text.contains("47") && !text.contains("true"), "{text}");
    }

    #[test]
    fn what_is_no_text_is_refused_without_being_shown() {
        assert_refused(4711_u64);
        assert_refused(-4711_i64);
        assert_refused(47.11);
        assert_refused(true);
    }
}
