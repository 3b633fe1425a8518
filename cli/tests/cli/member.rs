//! A member of a group, as a client of any kind would be: joins alone, is its leader, takes what it is told.
//!
//!     Hello ▸ JoinGroup ▸ MemberIdRequired ▸ JoinGroup ▸ SyncGroup { itself: topic → partitions }

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use protocol::api::{
    Api, Assignment, HelloReply, HelloRequest, JoinGroupReply, JoinGroupRequest, Message, OfferedProtocol,
    SyncGroupReply, SyncGroupRequest, VERSION, Writer,
};
use protocol::frame::{FRAME_HEADER_LEN, FrameHeader, FrameKind, append_frame};
use protocol::model::CorrelationId;
use protocol::model::ErrorCode;
use protocol::model::limits::FRAME_BODY_BYTES_MAX;

pub struct Member {
    stream: TcpStream,
    pub id: String,
}

impl Member {
    /// Returns when the group is stable; the member is in it for 30 s without saying anything more.
    pub fn join(addr: &str, group: &str, topic: &str, partitions: &[u32]) -> Member {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut member = Member { stream, id: String::new() };
        let hello = HelloRequest {
            version_min: VERSION,
            version_max: VERSION,
            shard: None,
            client_id: "billing-app".to_owned(),
        };
        let hello: HelloReply = member.call(Api::Hello, |w| hello.write(w));
        assert_eq!(hello.error, ErrorCode::None);

        let mut joined = member.join_once(group);
        if joined.error == ErrorCode::MemberIdRequired {
            member.id = joined.member_id;
            joined = member.join_once(group);
        }
        assert_eq!((joined.error, &joined.leader), (ErrorCode::None, &joined.member_id));
        member.id = joined.member_id;
        member.sync(group, joined.generation, &assignment(topic, partitions));
        member
    }

    fn join_once(&mut self, group: &str) -> JoinGroupReply {
        let id = self.id.clone();
        let request = JoinGroupRequest {
            group,
            member_id: &id,
            instance_id: None,
            client_id: "billing-app",
            session_timeout_ms: 30_000,
            rebalance_timeout_ms: 30_000,
            protocol_type: "consumer",
            protocols: vec![OfferedProtocol { name: "range", metadata: SUBSCRIBES_TO_ORDERS }],
            reason: None,
        };
        self.call(Api::JoinGroup, |w| request.write(w))
    }

    fn sync(&mut self, group: &str, generation: i32, assignment: &[u8]) {
        let id = self.id.clone();
        let request = SyncGroupRequest {
            group,
            generation,
            member_id: &id,
            instance_id: None,
            protocol_type: None,
            protocol: None,
            assignments: vec![Assignment { member_id: &id, bytes: assignment }],
        };
        let reply: SyncGroupReply = self.call(Api::SyncGroup, |w| request.write(w));
        assert_eq!((reply.error, &*reply.assignment), (ErrorCode::None, assignment));
    }

    fn call<R: Message>(&mut self, api: Api, body: impl FnOnce(&mut Writer<'_>)) -> R {
        let mut frame = Vec::new();
        let write = |out: &mut Vec<u8>| body(&mut Writer::new(out));
        append_frame(&mut frame, api, VERSION, FrameKind::Request, CorrelationId::new(1), write);
        self.stream.write_all(&frame).unwrap();
        let mut head = [0; FRAME_HEADER_LEN];
        self.stream.read_exact(&mut head).unwrap();
        let header = FrameHeader::parse(&head, FRAME_BODY_BYTES_MAX).unwrap().unwrap();
        let mut body = vec![0; header.body_len as usize];
        self.stream.read_exact(&mut body).unwrap();
        assert_eq!(header.kind, FrameKind::Reply);
        R::read(&body).unwrap()
    }
}

/// Kafka's ConsumerProtocol, version 0.
const SUBSCRIBES_TO_ORDERS: &[u8] = b"\0\0\0\0\0\x01\0\x06orders\xff\xff\xff\xff";

fn assignment(topic: &str, partitions: &[u32]) -> Vec<u8> {
    let mut bytes = b"\0\0\0\0\0\x01".to_vec();
    bytes.extend(u16::try_from(topic.len()).unwrap().to_be_bytes());
    bytes.extend(topic.as_bytes());
    bytes.extend(u32::try_from(partitions.len()).unwrap().to_be_bytes());
    partitions.iter().for_each(|partition| bytes.extend(partition.to_be_bytes()));
    bytes.extend((-1_i32).to_be_bytes());
    bytes
}
