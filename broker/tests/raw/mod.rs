//! A client that sends whatever bytes a test wants, one blocking socket, no opinions.

#![allow(dead_code)] // every test that includes this uses a part of it

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use protocol::api::{
    Acks, Api, CreateTopicReply, CreateTopicRequest, ErrorResponse, FetchEntry, FetchParams, FetchReply,
    FetchRequest, HelloReply, HelloRequest, Message, MetadataReply, MetadataRequest, ProduceReply,
    ProduceRequest, StatsReply, StatsRequest, TopicSelection, VERSION, Writer,
};
use protocol::batch::{BatchBuilder, Codec};
use protocol::frame::{FRAME_HEADER_LEN, FrameHeader, FrameKind, append_frame};
use protocol::model::limits::FRAME_BODY_BYTES_MAX;
use protocol::model::{CorrelationId, ErrorCode, Offset, PartitionIndex, ShardId, Timestamp, TopicId};

/// On the filesystem of the repository: the system's temporary directory may be a tmpfs, which has no
/// O_DIRECT.
pub fn scratch() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

pub struct Raw {
    socket: TcpStream,
    next: u64,
}

/// A reply: its header and body, or that the broker closed the connection.
#[derive(Debug)]
pub enum Answer {
    Reply(FrameHeader, Bytes),
    Refused(ErrorCode, String),
    Closed,
}

impl Raw {
    /// A connection that has said nothing yet.
    pub fn silent(addr: SocketAddr) -> Raw {
        let socket = TcpStream::connect(addr).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket.set_nodelay(true).unwrap();
        Raw { socket, next: 1 }
    }

    pub fn connect(addr: SocketAddr) -> Raw {
        Raw::connect_to(addr, None).0
    }

    /// Says Hello, asking for a shard; the reply tells which one serves.
    pub fn connect_to(addr: SocketAddr, shard: Option<ShardId>) -> (Raw, HelloReply) {
        let mut raw = Raw::silent(addr);
        let hello = HelloRequest { version_min: 1, version_max: 1, shard, client_id: "raw".to_owned() };
        let reply = raw.call(&hello);
        let Answer::Reply(_, body) = reply else { panic!("{reply:?}") };
        let reply = HelloReply::read(&body).unwrap();
        (raw, reply)
    }

    /// A second handle to the connection, for another thread.
    pub fn twin(&self) -> Raw {
        Raw { socket: self.socket.try_clone().unwrap(), next: self.next }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    /// Sends a request and gives the correlation id it went out with.
    pub fn request(&mut self, api: Api, version: u8, body: &[u8]) -> CorrelationId {
        let correlation = CorrelationId::new(self.next);
        self.next += 1;
        let mut frame = Vec::new();
        append_frame(&mut frame, api, version, FrameKind::Request, correlation, |out| {
            out.extend_from_slice(body)
        });
        self.send(&frame);
        correlation
    }

    /// The id of the next request.
    pub fn next_correlation(&self) -> u64 {
        self.next
    }

    pub fn answer(&mut self) -> Answer {
        let mut head = [0; FRAME_HEADER_LEN];
        if self.socket.read_exact(&mut head).is_err() {
            return Answer::Closed;
        }
        let header = FrameHeader::parse(&head, FRAME_BODY_BYTES_MAX).unwrap().unwrap();
        let mut body = vec![0; header.body_len as usize];
        self.socket.read_exact(&mut body).unwrap();
        match header.kind {
            FrameKind::ErrorReply => {
                let response = ErrorResponse::read(&body).unwrap();
                Answer::Refused(response.error, response.message)
            }
            _ => Answer::Reply(header, body.into()),
        }
    }

    pub fn call<M: Message>(&mut self, request: &M) -> Answer {
        let mut body = Vec::new();
        request.append_to(&mut body);
        let correlation = self.request(M::API, VERSION, &body);
        let answer = self.answer();
        if let Answer::Reply(header, _) = &answer {
            assert_eq!((header.api, header.correlation), (M::API, correlation));
        }
        answer
    }

    pub fn create_topic(
        &mut self,
        name: &str,
        partitions: u32,
        configs: &[(&str, &str)],
    ) -> CreateTopicReply {
        let configs = configs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let name = name.to_owned();
        let request = CreateTopicRequest {
            name,
            partitions,
            replication_factor: 1,
            validate_only: false,
            timeout_ms: 10_000,
            configs,
        };
        let answer = self.call(&request);
        let Answer::Reply(_, body) = answer else { panic!("{answer:?}") };
        CreateTopicReply::read(&body).unwrap()
    }

    pub fn topic_id(&mut self, name: &str) -> TopicId {
        let topics = TopicSelection::Named(vec![name.to_owned()]);
        let answer = self.call(&MetadataRequest { topics, with_configs: false });
        let Answer::Reply(_, body) = answer else { panic!("{answer:?}") };
        MetadataReply::read(&body).unwrap().topics[0].id
    }

    pub fn send_produce(&mut self, acks: Acks, sets: &[(TopicId, u32, &[u8])]) {
        let mut body = Vec::new();
        let heads =
            sets.iter().map(|(topic, partition, set)| (*topic, PartitionIndex::new(*partition), set.len()));
        ProduceRequest::write_head(&mut Writer::new(&mut body), acks, 10_000, heads);
        sets.iter().for_each(|(_, _, set)| body.extend_from_slice(set));
        self.request(Api::Produce, VERSION, &body);
    }

    /// Produces one record set and gives its error and base offset.
    pub fn produce(&mut self, topic: TopicId, partition: u32, set: &[u8]) -> (ErrorCode, Option<Offset>) {
        self.send_produce(Acks::All, &[(topic, partition, set)]);
        let answer = self.answer();
        let Answer::Reply(_, body) = answer else { panic!("{answer:?}") };
        let reply = ProduceReply::read(&body).unwrap();
        (reply.partitions[0].error, reply.partitions[0].base_offset)
    }

    pub fn send_fetch(&mut self, params: FetchParams, entries: &[(TopicId, u32, u64)]) {
        self.send_fetches(params, entries, 1);
    }

    /// Sends the same fetch so many times, in one write.
    pub fn send_fetches(&mut self, params: FetchParams, entries: &[(TopicId, u32, u64)], times: u64) {
        let entries: Vec<FetchEntry> = entries
            .iter()
            .map(|(topic, partition, offset)| FetchEntry {
                topic: *topic,
                partition: PartitionIndex::new(*partition),
                leader_epoch: None,
                fetch_offset: Offset::new(*offset),
                max_bytes: 1 << 20,
            })
            .collect();
        let mut body = Vec::new();
        FetchRequest::write(&mut Writer::new(&mut body), params, &entries);
        let mut frames = Vec::new();
        for correlation in (self.next..self.next + times).map(CorrelationId::new) {
            append_frame(&mut frames, Api::Fetch, VERSION, FrameKind::Request, correlation, |out| {
                out.extend_from_slice(&body);
            });
        }
        self.next += times;
        self.send(&frames);
    }

    pub fn fetched(&mut self) -> FetchReply {
        let answer = self.answer();
        let Answer::Reply(_, body) = answer else { panic!("{answer:?}") };
        FetchReply::parse(&body).unwrap()
    }

    /// Waits until so many fetches, of all shards and since the start, have waited for records.
    pub fn wait_for_polls(&mut self, count: u64) {
        let polls = |reply: StatsReply| -> u64 {
            let counters = reply.shards.into_iter().flat_map(|shard| shard.counters);
            counters.filter(|(name, _)| name == "fetch_waits").map(|(_, value)| value).sum()
        };
        while polls(self.stats()) < count {
            std::thread::yield_now();
        }
    }

    pub fn stats(&mut self) -> StatsReply {
        let answer = self.call(&StatsRequest);
        let Answer::Reply(_, body) = answer else { panic!("{answer:?}") };
        StatsReply::read(&body).unwrap()
    }
}

/// A batch of one record for each value.
pub fn batch(values: &[&[u8]]) -> Bytes {
    let mut builder = BatchBuilder::new(Codec::None);
    for value in values {
        builder.try_append(Timestamp::from_millis(1), None, Some(value), &[]).unwrap();
    }
    builder.finish()
}
