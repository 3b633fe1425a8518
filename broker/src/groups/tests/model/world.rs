//! The clients, the driver and the log of one schedule.

use crate::groups::coordinator::NewId;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use protocol::model::Timestamp;
use uuid::Uuid;

use super::super::fixture::SUBSCRIPTION;
use crate::groups::*;

mod checks;
mod clients;
mod driver;

const GROUPS: [&str; 2] = ["g0", "g1"];
const PARTITIONS: u64 = 4;
const STEPS: usize = 150;
const RETENTION: Duration = Duration::from_secs(900);

/// How often what happened; in a batch of schedules each must.
#[derive(Default, Debug)]
pub struct Seen(BTreeMap<&'static str, u64>);

impl Seen {
    pub fn add(&mut self, other: &Seen) {
        other.0.iter().for_each(|(what, count)| *self.0.entry(what).or_default() += count);
    }

    fn mark(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    pub fn assert_everything_happened(&self) {
        for what in [
            "generation told",
            "assignment told",
            "commit acknowledged",
            "zombie refused",
            "append refused",
            "restart",
            "records lost",
            "member expired",
            "static member back",
            "group removed",
            "offset expired",
            "offset deleted",
        ] {
            assert!(self.0.contains_key(what), "no schedule came to: {what}; {self:?}");
        }
    }
}

/// Splitmix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }
}

/// Who a client is, or was.
#[derive(Clone, PartialEq, Debug)]
struct Identity {
    group: &'static str,
    instance: Option<String>,
    member: String,
    generation: i32,
    /// Of the group; see [`World::incarnation`].
    incarnation: usize,
}

impl Identity {
    /// What an assignment is given to: a static member keeps it under another id.
    fn name(&self) -> &str {
        self.instance.as_deref().unwrap_or(&self.member)
    }
}

struct Client {
    who: Identity,
    waits_for: Option<u64>,
    joined: Option<Joined>,
    owned: Option<Vec<u64>>,
    /// When it was heard of last, by this life of the coordinator.
    heard: Option<Instant>,
    subscription: Vec<u8>,
}

/// What a request was, to judge its reply by.
#[derive(Clone)]
enum Asked {
    Join(usize),
    Sync(usize, Identity),
    Leave(Identity),
    /// Who it says it is (nobody: from outside), and whether it or another had been told better.
    Commit {
        who: Option<Identity>,
        is_zombie: bool,
    },
    Fetch(&'static str),
    Other,
}

type Offsets = BTreeMap<(String, u64), u64>;

/// The state that one batch led to.
struct Batch {
    /// Records of the log up to its end.
    end: usize,
    offsets: Offsets,
}

/// What was told of one generation.
#[derive(Default)]
struct Told {
    leader: Option<String>,
    /// By name of the member: what the leader assigns.
    given: BTreeMap<String, Vec<u64>>,
}

struct Parked {
    /// It is sent when so many batches are durable.
    batch: usize,
    request: u64,
    reply: Reply,
    /// Of the groups, when it was made.
    incarnations: [usize; 2],
}

pub struct World {
    dice: Dice,
    coordinator: Coordinator,
    now: Now,
    ids: u64,
    clients: Vec<Client>,
    /// Identities that clients had.
    former: Vec<Identity>,
    log: Vec<GroupRecord>,
    batches: Vec<Batch>,
    /// As after the last batch.
    offsets: Offsets,
    durable: usize,
    parked: Vec<Parked>,
    asked: BTreeMap<u64, Asked>,
    requests: u64,
    told: BTreeMap<(&'static str, usize, i32), Told>,
    /// Ids that are out for good while this coordinator lives, as somebody was told so.
    out: BTreeSet<(usize, String)>,
    lives: usize,
    next_offset: u64,
    swept_at: Option<Timestamp>,
    seen: Seen,
}

fn config() -> GroupConfig {
    GroupConfig { offsets_retention: RETENTION, size_max: 8, ..GroupConfig::standard() }
}

fn ids(from: u64) -> NewId {
    let mut last = u128::from(from) << 64;
    Box::new(move || {
        last += 1;
        Uuid::from_u128(last)
    })
}

impl World {
    pub fn new(seed: u64) -> World {
        let now = Now { instant: Instant::now(), wall: Timestamp::from_millis(1 << 40) };
        let client = |at: usize| {
            let group = GROUPS[at % 2];
            let instance = at.is_multiple_of(3).then(|| format!("keeper-{at}"));
            let who = Identity { group, instance, member: String::new(), generation: -1, incarnation: 0 };
            Client {
                who,
                waits_for: None,
                joined: None,
                owned: None,
                heard: None,
                subscription: SUBSCRIPTION.to_vec(),
            }
        };
        World {
            dice: Dice(seed),
            coordinator: Coordinator::new(config(), ids(0)),
            now,
            ids: 0,
            clients: (0..7).map(client).collect(),
            former: Vec::new(),
            log: Vec::new(),
            batches: Vec::new(),
            offsets: Offsets::new(),
            durable: 0,
            parked: Vec::new(),
            asked: BTreeMap::new(),
            requests: 0,
            told: BTreeMap::new(),
            out: BTreeSet::new(),
            lives: 0,
            next_offset: 0,
            swept_at: None,
            seen: Seen::default(),
        }
    }

    pub fn run(mut self) -> Seen {
        for _ in 0..STEPS {
            self.step();
            self.check();
        }
        self.flush(0);
        // Nobody asks any more: whatever waits is answered by time alone.
        for _ in 0..10_000 {
            let Some(at) = self.coordinator.deadline(self.now) else { break };
            self.jump(at.saturating_duration_since(self.now.instant));
            self.tick();
            self.flush(0);
        }
        assert!(self.asked.is_empty(), "never answered: {:?}", self.asked.keys());
        assert!(self.coordinator.groups.is_empty(), "what nobody uses is kept");
        self.seen
    }

    fn step(&mut self) {
        let client = self.dice.roll(self.clients.len() as u64) as usize;
        match self.dice.roll(100) {
            0..14 => self.join_or_sync(client),
            14..20 => self.come_to_rest(client % 2),
            20..26 => (0..self.clients.len()).for_each(|client| self.heartbeat(client)),
            26..40 => self.heartbeat(client),
            40..55 => self.commit(client),
            55..60 => self.commit_as_before(),
            60..62 => self.leave(client),
            62..65 => self.crash(client),
            65..68 => self.commit_from_outside(),
            68..71 => self.fetch(),
            71..73 => self.delete(),
            73..74 => self.delete_topic(),
            74..84 => {
                let open = self.dice.roll(2) as usize;
                self.flush(open);
            }
            84..95 => self.pass(),
            95..97 => self.restart(),
            _ => self.change_subscription(client),
        }
    }
}

fn encode(owned: &[u64]) -> Vec<u8> {
    owned.iter().flat_map(|one| one.to_be_bytes()).collect()
}

fn decode(bytes: &[u8]) -> Vec<u64> {
    bytes.chunks(8).map(|chunk| u64::from_be_bytes(chunk.try_into().expect("eight bytes"))).collect()
}
