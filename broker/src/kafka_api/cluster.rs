//! DescribeCluster, DescribeLogDirs, ListPartitionReassignments, OffsetForLeaderEpoch: what tools ask about
//! the cluster, of which there is one node.
//!
//!     DescribeLogDirs        each shard tells the sizes of its logs ─▶ one directory with all of them
//!     OffsetForLeaderEpoch   the end of the log, since every partition has had one leader

use std::collections::{BTreeMap, BTreeSet};

use kafka::cold::types::describe_cluster_response::DescribeClusterBroker;
use kafka::cold::types::describe_log_dirs_request::DescribableLogDirTopic;
use kafka::cold::types::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka::cold::types::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use kafka::cold::types::{
    BrokerId, DescribeClusterRequest, DescribeClusterResponse, DescribeLogDirsRequest,
    DescribeLogDirsResponse, ListPartitionReassignmentsResponse, OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse, TopicName,
};
use protocol::api::{ListOffsetsEntry, ListOffsetsResult, OffsetSpec};
use protocol::model::{ErrorCode, LeaderEpoch, ShardId};

use super::data::{epoch, wire};
use super::layout::partition_index;
use super::metadata::node;
use super::{Asked, Call, Layout, Shape, Topic, code, operations, text};
use crate::connection::Connection;
use crate::handlers;
use crate::shard::{LogSize, Shard, ShardMessage, Waiting};

/// `DescribeClusterRequest.EndpointType`: brokers; the other are controllers.
const BROKERS: i8 = 1;

pub fn describe_cluster(call: Call<'_>, request: &DescribeClusterRequest) {
    let endpoint_type = request.endpoint_type;
    let view = call.shard.view();
    let (host, port) = &view.identity.kafka;
    let this = BrokerId(node(&view));
    let operations = operations::told(request.include_cluster_authorized_operations, operations::CLUSTER);
    let broker = DescribeClusterBroker::default()
        .with_broker_id(this)
        .with_host(text(host.clone()))
        .with_port(i32::from(*port));
    let response = DescribeClusterResponse::default()
        .with_cluster_id(text(view.identity.cluster.to_string()))
        .with_controller_id(this)
        .with_cluster_authorized_operations(operations);
    let response = match call.header.version {
        0 => response.with_brokers(vec![broker]),
        _ if endpoint_type == BROKERS => response.with_brokers(vec![broker]).with_endpoint_type(BROKERS),
        // Clients ask brokers for brokers; controllers are not to be connected to.
        _ => response
            .with_endpoint_type(endpoint_type)
            .with_error_code(kafka::ErrorCode::MISMATCHED_ENDPOINT_TYPE.to_wire()),
    };
    call.respond_cold(&response);
}

/// Partitions do not move on one node.
pub fn list_reassignments(call: Call<'_>) {
    call.respond_cold(&ListPartitionReassignmentsResponse::default());
}

/// The partitions whose sizes are asked for, by topic; `None` for all.
pub type Sizes = Option<BTreeMap<String, BTreeSet<i32>>>;

pub fn describe_log_dirs(call: Call<'_>, request: &DescribeLogDirsRequest) {
    let wanted = request.topics.as_ref().map(|topics| {
        let of_topic = |topic: &DescribableLogDirTopic| {
            (topic.topic.as_str().to_owned(), topic.partitions.iter().copied().collect())
        };
        topics.iter().map(of_topic).collect()
    });
    let shards: Vec<ShardId> = call.shard.view().shards().collect();
    let waiting = Waiting::LogSizes { sizes: Vec::new() };
    let asked = call.asked(Shape::Sizes(wanted));
    handlers::begin_entries(
        call.shard,
        call.connection,
        asked,
        shards,
        waiting,
        |shard, origin, of| match of == shard.id {
            true => shard.take_log_sizes(origin, shard.log_sizes()),
            false => shard.send(of, ShardMessage::LogSizes { origin }),
        },
    );
}

pub fn reply_log_dirs(shard: &Shard, connection: &Connection, asked: &Asked, sizes: &[LogSize]) {
    let Shape::Sizes(wanted) = &asked.shape else { panic!("BUG: it asks for sizes") };
    let view = shard.view();
    let mut topics: BTreeMap<&str, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    for size in sizes {
        let Some(topic) = view.topic_by_id(size.log.topic) else { continue };
        let index = size.log.partition.get().cast_signed();
        let is_wanted = wanted.as_ref().is_none_or(|wanted| {
            wanted.get(topic.name().as_str()).is_some_and(|partitions| partitions.contains(&index))
        });
        if is_wanted {
            let bytes = i64::try_from(size.bytes).unwrap_or(i64::MAX);
            let partition =
                DescribeLogDirsPartition::default().with_partition_index(index).with_partition_size(bytes);
            topics.entry(topic.name().as_str()).or_default().push(partition);
        }
    }
    let topics = topics.into_iter().map(|(name, mut partitions)| {
        partitions.sort_by_key(|partition| partition.partition_index);
        DescribeLogDirsTopic::default().with_name(TopicName(text(name))).with_partitions(partitions)
    });
    let result = DescribeLogDirsResult::default()
        .with_log_dir(text(shard.config.data_dir.display().to_string()))
        .with_topics(topics.collect());
    let result = match shard.store.disk().space() {
        Ok((total, free)) if 4 <= asked.version => result
            .with_total_bytes(i64::try_from(total).unwrap_or(i64::MAX))
            .with_usable_bytes(i64::try_from(free).unwrap_or(i64::MAX)),
        _ => result,
    };
    asked.respond_cold(connection, &DescribeLogDirsResponse::default().with_results(vec![result]));
}

pub fn offset_for_leader_epoch(call: Call<'_>, request: &OffsetForLeaderEpochRequest) {
    let view = call.shard.view();
    let (mut layout, mut epochs, mut entries) = (Layout::default(), Vec::new(), Vec::new());
    for topic in &request.topics {
        let found = Topic::find(&view, topic.topic.as_str());
        let id = found.id();
        layout.push_topic(found);
        for partition in &topic.partitions {
            layout.push_partition(partition.partition);
            epochs.push(partition.leader_epoch);
            entries.push(ListOffsetsEntry {
                topic: id,
                partition: partition_index(partition.partition),
                leader_epoch: epoch(partition.current_leader_epoch),
                spec: OffsetSpec::Latest,
            });
        }
    }
    let results = vec![ListOffsetsResult::refused(ErrorCode::RequestTimedOut); entries.len()];
    let waiting = Waiting::ListOffsets { results };
    let asked = call.asked(Shape::Epochs(layout, epochs));
    handlers::begin_entries(call.shard, call.connection, asked, entries, waiting, handlers::list_offset);
}

pub fn reply_epochs(connection: &Connection, asked: &Asked, results: &[ListOffsetsResult]) {
    let Shape::Epochs(layout, epochs) = &asked.shape else { panic!("BUG: it names epochs") };
    let mut results = results.iter().zip(epochs);
    let mut partition = |index: &i32| {
        let (result, asked_for) = results.next().expect("BUG: a result for each partition");
        let current = result.leader_epoch.unwrap_or(LeaderEpoch::FIRST).get();
        let end = EpochEndOffset::default().with_partition(*index);
        match result.error.is_ok() {
            true if (0..=current).contains(asked_for) => {
                end.with_leader_epoch(current).with_end_offset(wire(result.offset))
            }
            // An epoch that has not been: neither it nor its end is defined.
            true => end.with_leader_epoch(-1).with_end_offset(-1),
            false => {
                let error = code(result.error).to_wire();
                end.with_leader_epoch(-1).with_end_offset(-1).with_error_code(error)
            }
        }
    };
    let topic = |(name, partitions): (&str, &[i32])| {
        OffsetForLeaderTopicResult::default()
            .with_topic(TopicName(text(name)))
            .with_partitions(partitions.iter().map(&mut partition).collect())
    };
    let topics = layout.topics().map(topic).collect();
    asked.respond_cold(connection, &OffsetForLeaderEpochResponse::default().with_topics(topics));
}
