//! Which partitions a verb is about: `--topic T` for all of a topic, `--topic T:0,2` for some.

use std::str::FromStr;

use ringlog_client::PartitionIndex;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicArg {
    pub topic: String,
    /// Ascending, each once; none for all that there are.
    partitions: Vec<u32>,
}

impl TopicArg {
    pub fn includes(&self, topic: &str, partition: PartitionIndex) -> bool {
        self.topic == topic
            && (self.partitions.is_empty() || self.partitions.binary_search(&partition.get()).is_ok())
    }

    /// The partitions that are named, or else all of `count`.
    pub fn of(&self, count: usize) -> Vec<usize> {
        if self.partitions.is_empty() {
            return (0..count).collect();
        }
        self.partitions.iter().map(|partition| *partition as usize).collect()
    }

    /// The partitions that are named.
    pub fn named(&self) -> impl Iterator<Item = PartitionIndex> {
        self.partitions.iter().copied().map(PartitionIndex::new)
    }
}

impl FromStr for TopicArg {
    type Err = String;

    /// Names of topics have no colon.
    fn from_str(text: &str) -> Result<TopicArg, String> {
        let (topic, partitions) = match text.split_once(':') {
            Some((topic, partitions)) => (topic, Some(partitions)),
            None => (text, None),
        };
        let wrong = || format!("{text:?} is not TOPIC or TOPIC:0,1,2");
        if topic.is_empty() {
            return Err(wrong());
        }
        let numbers = partitions.map(|list| list.split(',').map(str::parse).collect::<Result<Vec<u32>, _>>());
        let mut partitions = numbers.transpose().map_err(|_| wrong())?.unwrap_or_default();
        partitions.sort_unstable();
        partitions.dedup();
        Ok(TopicArg { topic: topic.to_owned(), partitions })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_stands_for_all_of_its_partitions_or_for_some() {
        let all: TopicArg = "orders".parse().unwrap();
        assert_eq!(all.of(3), [0, 1, 2]);
        assert!(all.includes("orders", PartitionIndex::new(7)));
        assert!(!all.includes("order", PartitionIndex::new(0)));
        let some: TopicArg = "orders:2,0,2".parse().unwrap();
        assert_eq!(some.of(1), [0, 2], "whether they are there is for the caller to find out");
        assert!(some.includes("orders", PartitionIndex::new(2)));
        assert!(!some.includes("orders", PartitionIndex::new(1)));
    }

    #[test]
    fn what_names_no_partitions_is_refused() {
        for text in ["", ":0", "orders:", "orders:a", "orders:0,", "orders:-1", "orders:0:1"] {
            assert!(text.parse::<TopicArg>().is_err(), "{text:?}");
        }
    }
}
