//! What makes a JSON text unreadable for us although a parser takes it: keys given twice, deep nesting.
//!
//! A parser keeps one of two equal keys; which one, proxies and clients disagree on, so that neither is
//! right.

use std::{cell::RefCell, collections::HashSet, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// How deep arrays and objects may nest.
pub const MAX_DEPTH: usize = 64;

/// Where a text breaks a rule, and which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// JSON pointer.
    pub pointer: String,
    pub code: &'static str,
    pub detail: String,
}

/// Errs when the text is no JSON, or JSON that we refuse.
pub fn check(text: &[u8]) -> Result<(), Fault> {
    let found = RefCell::new(None);
    let walk = Walk {
        path: String::new(),
        depth: 0,
        found: &found,
    };
    let mut parser = serde_json::Deserializer::from_slice(text);
    let result = walk.deserialize(&mut parser).and_then(|()| parser.end());
    match (found.into_inner(), result) {
        (Some(fault), _) => Err(fault),
        (None, Ok(())) => Ok(()),
        (None, Err(error)) => Err(Fault {
            pointer: String::new(),
            code: "syntax",
            detail: format!("the body is not JSON: {error}"),
        }),
    }
}

/// One step of a JSON pointer.
pub fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

struct Walk<'a> {
    path: String,
    depth: usize,
    found: &'a RefCell<Option<Fault>>,
}

impl Walk<'_> {
    fn child(&self, step: &str) -> Self {
        Self {
            path: format!("{}/{}", self.path, escape(step)),
            depth: self.depth + 1,
            found: self.found,
        }
    }

    fn refuse<E: Error>(&self, pointer: String, code: &'static str, detail: String) -> E {
        self.found.replace(Some(Fault {
            pointer,
            code,
            detail,
        }));
        E::custom(code)
    }

    fn check_depth<E: Error>(&self) -> Result<(), E> {
        if self.depth < MAX_DEPTH {
            return Ok(());
        }
        let detail = format!("arrays and objects nest deeper than {MAX_DEPTH} levels");
        Err(self.refuse(self.path.clone(), "depth", detail))
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.check_depth()?;
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            let child = self.child(&key);
            if seen.contains(&key) {
                let detail = format!("the key {key:?} is given twice");
                return Err(self.refuse(child.path, "duplicate_key", detail));
            }
            seen.insert(key);
            map.next_value_seed(child)?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        self.check_depth()?;
        let mut index = 0usize;
        while seq
            .next_element_seed(self.child(&index.to_string()))?
            .is_some()
        {
            index += 1;
        }
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_json_passes() {
        for text in [
            "{}",
            "[1, 2.5, \"a\", null, true, {\"a\": {\"a\": 1}}]",
            "7",
        ] {
            assert_eq!(check(text.as_bytes()), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_is_refused_is_pointed_at() {
        for (text, pointer, code) in [
            (r#"{"a": 1, "a": 2}"#, "/a", "duplicate_key"),
            (
                r#"{"x/y": [0, {"b": 1, "b": 1}]}"#,
                "/x~1y/1/b",
                "duplicate_key",
            ),
            ("{", "", "syntax"),
            ("{} {}", "", "syntax"),
            ("NaN", "", "syntax"),
        ] {
            let fault = check(text.as_bytes()).unwrap_err();
            assert_eq!(
                (fault.pointer.as_str(), fault.code),
                (pointer, code),
                "{text}"
            );
        }
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(check(nested(MAX_DEPTH).as_bytes()), Ok(()));
        let fault = check(nested(MAX_DEPTH + 1).as_bytes()).unwrap_err();
        assert_eq!(fault.code, "depth");
        // Refused before the parser's own limit, and before the stack is at stake.
        assert_eq!(check(nested(100_000).as_bytes()).unwrap_err().code, "depth");
    }
}
