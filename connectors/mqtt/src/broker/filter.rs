//! Topic filters: whether two of them can fit the same message.

/// Whether there is a topic that both fit, shared or not.
pub(crate) fn overlap(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (plain(one).split('/'), plain(other).split('/'));
    loop {
        match (one.next(), other.next()) {
            // It stands for what is above it, too: `a/#` fits `a`.
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (Some(left), Some(right)) if left == right || left == "+" || right == "+" => {}
            _ => return false,
        }
    }
}

/// Without the group that shares it.
fn plain(filter: &str) -> &str {
    let shared = filter.strip_prefix("$share/");
    let shared = shared.and_then(|rest| rest.split_once('/'));
    shared.map_or(filter, |(_, plain)| plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_that_fit_one_topic_overlap() {
        for (one, other, expected) in [
            ("a/b", "a/b", true),
            ("a/b", "a/c", false),
            ("a/+", "+/b", true),
            ("a/+", "a/b/c", false),
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("a/#", "b/#", false),
            ("#", "$share/g/a", true),
            ("$share/g/a/+", "$share/h/a/b", true),
            ("$share/g/a/+", "$share/g/b/+", false),
            ("a", "a/b", false),
        ] {
            assert_eq!(overlap(one, other), expected, "{one} {other}");
            assert_eq!(overlap(other, one), expected, "{other} {one}");
        }
    }
}
