//! OffsetCommit, OffsetFetch, OffsetDelete.
//!
//!     commit ──▶ may it? ──▶ one record for each partition ──▶ applied when the driver has appended them
//!                 │ outside of the group (generation −1): only while the group is empty
//!                 │ else the generation, the id and the instance must be the group's
//!                 └ between generations (preparing) the last one still counts; while the new one is
//!                   being assigned nobody has anything to commit

use std::sync::Arc;

use protocol::model::{ErrorCode, PartitionIndex};

use super::State;
use super::api::{Commit, CommitPartition, Committed, Effects, FetchedOffset, Generation};
use super::api::{PartitionOutcome, Partitions, RECORD_OVERHEAD, Reply, ReplyTo};
use super::config::NAME_BYTES_MAX;
use super::group::{Context, Group};
use super::offsets::charge;
use super::records::{self, OffsetValue};
use super::wire::STRING_BYTES_MAX;

impl Group {
    pub fn commit(&mut self, commit: &Commit<'_>, to: ReplyTo, context: Context<'_>, effects: &mut Effects) {
        let may = self.may_commit(commit).and_then(|()| fits_a_batch(commit, context));
        let outcomes = match may {
            Err(code) => refuse_commit(commit, code),
            Ok(()) => {
                self.heard_of(commit.member, context);
                self.write_offsets(commit, context, effects)
            }
        };
        effects.reply(to, Reply::Commit(outcomes));
    }

    fn may_commit(&self, commit: &Commit<'_>) -> Result<(), ErrorCode> {
        if commit.generation < Generation::ZERO && self.state() == State::Empty {
            return Ok(());
        }
        self.check_generation(commit.member, commit.instance, commit.generation)?;
        match self.state() {
            State::CompletingRebalance => Err(ErrorCode::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    fn write_offsets(
        &self,
        commit: &Commit<'_>,
        context: Context<'_>,
        effects: &mut Effects,
    ) -> Vec<PartitionOutcome> {
        let mut held = self.held_bytes();
        let mut outcomes = Vec::new();
        for (topic, partitions) in commit.topics {
            let name: Arc<str> = (*topic).into();
            for one in *partitions {
                let before = self.offsets.get(&name, one.partition);
                let before = before.map_or(0, |before| charge(topic, &before.metadata));
                let charged = one.offset.map_or(0, |_| charge(topic, one.metadata));
                let after = held.saturating_sub(before) + charged;
                let code = check_offset(one, topic, after, context);
                if code.is_ok() {
                    held = after;
                    let value = one.offset.map(|offset| {
                        let (leader_epoch, metadata) = (one.leader_epoch, one.metadata);
                        let committed_at = context.now.wall;
                        records::write_offset(&OffsetValue { offset, leader_epoch, metadata, committed_at })
                    });
                    // Taken away also where nothing is yet: the same request may have put it there.
                    effects.record(records::offset_key(&self.id, topic, one.partition), value);
                }
                outcomes.push(PartitionOutcome { topic: name.clone(), partition: one.partition, code });
            }
        }
        outcomes
    }

    /// Those that are asked for, or all.
    pub fn fetch_offsets(&self, topics: Option<&Partitions<'_>>) -> Vec<FetchedOffset> {
        let Some(topics) = topics else {
            let all = self.offsets.iter();
            return all.map(|(topic, partition, found)| fetched(topic, partition, Some(found))).collect();
        };
        each(topics).map(|(topic, at)| fetched(&topic, at, self.offsets.get(&topic, at))).collect()
    }

    /// Offsets go unless a member may be using them. A group whose subscriptions cannot be read is taken to
    /// subscribe to everything.
    pub fn delete_offsets(
        &self,
        topics: &Partitions<'_>,
        effects: &mut Effects,
    ) -> Result<Vec<PartitionOutcome>, ErrorCode> {
        if self.state() != State::Empty && !self.is_consumer() {
            return Err(ErrorCode::NonEmptyGroup);
        }
        let subscribed = self.subscribed_topics();
        let is_used = |topic: &str| subscribed.as_ref().is_none_or(|topics| topics.contains(topic));
        let delete = |(topic, partition): (Arc<str>, PartitionIndex)| {
            let is_used = is_used(&topic);
            if !is_used && self.offsets.get(&topic, partition).is_some() {
                effects.record(records::offset_key(&self.id, &topic, partition), None);
            }
            let code = if is_used { ErrorCode::GroupSubscribedToTopic } else { ErrorCode::None };
            PartitionOutcome { topic, partition, code }
        };
        Ok(each(topics).map(delete).collect())
    }
}

fn check_offset(one: &CommitPartition<'_>, topic: &str, held: usize, context: Context<'_>) -> ErrorCode {
    let metadata_max = context.config.offset_metadata_bytes_max.min(STRING_BYTES_MAX);
    if metadata_max < one.metadata.len() {
        ErrorCode::OffsetMetadataTooLarge
    } else if NAME_BYTES_MAX < topic.len() {
        ErrorCode::UnknownTopicOrPartition
    } else if context.config.group_bytes_max < held {
        ErrorCode::InvalidCommitOffsetSize
    } else {
        ErrorCode::None
    }
}

/// A commit is one batch, whatever it repeats.
fn fits_a_batch(commit: &Commit<'_>, context: Context<'_>) -> Result<(), ErrorCode> {
    let one =
        |topic: &str, metadata: &str| 2 * RECORD_OVERHEAD + commit.group.len() + topic.len() + metadata.len();
    let of_topic = |(topic, partitions): &(&str, &[CommitPartition<'_>])| {
        partitions.iter().map(|partition| one(topic, partition.metadata)).sum::<usize>()
    };
    let bytes: usize = commit.topics.iter().map(of_topic).sum();
    if bytes <= context.config.group_bytes_max { Ok(()) } else { Err(ErrorCode::InvalidCommitOffsetSize) }
}

/// The same answer for every partition.
pub(super) fn refuse_commit(commit: &Commit<'_>, code: ErrorCode) -> Vec<PartitionOutcome> {
    let of_topic = |(topic, partitions): &(&str, &[CommitPartition<'_>])| {
        let topic: Arc<str> = (*topic).into();
        let outcome = |partition| PartitionOutcome { topic: topic.clone(), partition, code };
        partitions.iter().map(|one| outcome(one.partition)).collect::<Vec<_>>()
    };
    commit.topics.iter().flat_map(of_topic).collect()
}

/// The offsets of a group that does not exist.
pub(super) fn fetch_none(topics: Option<&Partitions<'_>>) -> Vec<FetchedOffset> {
    each(topics.unwrap_or_default()).map(|(topic, partition)| fetched(&topic, partition, None)).collect()
}

fn each<'a>(topics: &'a Partitions<'a>) -> impl Iterator<Item = (Arc<str>, PartitionIndex)> + 'a {
    topics.iter().flat_map(|(topic, partitions)| {
        let topic: Arc<str> = (*topic).into();
        partitions.iter().map(move |partition| (topic.clone(), *partition))
    })
}

fn fetched(topic: &Arc<str>, partition: PartitionIndex, found: Option<&Committed>) -> FetchedOffset {
    FetchedOffset { topic: topic.clone(), partition, committed: found.cloned() }
}
