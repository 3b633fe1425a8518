//! Idempotence: stories of holes in the sequence, and a model that tells random ones.
//!
//!     queue ─▶ wire ─▶ broker: last five batches ─▶ log ─▶ replies ─▶ queue
//!                └ cut off ─▶ lost connections, each still read in its order, whenever it likes
//!
//! What is checked: each record is in the log at most once, whatever happened; an acknowledged one is
//! there, at the offset told, and all acknowledged ones stand in order; one that is said not to be
//! there is not.

use super::tests::{At, options};
use super::*;
use dedup::{Claim, Dedup, Verdict};
use proptest::prelude::*;
use protocol::batch::Batch;
use protocol::model::{ProducerEpoch, ProducerId};
use std::collections::{BTreeMap, VecDeque};

#[path = "../../../tests/sockets/dedup.rs"]
mod dedup;

const DELIVERY: Duration = Duration::from_secs(1);
const BATCH_BYTES: usize = 400;

fn queue(in_flight: usize) -> Queue<usize> {
    // Batches grow for half of the windows.
    let backlog_batch_bytes = if in_flight.is_multiple_of(2) { 900 } else { BATCH_BYTES };
    let options = QueueOptions { idempotent: true, backlog_batch_bytes, ..options(in_flight) };
    Queue::new(options, 1000)
}

fn identity(epoch: i16) -> Identity {
    Identity { id: ProducerId::new(7), epoch: ProducerEpoch::new(epoch) }
}

fn append(queue: &mut Queue<usize>, now: Instant, len: usize, batch: usize) -> Appended<usize> {
    let value = vec![1; len];
    let timestamp = Timestamp::from_millis(7);
    let fields =
        RecordRef { timestamp: Some(timestamp), key: None, value: Some(&value), headers: &[], charge: len };
    queue.append(fields, WhenFull::OpenNext, &At(now), || batch).unwrap()
}

/// Batches of one record each, each full.
fn append_full(queue: &mut Queue<usize>, now: Instant, batches: usize) {
    for batch in 0..batches {
        append(queue, now, 390, batch);
    }
}

fn claim(bytes: &[u8]) -> Claim {
    let (batch, rest) = Batch::split_first(bytes).unwrap();
    assert!(rest.is_empty());
    batch.check_for_append(1000).unwrap();
    Claim {
        id: batch.producer_id().get(),
        epoch: batch.producer_epoch().get(),
        sequence: batch.base_sequence().get(),
        records: batch.record_count().get(),
    }
}

/// Epochs and sequences of all that can be sent now, with their flights.
fn send(queue: &mut Queue<usize>, now: Instant) -> Vec<(FlightId, (i16, i32))> {
    std::iter::from_fn(|| queue.poll_send(now))
        .map(|sending| {
            let Claim { epoch, sequence, .. } = claim(&sending.bytes);
            (sending.flight, (epoch, sequence))
        })
        .collect()
}

fn stamps(sent: &[(FlightId, (i16, i32))]) -> Vec<(i16, i32)> {
    sent.iter().map(|(_, stamp)| *stamp).collect()
}

/// A queue that has sent full batches of one record, one after the other.
fn sent(batches: usize) -> (Queue<usize>, Instant, Vec<FlightId>) {
    let (mut queue, start) = (queue(5), Instant::now());
    queue.offer_identity(identity(0));
    append_full(&mut queue, start, batches);
    let flights = send(&mut queue, start).into_iter().map(|(flight, _)| flight).collect();
    (queue, start, flights)
}

fn error() -> Arc<str> {
    "why".into()
}

#[test]
fn nothing_is_sent_before_the_identity_and_then_from_zero() {
    let (mut queue, start) = (queue(5), Instant::now());
    assert!(!queue.wants_identity(), "nothing is to be sent");
    append_full(&mut queue, start, 3);
    assert!(queue.wants_identity() && queue.poll_send(start).is_none());
    assert_eq!(queue.poll_timeout(true), Some(start + DELIVERY), "nothing else is due");
    queue.offer_identity(identity(3));
    assert_eq!(stamps(&send(&mut queue, start)), [(3, 0), (3, 1), (3, 2)]);
    queue.offer_identity(identity(4));
    append(&mut queue, start, 390, 3);
    assert_eq!(stamps(&send(&mut queue, start)), [(3, 3)], "it needs no other");
}

#[test]
fn a_retry_has_the_bytes_of_the_first_try() {
    let (mut queue, start) = (queue(5), Instant::now());
    queue.offer_identity(identity(0));
    append(&mut queue, start, 390, 0);
    let first = queue.poll_send(start).unwrap();
    queue.handle_failure(start, first.flight, true, &error(), 0.5);
    queue.offer_identity(identity(1));
    let again = queue.poll_send(start + Duration::from_millis(200)).unwrap();
    assert_eq!(again.bytes, first.bytes);
}

#[test]
fn a_batch_that_expires_before_it_is_sent_leaves_no_hole() {
    let (mut queue, start) = (queue(1), Instant::now());
    queue.offer_identity(identity(0));
    append(&mut queue, start, 390, 0);
    let first = send(&mut queue, start);
    append(&mut queue, start, 390, 1);
    let later = start + DELIVERY / 2;
    append(&mut queue, later, 390, 2);
    queue.handle_answer(first[0].0).unwrap();
    let (expired, unsure) = queue.poll_expired(start + DELIVERY).unwrap();
    assert_eq!((expired.state, unsure), (1, false));
    assert_eq!(stamps(&send(&mut queue, start + DELIVERY)), [(0, 1)], "its sequence went to the next");
}

/// The last batch expired in the pause before its retry, and nobody was told to look at the next record.
#[test]
fn a_pause_ends_also_behind_a_hole() {
    let (mut queue, start, flights) = sent(1);
    queue.handle_failure(start, flights[0], false, &error(), 0.5);
    let over = start + DELIVERY;
    assert!(queue.poll_expired(over).is_some());
    assert!(queue.poll_timeout(true).is_some(), "the end of the pause is an alarm");
    assert!(queue.poll_send(over).is_none() && append(&mut queue, over, 10, 1).wake);
}

#[test]
fn behind_a_batch_that_was_refused_for_good_the_rest_begins_again() {
    let (mut queue, start, flights) = sent(3);
    assert_eq!(queue.handle_refusal(flights[0]).unwrap().state, 0);
    for flight in &flights[1..] {
        assert!(queue.handle_out_of_order(start, *flight, &error(), 0.5).is_none());
    }
    let later = start + Duration::from_millis(200);
    assert!(queue.wants_identity() && queue.poll_send(later).is_none());
    queue.offer_identity(identity(0));
    assert!(queue.wants_identity(), "it has that one");
    queue.offer_identity(identity(1));
    let again = send(&mut queue, later);
    assert_eq!(stamps(&again), [(1, 0)], "what failed is tried alone");
    assert_eq!(queue.handle_answer(again[0].0).unwrap().state, 1);
    assert_eq!(stamps(&send(&mut queue, later)), [(1, 1)]);
}

#[test]
fn what_is_only_out_of_order_for_a_retry_before_it_waits_for_that() {
    let (mut queue, start, flights) = sent(2);
    queue.handle_failure(start, flights[0], false, &error(), 0.5);
    assert!(queue.handle_out_of_order(start, flights[1], &error(), 0.5).is_none());
    let later = start + Duration::from_millis(200);
    let again = send(&mut queue, later);
    assert_eq!(stamps(&again), [(0, 0)]);
    queue.handle_answer(again[0].0).unwrap();
    assert_eq!(stamps(&send(&mut queue, later)), [(0, 1)]);
}

#[test]
fn behind_a_maybe_a_maybe_fails_and_a_batch_that_was_never_sent_waits_for_the_next_epoch() {
    let (mut queue, start, flights) = sent(1);
    let late = start + DELIVERY / 2;
    append(&mut queue, late, 390, 1);
    let second = send(&mut queue, late);
    append(&mut queue, late, 390, 2);
    // The connection is lost with the first two, and the delivery timeout takes the first.
    queue.handle_failure(late, flights[0], true, &error(), 0.5);
    queue.handle_failure(late, second[0].0, true, &error(), 0.5);
    let (expired, unsure) = queue.poll_expired(start + DELIVERY).unwrap();
    assert_eq!((expired.state, unsure), (0, true));
    let now = start + DELIVERY;
    let again = send(&mut queue, now);
    assert_eq!(stamps(&again), [(0, 1)], "what was sent goes on as it is, what was not waits");
    let failed = queue.handle_out_of_order(now, again[0].0, &error(), 0.5).unwrap();
    assert!(failed.state == 1 && failed.unsure);
    assert!(send(&mut queue, now).is_empty() && queue.wants_identity());
    queue.offer_identity(identity(1));
    assert_eq!(stamps(&send(&mut queue, now)), [(1, 0)]);
}

#[test]
fn a_producer_that_the_broker_has_forgotten_begins_again() {
    let (mut queue, start, flights) = sent(1);
    queue.handle_answer(flights[0]).unwrap();
    append(&mut queue, start, 390, 1);
    let second = send(&mut queue, start);
    assert!(queue.handle_out_of_order(start, second[0].0, &error(), 0.5).is_none());
    queue.offer_identity(identity(1));
    assert_eq!(stamps(&send(&mut queue, start + Duration::from_millis(200))), [(1, 0)]);
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Append {
        len: usize,
    },
    Flush,
    Wait {
        ms: u64,
    },
    /// The broker reads the next request of the connection.
    Serve(Mood),
    /// Some reply arrives; they may overtake each other.
    Reply {
        which: usize,
    },
    /// The connection is lost with every reply on it; the broker may go on reading what it has of it.
    Disconnect,
    /// The broker reads the next request of some lost connection.
    ServeGhost {
        which: usize,
        mood: Mood,
    },
    /// InitProducerId is answered, if it was asked.
    Identify,
    /// The broker forgets its producers, if nothing is under way.
    Forget,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mood {
    Accept,
    RefuseForNow,
    Refuse,
}

fn op() -> impl Strategy<Value = Op> {
    let mood = || {
        prop_oneof![
            10 => Just(Mood::Accept),
            1 => Just(Mood::RefuseForNow),
            1 => Just(Mood::Refuse),
        ]
    };
    prop_oneof![
        6 => (1..300_usize).prop_map(|len| Op::Append { len }),
        1 => Just(Op::Flush),
        3 => prop_oneof![1..20_u64, 50..400_u64].prop_map(|ms| Op::Wait { ms }),
        4 => mood().prop_map(Op::Serve),
        4 => any::<usize>().prop_map(|which| Op::Reply { which }),
        1 => Just(Op::Disconnect),
        2 => (any::<usize>(), mood()).prop_map(|(which, mood)| Op::ServeGhost { which, mood }),
        2 => Just(Op::Identify),
        1 => Just(Op::Forget),
    ]
}

/// What the broker says about one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Answer {
    Stored(u64),
    OutOfOrder,
    RefusedForNow,
    Refused,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    Acknowledged(u64),
    Failed { unsure: bool },
}

struct Model {
    queue: Queue<usize>,
    now: Instant,
    /// Records by batch.
    batches: Vec<u32>,
    outcomes: BTreeMap<usize, Outcome>,
    /// Flights that wait for their reply.
    flights: BTreeMap<FlightId, usize>,
    wire: VecDeque<(FlightId, usize, Claim)>,
    replies: Vec<(FlightId, Answer)>,
    /// Requests that the broker may still read, by lost connection.
    ghosts: Vec<VecDeque<(usize, Claim)>>,
    dedup: Dedup,
    /// Offset and batch.
    log: Vec<(u64, usize)>,
    end: u64,
    epoch: i16,
}

impl Model {
    fn new(in_flight: usize) -> Model {
        Model {
            queue: queue(in_flight),
            now: Instant::now(),
            batches: Vec::new(),
            outcomes: BTreeMap::new(),
            flights: BTreeMap::new(),
            wire: VecDeque::new(),
            replies: Vec::new(),
            ghosts: Vec::new(),
            dedup: Dedup::default(),
            log: Vec::new(),
            end: 0,
            epoch: -1,
        }
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Append { len } => {
                let next = self.batches.len();
                let appended = append(&mut self.queue, self.now, len, next);
                if appended.state == next {
                    self.batches.push(0);
                }
                self.batches[appended.state] += 1;
            }
            Op::Flush => self.queue.flush(),
            Op::Wait { ms } => self.now += Duration::from_millis(ms),
            Op::Serve(mood) => {
                if let Some((flight, batch, claim)) = self.wire.pop_front() {
                    let answer = self.serve(mood, batch, claim);
                    self.replies.push((flight, answer));
                }
            }
            Op::Reply { which } => self.reply(which),
            Op::Disconnect => self.disconnect(),
            Op::ServeGhost { which, mood } => self.serve_ghost(which, mood),
            Op::Identify => self.identify(),
            Op::Forget => {
                let is_quiet = self.flights.is_empty() && self.ghosts.is_empty();
                if is_quiet && !self.queue.lane.batches().any(|batch| batch.sent) {
                    self.dedup.forget();
                }
            }
        }
        self.drive();
    }

    fn serve(&mut self, mood: Mood, batch: usize, claim: Claim) -> Answer {
        match mood {
            Mood::RefuseForNow => return Answer::RefusedForNow,
            Mood::Refuse => return Answer::Refused,
            Mood::Accept => {}
        }
        match self.dedup.check(claim) {
            Verdict::Append => {
                self.dedup.stored(claim, self.end);
                self.log.push((self.end, batch));
                self.end += u64::from(claim.records);
                Answer::Stored(self.end - u64::from(claim.records))
            }
            Verdict::Duplicate { base } => Answer::Stored(base),
            Verdict::OutOfOrder => Answer::OutOfOrder,
            Verdict::Fenced => panic!("an older epoch behind a newer one, on the connection that counts"),
        }
    }

    fn serve_ghost(&mut self, which: usize, mood: Mood) {
        if self.ghosts.is_empty() {
            return;
        }
        let at = which % self.ghosts.len();
        if let Some((batch, claim)) = self.ghosts[at].pop_front()
            && self.dedup.check(claim) != Verdict::Fenced
        {
            self.serve(mood, batch, claim);
        }
        self.ghosts.retain(|ghosts| !ghosts.is_empty());
    }

    fn reply(&mut self, which: usize) {
        if self.replies.is_empty() {
            return;
        }
        let (flight, answer) = self.replies.remove(which % self.replies.len());
        self.flights.remove(&flight);
        let failed = |batch: &ClosedBatch<usize>| Outcome::Failed { unsure: batch.unsure };
        match answer {
            Answer::Stored(base) => {
                if let Some(batch) = self.queue.handle_answer(flight) {
                    self.finish(&batch, Outcome::Acknowledged(base));
                }
            }
            Answer::RefusedForNow => self.queue.handle_failure(self.now, flight, false, &error(), 0.5),
            Answer::Refused => {
                if let Some(batch) = self.queue.handle_refusal(flight) {
                    self.finish(&batch, failed(&batch));
                }
            }
            Answer::OutOfOrder => {
                if let Some(batch) = self.queue.handle_out_of_order(self.now, flight, &error(), 0.5) {
                    self.finish(&batch, failed(&batch));
                }
            }
        }
    }

    fn disconnect(&mut self) {
        let unread: VecDeque<_> = self.wire.drain(..).map(|(_, batch, claim)| (batch, claim)).collect();
        self.ghosts.extend(Some(unread).filter(|unread| !unread.is_empty()));
        self.replies.clear();
        for flight in std::mem::take(&mut self.flights).into_keys() {
            self.queue.handle_failure(self.now, flight, true, &error(), 0.5);
        }
    }

    fn identify(&mut self) {
        if self.queue.wants_identity() {
            self.epoch += 1;
            self.queue.offer_identity(identity(self.epoch));
        }
    }

    /// What the driver does after anything happened.
    fn drive(&mut self) {
        while let Some((batch, unsure)) = self.queue.poll_expired(self.now) {
            self.finish(&batch, Outcome::Failed { unsure });
        }
        while let Some(sending) = self.queue.poll_send(self.now) {
            let batch = self.queue.lane.flight_mut(sending.flight).map(|batch| batch.state).unwrap();
            let claim = claim(&sending.bytes);
            assert_eq!(claim.records, self.batches[batch]);
            self.flights.insert(sending.flight, batch);
            self.wire.push_back((sending.flight, batch, claim));
        }
        if let Some(at) = self.queue.poll_timeout(true) {
            assert!(self.now < at, "an alarm that is over would ring for ever");
        }
    }

    fn finish(&mut self, batch: &ClosedBatch<usize>, outcome: Outcome) {
        let before = self.outcomes.insert(batch.state, outcome);
        assert_eq!(before, None, "batch {} has two outcomes", batch.state);
    }

    /// Everything is answered from now on.
    fn settle(&mut self) {
        self.apply(Op::Flush);
        for _ in 0..10_000 {
            if self.queue.states().next().is_none() {
                break;
            }
            self.apply(Op::Serve(Mood::Accept));
            self.apply(Op::Reply { which: 0 });
            self.apply(Op::Identify);
            self.apply(Op::Wait { ms: 1 });
        }
        assert!(self.queue.states().next().is_none(), "some records never get an outcome");
        while !self.ghosts.is_empty() {
            self.apply(Op::ServeGhost { which: 0, mood: Mood::Accept });
        }
    }

    fn check(&self) {
        assert_eq!(self.outcomes.len(), self.batches.len(), "every record has an outcome");
        let mut places: BTreeMap<usize, u64> = BTreeMap::new();
        for (offset, batch) in &self.log {
            let before = places.insert(*batch, *offset);
            assert_eq!(before, None, "batch {batch} is there twice: {:?}", self.log);
        }
        let mut last = None;
        for (batch, outcome) in &self.outcomes {
            let place = places.get(batch).copied();
            match outcome {
                Outcome::Acknowledged(base) => {
                    assert_eq!(place, Some(*base), "batch {batch} is not where it was said to be");
                    assert!(last < place, "batch {batch} is out of order: {:?}", self.log);
                    last = place;
                }
                Outcome::Failed { unsure: false } => {
                    assert_eq!(place, None, "batch {batch} is there and was said not to be");
                }
                Outcome::Failed { unsure: true } => {}
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]
    #[test]
    fn records_are_there_once_and_in_order_whatever_is_lost(
        in_flight in 1..=5_usize,
        ops in prop::collection::vec(op(), 1..150),
    ) {
        let mut model = Model::new(in_flight);
        ops.into_iter().for_each(|op| model.apply(op));
        model.settle();
        model.check();
    }
}
