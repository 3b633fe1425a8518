//! Random responses of the data path, written by us and by `kafka-protocol`.
//!
//!     version, tape ─▶ values ─┬─ ours ──────────▶ frame ─┐
//!                              └─ kafka-protocol ─▶ frame ─┴─ equal, byte for byte

use bytes::Bytes;
use kafka::messages::{self as ours, CurrentLeader, FetchHead, OfTopic};
use kafka::{Api, ErrorCode};
use kafka_protocol::messages::*;

use crate::frame;
use crate::tape::{Tape, str_bytes};

pub type Frames = (Vec<u8>, Vec<u8>);

pub const CORRELATION: i32 = 0x0102_0304;

pub fn error(t: &mut Tape) -> ErrorCode {
    ErrorCode::from_wire(t.i8().into())
}

/// Our frame of a response that is written in one go.
pub fn written<R: ours::Response>(v: i16, response: &R) -> Vec<u8> {
    let mut out = vec![0xee];
    let len = kafka::header::append_response(&mut out, v, CORRELATION, response);
    assert_eq!(len, out.len() - 1, "the length that was told");
    out.split_off(1)
}

pub fn api_versions(v: i16, t: &mut Tape) -> Frames {
    let apis = t.list(|t| ours::ApiRange { key: t.i16(), min: t.i16(), max: t.i16() });
    let response = ours::ApiVersionsResponse { error: error(t), apis, throttle_ms: t.i32() };
    let mut theirs = ApiVersionsResponse::default();
    theirs.error_code = response.error.to_wire();
    theirs.throttle_time_ms = response.throttle_ms;
    for of in &response.apis {
        let mut api = api_versions_response::ApiVersion::default();
        (api.api_key, api.min_version, api.max_version) = (of.key, of.min, of.max);
        theirs.api_keys.push(api);
    }
    (written(v, &response), frame(Api::ApiVersions, v, &theirs))
}

fn metadata_topic(v: i16, t: &mut Tape) -> ours::MetadataTopic<'static> {
    ours::MetadataTopic {
        error: error(t),
        name: if v >= 12 { t.maybe_text() } else { Some(t.text()) },
        id: t.uuid(),
        is_internal: t.bool(),
        partitions: t.list(|t| ours::MetadataPartition {
            error: error(t),
            index: t.i32(),
            leader_id: t.i32(),
            leader_epoch: t.i32(),
            replicas: t.list(Tape::i32),
            in_sync: t.list(Tape::i32),
            offline: t.list(Tape::i32),
        }),
        authorized_operations: if v >= 8 { t.i32() } else { ours::metadata::NO_OPERATIONS },
    }
}

fn their_metadata_topic(of: &ours::MetadataTopic<'_>) -> metadata_response::MetadataResponseTopic {
    let mut topic = metadata_response::MetadataResponseTopic::default();
    topic.error_code = of.error.to_wire();
    topic.name = of.name.map(|name| TopicName(str_bytes(name)));
    topic.topic_id = uuid::Uuid::from_bytes(of.id);
    topic.is_internal = of.is_internal;
    topic.topic_authorized_operations = of.authorized_operations;
    let nodes = |nodes: &[i32]| nodes.iter().copied().map(BrokerId).collect();
    for of in &of.partitions {
        let mut partition = metadata_response::MetadataResponsePartition::default();
        partition.error_code = of.error.to_wire();
        partition.partition_index = of.index;
        partition.leader_id = BrokerId(of.leader_id);
        partition.leader_epoch = of.leader_epoch;
        partition.replica_nodes = nodes(&of.replicas);
        partition.isr_nodes = nodes(&of.in_sync);
        partition.offline_replicas = nodes(&of.offline);
        topic.partitions.push(partition);
    }
    topic
}

pub fn metadata(v: i16, t: &mut Tape) -> Frames {
    let response = ours::MetadataResponse {
        throttle_ms: t.i32(),
        brokers: t.list(|t| ours::MetadataBroker {
            node_id: t.i32(),
            host: t.text(),
            port: t.i32(),
            rack: t.maybe_text(),
        }),
        cluster_id: t.maybe_text(),
        controller_id: t.i32(),
        topics: t.list(|t| metadata_topic(v, t)),
        cluster_authorized_operations: match v {
            8..=10 => t.i32(),
            _ => ours::metadata::NO_OPERATIONS,
        },
    };
    let mut theirs = MetadataResponse::default();
    theirs.throttle_time_ms = response.throttle_ms;
    theirs.cluster_id = response.cluster_id.map(str_bytes);
    theirs.controller_id = BrokerId(response.controller_id);
    theirs.cluster_authorized_operations = response.cluster_authorized_operations;
    for of in &response.brokers {
        let mut broker = metadata_response::MetadataResponseBroker::default();
        broker.node_id = BrokerId(of.node_id);
        broker.host = str_bytes(of.host);
        broker.port = of.port;
        broker.rack = of.rack.map(str_bytes);
        theirs.brokers.push(broker);
    }
    theirs.topics = response.topics.iter().map(their_metadata_topic).collect();
    (written(v, &response), frame(Api::Metadata, v, &theirs))
}

fn leader(t: &mut Tape) -> Option<CurrentLeader> {
    // −1 and −1 are what the crate takes for no leader.
    t.maybe(|t| CurrentLeader { node_id: t.i32() & 0xffff, epoch: t.i32() })
}

fn their_produced(v: i16, of: &ours::ProducedPartition<'_>) -> produce_response::PartitionProduceResponse {
    let mut partition = produce_response::PartitionProduceResponse::default();
    partition.index = of.index;
    partition.error_code = of.error.to_wire();
    partition.base_offset = of.base_offset;
    partition.log_append_time_ms = of.log_append_time_ms;
    partition.log_start_offset = of.log_start_offset;
    for of in of.record_errors.iter().filter(|_| v >= 8) {
        let mut error = produce_response::BatchIndexAndErrorMessage::default();
        error.batch_index = of.index;
        error.batch_index_error_message = of.message.map(str_bytes);
        partition.record_errors.push(error);
    }
    partition.error_message = of.error_message.map(str_bytes);
    if let Some(of) = of.current_leader.filter(|_| v >= 10) {
        partition.current_leader.leader_id = BrokerId(of.node_id);
        partition.current_leader.leader_epoch = of.epoch;
    }
    partition
}

pub fn produce(v: i16, t: &mut Tape) -> Frames {
    let mut theirs = ProduceResponse::default();
    theirs.throttle_time_ms = t.i32();
    let topics = t.list(|t| (t.text(), usize::from(t.u8() % 4)));
    let mut out = vec![0xee];
    let mut w = ours::ProduceResponseWriter::begin(&mut out, v, CORRELATION, topics.len());
    for (name, partitions) in topics {
        let mut topic = produce_response::TopicProduceResponse::default();
        topic.name = TopicName(str_bytes(name));
        w.topic(name, partitions);
        for _ in 0..partitions {
            let errors = t.list(|t| ours::RecordError { index: t.i32(), message: t.maybe_text() });
            let partition = ours::ProducedPartition {
                base_offset: t.i64(),
                log_append_time_ms: t.i64(),
                log_start_offset: t.i64(),
                record_errors: &errors,
                error_message: t.maybe_text(),
                current_leader: leader(t),
                ..ours::ProducedPartition::refused(t.i32(), error(t))
            };
            w.partition(&partition);
            topic.partition_responses.push(their_produced(v, &partition));
        }
        theirs.responses.push(topic);
    }
    let len = w.end(theirs.throttle_time_ms);
    assert_eq!(len, out.len() - 1);
    (out.split_off(1), frame(Api::Produce, v, &theirs))
}

fn their_fetched(
    v: i16,
    of: &ours::FetchedPartition<'_>,
    records: Option<&[u8]>,
) -> fetch_response::PartitionData {
    let mut partition = fetch_response::PartitionData::default();
    partition.partition_index = of.index;
    partition.error_code = of.error.to_wire();
    partition.high_watermark = of.high_watermark;
    partition.last_stable_offset = of.last_stable_offset;
    partition.log_start_offset = of.log_start_offset;
    partition.preferred_read_replica = BrokerId(of.preferred_read_replica);
    partition.records = records.map(Bytes::copy_from_slice);
    partition.aborted_transactions = of.aborted.map(|aborted| {
        let of = |of: &ours::AbortedTransaction| {
            let mut aborted = fetch_response::AbortedTransaction::default();
            aborted.producer_id = ProducerId(of.producer_id);
            aborted.first_offset = of.first_offset;
            aborted
        };
        aborted.iter().map(of).collect()
    });
    if v >= 12 {
        if let Some((epoch, end_offset)) = of.diverging_epoch {
            partition.diverging_epoch.epoch = epoch;
            partition.diverging_epoch.end_offset = end_offset;
        }
        if let Some(of) = of.current_leader {
            partition.current_leader.leader_id = BrokerId(of.node_id);
            partition.current_leader.leader_epoch = of.epoch;
        }
    }
    partition
}

/// Sends the records by turns with the pieces of the buffer, as a broker does.
pub fn fetch(v: i16, t: &mut Tape) -> Frames {
    let mut theirs = FetchResponse::default();
    theirs.throttle_time_ms = t.i32();
    let head = FetchHead {
        throttle_ms: theirs.throttle_time_ms,
        error: if v >= 7 { error(t) } else { ErrorCode::NONE },
        session_id: if v >= 7 { t.i32() } else { 0 },
    };
    (theirs.error_code, theirs.session_id) = (head.error.to_wire(), head.session_id);
    let topics = t.list(|t| (t.text(), usize::from(t.u8() % 4)));
    let mut out = vec![0xee];
    let mut cuts = Vec::new();
    let mut w = ours::FetchResponseWriter::begin(&mut out, v, CORRELATION, head, topics.len());
    for (name, partitions) in topics {
        let mut topic = fetch_response::FetchableTopicResponse::default();
        topic.topic = TopicName(str_bytes(name));
        w.topic(name, partitions);
        for _ in 0..partitions {
            let aborted = t.maybe(|t| {
                t.list(|t| ours::AbortedTransaction { producer_id: t.i64(), first_offset: t.i64() })
            });
            let records = t.maybe(Tape::blob);
            let partition = ours::FetchedPartition {
                high_watermark: t.i64(),
                last_stable_offset: t.i64(),
                log_start_offset: t.i64(),
                diverging_epoch: t.maybe(|t| (t.i32() & 0xffff, t.i64())),
                current_leader: leader(t),
                aborted: aborted.as_deref(),
                preferred_read_replica: if v >= 11 { t.i32() } else { -1 },
                records_len: records.as_ref().map(Vec::len),
                ..ours::FetchedPartition::refused(t.i32(), error(t))
            };
            let cut = w.partition(&partition);
            topic.partitions.push(their_fetched(v, &partition, records.as_deref()));
            cuts.push((cut, records.unwrap_or_default()));
        }
        theirs.responses.push(topic);
    }
    let len = w.end();
    let mut sent = Vec::new();
    let mut from = 1;
    for (cut, records) in cuts {
        sent.extend_from_slice(&out[from..cut]);
        sent.extend_from_slice(&records);
        from = cut;
    }
    sent.extend_from_slice(&out[from..]);
    assert_eq!(len, sent.len());
    (sent, frame(Api::Fetch, v, &theirs))
}

pub fn list_offsets(v: i16, t: &mut Tape) -> Frames {
    let response = ours::ListOffsetsResponse {
        throttle_ms: t.i32(),
        topics: t.list(|t| OfTopic {
            name: t.text(),
            partitions: t.list(|t| ours::ListedOffset {
                index: t.i32(),
                error: error(t),
                timestamp: t.i64(),
                offset: t.i64(),
                leader_epoch: if v >= 4 { t.i32() } else { -1 },
            }),
        }),
    };
    let mut theirs = ListOffsetsResponse::default();
    theirs.throttle_time_ms = response.throttle_ms;
    for of in &response.topics {
        let mut topic = list_offsets_response::ListOffsetsTopicResponse::default();
        topic.name = TopicName(str_bytes(of.name));
        for of in &of.partitions {
            let mut partition = list_offsets_response::ListOffsetsPartitionResponse::default();
            partition.partition_index = of.index;
            partition.error_code = of.error.to_wire();
            partition.timestamp = of.timestamp;
            partition.offset = of.offset;
            partition.leader_epoch = of.leader_epoch;
            topic.partitions.push(partition);
        }
        theirs.topics.push(topic);
    }
    (written(v, &response), frame(Api::ListOffsets, v, &theirs))
}

pub fn init_producer_id(v: i16, t: &mut Tape) -> Frames {
    let response = ours::InitProducerIdResponse {
        throttle_ms: t.i32(),
        error: error(t),
        producer_id: t.i64(),
        producer_epoch: t.i16(),
    };
    let mut theirs = InitProducerIdResponse::default();
    theirs.throttle_time_ms = response.throttle_ms;
    theirs.error_code = response.error.to_wire();
    theirs.producer_id = ProducerId(response.producer_id);
    theirs.producer_epoch = response.producer_epoch;
    (written(v, &response), frame(Api::InitProducerId, v, &theirs))
}
