//! What is wrong with a configuration, in words that hold none of its values.
//!
//! What a newcomer would get wrong: parsers like to show the line that they stumble over, or the value that
//! does not fit. It may be a password, under a misspelt key, and ends in a log.

/// What the file's own parser says: where, the key, and why.
pub(super) fn in_file(text: &str, error: &toml::de::Error) -> String {
    let why = without_value(error.message());
    let Some(at) = error.span().map(|span| span.start.min(text.len())) else {
        return why;
    };
    // Where the span begins is a character's beginning, unless the parser is wrong.
    let before = text.get(..at).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    match key_at(text, line) {
        Some(key) => format!("line {line}, `{key}`: {why}"),
        None => format!("line {line}: {why}"),
    }
}

/// A message of serde's, with the kind of the value that it found and not the value itself.
pub(super) fn without_value(message: &str) -> String {
    let expected = message.rfind(", expected");
    let kept = ["invalid type: ", "invalid value: "]
        .iter()
        .find_map(|prefix| {
            let begins = message.find(prefix)? + prefix.len();
            let value = &message[begins..expected.filter(|end| *end > begins)?];
            let kind = value.find(['`', '"']).map(|at| value[..at].trim_end());
            let rest = &message[expected?..];
            kind.map(|kind| format!("{}{kind}{rest}", &message[..begins]))
        });
    kept.unwrap_or_else(|| message.to_owned())
}

/// The key that a line sets, if what stands there can be nothing else.
fn key_at(text: &str, line: usize) -> Option<&str> {
    let (key, _) = text.lines().nth(line - 1)?.split_once('=')?;
    let key = key.trim();
    let legal = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    (!key.is_empty() && key.chars().all(legal)).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_left_out_and_kinds_kept() {
        for (message, told) in [
            (
                "invalid type: integer `123456`, expected a string",
                "invalid type: integer, expected a string",
            ),
            (
                r#"invalid type: string "a, expected `b` or "c", expected usize for key `job.workers`"#,
                "invalid type: string, expected usize for key `job.workers`",
            ),
            (
                "invalid value: integer `-1`, expected u32",
                "invalid value: integer, expected u32",
            ),
            (
                "invalid type: map, expected a string",
                "invalid type: map, expected a string",
            ),
            (
                "unknown field `x`, expected `y`",
                "unknown field `x`, expected `y`",
            ),
        ] {
            assert_eq!(without_value(message), told);
        }
    }
}
