//! What all parts of a client share: the control connection, the metadata, and who refreshes them.
//!
//!     bootstrap ─▶ control connection ─▶ Metadata ─▶ cache ─▶ version + 1 ─▶ producers, readers look again
//!                                          ▲
//!     refresher task ── wanted by somebody, or five minutes old ──┘
//!
//! The refresher asks for everything wanted at once, and pauses after a failure; whoever saw a
//! stale route only says so (`want`) and goes on. It ends when the last user of the cluster goes.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, Weak};
use std::time::Duration;

use protocol::api::{
    DeleteRecordsEntry, DeleteRecordsReply, DeleteRecordsRequest, ListOffsetsEntry, ListOffsetsReply,
    ListOffsetsRequest, Message, MetadataReply, MetadataRequest, OffsetSpec, TopicSelection,
};
use protocol::model::limits::{PARTITIONS_PER_REQUEST_MAX, TOPICS_PER_REQUEST_MAX};
use protocol::model::{ErrorCode, NodeId, Offset, PartitionIndex, ShardId};
use tokio::sync::{Notify, watch};

use super::call::call;
use super::connection::Connection;
use super::dial::{DialOptions, dial};
use super::{jitter, lock};
use crate::admin::ListedOffset;
use crate::core::backoff::Backoff;
use crate::core::metadata::{Metadata, Route, Topic};
use crate::error::{AdminError, ClientError, ConnectionError};
use crate::limits::{METADATA_MAX_AGE, METADATA_PAUSE, RETRY_BACKOFF};

pub(crate) struct Cluster {
    bootstrap: Vec<Arc<str>>,
    options: DialOptions,
    route_to_owner: bool,
    metadata: RwLock<Metadata>,
    /// Counts the changes of `metadata`.
    version: watch::Sender<u64>,
    control: tokio::sync::Mutex<Option<Connection>>,
    /// Connections to leaders for requests that only they answer; any shard will do.
    leaders: tokio::sync::Mutex<HashMap<NodeId, Connection>>,
    wanted: Mutex<BTreeSet<Arc<str>>>,
    refresh: Arc<Notify>,
}

impl Cluster {
    pub(crate) async fn connect(
        bootstrap: Vec<Arc<str>>,
        options: DialOptions,
        route_to_owner: bool,
    ) -> Result<Arc<Cluster>, ClientError> {
        let refresh = Arc::new(Notify::new());
        let cluster = Arc::new(Cluster {
            bootstrap,
            options,
            route_to_owner,
            metadata: RwLock::default(),
            version: watch::Sender::new(0),
            control: tokio::sync::Mutex::new(None),
            leaders: tokio::sync::Mutex::default(),
            wanted: Mutex::default(),
            refresh: Arc::clone(&refresh),
        });
        // No topic yet: this asks which brokers there are.
        match cluster.refresh_topics(&[]).await {
            Ok(()) => {}
            Err(AdminError::Connection(error)) => return Err(error.into()),
            Err(error) => return Err(ClientError::Metadata(error)),
        }
        tokio::spawn(run_refresher(Arc::downgrade(&cluster), refresh));
        Ok(cluster)
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        self.options.request_timeout
    }

    pub(crate) fn client_id(&self) -> &str {
        &self.options.client_id
    }

    /// The way to a shard of the broker that `call_control` asks. There is one broker.
    pub(crate) fn route_to_shard(&self, shard: ShardId) -> Option<Route> {
        if !self.route_to_owner {
            return Some(Route::Any);
        }
        self.read().first_node().map(|node| Route::Owner { node, shard })
    }

    /// The names of all topics that there are.
    pub(crate) async fn all_topics(&self) -> Result<Vec<Arc<str>>, AdminError> {
        let request = MetadataRequest { topics: TopicSelection::All, with_configs: false };
        let reply: MetadataReply = self.call_control(&request).await?;
        let there = reply.topics.into_iter().filter(|topic| topic.error.is_ok());
        Ok(there.map(|topic| topic.name.into()).collect())
    }

    pub(crate) fn request_timeout_ms(&self) -> u32 {
        u32::try_from(self.options.request_timeout.as_millis()).unwrap_or(u32::MAX)
    }

    /// Sends a request to whichever broker the client is connected to.
    pub(crate) async fn call_control<Q: Message, R: Message>(&self, request: &Q) -> Result<R, AdminError> {
        let connection = self.control().await?;
        call(&connection, request, self.options.request_timeout).await
    }

    async fn control(&self) -> Result<Connection, ConnectionError> {
        let mut control = self.control.lock().await;
        if let Some(connection) = control.as_ref().filter(|connection| !connection.is_ended()) {
            return Ok(connection.clone());
        }
        let known: Vec<Arc<str>> = self.read().addresses().cloned().collect();
        let mut first_error = None;
        for address in self.bootstrap.iter().chain(&known) {
            match dial(address, None, &self.options).await {
                Ok(connection) => {
                    *control = Some(connection.clone());
                    return Ok(connection);
                }
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        Err(first_error.expect("BUG: a bootstrap has at least one address"))
    }

    /// Connects to where `route` leads.
    pub(crate) async fn dial_route(&self, route: Route) -> Result<Connection, ConnectionError> {
        let Route::Owner { node, shard } = route else {
            let mut last = Err(self.no_address("any broker"));
            for address in &self.bootstrap {
                last = dial(address, None, &self.options).await;
                if last.is_ok() {
                    break;
                }
            }
            return last;
        };
        let address = self.address(node)?;
        dial(&address, Some(shard), &self.options).await
    }

    fn address(&self, node: NodeId) -> Result<Arc<str>, ConnectionError> {
        let address = self.read().address(node).cloned();
        address.ok_or_else(|| self.no_address(&format!("node {node}")))
    }

    fn no_address(&self, whom: &str) -> ConnectionError {
        let cause = std::io::Error::new(std::io::ErrorKind::NotFound, "the metadata name no address");
        ConnectionError::Connect { address: whom.into(), cause: Arc::new(cause) }
    }

    /// Which connection requests for a partition belong on; `None` if nobody leads it.
    pub(crate) fn route(&self, topic: &Topic, partition: PartitionIndex) -> Option<Route> {
        let owner = topic.owner(partition)?;
        let owned = Route::Owner { node: owner.node, shard: owner.shard };
        Some(if self.route_to_owner { owned } else { Route::Any })
    }

    /// The topic as it is known; asks nobody.
    pub(crate) fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.read().topic(name).cloned()
    }

    /// The topic as it is known, or as the cluster tells.
    pub(crate) async fn look_up(&self, name: &Arc<str>) -> Result<Arc<Topic>, AdminError> {
        if let Some(topic) = self.topic(name) {
            return Ok(topic);
        }
        self.look_up_anew(name).await
    }

    /// The topic as the cluster tells now.
    pub(crate) async fn look_up_anew(&self, name: &Arc<str>) -> Result<Arc<Topic>, AdminError> {
        self.refresh_topics(std::slice::from_ref(name)).await?;
        self.topic(name).ok_or_else(|| AdminError::UnknownTopic { topic: Arc::clone(name) })
    }

    /// Asks for these topics, and takes in what comes.
    pub(crate) async fn refresh_topics(&self, names: &[Arc<str>]) -> Result<(), AdminError> {
        for names in names.chunks(TOPICS_PER_REQUEST_MAX).chain(names.is_empty().then_some(names)) {
            let topics = TopicSelection::Named(names.iter().map(|name| name.to_string()).collect());
            // Configurations, because they hold the largest batch that a topic takes.
            let request = MetadataRequest { topics, with_configs: true };
            let reply: MetadataReply = self.call_control(&request).await?;
            let changed = self.metadata.write().unwrap_or_else(PoisonError::into_inner).apply(reply);
            if changed {
                self.version.send_modify(|version| *version += 1);
            }
        }
        Ok(())
    }

    /// Says that what is known of a topic may be stale.
    pub(crate) fn want(&self, name: &Arc<str>) {
        if lock(&self.wanted).insert(Arc::clone(name)) {
            self.refresh.notify_one();
        }
    }

    /// Changes with every change of the metadata.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Asks the leaders of `partitions`; one answer each, in their order.
    pub(crate) async fn list_offsets(
        &self,
        topic: &Topic,
        partitions: &[PartitionIndex],
        spec: OffsetSpec,
    ) -> Result<Vec<ListedOffset>, AdminError> {
        let mut answers = vec![None; partitions.len()];
        let mut by_leader: HashMap<NodeId, Vec<usize>> = HashMap::new();
        for (at, partition) in partitions.iter().enumerate() {
            by_leader.entry(leader(topic, *partition)?).or_default().push(at);
        }
        let mut requests: Vec<(NodeId, Vec<usize>)> = Vec::new();
        for (leader, places) in by_leader {
            requests
                .extend(places.chunks(PARTITIONS_PER_REQUEST_MAX).map(|places| (leader, places.to_vec())));
        }
        for (leader, places) in requests {
            let entry = |at: &usize| ListOffsetsEntry {
                topic: topic.id,
                partition: partitions[*at],
                leader_epoch: None,
                spec,
            };
            let request = ListOffsetsRequest { partitions: places.iter().map(entry).collect() };
            let reply: ListOffsetsReply = self.call_leader(leader, &request).await?;
            for (at, result) in places.iter().zip(&reply.partitions) {
                if !result.error.is_ok() {
                    self.want(&topic.name);
                    return Err(refused(topic, result.error));
                }
                answers[*at] = Some(ListedOffset { offset: result.offset, timestamp: result.timestamp });
            }
        }
        let missing = || refused(topic, ErrorCode::RequestTimedOut);
        answers.into_iter().map(|answer| answer.ok_or_else(missing)).collect()
    }

    /// Asks the leader of `partition` to forget its records below `before`.
    pub(crate) async fn delete_records(
        &self,
        topic: &Topic,
        partition: PartitionIndex,
        before: Option<Offset>,
    ) -> Result<Offset, AdminError> {
        let entry = DeleteRecordsEntry { topic: topic.id, partition, before };
        let request = DeleteRecordsRequest { timeout_ms: self.request_timeout_ms(), partitions: vec![entry] };
        let reply: DeleteRecordsReply = self.call_leader(leader(topic, partition)?, &request).await?;
        match reply.partitions.first() {
            Some(result) if result.error.is_ok() => {
                result.low_watermark.ok_or_else(|| refused(topic, ErrorCode::InvalidRequest))
            }
            Some(result) => {
                self.want(&topic.name);
                Err(refused(topic, result.error))
            }
            None => Err(refused(topic, ErrorCode::RequestTimedOut)),
        }
    }

    async fn call_leader<Q: Message, R: Message>(&self, node: NodeId, request: &Q) -> Result<R, AdminError> {
        let connection = {
            let mut leaders = self.leaders.lock().await;
            match leaders.get(&node).filter(|connection| !connection.is_ended()) {
                Some(connection) => connection.clone(),
                None => {
                    let connection = dial(&self.address(node)?, None, &self.options).await?;
                    leaders.insert(node, connection.clone());
                    connection
                }
            }
        };
        call(&connection, request, self.options.request_timeout).await
    }

    fn read(&self) -> RwLockReadGuard<'_, Metadata> {
        self.metadata.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // The refresher sees that nobody is left.
        self.refresh.notify_one();
    }
}

fn leader(topic: &Topic, partition: PartitionIndex) -> Result<NodeId, AdminError> {
    if partition.get() >= topic.partition_count() {
        let (topic, partitions) = (Arc::clone(&topic.name), topic.partition_count());
        return Err(AdminError::UnknownPartition { topic, partition, partitions });
    }
    let owner = topic.owner(partition).ok_or_else(|| refused(topic, ErrorCode::NotLeaderOrFollower))?;
    Ok(owner.node)
}

fn refused(topic: &Topic, code: ErrorCode) -> AdminError {
    match code {
        ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId => {
            AdminError::UnknownTopic { topic: Arc::clone(&topic.name) }
        }
        code => AdminError::Refused { code, message: String::new() },
    }
}

async fn run_refresher(cluster: Weak<Cluster>, refresh: Arc<Notify>) {
    let mut backoff = Backoff::new(RETRY_BACKOFF);
    let mut wait = METADATA_MAX_AGE;
    loop {
        let all = tokio::time::timeout(wait, refresh.notified()).await.is_err();
        let Some(cluster) = cluster.upgrade() else { return };
        let mut names = std::mem::take(&mut *lock(&cluster.wanted));
        if all && wait == METADATA_MAX_AGE {
            names.extend(cluster.read().topic_names());
        }
        wait = METADATA_MAX_AGE;
        let names: Vec<Arc<str>> = names.into_iter().collect();
        if names.is_empty() {
            continue;
        }
        match cluster.refresh_topics(&names).await {
            Ok(()) => backoff.reset(),
            Err(error) => {
                tracing::warn!(%error, "metadata could not be refreshed");
                lock(&cluster.wanted).extend(names);
                wait = backoff.next_pause(jitter());
            }
        }
        drop(cluster);
        // Whoever wants more in the meantime shares the next request.
        tokio::time::sleep(METADATA_PAUSE).await;
    }
}
