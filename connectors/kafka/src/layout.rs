//! What the topics are called, how many partitions they have, and a number for each partition.

use openinfra_log::LogError;
use openinfra_schemas::Topic;

use crate::config::Config;

/// Topics and partitions of one log.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    prefix: String,
    keyed: i32,
}

impl Layout {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            prefix: config.topic_prefix.clone(),
            keyed: config.partitions,
        }
    }

    /// The topic's name at the brokers.
    pub(crate) fn name(&self, topic: Topic) -> String {
        format!("{}{topic}", self.prefix)
    }

    /// The names of all topics, in the order of [`Topic::ALL`].
    pub(crate) fn names(&self) -> [String; Topic::ALL.len()] {
        Topic::ALL.map(|topic| self.name(topic))
    }

    pub(crate) fn partitions(&self, topic: Topic) -> i32 {
        topic.partitions(self.keyed)
    }

    /// How many partitions all topics have together.
    pub(crate) fn len(&self) -> usize {
        Topic::ALL
            .iter()
            .map(|t| self.partitions(*t) as usize)
            .sum()
    }

    /// Every partition in the order of its number.
    pub(crate) fn places(&self) -> impl Iterator<Item = (Topic, i32)> + '_ {
        Topic::ALL
            .into_iter()
            .flat_map(|topic| (0..self.partitions(topic)).map(move |p| (topic, p)))
    }

    /// The partition's number, `0..len()`.
    pub(crate) fn index(&self, topic: Topic, partition: i32) -> Result<usize, LogError> {
        let partitions = self.partitions(topic);
        if !(0..partitions).contains(&partition) {
            return Err(LogError::NoPartition {
                topic,
                partition,
                partitions,
            });
        }
        Ok(self.base(topic) + partition as usize)
    }

    fn base(&self, topic: Topic) -> usize {
        let before = Topic::ALL.iter().take_while(|other| **other != topic);
        before.map(|t| self.partitions(*t) as usize).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_has_a_number_of_its_own() {
        let layout = Layout::new(&Config {
            topic_prefix: "city.".to_owned(),
            partitions: 3,
            ..Config::default()
        });
        assert_eq!(layout.len(), 10);
        for (number, (topic, partition)) in layout.places().enumerate() {
            assert_eq!(layout.index(topic, partition).unwrap(), number);
        }
        assert_eq!(layout.places().count(), layout.len());
        assert_eq!(layout.name(Topic::Ticks), "city.ticks");
        assert!(layout.index(Topic::Ticks, 1).is_err());
        assert!(layout.index(Topic::Readings, -1).is_err());
    }
}
