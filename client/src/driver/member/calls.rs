//! The requests of a member, each from question to answer.
//!
//!     Call, commit ─▶ the coordinator's connection (made when it is needed) ─▶ Reply, or why not
//!     positions    ─▶ OffsetFetch, then ListOffsets where nothing is committed; tried until it is known
//!
//! A request that is lost takes its connection with it: what comes after goes over a new one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use protocol::api::{
    Api, Assignment, FindCoordinatorReply, FindCoordinatorRequest, HeartbeatReply, HeartbeatRequest,
    JoinGroupReply, JoinGroupRequest, LeaveGroupReply, LeaveGroupRequest, LeavingMember, Message,
    OfferedProtocol, OffsetCommitEntry, OffsetCommitReply, OffsetCommitRequest, OffsetFetchReply,
    OffsetFetchRequest, OffsetSelection, OffsetSpec, SyncGroupReply, SyncGroupRequest, Writer,
};
use protocol::model::{ErrorCode, Offset, PartitionIndex};

use super::join_timeout;
use crate::consumer::{AutoOffsetReset, MemberOptions};
use crate::core::assign::{Generation, PartitionCounts, TopicPartition};
use crate::core::backoff::Backoff;
use crate::core::group::{Call, Failure, Joined, JoinedMember, MemberState, Reply};
use crate::core::metadata::Route;
use crate::driver::call::{call, call_with};
use crate::driver::cluster::Cluster;
use crate::driver::connection::Connection;
use crate::driver::jitter;
use crate::error::{AdminError, ConsumeError};
use crate::limits::RETRY_BACKOFF;

/// Partitions with where to begin, if anywhere, and what the group has committed.
pub(crate) type Positions = Vec<(TopicPartition, Option<Offset>, Option<Offset>)>;

/// The way to whoever coordinates the group.
pub(crate) struct Coordinator {
    cluster: Arc<Cluster>,
    options: Arc<MemberOptions>,
    connection: tokio::sync::Mutex<Option<(Route, Connection)>>,
}

impl Coordinator {
    pub fn new(cluster: Arc<Cluster>, options: Arc<MemberOptions>) -> Coordinator {
        Coordinator { cluster, options, connection: tokio::sync::Mutex::new(None) }
    }

    pub async fn ask(&self, route: Option<Route>, call: Call) -> Result<Reply, Failure> {
        match call {
            Call::FindCoordinator => self.find().await,
            Call::Topics(topics) => self.count_partitions(&topics).await,
            Call::Join { member_id, protocols } => {
                let connection = self.connect(route).await?;
                self.join(&connection, &member_id, &protocols).await
            }
            Call::Sync { state, assignor, assignments } => {
                let connection = self.connect(route).await?;
                self.sync(&connection, &state, assignor.name(), &assignments).await
            }
            Call::Heartbeat(state) => {
                let request = HeartbeatRequest {
                    group: self.options.group.to_string(),
                    generation: Generation::to_wire(Some(state.generation)),
                    member_id: state.member_id.to_string(),
                    instance_id: self.instance_id(),
                };
                let connection = self.connect(route).await?;
                // A heartbeat that takes longer has missed its purpose.
                let reply: HeartbeatReply =
                    self.call(&connection, &request, self.options.session_timeout).await?;
                refused(reply.error)?;
                Ok(Reply::Done)
            }
            Call::Leave { member_id } => {
                let member = LeavingMember {
                    member_id: member_id.to_string(),
                    instance_id: self.instance_id(),
                    reason: None,
                };
                let request =
                    LeaveGroupRequest { group: self.options.group.to_string(), members: vec![member] };
                let connection = self.connect(route).await?;
                let reply: LeaveGroupReply =
                    self.call(&connection, &request, self.options.session_timeout).await?;
                refused(reply.error)?;
                Ok(Reply::Done)
            }
        }
    }

    fn instance_id(&self) -> Option<String> {
        self.options.instance_id.as_ref().map(|id| id.to_string())
    }

    async fn connect(&self, route: Option<Route>) -> Result<Connection, Failure> {
        let route = route.ok_or(Failure::Lost)?;
        let mut connected = self.connection.lock().await;
        if let Some((to, connection)) = &*connected
            && *to == route
            && !connection.is_ended()
        {
            return Ok(connection.clone());
        }
        match self.cluster.dial_route(route).await {
            Ok(connection) => {
                *connected = Some((route, connection.clone()));
                Ok(connection)
            }
            Err(error) => {
                tracing::debug!(%error, "the group's coordinator cannot be reached");
                Err(Failure::Lost)
            }
        }
    }

    async fn call<Q: Message, R: Message>(
        &self,
        connection: &Connection,
        request: &Q,
        timeout: Duration,
    ) -> Result<R, Failure> {
        call(connection, request, timeout).await.map_err(|error| failure(&error))
    }

    async fn find(&self) -> Result<Reply, Failure> {
        let request = FindCoordinatorRequest { group: self.options.group.to_string() };
        let reply: FindCoordinatorReply =
            self.cluster.call_control(&request).await.map_err(|error| failure(&error))?;
        refused(reply.error)?;
        self.cluster.route_to_shard(reply.shard).map(Reply::Coordinator).ok_or(Failure::Lost)
    }

    async fn count_partitions(&self, topics: &[Arc<str>]) -> Result<Reply, Failure> {
        self.cluster.refresh_topics(topics).await.map_err(|error| failure(&error))?;
        let count = |topic: &Arc<str>| {
            self.cluster.topic(topic).map(|known| (Arc::clone(topic), known.partition_count()))
        };
        Ok(Reply::Topics(topics.iter().filter_map(count).collect::<PartitionCounts>()))
    }

    async fn join(
        &self,
        connection: &Connection,
        member_id: &Arc<str>,
        protocols: &[(crate::core::assign::Assignor, Vec<u8>)],
    ) -> Result<Reply, Failure> {
        let options = &self.options;
        let millis = |duration: Duration| u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
        let write = |w: &mut Writer<'_>| {
            let request = JoinGroupRequest {
                group: &options.group,
                member_id,
                instance_id: options.instance_id.as_deref(),
                client_id: &options.client_id,
                session_timeout_ms: millis(options.session_timeout),
                rebalance_timeout_ms: millis(options.max_poll_interval),
                protocol_type: "consumer",
                protocols: protocols
                    .iter()
                    .map(|(assignor, metadata)| OfferedProtocol { name: assignor.name(), metadata })
                    .collect(),
                reason: None,
            };
            request.write(w);
        };
        let timeout = join_timeout(options, self.cluster.request_timeout());
        let reply: JoinGroupReply =
            call_with(connection, Api::JoinGroup, write, timeout).await.map_err(|error| failure(&error))?;
        if reply.error == ErrorCode::MemberIdRequired {
            return Ok(Reply::MemberIdRequired(reply.member_id.into()));
        }
        refused(reply.error)?;
        let generation = Generation::from_wire(reply.generation).ok_or(Failure::Lost)?;
        let member = |member: protocol::api::JoinedMember| JoinedMember {
            member_id: member.member_id.into(),
            instance_id: member.instance_id.map(Into::into),
            metadata: member.metadata,
        };
        Ok(Reply::Joined(Joined {
            generation,
            protocol: reply.protocol.unwrap_or_default(),
            is_leader: reply.leader == reply.member_id,
            member_id: reply.member_id.into(),
            skip_assignment: reply.skip_assignment,
            members: reply.members.into_iter().map(member).collect(),
        }))
    }

    async fn sync(
        &self,
        connection: &Connection,
        state: &MemberState,
        assignor: &'static str,
        assignments: &[(Arc<str>, Vec<u8>)],
    ) -> Result<Reply, Failure> {
        let options = &self.options;
        let write = |w: &mut Writer<'_>| {
            let request = SyncGroupRequest {
                group: &options.group,
                generation: Generation::to_wire(Some(state.generation)),
                member_id: &state.member_id,
                instance_id: options.instance_id.as_deref(),
                protocol_type: Some("consumer"),
                protocol: Some(assignor),
                assignments: assignments
                    .iter()
                    .map(|(member_id, bytes)| Assignment { member_id, bytes })
                    .collect(),
            };
            request.write(w);
        };
        let timeout = join_timeout(options, self.cluster.request_timeout());
        let reply: SyncGroupReply =
            call_with(connection, Api::SyncGroup, write, timeout).await.map_err(|error| failure(&error))?;
        refused(reply.error)?;
        Ok(Reply::Synced(reply.assignment))
    }

    /// One code for each offset.
    pub async fn commit(
        &self,
        route: Route,
        member: &MemberState,
        offsets: Vec<(TopicPartition, Offset)>,
    ) -> Result<Vec<ErrorCode>, Failure> {
        let entry = |(name, offset): (TopicPartition, Offset)| OffsetCommitEntry {
            topic: name.topic.to_string(),
            partition: name.partition,
            offset,
            leader_epoch: None,
            metadata: None,
        };
        let request = OffsetCommitRequest {
            group: self.options.group.to_string(),
            generation: Generation::to_wire(Some(member.generation)),
            member_id: member.member_id.to_string(),
            instance_id: self.instance_id(),
            entries: offsets.into_iter().map(entry).collect(),
        };
        let connection = self.connect(Some(route)).await?;
        let reply: OffsetCommitReply =
            self.call(&connection, &request, self.cluster.request_timeout()).await?;
        Ok(reply.errors)
    }

    /// Where to begin in these partitions; tried for as long as somebody wants to know.
    pub async fn find_positions(
        &self,
        partitions: Vec<TopicPartition>,
        is_wanted: impl Fn() -> bool,
    ) -> Result<Positions, ConsumeError> {
        let mut backoff = Backoff::new(RETRY_BACKOFF);
        loop {
            match self.try_positions(&partitions).await {
                Ok(found) => return Ok(found),
                Err(error) if error.is_retriable() && is_wanted() => {
                    tracing::debug!(%error, "cannot find where to begin; trying again");
                    tokio::time::sleep(backoff.next_pause(jitter())).await;
                }
                Err(error) => return Err(ConsumeError::Start(error)),
            }
        }
    }

    async fn try_positions(&self, partitions: &[TopicPartition]) -> Result<Positions, AdminError> {
        let entries = partitions.iter().map(|name| (name.topic.to_string(), name.partition)).collect();
        let reply = ask_offsets(&self.cluster, &self.options.group, OffsetSelection::Of(entries)).await?;
        let committed = reply.entries.into_iter().map(|entry| entry.offset);
        let mut found: Positions =
            partitions.iter().cloned().zip(committed).map(|(name, at)| (name, at, at)).collect();
        let spec = match self.options.reset {
            AutoOffsetReset::Earliest => OffsetSpec::Earliest,
            AutoOffsetReset::Latest => OffsetSpec::Latest,
            AutoOffsetReset::None => return Ok(found),
        };
        let mut missing: BTreeMap<Arc<str>, Vec<usize>> = BTreeMap::new();
        for (at, (name, position, _)) in found.iter().enumerate() {
            if position.is_none() {
                missing.entry(Arc::clone(&name.topic)).or_default().push(at);
            }
        }
        for (topic, places) in missing {
            let topic = self.cluster.look_up(&topic).await?;
            let wanted: Vec<PartitionIndex> = places.iter().map(|at| found[*at].0.partition).collect();
            let listed = self.cluster.list_offsets(&topic, &wanted, spec).await?;
            for (at, listed) in places.into_iter().zip(listed) {
                found[at].1 = Some(listed.offset.unwrap_or(Offset::ZERO));
            }
        }
        Ok(found)
    }
}

async fn ask_offsets(
    cluster: &Cluster,
    group: &str,
    entries: OffsetSelection,
) -> Result<OffsetFetchReply, AdminError> {
    let request = OffsetFetchRequest {
        group: group.to_owned(),
        member_id: None,
        generation: Generation::to_wire(None),
        require_stable: false,
        entries,
    };
    let reply: OffsetFetchReply = cluster.call_control(&request).await?;
    match reply.error {
        ErrorCode::None => Ok(reply),
        code => Err(AdminError::Refused { code, message: String::new() }),
    }
}

fn refused(code: ErrorCode) -> Result<(), Failure> {
    code.into_result().map_err(Failure::Refused)
}

fn failure(error: &AdminError) -> Failure {
    match error {
        AdminError::Refused { code, .. } => Failure::Refused(*code),
        error => {
            tracing::debug!(%error, "a request to the group's coordinator was lost");
            Failure::Lost
        }
    }
}
