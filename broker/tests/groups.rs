//! Groups over the wire: two shards, restarts, bad input. The rules themselves have their tests in
//! broker/src/groups.

mod raw;

use std::path::Path;
use std::time::{Duration, Instant};

use broker::Broker;
use broker::config::Config;
use bytes::Bytes;
use protocol::api::{Api, Assignment, OfferedProtocol};
use protocol::api::{
    DeleteGroupsReply, DeleteGroupsRequest, DeleteTopicReply, DeleteTopicRequest, DescribeGroupsReply,
    DescribeGroupsRequest, FindCoordinatorReply, FindCoordinatorRequest, HeartbeatReply, HeartbeatRequest,
    JoinGroupReply, JoinGroupRequest, LeaveGroupReply, LeaveGroupRequest, LeavingMember, ListGroupsReply,
    ListGroupsRequest, Message, OffsetCommitEntry, OffsetCommitReply, OffsetCommitRequest, OffsetFetchReply,
    OffsetFetchRequest, OffsetSelection, SyncGroupReply, SyncGroupRequest, VERSION, Writer,
};
use protocol::model::{ErrorCode, Offset, PartitionIndex, ShardId};
use raw::{Answer, Raw, batch, scratch};

fn start(data_dir: &Path) -> Broker {
    let mut config = Config { cpus: vec![0, 1], ..Config::ephemeral(data_dir.to_owned()) };
    config.groups.session_timeout_min = Duration::from_millis(500);
    Broker::start(config).unwrap()
}

fn temp() -> tempfile::TempDir {
    tempfile::tempdir_in(scratch()).unwrap()
}

fn is_not_ready(code: ErrorCode) -> bool {
    code == ErrorCode::CoordinatorNotAvailable || code == ErrorCode::CoordinatorLoadInProgress
}

/// Sends a request until its coordinator is there.
fn call<R: Message>(raw: &mut Raw, body: &[u8], code: impl Fn(&R) -> ErrorCode) -> R {
    let begun = Instant::now();
    loop {
        raw.request(R::API, VERSION, body);
        let answer = raw.answer();
        let Answer::Reply(_, body) = answer else { panic!("{answer:?}") };
        let reply = R::read(&body).unwrap();
        if !is_not_ready(code(&reply)) {
            return reply;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "the coordinator does not come");
        std::thread::yield_now();
    }
}

fn bytes_of(message: &impl Message) -> Vec<u8> {
    let mut body = Vec::new();
    message.append_to(&mut body);
    body
}

fn join(raw: &mut Raw, group: &str, member: &str, session_ms: u32) -> JoinGroupReply {
    let request = JoinGroupRequest {
        group,
        member_id: member,
        instance_id: None,
        client_id: "test",
        session_timeout_ms: session_ms,
        rebalance_timeout_ms: 5_000,
        protocol_type: "consumer",
        protocols: vec![OfferedProtocol { name: "range", metadata: b"what I read" }],
        reason: None,
    };
    let mut body = Vec::new();
    request.write(&mut Writer::new(&mut body));
    call(raw, &body, |reply: &JoinGroupReply| reply.error)
}

/// Gets an id, then joins with it.
fn join_anew(raw: &mut Raw, group: &str) -> JoinGroupReply {
    let refused = join(raw, group, "", 10_000);
    assert_eq!(refused.error, ErrorCode::MemberIdRequired);
    let joined = join(raw, group, &refused.member_id, 10_000);
    assert_eq!(joined.error, ErrorCode::None);
    joined
}

fn sync(
    raw: &mut Raw,
    group: &str,
    joined: &JoinGroupReply,
    assignments: &[(&str, &[u8])],
) -> SyncGroupReply {
    let request = SyncGroupRequest {
        group,
        generation: joined.generation,
        member_id: &joined.member_id,
        instance_id: None,
        protocol_type: Some("consumer"),
        protocol: Some("range"),
        assignments: assignments.iter().map(|(member_id, bytes)| Assignment { member_id, bytes }).collect(),
    };
    let mut body = Vec::new();
    request.write(&mut Writer::new(&mut body));
    call(raw, &body, |reply: &SyncGroupReply| reply.error)
}

fn heartbeat(raw: &mut Raw, group: &str, generation: i32, member: &str) -> ErrorCode {
    let request = HeartbeatRequest {
        group: group.to_owned(),
        generation,
        member_id: member.to_owned(),
        instance_id: None,
    };
    call(raw, &bytes_of(&request), |reply: &HeartbeatReply| reply.error).error
}

fn commit_as(
    raw: &mut Raw,
    group: &str,
    who: (i32, &str),
    entries: &[(&str, u32, u64, &str)],
) -> Vec<ErrorCode> {
    let entry = |(topic, partition, offset, metadata): &(&str, u32, u64, &str)| OffsetCommitEntry {
        topic: (*topic).to_owned(),
        partition: PartitionIndex::new(*partition),
        offset: Offset::new(*offset),
        leader_epoch: None,
        metadata: Some((*metadata).to_owned()),
    };
    let request = OffsetCommitRequest {
        group: group.to_owned(),
        generation: who.0,
        member_id: who.1.to_owned(),
        instance_id: None,
        entries: entries.iter().map(entry).collect(),
    };
    let first = |reply: &OffsetCommitReply| reply.errors.iter().copied().find(|code| is_not_ready(*code));
    call(raw, &bytes_of(&request), |reply| first(reply).unwrap_or(ErrorCode::None)).errors
}

fn commit(raw: &mut Raw, group: &str, entries: &[(&str, u32, u64, &str)]) -> Vec<ErrorCode> {
    commit_as(raw, group, (-1, ""), entries)
}

fn committed(raw: &mut Raw, group: &str) -> Vec<(String, u32, Option<u64>)> {
    let request = OffsetFetchRequest {
        group: group.to_owned(),
        member_id: None,
        generation: -1,
        require_stable: false,
        entries: OffsetSelection::All,
    };
    let reply = call(raw, &bytes_of(&request), |reply: &OffsetFetchReply| reply.error);
    assert_eq!(reply.error, ErrorCode::None);
    let entry = |entry: protocol::api::FetchedOffset| {
        (entry.topic, entry.partition.get(), entry.offset.map(Offset::get))
    };
    reply.entries.into_iter().map(entry).collect()
}

fn coordinator(raw: &mut Raw, group: &str) -> ShardId {
    let request = FindCoordinatorRequest { group: group.to_owned() };
    call(raw, &bytes_of(&request), |reply: &FindCoordinatorReply| reply.error).shard
}

/// A group on each shard.
fn groups_on_both(raw: &mut Raw) -> [String; 2] {
    [0, 1].map(|shard| {
        let named = |n: u32| format!("group-{n}");
        (0..100).map(named).find(|group| coordinator(raw, group) == ShardId::new(shard)).unwrap()
    })
}

#[test]
fn a_group_lives_on_one_shard_and_is_reached_from_both() {
    let dir = temp();
    let broker = start(dir.path());
    let (mut raw, hello) = Raw::connect_to(broker.addr(), Some(ShardId::new(0)));
    assert_eq!(hello.shard, ShardId::new(0));
    raw.create_topic("t", 2, &[]);
    let groups = groups_on_both(&mut raw);
    for group in &groups {
        let joined = join_anew(&mut raw, group);
        assert_eq!((joined.generation, &joined.leader), (1, &joined.member_id));
        assert_eq!(joined.members.len(), 1);
        assert_eq!(joined.members[0].metadata, Bytes::from_static(b"what I read"));
        let synced = sync(&mut raw, group, &joined, &[(&joined.member_id, b"all of it")]);
        assert_eq!((synced.error, &synced.assignment[..]), (ErrorCode::None, &b"all of it"[..]));
        assert_eq!(heartbeat(&mut raw, group, 1, &joined.member_id), ErrorCode::None);
        assert_eq!(heartbeat(&mut raw, group, 7, &joined.member_id), ErrorCode::IllegalGeneration);
        let who = (1, joined.member_id.as_str());
        let codes = commit_as(&mut raw, group, who, &[("t", 1, 5, "m"), ("none", 0, 1, ""), ("t", 0, 9, "")]);
        assert_eq!(codes, [ErrorCode::None, ErrorCode::UnknownTopicOrPartition, ErrorCode::None]);
        let zombie = commit_as(&mut raw, group, (0, who.1), &[("t", 1, 4, "")]);
        assert_eq!(zombie, [ErrorCode::IllegalGeneration]);
        let found = committed(&mut raw, group);
        assert_eq!(found, [("t".to_owned(), 0, Some(9)), ("t".to_owned(), 1, Some(5))]);
    }
    let request = ListGroupsRequest { states: vec!["stable".to_owned()] };
    let listed = call(&mut raw, &bytes_of(&request), |reply: &ListGroupsReply| reply.error);
    let mut expected = groups.clone();
    expected.sort();
    assert_eq!(listed.groups.iter().map(|group| group.group.clone()).collect::<Vec<_>>(), expected);

    let request =
        DescribeGroupsRequest { groups: vec![groups[1].clone(), "nobody".into(), groups[0].clone()] };
    let described = call(&mut raw, &bytes_of(&request), |reply: &DescribeGroupsReply| reply.groups[0].error);
    let [first, none, last] = described.groups.try_into().unwrap();
    assert_eq!((first.group, last.group), (groups[1].clone(), groups[0].clone()));
    assert_eq!((first.state.as_str(), first.protocol.as_str()), ("Stable", "range"));
    assert_eq!(first.members[0].client_host, "127.0.0.1");
    assert_eq!(&first.members[0].assignment[..], b"all of it");
    assert_eq!(none.error, ErrorCode::GroupIdNotFound);

    let delete = bytes_of(&DeleteGroupsRequest { groups: vec![groups[0].clone()] });
    let code = |reply: &DeleteGroupsReply| reply.errors[0];
    assert_eq!(code(&call(&mut raw, &delete, code)), ErrorCode::NonEmptyGroup);
    let member_id = last.members[0].member_id.clone();
    let members = vec![LeavingMember { member_id, instance_id: None, reason: None }];
    let leave = LeaveGroupRequest { group: groups[0].clone(), members };
    let left = call(&mut raw, &bytes_of(&leave), |reply: &LeaveGroupReply| reply.error);
    assert_eq!((left.error, left.members[0].error), (ErrorCode::None, ErrorCode::None));
    assert_eq!(code(&call(&mut raw, &delete, code)), ErrorCode::None);
    assert_eq!(committed(&mut raw, &groups[0]), []);
    broker.stop().unwrap();
}

#[test]
fn groups_and_offsets_outlive_a_restart() {
    let dir = temp();
    let broker = start(dir.path());
    let mut raw = Raw::connect(broker.addr());
    raw.create_topic("t", 1, &[]);
    let groups = groups_on_both(&mut raw);
    let mut members = Vec::new();
    for (n, group) in (1u64..).zip(&groups) {
        let joined = join_anew(&mut raw, group);
        sync(&mut raw, group, &joined, &[(&joined.member_id, b"x")]);
        for offset in 0..=100 {
            let who = (1, joined.member_id.as_str());
            assert_eq!(commit_as(&mut raw, group, who, &[("t", 0, offset * n, "")]), [ErrorCode::None]);
        }
        members.push(joined.member_id);
    }
    broker.stop().unwrap();

    let broker = start(dir.path());
    let mut raw = Raw::connect(broker.addr());
    for (n, (group, member)) in (1u64..).zip(groups.iter().zip(&members)) {
        assert_eq!(committed(&mut raw, group), [("t".to_owned(), 0, Some(100 * n))]);
        assert_eq!(heartbeat(&mut raw, group, 1, member), ErrorCode::None, "the member is known");
        assert_eq!(heartbeat(&mut raw, group, 1, "another"), ErrorCode::UnknownMemberId);
    }
    broker.stop().unwrap();
}

#[test]
fn a_member_that_is_not_heard_of_makes_room() {
    let dir = temp();
    let broker = start(dir.path());
    let mut raw = Raw::connect(broker.addr());
    let refused = join(&mut raw, "g", "", 500);
    let first = join(&mut raw, "g", &refused.member_id, 500);
    assert_eq!(first.error, ErrorCode::None);
    sync(&mut raw, "g", &first, &[]);
    // It says nothing any more; the second one is let in once its session is over.
    let begun = Instant::now();
    let second = join_anew(&mut raw, "g");
    assert_eq!((second.generation, second.members.len()), (2, 1));
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(heartbeat(&mut raw, "g", 1, &first.member_id), ErrorCode::UnknownMemberId);
    broker.stop().unwrap();
}

#[test]
fn offsets_of_a_deleted_topic_go_with_it() {
    let dir = temp();
    let broker = start(dir.path());
    let mut raw = Raw::connect(broker.addr());
    raw.create_topic("t", 1, &[]);
    raw.create_topic("u", 1, &[]);
    assert_eq!(commit(&mut raw, "g", &[("t", 0, 3, ""), ("u", 0, 4, "")]), [ErrorCode::None; 2]);
    let deleted = raw.call(&DeleteTopicRequest { name: "t".to_owned(), timeout_ms: 5000 });
    let Answer::Reply(_, body) = deleted else { panic!("{deleted:?}") };
    assert_eq!(DeleteTopicReply::read(&body).unwrap().error, ErrorCode::None);
    let begun = Instant::now();
    while committed(&mut raw, "g") != [("u".to_owned(), 0, Some(4))] {
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
    broker.stop().unwrap();
}

#[test]
fn bad_input_is_answered_with_kafkas_codes() {
    let dir = temp();
    let broker = start(dir.path());
    let mut raw = Raw::connect(broker.addr());
    raw.create_topic("t", 1, &[]);
    for group in [String::new(), "g".repeat(251)] {
        assert_eq!(join(&mut raw, &group, "", 10_000).error, ErrorCode::InvalidGroupId);
        assert_eq!(commit(&mut raw, &group, &[("t", 0, 1, "")]), [ErrorCode::InvalidGroupId]);
    }
    assert_eq!(join(&mut raw, "g", "", 1).error, ErrorCode::InvalidSessionTimeout);
    assert_eq!(join(&mut raw, "g", "", u32::MAX).error, ErrorCode::InvalidSessionTimeout);
    assert_eq!(join(&mut raw, "g", "who", 10_000).error, ErrorCode::UnknownMemberId);
    assert_eq!(heartbeat(&mut raw, "g", 1, "who"), ErrorCode::UnknownMemberId);
    assert_eq!(commit(&mut raw, "g", &[("t", 7, 1, "")]), [ErrorCode::UnknownTopicOrPartition]);
    let long = "x".repeat(4097);
    assert_eq!(commit(&mut raw, "g", &[("t", 0, 1, &long)]), [ErrorCode::OffsetMetadataTooLarge]);
    for api in [Api::JoinGroup, Api::SyncGroup, Api::Heartbeat, Api::OffsetCommit, Api::DescribeGroups] {
        raw.request(api, VERSION, &[0xff; 40]);
        assert!(matches!(raw.answer(), Answer::Refused(ErrorCode::InvalidRequest, _)), "{api:?}");
    }
    broker.stop().unwrap();
}

#[test]
fn the_topic_of_groups_is_the_brokers() {
    let dir = temp();
    let broker = start(dir.path());
    let mut raw = Raw::connect(broker.addr());
    coordinator(&mut raw, "g");
    let deleted = raw.call(&DeleteTopicRequest { name: "__consumer_offsets".to_owned(), timeout_ms: 5000 });
    let Answer::Reply(_, body) = deleted else { panic!("{deleted:?}") };
    assert_eq!(DeleteTopicReply::read(&body).unwrap().error, ErrorCode::InvalidTopic);
    // Its shard may be about to open the partition.
    let begun = Instant::now();
    let code = loop {
        let topic = raw.topic_id("__consumer_offsets");
        match raw.produce(topic, 0, &batch(&[b"forged"])).0 {
            ErrorCode::UnknownTopicId | ErrorCode::UnknownTopicOrPartition => {
                assert!(begun.elapsed() < Duration::from_secs(10));
            }
            code => break code,
        }
    };
    assert_eq!(code, ErrorCode::InvalidTopic);
    broker.stop().unwrap();
}

#[test]
fn a_stop_does_not_wait_for_members_that_wait() {
    let dir = temp();
    let broker = start(dir.path());
    let mut raw = Raw::connect(broker.addr());
    let first = join_anew(&mut raw, "g");
    sync(&mut raw, "g", &first, &[]);
    // The second one's join waits for the first one, which does not come.
    let addr = broker.addr();
    let waiting = std::thread::spawn(move || {
        let mut raw = Raw::connect(addr);
        let refused = join(&mut raw, "g", "", 10_000);
        let request = JoinGroupRequest {
            group: "g",
            member_id: &refused.member_id,
            instance_id: None,
            client_id: "test",
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 60_000,
            protocol_type: "consumer",
            protocols: vec![OfferedProtocol { name: "range", metadata: b"" }],
            reason: None,
        };
        let mut body = Vec::new();
        request.write(&mut Writer::new(&mut body));
        raw.request(Api::JoinGroup, VERSION, &body);
        raw.answer()
    });
    while heartbeat(&mut raw, "g", 1, &first.member_id) != ErrorCode::RebalanceInProgress {
        std::thread::yield_now();
    }
    let begun = Instant::now();
    broker.stop().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    let Answer::Reply(_, body) = waiting.join().unwrap() else { panic!("no answer") };
    assert_eq!(JoinGroupReply::read(&body).unwrap().error, ErrorCode::CoordinatorNotAvailable);
}
