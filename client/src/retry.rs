//! Records that failed, moved to where they are tried again.
//!
//!     failed(record, cause) ─ plan (core/retry.rs) ─▶ <topic>.retry.<n>, or <topic>.dlq ─ acknowledged ─▶ done
//!
//! A consumer that knows the same policy reads the retry topics beside its own, and hands a record of theirs
//! out when it is due. So it is the group that reads a topic that tries its failed records again. Two groups
//! that retry records of one topic share its retry topics, and see each other's.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use protocol::model::{ErrorCode, Timestamp};

use crate::admin::{Admin, TopicSpec};
use crate::core::retry::{Moved, NameTooLong, RetryPolicy, Tier, due};
use crate::driver::cluster::Cluster;
use crate::error::{AdminError, ConsumeError, InvalidRetry, RetryError};
use crate::limits::HEADER_CAUSE_BYTES_MAX;
use crate::producer::{Producer, ProducerBuilder};
use crate::record::ConsumedRecord;

/// Moves failed records to their next try, or to the dead letters. Cheap to clone.
///
/// A consumer built with it reads the retry topics too, and its [`Workers`](crate::Workers) move what their
/// handler fails on. A loop of one's own calls [`failed`](Retry::failed).
#[derive(Clone)]
pub struct Retry {
    policy: RetryPolicy,
    cluster: Arc<Cluster>,
    producer: Producer,
}

impl Retry {
    pub(crate) fn new(cluster: Arc<Cluster>, policy: RetryPolicy) -> Retry {
        let producer = ProducerBuilder::new(Arc::clone(&cluster)).linger(std::time::Duration::ZERO).build();
        Retry { policy, cluster, producer: producer.expect("BUG: the defaults go together") }
    }

    pub fn policy(&self) -> &RetryPolicy {
        &self.policy
    }

    /// Makes the retry topics of `topic` and the one of its dead letters, each with as many partitions as
    /// `topic` has and the broker's defaults for the rest. Those that exist stay as they are.
    pub async fn create_topics(&self, topic: &str) -> Result<(), AdminError> {
        let admin = Admin::new(Arc::clone(&self.cluster));
        let partitions = admin.describe_topic(topic).await?.partitions.len();
        let partitions = u32::try_from(partitions).expect("BUG: a topic's partitions are counted in 32 bits");
        for name in self.names(topic) {
            match admin.create_topic(TopicSpec::new(name).partitions(partitions)).await {
                Err(error) if error.code() == Some(ErrorCode::TopicAlreadyExists) => {}
                made => _ = made?,
            }
        }
        Ok(())
    }

    /// Retry topics and dead letters.
    fn names(&self, topic: &str) -> Vec<String> {
        let mut names = self.policy.topics(topic);
        names.push(self.policy.dead_letters(topic));
        names
    }

    /// Moves a record that failed because of `cause`; returns when it is acknowledged there. Then the record
    /// counts as processed: go on behind it. Not before: a crash in between repeats it, and loses nothing.
    ///
    /// Of a `cause` over 4 KiB the beginning is kept.
    pub async fn failed(&self, record: &ConsumedRecord, cause: &str) -> Result<(), RetryError> {
        Ok(self.send(self.plan_failed(record, cause)?).await?)
    }

    /// When a record of a retry topic is to be tried; `None` for any other. For those who read retry topics
    /// without [`ConsumerBuilder::retry`](crate::ConsumerBuilder::retry), which waits until then.
    pub fn due(record: &ConsumedRecord) -> Option<Timestamp> {
        due(record)
    }

    pub(crate) fn plan_failed(&self, record: &ConsumedRecord, cause: &str) -> Result<Moved, NameTooLong> {
        self.policy.plan_failed(record, &shortened(cause), now())
    }

    pub(crate) fn plan_follow(&self, record: &ConsumedRecord, tier: Tier) -> Result<Moved, NameTooLong> {
        self.policy.plan_follow(record, tier, now())
    }

    pub(crate) async fn send(&self, moved: Moved) -> Result<(), crate::error::SendError> {
        self.producer.send(moved.record).await.map(|_| ())
    }

    /// Whether all topics of `topic` are there as they have to be. Returns the retry topics.
    pub(crate) async fn check(&self, topic: &str) -> Result<Vec<String>, ConsumeError> {
        for name in self.names(topic) {
            let name: Arc<str> = name.into();
            let found = match self.cluster.look_up_anew(&name).await {
                Err(AdminError::UnknownTopic { topic }) => {
                    return Err(ConsumeError::Retry(InvalidRetry::NoTopic { topic }));
                }
                found => found.map_err(ConsumeError::Start)?,
            };
            if self.policy.keeps_key_order() {
                let origin = self.cluster.look_up(&topic.into()).await.map_err(ConsumeError::Start)?;
                let (partitions, needed) = (found.partition_count(), origin.partition_count());
                if partitions != needed {
                    let wrong = InvalidRetry::OrderNeedsPartitions { topic: name, partitions, needed };
                    return Err(ConsumeError::Retry(wrong));
                }
            }
        }
        Ok(self.policy.topics(topic))
    }
}

fn now() -> Timestamp {
    Timestamp::from_system_time(SystemTime::now())
}

/// A long cause must not keep the record from fitting into its batch.
fn shortened(cause: &str) -> Cow<'_, str> {
    if cause.len() <= HEADER_CAUSE_BYTES_MAX {
        return Cow::Borrowed(cause);
    }
    let end = (0..=HEADER_CAUSE_BYTES_MAX).rev().find(|at| cause.is_char_boundary(*at)).unwrap_or(0);
    Cow::Owned(format!("{}…", &cause[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_cause_the_beginning_is_kept() {
        assert_eq!(shortened("no"), "no");
        let long = "ä".repeat(HEADER_CAUSE_BYTES_MAX);
        let short = shortened(&long);
        assert!(
            short.ends_with("ä…") && short.len() <= HEADER_CAUSE_BYTES_MAX + "…".len(),
            "{}",
            short.len()
        );
    }
}
