//! The fields of the requests that are seldom sent, in the order in which they stand.
//!
//! After Kafka 4.1's definitions. Versions are those that we serve: what came before is not told. None of
//! these requests has a tagged field of its own, so that the scan may skip them all.

use super::scan::{Field, Kind};
use crate::api::Api;

/// The fields of a request; `None` for apis with readers of their own.
pub(super) fn request(api: Api) -> Option<&'static [Field]> {
    Some(match api {
        Api::DescribeGroups => DESCRIBE_GROUPS,
        Api::ListGroups => LIST_GROUPS,
        Api::CreateTopics => CREATE_TOPICS,
        Api::DeleteTopics => DELETE_TOPICS,
        Api::DeleteRecords => DELETE_RECORDS,
        Api::OffsetForLeaderEpoch => OFFSET_FOR_LEADER_EPOCH,
        Api::DescribeConfigs => DESCRIBE_CONFIGS,
        Api::AlterConfigs => ALTER_CONFIGS,
        Api::DescribeLogDirs => DESCRIBE_LOG_DIRS,
        Api::CreatePartitions => CREATE_PARTITIONS,
        Api::DeleteGroups => DELETE_GROUPS,
        Api::IncrementalAlterConfigs => INCREMENTAL_ALTER_CONFIGS,
        Api::ListPartitionReassignments => LIST_PARTITION_REASSIGNMENTS,
        Api::OffsetDelete => OFFSET_DELETE,
        Api::DescribeCluster => DESCRIBE_CLUSTER,
        _ => return None,
    })
}

const fn bool(name: &'static str) -> Field {
    Field::new(name, Kind::Fixed(1))
}

const fn i8(name: &'static str) -> Field {
    Field::new(name, Kind::Fixed(1))
}

const fn i16(name: &'static str) -> Field {
    Field::new(name, Kind::Fixed(2))
}

const fn i32(name: &'static str) -> Field {
    Field::new(name, Kind::Fixed(4))
}

const fn i64(name: &'static str) -> Field {
    Field::new(name, Kind::Fixed(8))
}

const fn uuid(name: &'static str) -> Field {
    Field::new(name, Kind::Fixed(16))
}

const fn string(name: &'static str) -> Field {
    Field::new(name, Kind::String)
}

const fn strings(name: &'static str) -> Field {
    Field::new(name, Kind::Items(&Kind::String))
}

const fn i32s(name: &'static str) -> Field {
    Field::new(name, Kind::Items(&Kind::Fixed(4)))
}

const fn structs(name: &'static str, fields: &'static [Field]) -> Field {
    Field::new(name, Kind::Structs(fields))
}

const DESCRIBE_GROUPS: &[Field] = &[strings("groups"), bool("include_authorized_operations").since(3)];

const LIST_GROUPS: &[Field] = &[strings("states_filter").since(4), strings("types_filter").since(5)];

const CREATE_TOPICS: &[Field] = &[
    structs(
        "topics",
        &[
            string("name"),
            i32("num_partitions"),
            i16("replication_factor"),
            structs("assignments", &[i32("partition_index"), i32s("broker_ids")]),
            structs("configs", &[string("name"), string("value")]),
        ],
    ),
    i32("timeout_ms"),
    bool("validate_only"),
];

const DELETE_TOPICS: &[Field] = &[
    structs("topics", &[string("name"), uuid("topic_id")]).since(6),
    strings("topic_names").until(5),
    i32("timeout_ms"),
];

const DELETE_RECORDS: &[Field] = &[
    structs("topics", &[string("name"), structs("partitions", &[i32("partition_index"), i64("offset")])]),
    i32("timeout_ms"),
];

const OFFSET_FOR_LEADER_EPOCH: &[Field] = &[
    i32("replica_id").since(3),
    structs(
        "topics",
        &[
            string("topic"),
            structs("partitions", &[i32("partition"), i32("current_leader_epoch"), i32("leader_epoch")]),
        ],
    ),
];

const DESCRIBE_CONFIGS: &[Field] = &[
    structs("resources", &[i8("resource_type"), string("resource_name"), strings("configuration_keys")]),
    bool("include_synonyms"),
    bool("include_documentation").since(3),
];

const ALTER_CONFIGS: &[Field] = &[
    structs(
        "resources",
        &[
            i8("resource_type"),
            string("resource_name"),
            structs("configs", &[string("name"), string("value")]),
        ],
    ),
    bool("validate_only"),
];

const DESCRIBE_LOG_DIRS: &[Field] = &[structs("topics", &[string("topic"), i32s("partitions")])];

const CREATE_PARTITIONS: &[Field] = &[
    structs("topics", &[string("name"), i32("count"), structs("assignments", &[i32s("broker_ids")])]),
    i32("timeout_ms"),
    bool("validate_only"),
];

const DELETE_GROUPS: &[Field] = &[strings("groups_names")];

const INCREMENTAL_ALTER_CONFIGS: &[Field] = &[
    structs(
        "resources",
        &[
            i8("resource_type"),
            string("resource_name"),
            structs("configs", &[string("name"), i8("config_operation"), string("value")]),
        ],
    ),
    bool("validate_only"),
];

const LIST_PARTITION_REASSIGNMENTS: &[Field] =
    &[i32("timeout_ms"), structs("topics", &[string("name"), i32s("partition_indexes")])];

const OFFSET_DELETE: &[Field] = &[
    string("group_id"),
    structs("topics", &[string("name"), structs("partitions", &[i32("partition_index")])]),
];

const DESCRIBE_CLUSTER: &[Field] =
    &[bool("include_cluster_authorized_operations"), i8("endpoint_type").since(1)];
