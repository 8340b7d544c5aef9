//! What the topics have to be like, and the command that makes one so.
//!
//! What a newcomer would get wrong: a topic that deletes or compacts works, for days. Then the log no
//! longer has what the views were made of, and nothing tells.

use std::collections::BTreeMap;

/// Settings of a topic by name.
pub(crate) type Settings = BTreeMap<String, String>;

/// A topic as it was found.
pub(crate) struct Found<'a> {
    pub(crate) name: String,
    pub(crate) partitions: usize,
    /// Of the partition that has the fewest.
    pub(crate) copies: usize,
    /// None when they are not to be looked at.
    pub(crate) settings: Option<&'a Settings>,
}

/// Of the copies, how many must have a record before it is acknowledged: two, where there are two.
fn copies_in_sync(copies: usize) -> usize {
    copies.clamp(1, 2)
}

/// The settings of a new topic.
pub(crate) fn new_settings(max_message_bytes: usize, copies: usize) -> Vec<(&'static str, String)> {
    vec![
        ("cleanup.policy", "delete".to_owned()),
        ("message.timestamp.type", "LogAppendTime".to_owned()),
        ("retention.ms", "-1".to_owned()),
        ("retention.bytes", "-1".to_owned()),
        ("max.message.bytes", max_message_bytes.to_string()),
        ("min.insync.replicas", copies_in_sync(copies).to_string()),
        ("unclean.leader.election.enable", "false".to_owned()),
    ]
}

/// All that is wrong with a topic, a sentence each. Settings that the broker does not tell are taken for
/// good.
pub(crate) fn wrong(
    found: &Found<'_>,
    partitions: usize,
    max_message_bytes: usize,
    brokers: &str,
) -> Vec<String> {
    let name = &found.name;
    let mut wrong = Vec::new();
    if found.partitions != partitions {
        wrong.push(format!(
            "{name} has {} partitions and must have {partitions}; a topic's partitions are fixed for \
             its life: set partitions to what it has, or take another topic prefix",
            found.partitions
        ));
    }
    let Some(settings) = found.settings else {
        return wrong;
    };
    let mut expect = |setting: &str, good: &str, is_good: &dyn Fn(&str) -> bool, why: &str| {
        if let Some(is) = settings.get(setting)
            && !is_good(is)
        {
            wrong.push(format!(
                "{name} has {setting}={is}: {why}; put it right: kafka-configs.sh \
                 --bootstrap-server {brokers} --alter --entity-type topics --entity-name {name} \
                 --add-config {setting}={good}"
            ));
        }
    };
    let is = |good: &'static str| move |value: &str| value == good;
    let least = |least: i64| move |value: &str| value.parse::<i64>().is_ok_and(|v| v >= least);
    expect(
        "cleanup.policy",
        "delete",
        &is("delete"),
        "what is compacted away cannot be computed from again",
    );
    expect(
        "message.timestamp.type",
        "LogAppendTime",
        &is("LogAppendTime"),
        "append times must be the brokers', not the writers'",
    );
    let forever = |value: &str| value.parse::<i64>().is_ok_and(|v| v < 0);
    for setting in ["retention.ms", "retention.bytes"] {
        expect(
            setting,
            "-1",
            &forever,
            "the views are computed from the whole log",
        );
    }
    expect(
        "max.message.bytes",
        &max_message_bytes.to_string(),
        &least(max_message_bytes as i64),
        "the largest record would be refused",
    );
    expect(
        "unclean.leader.election.enable",
        "false",
        &is("false"),
        "a leader that lags behind would lose acknowledged records",
    );
    let in_sync = copies_in_sync(found.copies);
    let copies = found.copies;
    expect(
        "min.insync.replicas",
        &in_sync.to_string(),
        &|value| {
            value
                .parse()
                .is_ok_and(|v: usize| (in_sync..=copies).contains(&v))
        },
        &format!(
            "with {copies} copies it must be {in_sync} at least, for an acknowledged record to survive \
             the loss of a broker, and {copies} at most, for a record to be acknowledged at all"
        ),
    );
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(copies: usize, change: &[(&str, &str)]) -> Vec<String> {
        let new = new_settings(1_000, copies);
        let mut settings: Settings = new.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
        for (key, value) in change {
            settings.insert((*key).to_owned(), (*value).to_owned());
        }
        let found = Found {
            name: "city.readings".to_owned(),
            partitions: 4,
            copies,
            settings: Some(&settings),
        };
        wrong(&found, 4, 1_000, "k:9092")
    }

    #[test]
    fn what_we_make_is_right() {
        for copies in 1..=5 {
            assert_eq!(check(copies, &[]), Vec::<String>::new(), "{copies}");
        }
    }

    #[test]
    fn each_wrong_setting_is_named_with_its_command() {
        for (setting, value, good) in [
            ("cleanup.policy", "compact", "delete"),
            ("cleanup.policy", "compact,delete", "delete"),
            ("message.timestamp.type", "CreateTime", "LogAppendTime"),
            ("retention.ms", "604800000", "-1"),
            ("retention.bytes", "1000", "-1"),
            ("max.message.bytes", "999", "1000"),
            ("unclean.leader.election.enable", "true", "false"),
            ("min.insync.replicas", "1", "2"),
            ("min.insync.replicas", "4", "2"),
        ] {
            let found = check(3, &[(setting, value)]);
            assert_eq!(found.len(), 1, "{setting}={value}: {found:?}");
            let command = format!("--entity-name city.readings --add-config {setting}={good}");
            assert!(
                found[0].contains(&format!("{setting}={value}")),
                "{found:?}"
            );
            assert!(found[0].ends_with(&command), "{found:?}");
        }
    }

    #[test]
    fn larger_and_safer_is_good_too() {
        let change = [("max.message.bytes", "2000"), ("min.insync.replicas", "3")];
        assert_eq!(check(3, &change), Vec::<String>::new());
    }

    #[test]
    fn other_partitions_are_refused() {
        let found = Found {
            name: "ticks".to_owned(),
            partitions: 3,
            copies: 1,
            settings: None,
        };
        let wrong = wrong(&found, 1, 1_000, "k:9092");
        assert!(
            wrong.len() == 1 && wrong[0].starts_with("ticks has 3 partitions"),
            "{wrong:?}"
        );
    }
}
