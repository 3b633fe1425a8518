//! Members against a small model of Kafka's coordinator, in random schedules.
//!
//!     Membership ──call──▶ network: late, lost, answered in vain ──▶ Coordinator ──▶ replies
//!         └─ events ─▶ an application: slow to let go, away at times, crashing
//!
//! After every step: no partition is read by two members, and none by a member and one of its generation.
//! Once the network is well and nobody comes or goes: all are stable, in one generation, and everything is
//! read.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use coordinator::{Answer, Asker, Coordinator, refused};
use proptest::prelude::*;
use protocol::model::{NodeId, PartitionIndex, ShardId};

mod coordinator;

pub(super) const SESSION: Duration = Duration::from_secs(9);
const MAX_POLL: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_millis(50);

pub(super) const ROUTE: Route = Route::Owner { node: NodeId::new(1), shard: ShardId::new(0) };

pub(super) fn options(assignors: &[Assignor]) -> Options {
    Options {
        instance_id: None,
        assignors: assignors.to_vec(),
        session_timeout: SESSION,
        max_poll_interval: MAX_POLL,
        retry_backoff: Duration::from_millis(100),
    }
}

pub(super) fn topics(names: &[&str]) -> BTreeSet<Arc<str>> {
    names.iter().map(|name| Arc::from(*name)).collect()
}

/// One process of the group.
struct App {
    membership: Membership,
    alive: bool,
    /// Revocations that it has not finished.
    letting_go: Vec<(Instant, RevokeId)>,
    away_until: Option<Instant>,
    interrupted: Vec<TopicPartition>,
    closed: bool,
}

enum Message {
    Ask(Call),
    Answer(Answer),
}

struct Group {
    seed: u64,
    now: Instant,
    /// Out of a hundred, so many messages are lost, and milliseconds that others take at most.
    loss: u64,
    delay: u64,
    coordinator: Coordinator,
    loading_until: Option<Instant>,
    counts: PartitionCounts,
    apps: Vec<App>,
    /// By when they arrive.
    network: BTreeMap<(Instant, u64), (Asker, Message)>,
    sent: u64,
}

impl Group {
    fn new(seed: u64) -> Group {
        let counts = [("a", 5), ("b", 3)].map(|(topic, count)| (Arc::from(topic), count));
        Group {
            seed,
            now: Instant::now(),
            loss: 0,
            delay: 20,
            coordinator: Coordinator::new(),
            loading_until: None,
            counts: counts.into_iter().collect(),
            apps: Vec::new(),
            network: BTreeMap::new(),
            sent: 0,
        }
    }

    /// Uniform below `end` (splitmix64).
    fn random(&mut self, end: u64) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.seed ^ (self.seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    fn add(&mut self, assignors: &[Assignor], reads: &[&str]) -> usize {
        let mut membership = Membership::new(options(assignors), self.now);
        membership.subscribe(topics(reads));
        membership.poll_begins();
        let (letting_go, interrupted) = (Vec::new(), Vec::new());
        self.apps.push(App {
            membership,
            alive: true,
            letting_go,
            away_until: None,
            interrupted,
            closed: false,
        });
        self.apps.len() - 1
    }

    fn send(&mut self, asker: Asker, message: Message) {
        self.sent += 1;
        let delay = self.random(self.delay) + 1;
        let is_lost = self.random(100) < self.loss;
        let (after, message) = match message {
            message if !is_lost => (delay, message),
            // The connection breaks: the request may get there for all that, before that is noticed.
            Message::Ask(call) => {
                if self.random(2) == 0 {
                    let arrives = self.now + Duration::from_millis(delay);
                    self.network.insert((arrives, self.sent), ((usize::MAX, asker.1), Message::Ask(call)));
                    self.sent += 1;
                }
                (delay + self.random(3000) + 1, Message::Answer(Err(Failure::Lost)))
            }
            Message::Answer(_) => (self.random(3000) + 1, Message::Answer(Err(Failure::Lost))),
        };
        self.network.insert((self.now + Duration::from_millis(after), self.sent), (asker, message));
    }

    fn deliver(&mut self) {
        while let Some(entry) = self.network.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let (asker, message) = entry.remove();
            match message {
                Message::Ask(call) => self.serve(asker, call),
                Message::Answer(answer) => {
                    let random = self.random(1000) as f64 / 1000.0;
                    if let Some(app) = self.apps.get_mut(asker.0).filter(|app| app.alive) {
                        app.membership.handle_reply(self.now, asker.1, answer, random);
                    }
                }
            }
            for (asker, answer) in std::mem::take(&mut self.coordinator.answers) {
                self.send(asker, Message::Answer(answer));
            }
        }
    }

    fn serve(&mut self, asker: Asker, call: Call) {
        match call {
            Call::FindCoordinator => self.send(asker, Message::Answer(Ok(Reply::Coordinator(ROUTE)))),
            Call::Topics(names) => {
                let known = |(topic, _): &(&Arc<str>, &u32)| names.contains(topic);
                let counts =
                    self.counts.iter().filter(known).map(|(topic, count)| (Arc::clone(topic), *count));
                let answer = Message::Answer(Ok(Reply::Topics(counts.collect())));
                self.send(asker, answer);
            }
            _ if self.loading_until.is_some_and(|until| self.now < until) => {
                let codes = [
                    ErrorCode::CoordinatorLoadInProgress,
                    ErrorCode::NotCoordinator,
                    ErrorCode::CoordinatorNotAvailable,
                ];
                let code = codes[self.random(3) as usize];
                self.send(asker, Message::Answer(refused(code)));
            }
            call => self.coordinator.handle(self.now, asker, call),
        }
    }

    /// What an application's task does when it is awake.
    fn pump(&mut self, at: usize) {
        let app = &mut self.apps[at];
        if !app.alive {
            return;
        }
        if app.away_until.is_some_and(|until| until <= self.now) {
            app.away_until = None;
            app.membership.poll_begins();
        }
        let done = app.letting_go.extract_if(.., |(until, _)| *until <= self.now);
        done.for_each(|(_, id)| app.membership.handle_revoked(id));
        while let Some((id, call)) = self.apps[at].membership.poll_call(self.now) {
            self.send((at, id), Message::Ask(call));
        }
        while let Some(event) = self.apps[at].membership.poll_event() {
            let takes = Duration::from_millis(self.random(400));
            let app = &mut self.apps[at];
            match event {
                Event::Revoke { id, partitions } => {
                    app.interrupted.extend(partitions);
                    app.letting_go.push((self.now + takes, id));
                }
                Event::Lost(partitions) => app.interrupted.extend(partitions),
                Event::Failed(error) => panic!("{error}"),
                Event::Closed => app.closed = true,
                Event::Assigned(_) | Event::LeftIdle => {}
            }
        }
        if let Some(at) = self.apps[at].membership.poll_timeout(self.now) {
            assert!(self.now < at, "an alarm that is over would ring for ever");
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += TICK;
            self.deliver();
            // Metadata are refreshed once in a while.
            if self.random(100) == 0 {
                self.tell_metadata();
            }
            (0..self.apps.len()).for_each(|at| self.pump(at));
            self.coordinator.tick(self.now);
            for (asker, answer) in std::mem::take(&mut self.coordinator.answers) {
                self.send(asker, Message::Answer(answer));
            }
            self.check_exclusive();
        }
    }

    /// Nobody reads what another reads.
    fn check_exclusive(&self) {
        let mut readers = BTreeMap::new();
        for (at, app) in self.apps.iter().enumerate().filter(|(_, app)| app.alive) {
            for owned in app.membership.owned() {
                let other = readers.insert(owned, at);
                assert_eq!(
                    other, None,
                    "{owned:?} is read by {at} too, in generation {}",
                    self.coordinator.generation
                );
            }
        }
    }

    /// All are in, and everything that somebody subscribes to is read.
    fn check_settled(&self) {
        let live = || self.apps.iter().filter(|app| app.alive && !app.membership.closing);
        let mut wanted = BTreeSet::new();
        for (at, app) in live().enumerate() {
            assert!(matches!(app.membership.phase, Phase::Stable), "{at} is {:?}", app.membership.phase);
            assert!(
                app.membership.state().is_some_and(|state| self.coordinator.check(&state).is_ok()),
                "{at}"
            );
            for topic in &app.membership.topics {
                let count = self.counts.get(topic).copied().unwrap_or(0);
                let named = |index| (Arc::clone(topic), PartitionIndex::new(index));
                wanted.extend(
                    (0..count).map(named).map(|(topic, partition)| TopicPartition { topic, partition }),
                );
            }
        }
        let read: BTreeSet<TopicPartition> = live().flat_map(|app| app.membership.owned()).cloned().collect();
        assert_eq!(read, wanted);
        self.apps
            .iter()
            .filter(|app| app.alive && app.membership.closing)
            .for_each(|app| assert!(app.closed));
    }

    fn owned(&self, at: usize) -> usize {
        self.apps[at].membership.owned().len()
    }

    fn interrupted(&mut self, at: usize) -> Vec<TopicPartition> {
        std::mem::take(&mut self.apps[at].interrupted)
    }

    fn close(&mut self, at: usize) {
        self.apps[at].membership.close();
    }

    fn crash(&mut self, at: usize) {
        self.apps[at].alive = false;
    }

    fn generation(&self) -> i32 {
        self.coordinator.generation
    }

    fn grow(&mut self, topic: &str, count: u32) {
        self.counts.insert(topic.into(), count);
        self.tell_metadata();
    }

    fn tell_metadata(&mut self) {
        for app in &mut self.apps {
            app.membership.handle_metadata(&self.counts);
        }
    }

    /// Something happens to the group.
    fn disturb(&mut self, assignors: &[Assignor]) {
        let at = self.random(self.apps.len() as u64) as usize;
        let reads: &[&str] =
            [&["a", "b"][..], &["a"], &["b"], &["a", "b", "nowhere"]][self.random(4) as usize];
        match self.random(9) {
            0 | 1 if self.apps.iter().filter(|app| app.alive).count() < 5 => _ = self.add(assignors, reads),
            2 if at > 0 => self.crash(at),
            3 if at > 0 => self.close(at),
            4 => self.apps[at].membership.subscribe(topics(reads)),
            5 => {
                let count = 1 + self.random(7) as u32;
                self.grow("a", count);
            }
            6 => self.loading_until = Some(self.now + Duration::from_millis(self.random(12_000))),
            7 => {
                let away = MAX_POLL + Duration::from_millis(self.random(20_000));
                self.apps[at].membership.poll_ends(self.now);
                self.apps[at].away_until = Some(self.now + away);
            }
            _ => self.loss = [0, 5, 30, 90][self.random(4) as usize],
        }
        let wait = 100 + self.random(15_000);
        self.run(Duration::from_millis(wait));
    }
}

const COOPERATIVE: &[Assignor] = &[Assignor::CooperativeSticky];

#[test]
fn in_a_cooperative_group_only_what_moves_is_interrupted() {
    let mut group = Group::new(1);
    let first: Vec<usize> = (0..3).map(|_| group.add(COOPERATIVE, &["a", "b"])).collect();
    group.run(SESSION);
    group.check_settled();
    first.iter().for_each(|at| assert_eq!(group.interrupted(*at), []));
    let loads = |group: &Group| first.iter().map(|at| group.owned(*at)).collect::<Vec<_>>();
    assert_eq!(loads(&group).into_iter().sum::<usize>(), 8);
    let new = group.add(COOPERATIVE, &["a", "b"]);
    group.run(2 * SESSION);
    group.check_settled();
    let moved: usize = first.iter().map(|at| group.interrupted(*at).len()).sum();
    assert_eq!(
        (moved, group.owned(new)),
        (2, 2),
        "8 partitions, 4 members: the new one gets 2 and no more moves"
    );
    group.close(new);
    group.run(2 * SESSION);
    group.check_settled();
    first.iter().for_each(|at| assert_eq!(group.interrupted(*at), []));
    group.crash(first[0]);
    group.run(3 * SESSION);
    group.check_settled();
    first[1..].iter().for_each(|at| assert_eq!(group.interrupted(*at), []));
    group.grow("a", 9);
    group.run(2 * SESSION);
    group.check_settled();
    first[1..].iter().for_each(|at| assert_eq!(group.interrupted(*at), []));
}

#[test]
fn a_group_at_rest_stays_at_rest() {
    let mut group = Group::new(7);
    (0..4).for_each(|_| _ = group.add(&[Assignor::Range], &["a", "b"]));
    group.run(SESSION);
    let generation = group.generation();
    group.run(20 * SESSION);
    group.check_settled();
    assert_eq!(group.generation(), generation);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_nothing_is_read_twice_and_in_the_end_everything_is(seed: u64, kind in 0..4_usize) {
        let kinds: [&[Assignor]; 4] = [
            &[Assignor::CooperativeSticky],
            &[Assignor::Range, Assignor::CooperativeSticky],
            &[Assignor::Sticky],
            &[Assignor::RoundRobin],
        ];
        let mut group = Group::new(seed);
        group.delay = 1 + group.random(1500);
        (0..3).for_each(|_| _ = group.add(kinds[kind], &["a", "b"]));
        for _ in 0..25 {
            group.disturb(kinds[kind]);
        }
        (group.loss, group.delay, group.loading_until) = (0, 20, None);
        group.run(2 * MAX_POLL + 4 * SESSION);
        group.check_settled();
    }
}
