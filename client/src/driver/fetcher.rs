//! A reader's task: keeps fetches under way on every connection that its partitions live on.
//!
//!     slots ─ by route ─▶ connection A: fetch, fetch      two at most: one may wait for a slow
//!                     └─▶ connection B: fetch             partition while another gets on
//!                                        │
//!     reply, room, seek, metadata ───────┴─▶ plan again
//!
//! The task ends when the reader is dropped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::api::{Api, ErrorResponse, FetchEntry, FetchParams, FetchReply, FetchRequest};
use protocol::frame::FrameKind;
use protocol::model::LeaderEpoch;
use tokio::sync::{mpsc, watch};

use super::cluster::Cluster;
use super::connection::{Answer, Connection, Until};
use super::links::{Dialed, Links};
use super::{jitter, lock};
use crate::core::fetch::{Fetch, Plan, PlanEntry, Slot};
use crate::core::metadata::{Route, Topic};
use crate::error::ConnectionError;
use crate::limits::RETRY_BACKOFF;
use crate::reader::{ReaderOptions, Shared};

const FETCHES_PER_CONNECTION: usize = 2;

/// How soon a topic or partition that nobody leads is looked at again.
const LEADERLESS_PAUSE: Duration = Duration::from_millis(250);

pub(crate) fn spawn(cluster: Arc<Cluster>, topic: Arc<str>, options: ReaderOptions, shared: Arc<Shared>) {
    // Unbounded, but never longer than requests are under way.
    let (tell, events) = mpsc::unbounded_channel();
    let dialed = tell.clone();
    let report = Arc::new(move |result| {
        // A dropped reader needs no connection.
        let _ = dialed.send(Event::Dialed(result));
    });
    let fetcher = Fetcher {
        version: cluster.watch(),
        links: Links::new(Arc::clone(&cluster), RETRY_BACKOFF, report),
        cluster,
        topic_name: topic,
        topic: None,
        options,
        shared,
        tell,
        events,
        lanes: BTreeMap::new(),
        leaderless: Vec::new(),
        leaderless_until: None,
    };
    tokio::spawn(fetcher.run());
}

enum Event {
    Dialed(Dialed),
    Fetched { route: Route, plan: Plan, result: Result<Answer, ConnectionError> },
}

/// What goes over one connection.
#[derive(Default)]
struct Lane {
    slots: Vec<Slot>,
    under_way: usize,
    /// Bytes that the fetches under way may bring.
    promised: usize,
}

struct Fetcher {
    cluster: Arc<Cluster>,
    topic_name: Arc<str>,
    topic: Option<Arc<Topic>>,
    options: ReaderOptions,
    shared: Arc<Shared>,
    links: Links,
    tell: mpsc::UnboundedSender<Event>,
    events: mpsc::UnboundedReceiver<Event>,
    version: watch::Receiver<u64>,
    lanes: BTreeMap<Route, Lane>,
    /// Slots whose partition nobody leads.
    leaderless: Vec<Slot>,
    leaderless_until: Option<Instant>,
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        self.shared.end();
    }
}

impl Fetcher {
    async fn run(mut self) {
        self.route_slots();
        let timer = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(timer);
        let mut alarm = None;
        while !self.shared.is_closed() {
            let now = Instant::now();
            self.fetch(now);
            let next = self.next_alarm(now);
            if next != alarm
                && let Some(at) = next
            {
                timer.as_mut().reset(at.into());
            }
            alarm = next;
            tokio::select! {
                biased;
                event = self.events.recv() => {
                    self.handle_event(event.expect("BUG: the task holds a sender itself"));
                }
                () = self.shared.wake_driver.notified() => {}
                _ = self.version.changed() => self.route_slots(),
                () = &mut timer, if alarm.is_some() => alarm = None,
            }
            while let Ok(event) = self.events.try_recv() {
                self.handle_event(event);
            }
        }
    }

    /// `now` is that of the last `fetch`: a pause that was over by then has been seen to, or waits for
    /// a connection or a reply, which will wake us.
    fn next_alarm(&self, now: Instant) -> Option<Instant> {
        let pause = lock(&self.shared.state).fetch.poll_timeout(now);
        [pause, self.links.poll_timeout(), self.leaderless_until].into_iter().flatten().min()
    }

    /// Sorts the partitions by the connections that lead to their owners.
    fn route_slots(&mut self) {
        let topic = self.cluster.topic(&self.topic_name);
        // A topic that was made again under the old name has other records at the same offsets.
        let is_gone = |known: &Arc<Topic>| topic.as_ref().is_none_or(|topic| topic.id != known.id);
        if self.topic.as_ref().is_some_and(is_gone) {
            tracing::warn!(topic = %self.topic_name, "the topic of a reader is gone");
            return self.shared.change(Fetch::stop_all);
        }
        self.topic = topic;
        for lane in self.lanes.values_mut() {
            lane.slots.clear();
        }
        self.leaderless.clear();
        let partitions: Vec<_> = lock(&self.shared.state).fetch.partitions().collect();
        for (slot, partition) in partitions.into_iter().enumerate() {
            let route = self.topic.as_ref().and_then(|topic| self.cluster.route(topic, partition));
            match route {
                Some(route) => self.lanes.entry(route).or_default().slots.push(slot),
                None => self.leaderless.push(slot),
            }
        }
        self.leaderless_until = None;
        if !self.leaderless.is_empty() {
            self.want();
            self.leaderless_until = Some(Instant::now() + LEADERLESS_PAUSE);
        }
        self.lanes.retain(|_, lane| !lane.slots.is_empty() || lane.under_way > 0);
        let lanes = &self.lanes;
        self.links.retain(|route| lanes.contains_key(&route));
    }

    fn want(&self) {
        self.cluster.want(&self.topic_name);
    }

    fn handle_event(&mut self, event: Event) {
        match event {
            Event::Dialed(dialed) => {
                let (route, now) = (dialed.route, Instant::now());
                if let Some(error) = self.links.handle_dialed(dialed, now) {
                    self.want();
                    self.note_failure(route, now, &error);
                }
            }
            Event::Fetched { route, plan, result } => self.handle_fetched(route, &plan, result),
        }
    }

    fn note_failure(&self, route: Route, now: Instant, error: &ConnectionError) {
        let Some(lane) = self.lanes.get(&route) else { return };
        let error: Arc<str> = error.to_string().into();
        self.shared.change(|fetch| {
            for slot in &lane.slots {
                fetch.note_failure(now, *slot, &error);
            }
        });
    }

    fn handle_fetched(&mut self, route: Route, plan: &Plan, result: Result<Answer, ConnectionError>) {
        if let Some(lane) = self.lanes.get_mut(&route) {
            lane.under_way -= 1;
            lane.promised -= plan.max_bytes as usize;
            if lane.slots.is_empty() && lane.under_way == 0 {
                self.lanes.remove(&route);
            }
        }
        let now = Instant::now();
        match read(result) {
            Ok(reply) if reply.partitions.len() == plan.entries.len() => {
                self.links.handle_answer(route);
                let results = reply.partitions;
                if self.shared.change(|fetch| fetch.handle_reply(now, plan, results, jitter())) {
                    self.want();
                }
            }
            Ok(_) => self.fail(now, plan, "the reply is not about the partitions of the request"),
            Err(error) => self.fail(now, plan, &error),
        }
    }

    fn fail(&self, now: Instant, plan: &Plan, error: &str) {
        tracing::debug!(topic = %self.topic_name, error, "a fetch failed; trying again");
        self.want();
        let error = error.into();
        self.shared.change(|fetch| fetch.handle_failure(now, plan, &error, jitter()));
    }

    /// Sends every fetch that there is something to ask for.
    fn fetch(&mut self, now: Instant) {
        if self.leaderless_until.is_some_and(|until| until <= now) {
            self.route_slots();
        }
        let Some(topic) = self.topic.clone() else { return };
        let share = (self.options.prefetch_bytes / self.lanes.len().max(1)).max(1);
        for (route, lane) in &mut self.lanes {
            while lane.under_way < FETCHES_PER_CONNECTION && !lane.slots.is_empty() {
                let Some(connection) = self.links.get(*route, now) else { break };
                let plan = self.shared.change(|fetch| fetch.plan(now, &lane.slots, share, lane.promised));
                let Some(plan) = plan else { break };
                lane.under_way += 1;
                lane.promised += plan.max_bytes as usize;
                let tell = self.tell.clone();
                let request = Request { cluster: &self.cluster, options: &self.options, topic: &topic };
                request.send(&connection, *route, plan, tell);
            }
        }
        self.links.handle_timeout(now);
    }
}

/// What a fetch request is made of.
struct Request<'a> {
    cluster: &'a Cluster,
    options: &'a ReaderOptions,
    topic: &'a Topic,
}

impl Request<'_> {
    fn send(&self, connection: &Connection, route: Route, plan: Plan, tell: mpsc::UnboundedSender<Event>) {
        let max_wait = self.options.max_wait;
        let params = FetchParams {
            max_wait_ms: u32::try_from(max_wait.as_millis()).unwrap_or(u32::MAX),
            min_bytes: self.options.min_bytes,
            max_bytes: plan.max_bytes,
        };
        let entries: Vec<FetchEntry> = plan.entries.iter().map(|entry| self.entry(entry)).collect();
        let until = Until::Reply(self.cluster.request_timeout() + max_wait);
        let completion = Box::new(move |result| {
            // The reader may be gone.
            let _ = tell.send(Event::Fetched { route, plan, result });
        });
        let head = |w: &mut protocol::api::Writer<'_>| FetchRequest::write(w, params, &entries);
        connection.submit(Api::Fetch, head, std::iter::empty(), until, Instant::now(), completion);
    }

    fn entry(&self, entry: &PlanEntry) -> FetchEntry {
        let leader_epoch: Option<LeaderEpoch> = self.topic.owner(entry.partition).map(|owner| owner.epoch);
        FetchEntry {
            topic: self.topic.id,
            partition: entry.partition,
            leader_epoch,
            fetch_offset: entry.offset,
            max_bytes: self.options.fetch_bytes,
        }
    }
}

fn read(result: Result<Answer, ConnectionError>) -> Result<FetchReply, String> {
    let Answer::Reply { header, body } = result.map_err(|error| error.to_string())? else {
        unreachable!("BUG: a fetch waits for its reply")
    };
    if header.kind == FrameKind::ErrorReply {
        let refusal = ErrorResponse::read(&body).map_err(|error| error.to_string())?;
        return Err(format!("{} ({:?})", refusal.message, refusal.error));
    }
    FetchReply::parse(&body).map_err(|error| error.to_string())
}
