//! A broker in memory, over real sockets, that misbehaves when told to.
//!
//!     TinyBroker ── topics in a mutex ── one task per connection, one per parked fetch
//!         └ faults: hang up, hold replies, refuse, another leader shard, damaged batches
//!
//! It is there for what a good broker does not do. That client and broker understand each other is
//! shown by the tests against the real one.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use protocol::api::*;
use protocol::batch::{Batch, stamp};
use protocol::frame::{FRAME_HEADER_LEN, FrameHeader, FrameKind, append_frame};
use protocol::model::limits::FRAME_BODY_BYTES_MAX;
use protocol::model::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use crate::dedup::{Claim, Dedup, Verdict};

pub const SHARDS: u16 = 2;

pub struct TinyBroker {
    pub port: u16,
    pub state: Arc<State>,
    accept: tokio::task::AbortHandle,
}

#[derive(Default)]
pub struct Faults {
    /// Hang up after this many produce requests of a connection, applying the last one or not.
    pub hang_up_after: AtomicUsize,
    /// Take produce requests and answer none.
    pub hold: AtomicBool,
    /// Throw produce requests away unread; for measurements.
    pub discard: AtomicBool,
    /// Answer this many record sets with `refusal`.
    pub refuse: AtomicUsize,
    pub refusal: AtomicU64,
}

pub struct State {
    topics: Mutex<HashMap<String, Topic>>,
    pub faults: Faults,
    /// Record sets that came to a shard which does not own their partition.
    pub misrouted: AtomicUsize,
    pub connections: AtomicUsize,
    pub produces: AtomicUsize,
    pub next_producer: AtomicI64,
    /// Bodies of the next replies to messages that this broker does not know.
    pub script: Mutex<VecDeque<Vec<u8>>>,
    /// Those messages.
    pub asked: Mutex<Vec<(Api, Bytes)>>,
    changed: watch::Sender<u64>,
    hang_up: watch::Sender<u64>,
    port: Mutex<u16>,
}

pub struct Topic {
    pub id: TopicId,
    pub partitions: Vec<Partition>,
    pub configs: Vec<(String, String)>,
}

#[derive(Default)]
pub struct Partition {
    pub shard: u16,
    pub start: u64,
    pub next: u64,
    pub batches: Vec<(u64, Bytes)>,
    pub dedup: Dedup,
}

impl Drop for TinyBroker {
    fn drop(&mut self) {
        self.accept.abort();
        self.state.hang_up_all();
    }
}

impl TinyBroker {
    pub async fn start() -> TinyBroker {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            topics: Mutex::default(),
            faults: Faults::default(),
            misrouted: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            produces: AtomicUsize::new(0),
            next_producer: AtomicI64::new(0),
            script: Mutex::default(),
            asked: Mutex::default(),
            changed: watch::Sender::new(0),
            hang_up: watch::Sender::new(0),
            port: Mutex::new(port),
        });
        let shared = Arc::clone(&state);
        let accept = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                shared.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(Arc::clone(&shared), stream));
            }
        });
        TinyBroker { port, state, accept: accept.abort_handle() }
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn topic(&self, name: &str, partitions: u32, configs: &[(&str, &str)]) {
        let mut id = [0; 16];
        id[..name.len().min(16)].copy_from_slice(&name.as_bytes()[..name.len().min(16)]);
        let partitions = (0..partitions)
            .map(|index| Partition { shard: index as u16 % SHARDS, ..Partition::default() })
            .collect();
        let configs = configs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        self.state
            .topics()
            .insert(name.to_owned(), Topic { id: TopicId::from_bytes(id), partitions, configs });
    }

    /// Values of a partition, in order.
    pub fn values(&self, topic: &str, partition: usize) -> Vec<Vec<u8>> {
        let topics = self.state.topics();
        let batches = topics[topic].partitions[partition].batches.clone();
        drop(topics);
        let decode = |(_, bytes): (u64, Bytes)| protocol::batch::decode_batch(bytes, 64 << 20).unwrap();
        batches.into_iter().flat_map(decode).map(|record| record.value.unwrap_or_default().to_vec()).collect()
    }
}

impl State {
    pub fn topics(&self) -> MutexGuard<'_, HashMap<String, Topic>> {
        self.topics.lock().unwrap()
    }

    /// Ends every connection; parked fetches too.
    pub fn hang_up_all(&self) {
        self.hang_up.send_modify(|times| *times += 1);
    }

    pub fn notify(&self) {
        self.changed.send_modify(|version| *version += 1);
    }
}

async fn serve(state: Arc<State>, stream: TcpStream) {
    stream.set_nodelay(true).unwrap();
    let (mut read, mut write) = stream.into_split();
    let (reply, mut replies) = mpsc::unbounded_channel::<Vec<u8>>();
    let writer = tokio::spawn(async move {
        while let Some(bytes) = replies.recv().await {
            if write.write_all(&bytes).await.is_err() {
                return;
            }
        }
    });
    let mut hang_up = state.hang_up.subscribe();
    tokio::select! {
        () = serve_requests(&state, &mut read, reply) => {}
        _ = hang_up.changed() => writer.abort(),
    }
}

async fn read_frame(
    state: &State,
    read: &mut OwnedReadHalf,
    scratch: &mut Vec<u8>,
) -> Option<(FrameHeader, Bytes)> {
    let mut head = [0; FRAME_HEADER_LEN];
    read.read_exact(&mut head).await.ok()?;
    let header = FrameHeader::parse(&head, FRAME_BODY_BYTES_MAX).unwrap().unwrap();
    if header.api == Api::Produce && state.faults.discard.load(Ordering::Relaxed) {
        scratch.resize(header.body_len as usize, 0);
        read.read_exact(scratch).await.ok()?;
        return Some((header, Bytes::copy_from_slice(&scratch[..12])));
    }
    let mut body = vec![0; header.body_len as usize];
    read.read_exact(&mut body).await.ok()?;
    Some((header, body.into()))
}

fn frame(request: &FrameHeader, body: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    append_frame(&mut out, request.api, VERSION, FrameKind::Reply, request.correlation, body);
    out
}

async fn serve_requests(state: &Arc<State>, read: &mut OwnedReadHalf, reply: mpsc::UnboundedSender<Vec<u8>>) {
    let (mut shard, mut produces) = (ShardId::new(0), 0);
    let mut scratch = Vec::new();
    while let Some((header, body)) = read_frame(state, read, &mut scratch).await {
        let answer = match header.api {
            Api::Hello => {
                let hello = HelloRequest::read(&body).unwrap();
                shard = hello.shard.unwrap_or(shard);
                let answer = welcome(shard);
                frame(&header, |out| answer.append_to(out))
            }
            Api::Metadata => {
                let answer = metadata(state, MetadataRequest::read(&body).unwrap());
                frame(&header, |out| answer.append_to(out))
            }
            Api::ListOffsets => {
                let answer = list_offsets(state, ListOffsetsRequest::read(&body).unwrap());
                frame(&header, |out| answer.append_to(out))
            }
            Api::InitProducerId => {
                let answer = init_producer_id(state, InitProducerIdRequest::read(&body).unwrap());
                frame(&header, |out| answer.append_to(out))
            }
            Api::Produce if state.faults.discard.load(Ordering::Relaxed) => {
                let count = u32::from_le_bytes(body[8..12].try_into().unwrap());
                let result = ProduceResult {
                    base_offset: Some(Offset::ZERO),
                    ..ProduceResult::refused(ErrorCode::None)
                };
                let answer = ProduceReply { throttle_ms: 0, partitions: vec![result; count as usize] };
                frame(&header, |out| answer.append_to(out))
            }
            Api::Produce => {
                produces += 1;
                state.produces.fetch_add(1, Ordering::Relaxed);
                let limit = state.faults.hang_up_after.load(Ordering::Relaxed);
                let hang_up = limit > 0 && produces >= limit;
                // Every other time the last request is applied, and its answer lost.
                if hang_up && state.produces.load(Ordering::Relaxed).is_multiple_of(2) {
                    return;
                }
                let request = ProduceRequest::parse(&body).unwrap();
                let answer = produce(state, shard, &request);
                if hang_up {
                    return;
                }
                if request.acks == Acks::None || state.faults.hold.load(Ordering::Relaxed) {
                    continue;
                }
                frame(&header, |out| answer.append_to(out))
            }
            Api::Fetch => {
                let (state, reply) = (Arc::clone(state), reply.clone());
                tokio::spawn(async move {
                    let answer = fetch(&state, &header, &body).await;
                    let _ = reply.send(answer);
                });
                continue;
            }
            api => {
                state.asked.lock().unwrap().push((api, body));
                let scripted = state.script.lock().unwrap().pop_front();
                let scripted = scripted.unwrap_or_else(|| panic!("the tiny broker does not know {api:?}"));
                frame(&header, |out| out.extend(scripted))
            }
        };
        let _ = reply.send(answer);
    }
}

fn welcome(shard: ShardId) -> HelloReply {
    HelloReply {
        error: ErrorCode::None,
        version: VERSION,
        shard,
        shards: SHARDS,
        node: NodeId::new(1),
        cluster: ClusterId::from_bytes([1; 16]),
        frame_body_bytes_max: FRAME_BODY_BYTES_MAX as u32,
        broker: "tiny".to_owned(),
    }
}

fn metadata(state: &State, request: MetadataRequest) -> MetadataReply {
    let topics = state.topics();
    let TopicSelection::Named(names) = request.topics else { panic!("only named topics") };
    let describe = |name: String| match topics.get(&name) {
        None => TopicMetadata {
            error: ErrorCode::UnknownTopicOrPartition,
            name,
            id: TopicId::from_bytes([0; 16]),
            partitions: Vec::new(),
            configs: Vec::new(),
        },
        Some(topic) => TopicMetadata {
            error: ErrorCode::None,
            name,
            id: topic.id,
            partitions: topic.partitions.iter().enumerate().map(describe_partition).collect(),
            configs: topic
                .configs
                .iter()
                .map(|(key, value)| ConfigEntry { key: key.clone(), value: value.clone(), is_default: false })
                .collect(),
        },
    };
    let (node, port) = (NodeId::new(1), *state.port.lock().unwrap());
    let broker = BrokerMetadata { node, host: "127.0.0.1".to_owned(), port, shards: SHARDS };
    MetadataReply {
        cluster: ClusterId::from_bytes([1; 16]),
        controller: node,
        brokers: vec![broker],
        topics: names.into_iter().map(describe).collect(),
    }
}

fn describe_partition((index, partition): (usize, &Partition)) -> PartitionMetadata {
    PartitionMetadata {
        index: PartitionIndex::new(index as u32),
        error: ErrorCode::None,
        leader: NodeId::new(1),
        leader_epoch: LeaderEpoch::FIRST,
        shard: ShardId::new(partition.shard),
        replicas: vec![NodeId::new(1)],
        in_sync: vec![NodeId::new(1)],
    }
}

fn find(topics: &mut HashMap<String, Topic>, id: TopicId, index: PartitionIndex) -> Option<&mut Partition> {
    let topic = topics.values_mut().find(|topic| topic.id == id)?;
    topic.partitions.get_mut(index.get() as usize)
}

fn list_offsets(state: &State, request: ListOffsetsRequest) -> ListOffsetsReply {
    let mut topics = state.topics();
    let answer = |entry: ListOffsetsEntry| {
        let Some(partition) = find(&mut topics, entry.topic, entry.partition) else {
            return ListOffsetsResult::refused(ErrorCode::UnknownTopicId);
        };
        let offset = match entry.spec {
            OffsetSpec::Earliest => partition.start,
            _ => partition.next,
        };
        ListOffsetsResult { offset: Some(Offset::new(offset)), ..ListOffsetsResult::refused(ErrorCode::None) }
    };
    ListOffsetsReply { partitions: request.partitions.into_iter().map(answer).collect() }
}

fn init_producer_id(state: &State, request: InitProducerIdRequest) -> InitProducerIdReply {
    let (producer_id, producer_epoch) = match request.producer {
        Some((id, epoch)) => (id, ProducerEpoch::new(epoch.get() + 1)),
        None => {
            let id = state.next_producer.fetch_add(1, Ordering::Relaxed);
            (ProducerId::new(id), ProducerEpoch::FIRST)
        }
    };
    InitProducerIdReply { error: ErrorCode::None, producer_id, producer_epoch }
}

/// What an idempotent producer's batch says of itself.
fn claim(batch: &Batch<'_>) -> Option<Claim> {
    let claim = Claim {
        id: batch.producer_id().get(),
        epoch: batch.producer_epoch().get(),
        sequence: batch.base_sequence().get(),
        records: batch.record_count().get(),
    };
    Some(claim).filter(|claim| claim.id >= 0)
}

fn produce(state: &State, shard: ShardId, request: &ProduceRequest<'_>) -> ProduceReply {
    let mut topics = state.topics();
    let mut results = Vec::new();
    for entry in request.partitions() {
        let Some(partition) = find(&mut topics, entry.topic, entry.partition) else {
            results.push(ProduceResult::refused(ErrorCode::UnknownTopicId));
            continue;
        };
        if partition.shard != shard.get() {
            state.misrouted.fetch_add(1, Ordering::Relaxed);
            results.push(ProduceResult::refused(ErrorCode::NotLeaderOrFollower));
            continue;
        }
        let refuse = &state.faults.refuse;
        if refuse.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
            let code = state.faults.refusal.load(Ordering::Relaxed) as u16;
            results.push(ProduceResult::refused(ErrorCode::from_wire(code)));
            continue;
        }
        let (batch, rest) = Batch::split_first(entry.records).unwrap();
        assert!(rest.is_empty(), "one batch per partition");
        batch.check_for_append(8 << 20).unwrap();
        let base = partition.next;
        let claim = claim(&batch);
        let verdict = claim.map_or(Verdict::Append, |claim| partition.dedup.check(claim));
        match verdict {
            Verdict::Append => {}
            Verdict::Duplicate { base } => {
                let base_offset = Some(Offset::new(base));
                results.push(ProduceResult { base_offset, ..ProduceResult::refused(ErrorCode::None) });
                continue;
            }
            Verdict::OutOfOrder => {
                results.push(ProduceResult::refused(ErrorCode::OutOfOrderSequenceNumber));
                continue;
            }
            Verdict::Fenced => {
                results.push(ProduceResult::refused(ErrorCode::InvalidProducerEpoch));
                continue;
            }
        }
        if let Some(claim) = claim {
            partition.dedup.stored(claim, base);
        }
        let mut bytes = entry.records.to_vec();
        stamp(&mut bytes, Offset::new(base), LeaderEpoch::FIRST);
        partition.next += u64::from(batch.record_count().get());
        partition.batches.push((base, bytes.into()));
        let base_offset = Some(Offset::new(base));
        results.push(ProduceResult { error: ErrorCode::None, base_offset, log_start_offset: None });
    }
    drop(topics);
    state.notify();
    ProduceReply { throttle_ms: 0, partitions: results }
}

async fn fetch(state: &State, header: &FrameHeader, body: &Bytes) -> Vec<u8> {
    let request = FetchRequest::parse(body).unwrap();
    let mut changed = state.changed.subscribe();
    let wait = tokio::time::sleep(Duration::from_millis(u64::from(request.params.max_wait_ms)));
    tokio::pin!(wait);
    loop {
        let (results, sets) = read_sets(state, &request);
        let is_over = wait.is_elapsed() || results.iter().any(|result| !result.error.is_ok());
        if is_over || sets.len() as u32 >= request.params.min_bytes {
            return frame(header, |out| {
                FetchReply::write_head(&mut Writer::new(out), 0, &results);
                out.extend_from_slice(&sets);
            });
        }
        tokio::select! {
            _ = changed.changed() => {}
            () = &mut wait => {}
        }
    }
}

fn read_sets(state: &State, request: &FetchRequest<'_>) -> (Vec<FetchResult>, Vec<u8>) {
    let mut topics = state.topics();
    let (mut results, mut sets) = (Vec::new(), Vec::new());
    for entry in request.partitions() {
        let Some(partition) = find(&mut topics, entry.topic, entry.partition) else {
            results.push(FetchResult::refused(ErrorCode::UnknownTopicId));
            continue;
        };
        let offset = entry.fetch_offset.get();
        let in_range = partition.start <= offset && offset <= partition.next;
        let start = sets.len();
        let first = partition.batches.partition_point(|(base, _)| *base <= offset).saturating_sub(1);
        for (base, bytes) in partition.batches.iter().skip(first).filter(|_| in_range) {
            let count = Batch::split_first(bytes).map_or(1, |(batch, _)| batch.record_count().get());
            if base + u64::from(count) <= offset {
                continue;
            }
            let fits = sets.len() - start + bytes.len() <= entry.max_bytes as usize
                && sets.len() + bytes.len() <= request.params.max_bytes as usize;
            if !fits && !sets.is_empty() {
                break;
            }
            sets.extend_from_slice(bytes);
        }
        results.push(FetchResult {
            error: if in_range { ErrorCode::None } else { ErrorCode::OffsetOutOfRange },
            high_watermark: Some(Offset::new(partition.next)),
            last_stable_offset: Some(Offset::new(partition.next)),
            log_start_offset: Some(Offset::new(partition.start)),
            records_len: (sets.len() - start) as u32,
        });
    }
    (results, sets)
}
