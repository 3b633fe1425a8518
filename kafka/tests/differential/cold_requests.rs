//! Random requests of the apis that are seldom asked for, of the crate `kafka-protocol`.
//!
//!     topics ▸ configs ▸ groups ▸ the cluster

use bytes::Bytes;
use kafka::Api;
use kafka_protocol::messages::*;

use crate::requests::{encode, topic};
use crate::tape::{Tape, str_bytes};

/// A valid body.
pub fn random(api: Api, v: i16, t: &mut Tape) -> Bytes {
    match api {
        Api::CreateTopics => encode(v, &create_topics(t)),
        Api::DeleteTopics => encode(v, &delete_topics(v, t)),
        Api::DeleteRecords => encode(v, &delete_records(t)),
        Api::CreatePartitions => encode(v, &create_partitions(t)),
        Api::DescribeConfigs => encode(v, &describe_configs(v, t)),
        Api::AlterConfigs => encode(v, &alter_configs(t)),
        Api::IncrementalAlterConfigs => encode(v, &incremental_alter_configs(t)),
        Api::DescribeGroups => {
            let mut request = DescribeGroupsRequest::default();
            request.groups = t.list(|t| GroupId(str_bytes(t.text())));
            request.include_authorized_operations = v >= 3 && t.bool();
            encode(v, &request)
        }
        Api::ListGroups => {
            let mut request = ListGroupsRequest::default();
            request.states_filter = if v >= 4 { t.list(|t| str_bytes(t.text())) } else { Vec::new() };
            request.types_filter = if v >= 5 { t.list(|t| str_bytes(t.text())) } else { Vec::new() };
            encode(v, &request)
        }
        Api::DeleteGroups => {
            let mut request = DeleteGroupsRequest::default();
            request.groups_names = t.list(|t| GroupId(str_bytes(t.text())));
            encode(v, &request)
        }
        Api::OffsetDelete => encode(v, &offset_delete(t)),
        Api::OffsetForLeaderEpoch => encode(v, &offset_for_leader_epoch(v, t)),
        Api::DescribeLogDirs => encode(v, &describe_log_dirs(t)),
        Api::ListPartitionReassignments => encode(v, &list_partition_reassignments(t)),
        Api::DescribeCluster => {
            let mut request = DescribeClusterRequest::default();
            request.include_cluster_authorized_operations = t.bool();
            request.endpoint_type = if v >= 1 { t.i8() } else { 1 };
            encode(v, &request)
        }
        hot => panic!("{hot} has a reader of its own"),
    }
}

fn create_topics(t: &mut Tape) -> CreateTopicsRequest {
    let mut request = CreateTopicsRequest::default();
    request.topics = t.list(|t| {
        let mut of = create_topics_request::CreatableTopic::default();
        of.name = topic(t);
        of.num_partitions = t.i32();
        of.replication_factor = t.i16();
        of.assignments = t.list(|t| {
            let mut assignment = create_topics_request::CreatableReplicaAssignment::default();
            assignment.partition_index = t.i32();
            assignment.broker_ids = t.list(|t| BrokerId(t.i32()));
            assignment
        });
        of.configs = t.list(|t| {
            let mut config = create_topics_request::CreatableTopicConfig::default();
            config.name = str_bytes(t.text());
            config.value = t.maybe_text().map(str_bytes);
            config
        });
        of
    });
    request.timeout_ms = t.i32();
    request.validate_only = t.bool();
    request
}

fn delete_topics(v: i16, t: &mut Tape) -> DeleteTopicsRequest {
    let mut request = DeleteTopicsRequest::default();
    request.timeout_ms = t.i32();
    match v {
        6 => {
            request.topics = t.list(|t| {
                let mut of = delete_topics_request::DeleteTopicState::default();
                of.name = t.maybe(topic);
                of.topic_id = uuid::Uuid::from_bytes(t.uuid());
                of
            });
        }
        _ => request.topic_names = t.list(topic),
    }
    request
}

fn delete_records(t: &mut Tape) -> DeleteRecordsRequest {
    let mut request = DeleteRecordsRequest::default();
    request.timeout_ms = t.i32();
    request.topics = t.list(|t| {
        let mut of = delete_records_request::DeleteRecordsTopic::default();
        of.name = topic(t);
        of.partitions = t.list(|t| {
            let mut partition = delete_records_request::DeleteRecordsPartition::default();
            partition.partition_index = t.i32();
            partition.offset = t.i64();
            partition
        });
        of
    });
    request
}

fn create_partitions(t: &mut Tape) -> CreatePartitionsRequest {
    let mut request = CreatePartitionsRequest::default();
    request.timeout_ms = t.i32();
    request.validate_only = t.bool();
    request.topics = t.list(|t| {
        let mut of = create_partitions_request::CreatePartitionsTopic::default();
        of.name = topic(t);
        of.count = t.i32();
        of.assignments = t.maybe(|t| {
            t.list(|t| {
                let mut assignment = create_partitions_request::CreatePartitionsAssignment::default();
                assignment.broker_ids = t.list(|t| BrokerId(t.i32()));
                assignment
            })
        });
        of
    });
    request
}

fn describe_configs(v: i16, t: &mut Tape) -> DescribeConfigsRequest {
    let mut request = DescribeConfigsRequest::default();
    request.resources = t.list(|t| {
        let mut resource = describe_configs_request::DescribeConfigsResource::default();
        resource.resource_type = t.i8();
        resource.resource_name = str_bytes(t.text());
        resource.configuration_keys = t.maybe(|t| t.list(|t| str_bytes(t.text())));
        resource
    });
    request.include_synonyms = t.bool();
    request.include_documentation = v >= 3 && t.bool();
    request
}

fn alter_configs(t: &mut Tape) -> AlterConfigsRequest {
    let mut request = AlterConfigsRequest::default();
    request.validate_only = t.bool();
    request.resources = t.list(|t| {
        let mut resource = alter_configs_request::AlterConfigsResource::default();
        resource.resource_type = t.i8();
        resource.resource_name = str_bytes(t.text());
        resource.configs = t.list(|t| {
            let mut config = alter_configs_request::AlterableConfig::default();
            config.name = str_bytes(t.text());
            config.value = t.maybe_text().map(str_bytes);
            config
        });
        resource
    });
    request
}

fn incremental_alter_configs(t: &mut Tape) -> IncrementalAlterConfigsRequest {
    let mut request = IncrementalAlterConfigsRequest::default();
    request.validate_only = t.bool();
    request.resources = t.list(|t| {
        let mut resource = incremental_alter_configs_request::AlterConfigsResource::default();
        resource.resource_type = t.i8();
        resource.resource_name = str_bytes(t.text());
        resource.configs = t.list(|t| {
            let mut config = incremental_alter_configs_request::AlterableConfig::default();
            config.name = str_bytes(t.text());
            config.config_operation = t.i8();
            config.value = t.maybe_text().map(str_bytes);
            config
        });
        resource
    });
    request
}

fn offset_delete(t: &mut Tape) -> OffsetDeleteRequest {
    let mut request = OffsetDeleteRequest::default();
    request.group_id = GroupId(str_bytes(t.text()));
    request.topics = t.list(|t| {
        let mut of = offset_delete_request::OffsetDeleteRequestTopic::default();
        of.name = topic(t);
        of.partitions = t.list(|t| {
            let mut partition = offset_delete_request::OffsetDeleteRequestPartition::default();
            partition.partition_index = t.i32();
            partition
        });
        of
    });
    request
}

fn offset_for_leader_epoch(v: i16, t: &mut Tape) -> OffsetForLeaderEpochRequest {
    let mut request = OffsetForLeaderEpochRequest::default();
    if v >= 3 {
        request.replica_id = BrokerId(t.i32());
    }
    request.topics = t.list(|t| {
        let mut of = offset_for_leader_epoch_request::OffsetForLeaderTopic::default();
        of.topic = topic(t);
        of.partitions = t.list(|t| {
            let mut partition = offset_for_leader_epoch_request::OffsetForLeaderPartition::default();
            partition.partition = t.i32();
            partition.current_leader_epoch = t.i32();
            partition.leader_epoch = t.i32();
            partition
        });
        of
    });
    request
}

fn describe_log_dirs(t: &mut Tape) -> DescribeLogDirsRequest {
    let mut request = DescribeLogDirsRequest::default();
    request.topics = t.maybe(|t| {
        t.list(|t| {
            let mut of = describe_log_dirs_request::DescribableLogDirTopic::default();
            of.topic = topic(t);
            of.partitions = t.list(Tape::i32);
            of
        })
    });
    request
}

fn list_partition_reassignments(t: &mut Tape) -> ListPartitionReassignmentsRequest {
    let mut request = ListPartitionReassignmentsRequest::default();
    request.timeout_ms = t.i32();
    request.topics = t.maybe(|t| {
        t.list(|t| {
            let mut of = list_partition_reassignments_request::ListPartitionReassignmentsTopics::default();
            of.name = topic(t);
            of.partition_indexes = t.list(Tape::i32);
            of
        })
    });
    request
}
