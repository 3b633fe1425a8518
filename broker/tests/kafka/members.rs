//! Members of groups: Kafka's among themselves, and one of Kafka's beside a native one.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use broker::EmbeddedBroker;
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::consumer_protocol_assignment::TopicPartition;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, HeartbeatRequest, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupRequest, OffsetCommitRequest, SyncGroupRequest, SyncGroupResponse,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use protocol::api::{
    Api, JoinGroupReply, JoinGroupRequest as NativeJoin, Message, OfferedProtocol, VERSION, Writer,
};
use protocol::model::ErrorCode;
use ringlog_client::{Assignor, Client};

use crate::client::{Kafka, broker, text, topic_name};
use crate::groups::{group, wait_for_groups};
use crate::raw::{Answer, Raw};

const PATIENCE: Duration = Duration::from_secs(20);

/// Kafka's version of one api at the time when JoinGroup had `join`.
fn sync_version(join: i16) -> i16 {
    [0, 1, 2, 2, 2, 3, 4, 5, 5, 5][join as usize]
}

fn others_version(join: i16) -> i16 {
    sync_version(join).min(4)
}

pub struct Member {
    pub kafka: Kafka,
    version: i16,
    group: String,
    protocol_type: String,
    protocols: Vec<(String, Bytes)>,
    instance: Option<String>,
    pub id: StrBytes,
    pub joined: JoinGroupResponse,
}

impl Member {
    pub fn new(
        broker: &EmbeddedBroker,
        of: &str,
        version: i16,
        kind: &str,
        protocols: &[(&str, &[u8])],
    ) -> Member {
        let protocol =
            |(name, metadata): &(&str, &[u8])| ((*name).to_owned(), Bytes::copy_from_slice(metadata));
        Member {
            kafka: Kafka::connect(broker),
            version,
            group: of.to_owned(),
            protocol_type: kind.to_owned(),
            protocols: protocols.iter().map(protocol).collect(),
            instance: None,
            id: StrBytes::default(),
            joined: JoinGroupResponse::default(),
        }
    }

    /// A member of its first generation.
    pub fn join(
        broker: &EmbeddedBroker,
        of: &str,
        version: i16,
        kind: &str,
        protocols: &[(&str, &[u8])],
    ) -> Member {
        let mut member = Member::new(broker, of, version, kind, protocols);
        assert_eq!(member.rejoin(), 0);
        member
    }

    fn request(&self) -> JoinGroupRequest {
        let protocol = |(name, metadata): &(String, Bytes)| {
            JoinGroupRequestProtocol::default().with_name(text(name)).with_metadata(metadata.clone())
        };
        let request = JoinGroupRequest::default()
            .with_group_id(group(&self.group))
            .with_session_timeout_ms(10_000)
            .with_member_id(self.id.clone())
            .with_protocol_type(text(&self.protocol_type))
            .with_protocols(self.protocols.iter().map(protocol).collect());
        let request = if 1 <= self.version { request.with_rebalance_timeout_ms(10_000) } else { request };
        request.with_group_instance_id(self.instance.as_deref().map(text))
    }

    /// Asks to join and does not wait for the answer.
    pub fn send_join(&mut self) -> i32 {
        let request = self.request();
        self.kafka.send(self.version, &request)
    }

    pub fn take_join(&mut self, correlation: i32) -> i16 {
        let joined = self.kafka.receive::<JoinGroupRequest>(self.version, correlation);
        self.id = joined.member_id.clone();
        self.joined = joined;
        self.joined.error_code
    }

    /// Joins, with the id that it is given if it must; the error.
    pub fn rejoin(&mut self) -> i16 {
        let sent = self.send_join();
        match self.take_join(sent) {
            79 => {
                assert!(4 <= self.version && !self.id.is_empty() && self.instance.is_none());
                let sent = self.send_join();
                self.take_join(sent)
            }
            error => error,
        }
    }

    pub fn is_leader(&self) -> bool {
        self.joined.leader == self.id
    }

    /// Takes its assignment; the leader gives them out, in the order of the members it was told.
    pub fn sync(&mut self, assignments: &[&[u8]]) -> SyncGroupResponse {
        let assignments = self.joined.members.iter().zip(assignments).map(|(member, assignment)| {
            SyncGroupRequestAssignment::default()
                .with_member_id(member.member_id.clone())
                .with_assignment(Bytes::copy_from_slice(assignment))
        });
        let request = SyncGroupRequest::default()
            .with_group_id(group(&self.group))
            .with_generation_id(self.joined.generation_id)
            .with_member_id(self.id.clone())
            .with_assignments(assignments.collect());
        let version = sync_version(self.version);
        let request = match version {
            5 => request
                .with_protocol_type(Some(text(&self.protocol_type)))
                .with_protocol_name(self.joined.protocol_name.clone()),
            _ => request,
        };
        self.kafka.call(version, &request)
    }

    pub fn heartbeat_in(&mut self, generation: i32) -> i16 {
        let request = HeartbeatRequest::default()
            .with_group_id(group(&self.group))
            .with_generation_id(generation)
            .with_member_id(self.id.clone());
        self.kafka.call(others_version(self.version), &request).error_code
    }

    pub fn heartbeat(&mut self) -> i16 {
        self.heartbeat_in(self.joined.generation_id)
    }

    pub fn leave(&mut self) -> i16 {
        let request = LeaveGroupRequest::default().with_group_id(group(&self.group));
        let version = sync_version(self.version);
        if version < 3 {
            return self.kafka.call(version, &request.with_member_id(self.id.clone())).error_code;
        }
        let one = MemberIdentity::default().with_member_id(self.id.clone());
        let response = self.kafka.call(version, &request.with_members(vec![one]));
        assert_eq!((response.error_code, response.members.len()), (0, 1));
        response.members[0].error_code
    }

    fn commit(&mut self, generation: i32, topic: &str) -> i16 {
        let one = OffsetCommitRequestPartition::default().with_committed_offset(1);
        let topic =
            OffsetCommitRequestTopic::default().with_name(topic_name(topic)).with_partitions(vec![one]);
        let request = OffsetCommitRequest::default()
            .with_group_id(group(&self.group))
            .with_generation_id_or_member_epoch(generation)
            .with_member_id(self.id.clone())
            .with_topics(vec![topic]);
        self.kafka.call(8, &request).topics[0].partitions[0].error_code
    }
}

fn ready() -> EmbeddedBroker {
    let broker = broker(2);
    let mut kafka = Kafka::connect(&broker);
    kafka.create_topic("t", 6);
    wait_for_groups(&mut kafka);
    broker
}

#[test]
fn a_member_lives_in_every_version() {
    let broker = ready();
    for version in 0..=9 {
        let name = format!("g{version}");
        let mut member =
            Member::join(&broker, &name, version, "consumer", &[("range", b"r"), ("other", b"o")]);
        assert!(member.is_leader());
        assert_eq!(member.joined.protocol_name.as_ref().map(|name| name.as_str()), Some("range"));
        assert_eq!((member.joined.members.len(), &member.joined.members[0].metadata[..]), (1, &b"r"[..]));
        let synced = member.sync(&[b"everything"]);
        assert_eq!((synced.error_code, &synced.assignment[..]), (0, &b"everything"[..]), "version {version}");
        assert_eq!(member.heartbeat(), 0);
        let generation = member.joined.generation_id;
        assert_eq!(member.heartbeat_in(generation + 1), 22);
        assert_eq!(member.commit(generation, "t"), 0);
        assert_eq!(member.commit(generation + 1, "t"), 22);
        assert_eq!(member.commit(-1, "t"), 22, "from outside, while the group has members");
        let id = std::mem::replace(&mut member.id, text("nobody"));
        assert_eq!((member.heartbeat(), member.commit(generation, "t")), (25, 25));
        member.id = id;
        assert_eq!(member.leave(), 0);
        assert_eq!(member.leave(), 25, "it has left");
        assert_eq!(member.heartbeat(), 25);
    }
}

#[test]
fn two_members_get_each_its_own() {
    let broker = ready();
    for version in [0, 3, 5, 9] {
        let name = format!("g{version}");
        let mut first = Member::join(&broker, &name, version, "consumer", &[("range", b"1")]);
        first.sync(&[b"all"]);
        let mut second = Member::new(&broker, &name, version, "consumer", &[("range", b"2")]);
        if 4 <= version {
            let sent = second.send_join();
            assert_eq!(second.take_join(sent), 79);
        }
        let joining = second.send_join();
        let begun = Instant::now();
        while first.heartbeat() != 27 {
            assert!(begun.elapsed() < PATIENCE, "the rebalance is not told");
        }
        assert_eq!(first.rejoin(), 0);
        assert_eq!(second.take_join(joining), 0);
        assert_eq!(first.joined.generation_id, second.joined.generation_id);
        assert!(first.is_leader() && second.joined.members.is_empty());
        let mine = first.joined.members.iter().position(|member| member.member_id == first.id);
        let plan: [&[u8]; 2] = if mine == Some(0) { [b"a", b"b"] } else { [b"b", b"a"] };
        assert_eq!(&first.sync(&plan).assignment[..], b"a");
        assert_eq!(&second.sync(&[]).assignment[..], b"b");
    }
}

#[test]
fn a_static_member_keeps_its_place_and_its_double_is_fenced() {
    let broker = ready();
    let mut first = Member::new(&broker, "g", 5, "consumer", &[("range", b"1")]);
    first.instance = Some("one".to_owned());
    assert_eq!(first.rejoin(), 0, "a static member needs no id first");
    first.sync(&[b"all"]);
    let generation = first.joined.generation_id;
    for version in [5, 9] {
        let mut again = Member::new(&broker, "g", version, "consumer", &[("range", b"1")]);
        again.instance = Some("one".to_owned());
        assert_eq!((again.rejoin(), again.joined.generation_id), (0, generation), "version {version}");
        assert_eq!(&again.sync(&[b"all"]).assignment[..], b"all");
        let request = HeartbeatRequest::default()
            .with_group_id(group("g"))
            .with_generation_id(generation)
            .with_member_id(first.id.clone())
            .with_group_instance_id(Some(text("one")));
        assert_eq!(first.kafka.call(4, &request).error_code, 82);
    }
}

#[test]
fn a_join_that_cannot_be_is_refused() {
    let broker = ready();
    let join = |of: &str, kind: &str, protocols: &[(&str, &[u8])], session: i32| {
        let mut member = Member::new(&broker, of, 3, kind, protocols);
        let request = member.request().with_session_timeout_ms(session);
        let response = member.kafka.call(3, &request);
        (response.error_code, response.generation_id)
    };
    assert_eq!(join("g", "consumer", &[("range", b"")], 1), (26, -1), "a session too short");
    assert_eq!(join("g", "consumer", &[("range", b"")], -1), (26, -1));
    assert_eq!(join("g", "consumer", &[("range", b"")], i32::MAX), (26, -1));
    assert_eq!(join("", "consumer", &[("range", b"")], 10_000), (24, -1));
    assert_eq!(join("g", "consumer", &[], 10_000), (23, -1), "nothing is offered");
    assert_eq!(join("g", "", &[("range", b"")], 10_000), (23, -1));
    let member = Member::join(&broker, "g", 3, "consumer", &[("range", b"")]);
    assert_eq!(join("g", "connect", &[("range", b"")], 10_000), (23, -1), "of another type");
    assert_eq!(join("g", "consumer", &[("sticky", b"")], 10_000), (23, -1), "nothing in common");
    drop(member);
}

/// A native consumer does not become a member of a group of connectors, nor the other way round.
#[test]
fn a_native_member_of_another_type_is_refused() {
    let broker = ready();
    let mut raw = Raw::connect(broker.addr());
    let mut join = |of: &str, kind: &str| {
        let request = NativeJoin {
            group: of,
            member_id: "",
            instance_id: None,
            client_id: "raw",
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 10_000,
            protocol_type: kind,
            protocols: vec![OfferedProtocol { name: "range", metadata: b"n" }],
            reason: None,
        };
        let mut body = Vec::new();
        request.write(&mut Writer::new(&mut body));
        raw.request(Api::JoinGroup, VERSION, &body);
        let answer = raw.answer();
        let Answer::Reply(_, body) = answer else { panic!("{answer:?}") };
        JoinGroupReply::read(&body).unwrap().error
    };
    for version in [0, 3, 9] {
        let of = format!("g{version}");
        let mut worker = Member::join(&broker, &of, version, "connect", &[("range", b"w")]);
        worker.sync(&[b"all"]);
        assert_eq!(join(&of, "consumer"), ErrorCode::InconsistentGroupProtocol, "version {version}");
        assert_eq!(worker.heartbeat(), 0, "the group has not noticed");
        assert_eq!(join(&of, "connect"), ErrorCode::MemberIdRequired, "of its type, it may go on");
    }
}

fn subscription() -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(1);
    let subscription = ConsumerProtocolSubscription::default().with_topics(vec![text("t")]);
    subscription.encode(&mut out, 1).unwrap();
    out.freeze()
}

fn read_assignment(mut bytes: Bytes) -> BTreeSet<u32> {
    let version = bytes::Buf::get_i16(&mut bytes);
    let found = ConsumerProtocolAssignment::decode(&mut bytes, version).unwrap();
    assert!(found.assigned_partitions.iter().all(|one| one.topic.as_str() == "t"));
    found
        .assigned_partitions
        .iter()
        .flat_map(|one| one.partitions.iter().map(|index| *index as u32))
        .collect()
}

fn write_assignment(partitions: impl Iterator<Item = i32>) -> Bytes {
    let of = TopicPartition::default().with_topic(topic_name("t")).with_partitions(partitions.collect());
    let mut out = BytesMut::new();
    out.put_i16(0);
    ConsumerProtocolAssignment::default().with_assigned_partitions(vec![of]).encode(&mut out, 0).unwrap();
    out.freeze()
}

fn owned(consumer: &ringlog_client::Consumer) -> BTreeSet<u32> {
    consumer.assignment().iter().map(|one| one.partition.get()).collect()
}

async fn native(broker: &EmbeddedBroker, of: &str) -> ringlog_client::Consumer {
    let client = Client::connect(broker.addr().to_string()).await.unwrap();
    let consumer = client.consumer(of).topics(["t"]).assignors([Assignor::Range]);
    consumer.max_wait(Duration::from_millis(100)).build().await.unwrap()
}

/// Polls until `done`, so that the member lives meanwhile.
async fn poll_until(
    consumer: &mut ringlog_client::Consumer,
    mut done: impl FnMut(&ringlog_client::Consumer) -> bool,
) {
    let begun = Instant::now();
    while !done(consumer) {
        assert!(begun.elapsed() < PATIENCE, "it owns {:?}", owned(consumer));
        consumer.poll(Duration::from_millis(20)).await.unwrap();
    }
}

/// The native member leads, and shares out by its assignor what the Kafka member subscribes to.
#[tokio::test(flavor = "multi_thread")]
async fn a_native_leader_shares_with_a_kafka_member() {
    let broker = ready();
    let mut consumer = native(&broker, "g").await;
    poll_until(&mut consumer, |consumer| owned(consumer).len() == 6).await;
    let mut stranger = Member::new(&broker, "g", 9, "connect", &[("range", &subscription())]);
    assert_eq!(stranger.rejoin(), 23, "another protocol type, while the group has consumers");
    let mut member = Member::new(&broker, "g", 9, "consumer", &[("range", &subscription())]);
    let joining = tokio::task::spawn_blocking(move || {
        assert_eq!(member.rejoin(), 0);
        let synced = member.sync(&[]);
        (member, synced)
    });
    poll_until(&mut consumer, |consumer| owned(consumer).len() == 3 && joining.is_finished()).await;
    let (mut member, synced) = joining.await.unwrap();
    assert_eq!(synced.error_code, 0);
    let theirs = read_assignment(synced.assignment);
    assert_eq!(theirs.len(), 3);
    assert_eq!(&theirs | &owned(&consumer), (0..6).collect());
    // It goes, and the native member has everything again.
    assert_eq!(member.leave(), 0);
    poll_until(&mut consumer, |consumer| owned(consumer).len() == 6).await;
}

/// The Kafka member leads, and reads what the native one subscribes to.
#[tokio::test(flavor = "multi_thread")]
async fn a_kafka_leader_shares_with_a_native_member() {
    let broker = ready();
    let mut member = Member::join(&broker, "g", 5, "consumer", &[("range", &subscription())]);
    member.sync(&[&write_assignment(0..6)]);
    let joining = tokio::task::spawn_blocking(move || {
        let begun = Instant::now();
        while member.heartbeat() != 27 {
            assert!(begun.elapsed() < PATIENCE);
        }
        assert_eq!(member.rejoin(), 0);
        assert!(member.is_leader());
        assert_eq!(member.joined.members.len(), 2);
        let mut plan = Vec::new();
        for other in &member.joined.members {
            let mut metadata = other.metadata.clone();
            let version = bytes::Buf::get_i16(&mut metadata);
            let subscribed = ConsumerProtocolSubscription::decode(&mut metadata, version).unwrap();
            assert_eq!(subscribed.topics, [text("t")]);
            plan.push(write_assignment(if other.member_id == member.id { 0..2 } else { 2..6 }));
        }
        let plan: Vec<&[u8]> = plan.iter().map(|assignment| &assignment[..]).collect();
        let synced = member.sync(&plan);
        assert_eq!(read_assignment(synced.assignment), [0, 1].into());
        member
    });
    let mut consumer = native(&broker, "g").await;
    poll_until(&mut consumer, |consumer| owned(consumer) == (2..6).collect()).await;
    drop(joining.await.unwrap());
}
