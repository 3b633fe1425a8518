//! A client that speaks Kafka's frames over one blocking socket and has no opinions.

#![allow(dead_code)] // every test that includes this uses a part of it

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use broker::{Config, EmbeddedBroker};
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    ApiVersionsRequest, BrokerId, CreateTopicsRequest, FetchRequest, FetchResponse, ProduceRequest,
    RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, Request, StrBytes};

use crate::raw::scratch;

/// A broker that serves Kafka, with so many shards.
pub fn broker(shards: usize) -> EmbeddedBroker {
    broker_with(shards, |_| {})
}

pub fn broker_with(shards: usize, change: impl FnOnce(&mut Config)) -> EmbeddedBroker {
    EmbeddedBroker::start_with(scratch(), |mut config| {
        config.cpus = (0..shards).collect();
        config.offsets_partitions = 4;
        config.kafka.listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        change(&mut config);
        config
    })
    .expect("this machine runs brokers")
}

pub fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}

/// What a client asks first, from version 3 on.
pub fn versions() -> ApiVersionsRequest {
    ApiVersionsRequest::default()
        .with_client_software_name(text("raw"))
        .with_client_software_version(text("1"))
}

/// The frame of a request, its length in front.
pub fn frame<R: Request>(version: i16, correlation: i32, request: &R) -> Vec<u8> {
    let mut out = BytesMut::from(&[0; 4][..]);
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation)
        .with_client_id(Some(text("raw")));
    header.encode(&mut out, R::header_version(version)).unwrap();
    request.encode(&mut out, version).unwrap();
    let len = i32::try_from(out.len() - 4).unwrap();
    out[..4].copy_from_slice(&len.to_be_bytes());
    out.into()
}

/// What a response frame, without its length, answers to; the whole of it is understood.
pub fn decode<R: Request>(version: i16, correlation: i32, mut frame: Bytes) -> R::Response {
    use kafka_protocol::protocol::HeaderVersion;
    let header = ResponseHeader::decode(&mut frame, R::Response::header_version(version)).unwrap();
    assert_eq!(header.correlation_id, correlation);
    let response = R::Response::decode(&mut frame, version).unwrap();
    assert!(frame.is_empty(), "{} bytes behind the response", frame.len());
    response
}

pub struct Kafka {
    socket: TcpStream,
    next: i32,
}

impl Kafka {
    pub fn connect(broker: &EmbeddedBroker) -> Kafka {
        Kafka::to(broker.kafka_addr().expect("it serves Kafka"))
    }

    pub fn to(addr: SocketAddr) -> Kafka {
        let socket = TcpStream::connect(addr).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket.set_nodelay(true).unwrap();
        Kafka { socket, next: 1 }
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    /// Sends what the broker may not want to hear to its end.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.socket.write_all(bytes).is_ok()
    }

    pub fn send<R: Request>(&mut self, version: i16, request: &R) -> i32 {
        let correlation = self.next;
        self.next += 1;
        self.send_bytes(&frame(version, correlation, request));
        correlation
    }

    /// The next response frame without its length, or that the connection has ended.
    pub fn next_frame(&mut self) -> Option<Bytes> {
        let mut len = [0; 4];
        self.socket.read_exact(&mut len).ok()?;
        let mut frame = vec![0; usize::try_from(i32::from_be_bytes(len)).expect("a length")];
        self.socket.read_exact(&mut frame).ok()?;
        Some(frame.into())
    }

    pub fn receive<R: Request>(&mut self, version: i16, correlation: i32) -> R::Response {
        decode::<R>(version, correlation, self.next_frame().expect("an answer"))
    }

    pub fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        let correlation = self.send(version, request);
        self.receive::<R>(version, correlation)
    }

    /// Whether the broker has closed the connection, after whatever it still answered.
    pub fn is_closed(&mut self) -> bool {
        while self.next_frame().is_some() {}
        self.socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        match self.socket.read(&mut [0]) {
            Ok(0) => true,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
            Ok(_) => false,
        }
    }

    /// Says nothing more; answers can still be read.
    pub fn shut_down_write(&self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Write); // the broker may have been first
    }

    pub fn create_topic(&mut self, name: &str, partitions: i32) {
        let topic = CreatableTopic::default()
            .with_name(topic_name(name))
            .with_num_partitions(partitions)
            .with_replication_factor(1);
        let response = self.call(7, &CreateTopicsRequest::default().with_topics(vec![topic]));
        assert_eq!(response.topics[0].error_code, 0, "{:?}", response.topics[0].error_message);
    }

    /// Produces one record set; the answer about it.
    pub fn produce(&mut self, topic: &str, partition: i32, records: &Bytes) -> PartitionProduceResponse {
        let request = produce_of(topic, &[(partition, Some(records.clone()))]);
        let mut response = self.call(9, &request);
        response.responses.remove(0).partition_responses.remove(0)
    }

    pub fn fetch(&mut self, request: &FetchRequest) -> FetchResponse {
        self.call(12, request)
    }
}

/// A produce of one topic, acknowledged by all.
pub fn produce_of(topic: &str, sets: &[(i32, Option<Bytes>)]) -> ProduceRequest {
    let set = |(index, records): &(i32, Option<Bytes>)| {
        PartitionProduceData::default().with_index(*index).with_records(records.clone())
    };
    let topic = TopicProduceData::default()
        .with_name(topic_name(topic))
        .with_partition_data(sets.iter().map(set).collect());
    ProduceRequest::default().with_acks(-1).with_timeout_ms(10_000).with_topic_data(vec![topic])
}

/// A fetch of one topic from the given offsets, which waits for nothing.
pub fn fetch_of(topic: &str, from: &[(i32, i64)]) -> FetchRequest {
    let partition = |(index, offset): &(i32, i64)| {
        FetchPartition::default()
            .with_partition(*index)
            .with_fetch_offset(*offset)
            .with_partition_max_bytes(1 << 20)
    };
    let topic = FetchTopic::default()
        .with_topic(topic_name(topic))
        .with_partitions(from.iter().map(partition).collect());
    FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(0)
        .with_min_bytes(1)
        .with_max_bytes(10 << 20)
        .with_topics(vec![topic])
}

/// The error and the records of each partition of a fetch of one topic.
pub fn fetched(response: &FetchResponse) -> Vec<(i16, Bytes)> {
    let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|found| (found.error_code, found.records.clone().unwrap_or_default())).collect()
}
