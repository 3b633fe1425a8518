//! Frames and messages: what any client that connects can send.
//!
//!     frame      the 16 bytes before each body
//!     messages   a byte that says which message, then its body

use bytes::Bytes;
use protocol::api::{
    Acks, AlterTopicReply, AlterTopicRequest, ConfigChange, CreatePartitionsReply, CreatePartitionsRequest,
    CreateTopicReply, CreateTopicRequest, DecodeError, DeleteRecordsReply, DeleteRecordsRequest,
    DeleteTopicReply, DeleteTopicRequest, ErrorResponse, FetchReply, FetchRequest, HelloReply, HelloRequest,
    InitProducerIdReply, InitProducerIdRequest, ListOffsetsReply, ListOffsetsRequest, Message, MetadataReply,
    MetadataRequest, ProduceReply, ProduceRequest, StatsReply, TopicSelection, Writer,
};
use protocol::frame::{FRAME_HEADER_LEN, FrameHeader};
use protocol::model::{PartitionIndex, TopicId};

use super::groups;
use crate::runner::Target;

const BODY_BYTES_MAX: usize = 1 << 20;

pub const FRAME: Target = Target {
    name: "frame",
    seeds: || vec![[0; FRAME_HEADER_LEN].to_vec(), vec![0, 0, 0, 9, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 7]],
    repair: |_| {},
    memory_max: |_| 4096,
    run: |bytes| match FrameHeader::parse(bytes, BODY_BYTES_MAX) {
        Ok(Some(header)) => {
            assert!(header.body_len as usize <= BODY_BYTES_MAX, "a body over the limit");
            assert_eq!(header.to_bytes().as_slice(), &bytes[..FRAME_HEADER_LEN], "not what was read");
            format!("{:?} {:?}", header.kind, header.api)
        }
        other => format!("{other:?}"),
    },
};

pub const MESSAGES: Target = Target {
    name: "messages",
    seeds,
    repair: |_| {},
    // An empty string takes 2 bytes on the wire and 24 in memory, and stands in lists. The texts of
    // outcomes are in it too.
    memory_max: |len| 64 * len + (16 << 10),
    run: |input| {
        let Some((which, body)) = input.split_first() else { return String::new() };
        let body = Bytes::copy_from_slice(body);
        let which = usize::from(*which) % READERS_LEN;
        let read = READERS.get(which).unwrap_or_else(|| &groups::READERS[which - READERS.len()]);
        format!("{which} {:?}", read(&body))
    },
};

pub type Reader = fn(&Bytes) -> Result<(), DecodeError>;

/// Those of messages about groups stand behind the others.
const READERS_LEN: usize = READERS.len() + groups::READERS.len();

const READERS: [Reader; 24] = [
    whole::<HelloRequest>,
    whole::<MetadataRequest>,
    whole::<CreateTopicRequest>,
    whole::<DeleteTopicRequest>,
    |body| {
        let request = ProduceRequest::parse(body)?;
        assert_eq!(request.partitions().count(), request.partition_count());
        Ok(())
    },
    |body| {
        let request = FetchRequest::parse(body)?;
        assert_eq!(request.partitions().count(), request.partition_count());
        Ok(())
    },
    whole::<ListOffsetsRequest>,
    whole::<HelloReply>,
    whole::<MetadataReply>,
    whole::<CreateTopicReply>,
    whole::<DeleteTopicReply>,
    whole::<ProduceReply>,
    |body| FetchReply::parse(body).map(drop),
    whole::<ListOffsetsReply>,
    whole::<StatsReply>,
    |body| ErrorResponse::read(body).map(drop),
    whole::<CreatePartitionsRequest>,
    whole::<AlterTopicRequest>,
    whole::<CreatePartitionsReply>,
    whole::<AlterTopicReply>,
    whole::<InitProducerIdRequest>,
    whole::<DeleteRecordsRequest>,
    whole::<InitProducerIdReply>,
    whole::<DeleteRecordsReply>,
];

/// What was read is written as it was: no two bodies mean the same message.
pub fn whole<M: Message>(body: &Bytes) -> Result<(), DecodeError> {
    let message = M::read(body)?;
    let mut again = Vec::new();
    message.append_to(&mut again);
    let reread = M::read(&again);
    assert!(reread.is_ok(), "what was read cannot be read again: {:?}", reread.err());
    Ok(())
}

fn seeds() -> Vec<Vec<u8>> {
    let with = |which: usize, write: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = vec![which as u8];
        write(&mut bytes);
        bytes
    };
    let hello = HelloRequest { version_min: 1, version_max: 1, shard: None, client_id: "client".to_owned() };
    let metadata = MetadataRequest {
        topics: TopicSelection::Named(vec!["orders".to_owned(), "invoices".to_owned()]),
        with_configs: true,
    };
    let create = CreateTopicRequest {
        name: "orders".to_owned(),
        partitions: 3,
        replication_factor: 1,
        validate_only: false,
        timeout_ms: 1000,
        configs: vec![("segment.bytes".to_owned(), "65536".to_owned())],
    };
    let delete = DeleteTopicRequest { name: "orders".to_owned(), timeout_ms: 1000 };
    let grow = CreatePartitionsRequest {
        name: "orders".to_owned(),
        total: 3,
        validate_only: false,
        timeout_ms: 1000,
    };
    let changes = vec![
        ("retention.ms".to_owned(), ConfigChange::Set("1000".to_owned())),
        ("cleanup.policy".to_owned(), ConfigChange::Reset),
    ];
    let alter = AlterTopicRequest { name: "orders".to_owned(), validate_only: true, changes };
    let topic = TopicId::from_bytes([7; 16]);
    let mut seeds = vec![
        with(0, &|out| hello.append_to(out)),
        with(1, &|out| metadata.append_to(out)),
        with(2, &|out| create.append_to(out)),
        with(3, &|out| delete.append_to(out)),
        with(4, &|out| {
            let sets = [(topic, PartitionIndex::new(0), 5), (topic, PartitionIndex::new(1), 3)];
            ProduceRequest::write_head(&mut Writer::new(out), Acks::All, 1000, sets.into_iter());
            out.extend([1; 8]);
        }),
        with(16, &|out| grow.append_to(out)),
        with(17, &|out| alter.append_to(out)),
    ];
    for (at, body) in groups::seeds() {
        seeds.push([vec![(READERS.len() + at) as u8], body].concat());
    }
    // The others begin with zeroes, which most of them read as empty lists.
    seeds.extend((0..READERS_LEN).map(|which| [vec![which as u8], vec![0; 64]].concat()));
    seeds
}
