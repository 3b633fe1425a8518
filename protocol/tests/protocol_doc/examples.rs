//! One example frame of each message, and its byte table.
//!
//!     │ header, 16 bytes │ fields as the Writer recorded them │ record set: batch header, records │

use bytes::Bytes;
use protocol::api::{
    Acks, AlterTopicReply, AlterTopicRequest, Api, BrokerMetadata, ConfigChange, ConfigEntry,
    CreatePartitionsReply, CreatePartitionsRequest, CreateTopicReply, CreateTopicRequest, DeleteRecordsEntry,
    DeleteRecordsReply, DeleteRecordsRequest, DeleteRecordsResult, DeleteTopicReply, DeleteTopicRequest,
    ErrorResponse, FetchEntry, FetchParams, FetchReply, FetchRequest, FetchResult, Field, HelloReply,
    HelloRequest, InitProducerIdReply, InitProducerIdRequest, ListOffsetsEntry, ListOffsetsReply,
    ListOffsetsRequest, ListOffsetsResult, Message, MetadataReply, MetadataRequest, OffsetSpec,
    PartitionMetadata, ProduceReply, ProduceRequest, ProduceResult, ShardStats, StatsReply, StatsRequest,
    TopicMetadata, TopicSelection, VERSION, Writer,
};
use protocol::batch::{BatchBuilder, Codec, HEADER_LEN, stamp};
use protocol::frame::{FRAME_HEADER_LEN, FrameHeader, FrameKind, append_frame_with_payload};
use protocol::model::limits::FRAME_BODY_BYTES_MAX;
use protocol::model::{
    ClusterId, CorrelationId, ErrorCode, LeaderEpoch, NodeId, Offset, PartitionIndex, ProducerEpoch,
    ProducerId, ShardId, Timestamp, TopicId,
};

use super::groups;

/// Bytes in one line of a table.
const LINE: usize = 8;

pub struct Example {
    pub name: String,
    bytes: Vec<u8>,
    /// Of the body; positions count from the beginning of the frame.
    fields: Vec<Field>,
}

impl Example {
    pub fn new(
        name: &str,
        api: Api,
        kind: FrameKind,
        payload: &[u8],
        write: impl FnOnce(&mut Writer<'_>),
    ) -> Example {
        let (mut bytes, mut fields) = (Vec::new(), Vec::new());
        let correlation = CorrelationId::new(7);
        append_frame_with_payload(&mut bytes, api, VERSION, kind, correlation, payload.len(), |out| {
            write(&mut Writer::recording(out, &mut fields));
        });
        if !payload.is_empty() {
            let (at, records_at) = (bytes.len(), bytes.len() + HEADER_LEN);
            let len = payload.len() - HEADER_LEN;
            fields.push(Field {
                name: "record set",
                at,
                len: HEADER_LEN,
                value: "the header of a batch".to_owned(),
            });
            fields.push(Field { name: "", at: records_at, len, value: "its one record".to_owned() });
            bytes.extend_from_slice(payload);
        }
        Example { name: name.to_owned(), bytes, fields }
    }

    /// A message that is written and read whole. What is shown is what a reader understands.
    pub fn whole<M: Message + PartialEq + std::fmt::Debug>(
        name: &str,
        kind: FrameKind,
        message: &M,
    ) -> Example {
        let example = Example::new(name, M::API, kind, &[], |w| message.write(w));
        assert_eq!(M::read(example.body()).as_ref(), Ok(message));
        example
    }

    pub fn body(&self) -> &[u8] {
        &self.bytes[FRAME_HEADER_LEN..]
    }

    pub fn header(&self) -> FrameHeader {
        FrameHeader::parse(&self.bytes, FRAME_BODY_BYTES_MAX).expect("a good header").expect("a whole header")
    }

    pub fn is_request(&self) -> bool {
        self.header().kind == FrameKind::Request
    }

    /// One line for each eight bytes: position, bytes, field, value.
    pub fn table(&self) -> String {
        assert_eq!(self.header().frame_len(), self.bytes.len());
        let mut fields = header_fields(self.header());
        fields.extend(self.fields.iter().cloned());
        let mut end = 0;
        let mut text = String::new();
        for field in &fields {
            assert_eq!(field.at, end, "the fields of {} leave no gap", self.name);
            end += field.len;
            text += &lines(field, &self.bytes[field.at..end]);
        }
        assert_eq!(end, self.bytes.len(), "the fields of {} cover the frame", self.name);
        text
    }
}

fn lines(field: &Field, bytes: &[u8]) -> String {
    let mut text = String::new();
    // An empty string has no bytes and still is a field.
    let chunks = bytes.chunks(LINE).map(Some).chain(bytes.is_empty().then_some(None));
    for (n, chunk) in chunks.enumerate() {
        let hex: Vec<String> = chunk.unwrap_or_default().iter().map(|byte| format!("{byte:02x}")).collect();
        let (name, value) = if n == 0 { (field.name, explained(field)) } else { ("", String::new()) };
        let line = format!("    {:>4}  {:<23}  {name:<20}  {value}", field.at + n * LINE, hex.join(" "));
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// The value, and what the number stands for.
fn explained(field: &Field) -> String {
    let value = &field.value;
    let number = value.parse::<u16>().ok();
    match (field.name, number) {
        ("api", Some(api)) => format!("{value}: {:?}", Api::from_wire(api)),
        ("error", Some(code)) => {
            format!("{value}: {}", ErrorCode::from_wire(code).name().expect("examples hold known codes"))
        }
        ("acks", Some(255)) => "-1: all replicas in sync".to_owned(),
        _ => value.clone(),
    }
}

fn header_fields(header: FrameHeader) -> Vec<Field> {
    let kind = match header.kind {
        FrameKind::Request => "0: request",
        FrameKind::Reply => "1: reply",
        FrameKind::ErrorReply => "3: reply, error",
    };
    let parts: [(&'static str, usize, String); 5] = [
        ("body_len", 4, header.body_len.to_string()),
        ("api", 2, header.api.to_wire().to_string()),
        ("version", 1, header.version.to_string()),
        ("flags", 1, kind.to_owned()),
        ("correlation", 8, header.correlation.to_string()),
    ];
    let mut at = 0;
    let place = |(name, len, value)| {
        let field = Field { name, at, len, value };
        at += len;
        field
    };
    let fields: Vec<Field> = parts.into_iter().map(place).collect();
    assert_eq!(at, FRAME_HEADER_LEN);
    fields
}

/// The header of a request that asks for statistics: a frame without a body.
pub fn header_table() -> String {
    Example::whole("frame header", FrameKind::Request, &StatsRequest).table()
}

fn topic_id() -> TopicId {
    TopicId::from_bytes(*b"\x3f\x2a\x00\x11\x22\x33\x44\x55\x86\x77\x88\x99\xaa\xbb\xcc\xdd")
}

fn cluster_id() -> ClusterId {
    ClusterId::from_bytes(*b"\x0c\x00\x00\x00\x00\x00\x40\x00\x80\x00\x00\x00\x00\x00\x00\x01")
}

/// Key "k", value "v", at 2023-11-14 22:13:20 UTC.
fn batch() -> Vec<u8> {
    let mut builder = BatchBuilder::new(Codec::None);
    let at = Timestamp::from_millis(1_700_000_000_000);
    builder.try_append(at, Some(b"k"), Some(b"v"), &[]).expect("a small record");
    builder.finish().to_vec()
}

pub fn examples() -> Vec<Example> {
    let data = [produce(), fetch(), list_offsets(), stats(), init_producer_id(), delete_records()];
    let topics = [hello(), metadata(), topics(), topic_changes()];
    topics.into_iter().chain(data).chain(groups::examples()).flatten().collect()
}

fn hello() -> Vec<Example> {
    let request = HelloRequest {
        version_min: VERSION,
        version_max: VERSION,
        shard: Some(ShardId::new(1)),
        client_id: "billing".to_owned(),
    };
    let reply = HelloReply {
        error: ErrorCode::None,
        version: VERSION,
        shard: ShardId::new(1),
        shards: 2,
        node: NodeId::new(1),
        cluster: cluster_id(),
        frame_body_bytes_max: FRAME_BODY_BYTES_MAX as u32,
        broker: "ringlog 0.1.0".to_owned(),
    };
    vec![
        Example::whole("Hello request", FrameKind::Request, &request),
        Example::whole("Hello reply", FrameKind::Reply, &reply),
    ]
}

fn metadata() -> Vec<Example> {
    let request =
        MetadataRequest { topics: TopicSelection::Named(vec!["orders".to_owned()]), with_configs: true };
    let partition = PartitionMetadata {
        index: PartitionIndex::new(0),
        error: ErrorCode::None,
        leader: NodeId::new(1),
        leader_epoch: LeaderEpoch::FIRST,
        shard: ShardId::new(1),
        replicas: vec![NodeId::new(1)],
        in_sync: vec![NodeId::new(1)],
    };
    let config =
        ConfigEntry { key: "segment.bytes".to_owned(), value: "1048576".to_owned(), is_default: false };
    let topic = TopicMetadata {
        error: ErrorCode::None,
        name: "orders".to_owned(),
        id: topic_id(),
        partitions: vec![partition],
        configs: vec![config],
    };
    let broker = BrokerMetadata { node: NodeId::new(1), host: "127.0.0.1".to_owned(), port: 7070, shards: 2 };
    let reply = MetadataReply {
        cluster: cluster_id(),
        controller: NodeId::new(1),
        brokers: vec![broker],
        topics: vec![topic],
    };
    vec![
        Example::whole("Metadata request", FrameKind::Request, &request),
        Example::whole("Metadata reply", FrameKind::Reply, &reply),
    ]
}

fn topics() -> Vec<Example> {
    let create = CreateTopicRequest {
        name: "orders".to_owned(),
        partitions: 1,
        replication_factor: 0,
        validate_only: false,
        timeout_ms: 30_000,
        configs: vec![("segment.bytes".to_owned(), "1048576".to_owned())],
    };
    let created =
        CreateTopicReply { error: ErrorCode::None, message: String::new(), id: topic_id(), partitions: 1 };
    let delete = DeleteTopicRequest { name: "orders".to_owned(), timeout_ms: 30_000 };
    let deleted = DeleteTopicReply {
        error: ErrorCode::UnknownTopicOrPartition,
        message: "there is no topic `orders`".to_owned(),
    };
    vec![
        Example::whole("CreateTopic request", FrameKind::Request, &create),
        Example::whole("CreateTopic reply", FrameKind::Reply, &created),
        Example::whole("DeleteTopic request", FrameKind::Request, &delete),
        Example::whole("DeleteTopic reply", FrameKind::Reply, &deleted),
    ]
}

fn topic_changes() -> Vec<Example> {
    let grow = CreatePartitionsRequest {
        name: "orders".to_owned(),
        total: 3,
        validate_only: false,
        timeout_ms: 30_000,
    };
    let grown = CreatePartitionsReply {
        error: ErrorCode::InvalidPartitions,
        message: "`orders` has 4 partitions".to_owned(),
    };
    let alter = AlterTopicRequest {
        name: "orders".to_owned(),
        validate_only: true,
        changes: vec![
            ("retention.ms".to_owned(), ConfigChange::Set("3600000".to_owned())),
            ("cleanup.policy".to_owned(), ConfigChange::Reset),
        ],
    };
    let altered = AlterTopicReply { error: ErrorCode::None, message: String::new() };
    vec![
        Example::whole("CreatePartitions request", FrameKind::Request, &grow),
        Example::whole("CreatePartitions reply", FrameKind::Reply, &grown),
        Example::whole("AlterTopic request", FrameKind::Request, &alter),
        Example::whole("AlterTopic reply", FrameKind::Reply, &altered),
    ]
}

fn produce() -> Vec<Example> {
    let batch = batch();
    let set = (topic_id(), PartitionIndex::new(0), batch.len());
    let request = Example::new("Produce request", Api::Produce, FrameKind::Request, &batch, |w| {
        ProduceRequest::write_head(w, Acks::All, 30_000, [set].into_iter());
    });
    let read = ProduceRequest::parse(request.body()).expect("a good example");
    assert_eq!(read.partitions().map(|set| set.records).collect::<Vec<_>>(), [batch.as_slice()]);
    let result = ProduceResult {
        error: ErrorCode::None,
        base_offset: Some(Offset::new(1000)),
        log_start_offset: Some(Offset::ZERO),
    };
    let reply = ProduceReply { throttle_ms: 0, partitions: vec![result] };
    vec![request, Example::whole("Produce reply", FrameKind::Reply, &reply)]
}

fn fetch() -> Vec<Example> {
    let params = FetchParams { max_wait_ms: 500, min_bytes: 1, max_bytes: 4 << 20 };
    let entry = FetchEntry {
        topic: topic_id(),
        partition: PartitionIndex::new(0),
        leader_epoch: Some(LeaderEpoch::FIRST),
        fetch_offset: Offset::new(1000),
        max_bytes: 1 << 20,
    };
    let request = Example::new("Fetch request", Api::Fetch, FrameKind::Request, &[], |w| {
        FetchRequest::write(w, params, &[entry]);
    });
    let read = FetchRequest::parse(request.body()).expect("a good example");
    assert_eq!((read.params, read.partitions().collect::<Vec<_>>()), (params, vec![entry]));
    let mut batch = batch();
    stamp(&mut batch, Offset::new(1000), LeaderEpoch::FIRST);
    let result = FetchResult {
        error: ErrorCode::None,
        high_watermark: Some(Offset::new(1001)),
        last_stable_offset: Some(Offset::new(1001)),
        log_start_offset: Some(Offset::ZERO),
        records_len: batch.len() as u32,
    };
    let reply = Example::new("Fetch reply", Api::Fetch, FrameKind::Reply, &batch, |w| {
        FetchReply::write_head(w, 0, &[result]);
    });
    let read = FetchReply::parse(&Bytes::copy_from_slice(reply.body())).expect("a good example");
    assert_eq!((read.partitions[0].result, read.partitions[0].records.as_ref()), (result, batch.as_slice()));
    vec![request, reply]
}

fn list_offsets() -> Vec<Example> {
    let entry = ListOffsetsEntry {
        topic: topic_id(),
        partition: PartitionIndex::new(0),
        leader_epoch: None,
        spec: OffsetSpec::AtOrAfter(Timestamp::from_millis(1_700_000_000_000)),
    };
    let request = ListOffsetsRequest { partitions: vec![entry] };
    let result = ListOffsetsResult {
        error: ErrorCode::None,
        leader_epoch: Some(LeaderEpoch::FIRST),
        offset: Some(Offset::new(1000)),
        timestamp: Timestamp::from_millis(1_700_000_000_000),
    };
    let reply = ListOffsetsReply { partitions: vec![result] };
    vec![
        Example::whole("ListOffsets request", FrameKind::Request, &request),
        Example::whole("ListOffsets reply", FrameKind::Reply, &reply),
    ]
}

fn init_producer_id() -> Vec<Example> {
    let (id, epoch) = (ProducerId::new(4000), ProducerEpoch::new(2));
    let request = InitProducerIdRequest { timeout_ms: 30_000, producer: Some((id, epoch)) };
    let reply = InitProducerIdReply {
        error: ErrorCode::None,
        producer_id: id,
        producer_epoch: ProducerEpoch::new(3),
    };
    vec![
        Example::whole("InitProducerId request", FrameKind::Request, &request),
        Example::whole("InitProducerId reply", FrameKind::Reply, &reply),
    ]
}

fn delete_records() -> Vec<Example> {
    let entry = DeleteRecordsEntry {
        topic: topic_id(),
        partition: PartitionIndex::new(0),
        before: Some(Offset::new(1000)),
    };
    let request = DeleteRecordsRequest { timeout_ms: 30_000, partitions: vec![entry] };
    let result = DeleteRecordsResult { error: ErrorCode::None, low_watermark: Some(Offset::new(1000)) };
    let reply = DeleteRecordsReply { partitions: vec![result] };
    vec![
        Example::whole("DeleteRecords request", FrameKind::Request, &request),
        Example::whole("DeleteRecords reply", FrameKind::Reply, &reply),
    ]
}

fn stats() -> Vec<Example> {
    let shard = ShardStats { shard: ShardId::new(0), counters: vec![("requests".to_owned(), 42)] };
    let response = ErrorResponse {
        error: ErrorCode::UnsupportedVersion,
        message: "Stats has version 1, not 2".to_owned(),
    };
    let refused =
        Example::new("ErrorResponse", Api::Stats, FrameKind::ErrorReply, &[], |w| response.write(w));
    assert_eq!(ErrorResponse::read(refused.body()), Ok(response));
    vec![
        Example::whole("Stats request", FrameKind::Request, &StatsRequest),
        Example::whole("Stats reply", FrameKind::Reply, &StatsReply { shards: vec![shard] }),
        refused,
    ]
}
