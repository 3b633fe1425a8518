//! Admin of groups against coordinators that are not ready, and replies that do not fit.

use std::time::Duration;

use bytes::Bytes;
use protocol::api::{
    DeleteGroupsReply, DeleteGroupsRequest, DescribeGroupsReply, DescribedGroup, DescribedMember,
    FetchedOffset, LeaveGroupReply, LeftMember, ListGroupsReply, Message, OffsetCommitReply,
    OffsetDeleteReply, OffsetFetchReply,
};
use ringlog_client::{
    AdminError, Client, ErrorCode, GroupOffset, GroupState, MemberToRemove, Offset, PartitionIndex,
    TopicPartition,
};

use crate::broker_and_client;
use crate::tiny_broker::TinyBroker;

fn script(broker: &TinyBroker, reply: &impl Message) {
    let mut body = Vec::new();
    reply.append_to(&mut body);
    broker.state.script.lock().unwrap().push_back(body);
}

fn asked(broker: &TinyBroker) -> usize {
    broker.state.asked.lock().unwrap().len()
}

fn partition(index: u32) -> TopicPartition {
    TopicPartition { topic: "t".into(), partition: PartitionIndex::new(index) }
}

fn offset(index: u32) -> GroupOffset {
    GroupOffset::new("t", PartitionIndex::new(index), Offset::new(7))
}

#[tokio::test]
async fn a_coordinator_that_is_not_ready_is_asked_again() {
    let (broker, client) = broker_and_client().await;
    let admin = client.admin();
    let not_ready =
        [ErrorCode::CoordinatorNotAvailable, ErrorCode::CoordinatorLoadInProgress, ErrorCode::NotCoordinator];
    for code in not_ready {
        script(&broker, &ListGroupsReply::refused(code));
    }
    script(&broker, &ListGroupsReply::refused(ErrorCode::None));
    assert_eq!(admin.list_groups(&[]).await.unwrap(), []);
    assert_eq!(asked(&broker), 4);

    // The code of a partition counts as much as that of the request.
    script(&broker, &OffsetCommitReply { errors: vec![ErrorCode::NotCoordinator; 2] });
    script(&broker, &OffsetCommitReply { errors: vec![ErrorCode::None; 2] });
    admin.alter_group_offsets("g", &[offset(0), offset(1)]).await.unwrap();
    script(&broker, &OffsetDeleteReply::refused(ErrorCode::CoordinatorNotAvailable));
    script(&broker, &OffsetDeleteReply { error: ErrorCode::None, errors: vec![ErrorCode::None] });
    admin.delete_group_offsets("g", &[partition(0)]).await.unwrap();
    assert_eq!(asked(&broker), 8);
}

#[tokio::test]
async fn only_groups_that_are_not_done_are_asked_for_again() {
    let (broker, client) = broker_and_client().await;
    let errors =
        vec![ErrorCode::None, ErrorCode::NotCoordinator, ErrorCode::NonEmptyGroup, ErrorCode::NotCoordinator];
    script(&broker, &DeleteGroupsReply { errors });
    script(&broker, &DeleteGroupsReply { errors: vec![ErrorCode::NotCoordinator, ErrorCode::None] });
    script(&broker, &DeleteGroupsReply { errors: vec![ErrorCode::GroupIdNotFound] });
    let outcomes = client.admin().delete_groups(&["a", "b", "c", "d"]).await.unwrap();
    let codes: Vec<_> =
        outcomes.iter().map(|outcome| outcome.as_ref().err().and_then(AdminError::code)).collect();
    assert_eq!(codes, [None, Some(ErrorCode::GroupIdNotFound), Some(ErrorCode::NonEmptyGroup), None]);
    let asked = broker.state.asked.lock().unwrap();
    let groups: Vec<Vec<String>> =
        asked.iter().map(|(_, body)| DeleteGroupsRequest::read(body).unwrap().groups).collect();
    assert_eq!(groups, [&["a", "b", "c", "d"][..], &["b", "d"], &["b"]]);
}

#[tokio::test]
async fn a_coordinator_that_never_comes_is_given_up_after_the_request_timeout() {
    let broker = TinyBroker::start().await;
    let timeout = Duration::from_secs(1);
    let client =
        Client::builder().bootstrap(broker.address()).request_timeout(timeout).build().await.unwrap();
    for _ in 0..20 {
        script(&broker, &OffsetFetchReply::refused(ErrorCode::CoordinatorLoadInProgress));
    }
    let begun = std::time::Instant::now();
    let error = client.admin().group_offsets("g").await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::CoordinatorLoadInProgress));
    assert!(error.is_retriable());
    // Pauses of at least 50, 100, 200 and 400 ms fit, a fifth of at least 800 ms does not.
    assert!((2..=5).contains(&asked(&broker)), "{}", asked(&broker));
    assert!(begun.elapsed() < 4 * timeout, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn what_is_refused_is_told_by_partition_or_for_the_group() {
    let (broker, client) = broker_and_client().await;
    let admin = client.admin();
    let some = vec![ErrorCode::None, ErrorCode::UnknownTopicOrPartition];
    script(&broker, &OffsetCommitReply { errors: some });
    let error = admin.alter_group_offsets("g", &[offset(0), offset(1)]).await.unwrap_err();
    let AdminError::OffsetsRefused { refused, .. } = &error else { panic!("{error}") };
    assert_eq!(refused[..], [(partition(1), ErrorCode::UnknownTopicOrPartition)]);
    assert!(error.to_string().starts_with("group \"g\": t/1: no such topic or partition"), "{error}");

    script(&broker, &OffsetCommitReply { errors: vec![ErrorCode::UnknownMemberId] });
    let error = admin.alter_group_offsets("g", &[offset(0)]).await.unwrap_err();
    assert!(matches!(error, AdminError::GroupNotEmpty { .. }), "{error}");
    // An answer that says nothing about a partition does not say that it was done.
    script(&broker, &OffsetCommitReply { errors: vec![] });
    let error = admin.alter_group_offsets("g", &[offset(0)]).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::RequestTimedOut));
    script(&broker, &DeleteGroupsReply { errors: vec![] });
    let error = admin.delete_groups(&["g"]).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::RequestTimedOut));

    let left =
        |member_id: &str, error| LeftMember { member_id: member_id.to_owned(), instance_id: None, error };
    let members = vec![left("a", ErrorCode::None), left("", ErrorCode::UnknownMemberId)];
    script(&broker, &LeaveGroupReply { error: ErrorCode::None, members });
    let whom = [MemberToRemove::Member("a".to_owned()), MemberToRemove::Instance("i".to_owned())];
    let outcomes = admin.remove_members("g", &whom).await.unwrap();
    assert!(outcomes[0].is_ok());
    assert_eq!(outcomes[1].as_ref().unwrap_err().to_string(), "group \"g\" has no member \"i\"");

    let long = "g".repeat(251);
    assert!(matches!(admin.group_offsets(&long).await, Err(AdminError::TooLong { .. })));
}

#[tokio::test]
async fn a_description_reads_what_kafkas_consumers_are_assigned_and_nothing_else() {
    let (broker, client) = broker_and_client().await;
    let member = |bytes: &'static [u8]| DescribedMember {
        member_id: "m".to_owned(),
        instance_id: None,
        client_id: "c".to_owned(),
        client_host: "h".to_owned(),
        metadata: Bytes::new(),
        assignment: Bytes::from_static(bytes),
    };
    let group = |protocol_type: &str, state: &str, members| DescribedGroup {
        state: state.to_owned(),
        protocol_type: protocol_type.to_owned(),
        members,
        ..DescribedGroup::refused(ErrorCode::None, "g")
    };
    let assigned = b"\0\0\0\0\0\x01\0\x01t\0\0\0\x02\0\0\0\x04\0\0\0\x02\xff\xff\xff\xff";
    let groups = vec![
        group("consumer", "Stable", vec![member(assigned), member(b""), member(b"\0\0\x7f")]),
        group("connect", "Sleeping", vec![member(assigned)]),
        DescribedGroup::refused(ErrorCode::GroupIdNotFound, "g"),
    ];
    script(&broker, &DescribeGroupsReply { groups });
    let described = client.admin().describe_groups(&["a", "b", "c"]).await.unwrap();
    let [Ok(consumers), Ok(others), Err(missing)] = &described[..] else { panic!("{described:?}") };
    let assignments: Vec<_> = consumers.members.iter().map(|member| member.assignment.clone()).collect();
    assert_eq!(assignments, [Some(vec![partition(2), partition(4)]), Some(vec![]), None]);
    assert_eq!((others.state, &others.members[0].assignment), (GroupState::Unknown, &None));
    assert!(matches!(missing, AdminError::UnknownGroup { group } if &**group == "c"), "{missing}");
}

#[tokio::test]
async fn committed_offsets_come_in_order_and_without_those_that_are_none() {
    let (broker, client) = broker_and_client().await;
    let fetched = |topic: &str, index, offset: Option<u64>| FetchedOffset {
        topic: topic.to_owned(),
        partition: PartitionIndex::new(index),
        offset: offset.map(Offset::new),
        leader_epoch: None,
        metadata: None,
        error: ErrorCode::None,
    };
    let entries = vec![
        fetched("u", 0, Some(1)),
        fetched("t", 1, Some(2)),
        fetched("t", 0, None),
        fetched("t", 10, Some(3)),
    ];
    script(&broker, &OffsetFetchReply { error: ErrorCode::None, entries });
    let offsets = client.admin().group_offsets("g").await.unwrap();
    let named: Vec<_> = offsets.iter().map(|at| (&*at.topic, at.partition.get(), at.offset.get())).collect();
    assert_eq!(named, [("t", 1, 2), ("t", 10, 3), ("u", 0, 1)]);
}
