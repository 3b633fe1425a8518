//! Metadata: which brokers there are, and who leads which partition.
//!
//!     request     topics by name (or by id since 10) │ null: all │ create what is missing?
//!     response    brokers │ cluster id │ controller │ topics ▸ partitions ▸ leader, replicas, in sync
//!
//! In version 0 an empty array of topics asks for all, since version 1 null does and empty asks for none.

use super::{Request, Response};
use crate::api::Api;
use crate::error::ErrorCode;
use crate::wire::{List, Malformed, Read, Reader, Uuid, Writer};

/// Authorized operations that nobody asked for, or that nobody knows.
pub const NO_OPERATIONS: i32 = i32::MIN;

/// A Metadata request in place.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct MetadataRequest<'a> {
    /// `None` for all topics.
    pub topics: Option<List<'a, RequestedTopic<'a>>>,
    /// Since 4; clients before that expect it.
    pub allow_auto_topic_creation: bool,
    /// 8 to 10.
    pub include_cluster_authorized_operations: bool,
    /// Since 8.
    pub include_topic_authorized_operations: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestedTopic<'a> {
    /// Zeroes if the name says which; since 10.
    pub id: Uuid,
    /// `None` if the id says which; since 10.
    pub name: Option<&'a str>,
}

impl<'a> Read<'a> for MetadataRequest<'a> {
    fn read(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        let topics = match r.since(1) {
            true => r.nullable_list("topics")?,
            false => {
                Some(r.list("topics")?).filter(|topics: &List<'a, RequestedTopic<'a>>| !topics.is_empty())
            }
        };
        let has_cluster_operations = (8..=10).contains(&r.version());
        let request = MetadataRequest {
            topics,
            allow_auto_topic_creation: !r.since(4) || r.bool("allow_auto_topic_creation")?,
            include_cluster_authorized_operations: has_cluster_operations
                && r.bool("include_cluster_authorized_operations")?,
            include_topic_authorized_operations: r.since(8)
                && r.bool("include_topic_authorized_operations")?,
        };
        r.skip_tags()?;
        Ok(request)
    }
}

impl<'a> Read<'a> for RequestedTopic<'a> {
    fn read(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        let topic = match r.since(10) {
            true => RequestedTopic { id: r.uuid("topic_id")?, name: r.nullable_string("topic")? },
            false => RequestedTopic { id: Uuid::default(), name: Some(r.string("topic")?) },
        };
        r.skip_tags()?;
        Ok(topic)
    }
}

impl<'a> Request<'a> for MetadataRequest<'a> {
    const API: Api = Api::Metadata;
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MetadataResponse<'a> {
    /// Since 3.
    pub throttle_ms: i32,
    pub brokers: Vec<MetadataBroker<'a>>,
    /// Since 2.
    pub cluster_id: Option<&'a str>,
    /// Since 1; −1 for none.
    pub controller_id: i32,
    pub topics: Vec<MetadataTopic<'a>>,
    /// 8 to 10; [`NO_OPERATIONS`] for none.
    pub cluster_authorized_operations: i32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MetadataBroker<'a> {
    pub node_id: i32,
    /// Where clients connect to.
    pub host: &'a str,
    pub port: i32,
    /// Since 1.
    pub rack: Option<&'a str>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MetadataTopic<'a> {
    pub error: ErrorCode,
    /// `None` if no topic has the id that was asked for; written as empty before 12.
    pub name: Option<&'a str>,
    /// Since 10.
    pub id: Uuid,
    /// Since 1.
    pub is_internal: bool,
    pub partitions: Vec<MetadataPartition>,
    /// Since 8; [`NO_OPERATIONS`] for none.
    pub authorized_operations: i32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MetadataPartition {
    pub error: ErrorCode,
    pub index: i32,
    /// −1 for none.
    pub leader_id: i32,
    /// Since 7.
    pub leader_epoch: i32,
    pub replicas: Vec<i32>,
    pub in_sync: Vec<i32>,
    /// Since 5.
    pub offline: Vec<i32>,
}

impl Response for MetadataResponse<'_> {
    const API: Api = Api::Metadata;

    fn write(&self, w: &mut Writer<'_>) {
        if w.since(3) {
            w.i32(self.throttle_ms);
        }
        w.list(&self.brokers, |w, broker| broker.write(w));
        if w.since(2) {
            w.nullable_string(self.cluster_id);
        }
        if w.since(1) {
            w.i32(self.controller_id);
        }
        w.list(&self.topics, |w, topic| topic.write(w));
        if (8..=10).contains(&w.version()) {
            w.i32(self.cluster_authorized_operations);
        }
        w.no_tags();
    }
}

impl MetadataBroker<'_> {
    fn write(&self, w: &mut Writer<'_>) {
        w.i32(self.node_id);
        w.string(self.host);
        w.i32(self.port);
        if w.since(1) {
            w.nullable_string(self.rack);
        }
        w.no_tags();
    }
}

impl MetadataTopic<'_> {
    fn write(&self, w: &mut Writer<'_>) {
        w.error(self.error);
        match w.since(12) {
            true => w.nullable_string(self.name),
            false => w.string(self.name.unwrap_or_default()),
        }
        if w.since(10) {
            w.uuid(&self.id);
        }
        if w.since(1) {
            w.bool(self.is_internal);
        }
        w.list(&self.partitions, |w, partition| partition.write(w));
        if w.since(8) {
            w.i32(self.authorized_operations);
        }
        w.no_tags();
    }
}

impl MetadataPartition {
    fn write(&self, w: &mut Writer<'_>) {
        w.error(self.error);
        w.i32(self.index);
        w.i32(self.leader_id);
        if w.since(7) {
            w.i32(self.leader_epoch);
        }
        w.list(&self.replicas, |w, node| w.i32(*node));
        w.list(&self.in_sync, |w, node| w.i32(*node));
        if w.since(5) {
            w.list(&self.offline, |w, node| w.i32(*node));
        }
        w.no_tags();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A topic that was asked for by an id that nobody has. Clients before 12 cannot read a null there.
    #[test]
    fn a_topic_without_a_name_is_written_as_empty_before_version_12() {
        let topic = MetadataTopic {
            error: ErrorCode::UNKNOWN_TOPIC_ID,
            name: None,
            id: [7; 16],
            is_internal: false,
            partitions: Vec::new(),
            authorized_operations: NO_OPERATIONS,
        };
        for (version, name) in [(10, 1), (11, 1), (12, 0)] {
            let mut out = Vec::new();
            topic.write(&mut Writer::new(&mut out, Api::Metadata, version));
            assert_eq!(out[..4], [0, 100, name, 7], "version {version}");
        }
    }

    #[test]
    fn all_topics_are_asked_for_in_two_ways() {
        assert_eq!(MetadataRequest::parse(&[0; 4], 0).unwrap().topics, None);
        assert_eq!(MetadataRequest::parse(&[0xff; 4], 1).unwrap().topics, None);
        assert!(MetadataRequest::parse(&[0; 4], 1).unwrap().topics.is_some_and(|topics| topics.is_empty()));
        assert!(MetadataRequest::parse(&[0xff; 4], 0).is_err());
    }

    /// As librdkafka 2.16.0 sends it: it writes the count of topics in four bytes where one is right.
    #[test]
    fn bytes_behind_the_request_are_not_looked_at() {
        let request = MetadataRequest::parse(&[0, 0, 0, 0, 1, 0, 0], 12).unwrap();
        assert_eq!((request.topics, request.allow_auto_topic_creation), (None, false));
    }
}
