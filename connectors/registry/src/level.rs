//! Levels of compatibility: what a registry lets through.
//!
//! A newcomer would ask for BACKWARD by name: a stricter level does as well, and one that looks the other
//! way is strengthened rather than replaced, as somebody chose it.

/// The level that a subject must get instead of `level`; none when that one is enough.
///
/// Enough is what lets no schema follow that could not read its predecessor's records. The error is a level
/// that we do not know.
pub(crate) fn needed_instead_of(level: &str) -> Result<Option<&'static str>, String> {
    match level {
        "BACKWARD" | "BACKWARD_TRANSITIVE" | "FULL" | "FULL_TRANSITIVE" => Ok(None),
        "NONE" => Ok(Some("BACKWARD")),
        "FORWARD" => Ok(Some("FULL")),
        "FORWARD_TRANSITIVE" => Ok(Some("FULL_TRANSITIVE")),
        other => Err(format!("the level of compatibility {other:?} is not known")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_only_ever_strengthened() {
        for (level, needed) in [
            ("NONE", Some("BACKWARD")),
            ("BACKWARD", None),
            ("FULL_TRANSITIVE", None),
            ("FORWARD", Some("FULL")),
            ("FORWARD_TRANSITIVE", Some("FULL_TRANSITIVE")),
        ] {
            assert_eq!(needed_instead_of(level), Ok(needed), "{level}");
        }
        assert!(needed_instead_of("backward").is_err());
    }
}
