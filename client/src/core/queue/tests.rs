//! Stories of one partition's queue, and a model that tells random ones.
//!
//!     queue ─▶ wire ─▶ broker's log ─▶ replies ─▶ queue          one connection
//!                └ cut off ─▶ ghosts ─▶ log, unanswered          those before it, still being read
//!
//! The model checks what a user relies on: one outcome per record, an acknowledged record is in the
//! log, one that is said not to be applied is not, and the first copies of all stand in order.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};

const LINGER: Duration = Duration::from_millis(5);
const DELIVERY: Duration = Duration::from_secs(1);
const BATCH_BYTES: usize = 400;

/// A clock that stands still.
pub(super) struct At(pub Instant);

impl Clock for At {
    fn now(&self) -> (Instant, Timestamp) {
        (self.0, Timestamp::from_millis(7))
    }

    fn coarse(&self) -> Timestamp {
        Timestamp::from_millis(5)
    }
}

pub(super) fn options(in_flight: usize) -> QueueOptions {
    QueueOptions {
        linger: LINGER,
        batch_bytes: BATCH_BYTES,
        backlog_batch_bytes: BATCH_BYTES,
        in_flight,
        compression: Codec::None,
        delivery_timeout: DELIVERY,
        retry_backoff: Duration::from_millis(100),
        idempotent: false,
    }
}

fn queue(in_flight: usize) -> Queue<usize> {
    Queue::new(options(in_flight), 1000)
}

fn record(value: &[u8]) -> RecordRef<'_> {
    RecordRef {
        timestamp: Some(Timestamp::from_millis(7)),
        key: None,
        value: Some(value),
        headers: &[],
        charge: value.len(),
    }
}

fn append(queue: &mut Queue<usize>, now: Instant, len: usize, batch: usize) -> Appended<usize> {
    queue.append(record(&vec![1; len]), WhenFull::OpenNext, &At(now), || batch).unwrap()
}

#[test]
fn a_batch_is_closed_by_linger_and_the_driver_is_woken_once() {
    let (mut queue, start) = (queue(2), Instant::now());
    assert!(append(&mut queue, start, 10, 0).wake);
    assert!(!append(&mut queue, start, 10, 1).wake, "the alarm is set already");
    assert!(queue.poll_send(start).is_none());
    assert_eq!(queue.poll_timeout(true), Some(start + LINGER));
    let sending = queue.poll_send(start + LINGER).unwrap();
    assert!(sending.was_open);
    let batch = queue.handle_answer(sending.flight).unwrap();
    assert_eq!((batch.records, batch.charged, batch.state), (RecordCount::new(2), 20, 0));
    assert_eq!(queue.poll_timeout(true), None);
}

#[test]
fn a_coarse_clock_never_puts_a_record_before_the_first_of_its_batch() {
    let (mut queue, start) = (queue(2), Instant::now());
    let mut append = |millis: Option<i64>| {
        let record = RecordRef { timestamp: millis.map(Timestamp::from_millis), ..record(b"") };
        queue.append(record, WhenFull::OpenNext, &At(start), || 0).unwrap().timestamp.millis()
    };
    assert_eq!([append(None), append(None), append(Some(3)), append(None)], [7, 7, 3, 7]);
}

#[test]
fn a_full_batch_goes_at_once_and_a_flushed_one_too() {
    let (mut queue, start) = (queue(2), Instant::now());
    append(&mut queue, start, 200, 0);
    let second = append(&mut queue, start, 200, 1);
    assert!(second.full && second.wake);
    assert_eq!((second.state, second.index), (1, 0), "it opened the next batch");
    assert!(queue.poll_send(start).is_some());
    assert!(queue.poll_send(start).is_none());
    queue.flush();
    assert!(queue.poll_send(start).is_some());
}

#[test]
fn while_the_window_is_full_the_open_batch_fills_beyond_its_linger() {
    let (mut queue, start) = (queue(1), Instant::now());
    append(&mut queue, start, 10, 0);
    let first = queue.poll_send(start + LINGER).unwrap();
    assert!(!append(&mut queue, start + LINGER, 10, 1).wake, "nothing can be sent");
    let later = start + 10 * LINGER;
    assert!(queue.poll_send(later).is_none());
    append(&mut queue, later, 10, 2);
    queue.handle_answer(first.flight).unwrap();
    let second = queue.poll_send(later).unwrap();
    assert_eq!(queue.handle_answer(second.flight).unwrap().records, RecordCount::new(2));
}

#[test]
fn a_batch_that_cannot_be_sent_grows_and_goes_with_the_first_answer() {
    let options = QueueOptions { backlog_batch_bytes: 800, ..options(1) };
    let (mut queue, start): (Queue<usize>, _) = (Queue::new(options, 1000), Instant::now());
    assert!(append(&mut queue, start, 390, 0).full);
    assert_eq!(queue.states().count(), 1);
    assert!(!append(&mut queue, start, 200, 1).full, "the one place is spoken for, though nobody sent yet");
    let first = queue.poll_send(start).unwrap();
    let grown = append(&mut queue, start, 200, 2);
    assert!(grown.full && !grown.wake, "keyless records go on, the batch stays open");
    assert!(!append(&mut queue, start, 10, 3).full);
    assert!(queue.poll_send(start).is_none());
    queue.handle_answer(first.flight).unwrap();
    let second = queue.poll_send(start).unwrap();
    assert!(second.was_open, "without waiting for its linger");
    assert_eq!(queue.handle_answer(second.flight).unwrap().records, RecordCount::new(3));
}

#[test]
fn a_batch_that_cannot_be_sent_ends_at_its_largest_size() {
    let options = QueueOptions { backlog_batch_bytes: 800, ..options(1) };
    let (mut queue, start): (Queue<usize>, _) = (Queue::new(options, 1000), Instant::now());
    for batch in 0..6 {
        append(&mut queue, start, 250, batch);
    }
    // 250 + 250 > 400; then 250, 250 and 250 with 61 of header are 832.
    assert_eq!(queue.states().copied().collect::<Vec<_>>(), [0, 1, 3, 5]);
}

#[test]
fn a_sticky_record_does_not_open_a_batch_behind_a_full_one() {
    let (mut queue, start) = (queue(1), Instant::now());
    append(&mut queue, start, 300, 0);
    let full = queue.append(record(&[1; 300]), WhenFull::Stop, &At(start), || 1);
    assert_eq!(full.unwrap_err(), NotAppended::Full { wake: true });
    assert!(queue.poll_send(start).is_some());
    assert!(queue.states().count() == 1);
}

#[test]
fn a_record_that_no_batch_of_the_topic_holds_is_refused_and_changes_nothing() {
    let (mut queue, start) = (queue(1), Instant::now());
    append(&mut queue, start, 10, 0);
    let large = queue.append(record(&[1; 950]), WhenFull::OpenNext, &At(start), || 1);
    assert!(matches!(large, Err(NotAppended::TooLarge { limit: 1000, .. })), "{large:?}");
    // Larger than a batch should be, but the topic takes it: a batch of its own.
    let alone = append(&mut queue, start, 900, 2);
    assert!(alone.full && alone.index == 0);
    assert_eq!(queue.states().copied().collect::<Vec<_>>(), [0, 2]);
    let huge = queue.append(record(&vec![1; 9 << 20]), WhenFull::OpenNext, &At(start), || 3);
    assert!(matches!(huge, Err(NotAppended::TooLarge { .. })), "{huge:?}");
}

#[test]
fn a_lost_window_pauses_once_and_is_sent_again_in_order() {
    let (mut queue, start) = (queue(3), Instant::now());
    for batch in 0..3 {
        append(&mut queue, start, 390, batch);
    }
    let flights: Vec<FlightId> =
        std::iter::from_fn(|| queue.poll_send(start)).map(|sending| sending.flight).collect();
    let error: Arc<str> = "lost".into();
    flights.iter().for_each(|flight| queue.handle_failure(start, *flight, true, &error, 1.0));
    assert!(queue.poll_send(start).is_none());
    let pause_end = start + Duration::from_millis(100);
    assert_eq!(queue.poll_timeout(true), Some(pause_end), "one failure, one pause");
    let again = queue.poll_send(pause_end).unwrap();
    assert!(queue.poll_send(pause_end).is_none(), "what failed is tried again alone");
    assert_eq!(queue.handle_answer(again.flight).unwrap().state, 0);
    assert!(queue.poll_send(pause_end).is_some());
    let (batch, unsure) = queue.poll_expired(start + DELIVERY).unwrap();
    assert!(unsure && batch.last_error.as_deref() == Some("lost"));
}

#[test]
fn without_a_connection_nothing_is_due_but_deadlines() {
    let (mut queue, start) = (queue(1), Instant::now());
    append(&mut queue, start, 10, 0);
    assert_eq!(queue.poll_timeout(false), Some(start + DELIVERY));
    let (batch, unsure) = queue.poll_expired(start + DELIVERY).unwrap();
    assert_eq!((batch.state, unsure), (0, false));
    assert_eq!(queue.poll_timeout(false), None);
}

#[test]
fn a_sealed_queue_takes_nothing_and_drains_everything() {
    let (mut queue, start) = (queue(1), Instant::now());
    append(&mut queue, start, 390, 0);
    append(&mut queue, start, 390, 1);
    append(&mut queue, start, 10, 2);
    let flight = queue.poll_send(start).unwrap().flight;
    queue.seal();
    let refused = queue.append(record(b"x"), WhenFull::OpenNext, &At(start), || 3);
    assert_eq!(refused.unwrap_err(), NotAppended::Sealed);
    let drained: Vec<_> = queue.drain().into_iter().map(|(batch, unsure)| (batch.state, unsure)).collect();
    assert_eq!(drained, [(0, true), (1, false), (2, false)]);
    assert!(queue.handle_answer(flight).is_none());
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
    Serve(Verdict),
    /// Some reply arrives; they may overtake each other.
    Reply {
        which: usize,
    },
    /// The connection is lost; the broker may go on reading what it has of it.
    Disconnect,
    /// The broker reads a request of a lost connection, the oldest first.
    ServeGhost,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Accept,
    RefuseForNow,
    Refuse,
}

fn op() -> impl Strategy<Value = Op> {
    let verdict = prop_oneof![
        8 => Just(Verdict::Accept),
        1 => Just(Verdict::RefuseForNow),
        1 => Just(Verdict::Refuse),
    ];
    prop_oneof![
        6 => (1..300_usize).prop_map(|len| Op::Append { len }),
        1 => Just(Op::Flush),
        3 => prop_oneof![1..20_u64, 50..400_u64].prop_map(|ms| Op::Wait { ms }),
        4 => verdict.prop_map(Op::Serve),
        4 => any::<usize>().prop_map(|which| Op::Reply { which }),
        1 => Just(Op::Disconnect),
        1 => Just(Op::ServeGhost),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    Acknowledged,
    Failed { unsure: bool },
}

struct Model {
    queue: Queue<usize>,
    now: Instant,
    /// Records by batch.
    batches: Vec<u32>,
    outcomes: BTreeMap<usize, Outcome>,
    flights: BTreeMap<FlightId, usize>,
    wire: VecDeque<FlightId>,
    replies: Vec<(FlightId, Verdict)>,
    ghosts: VecDeque<usize>,
    log: Vec<usize>,
    refused: bool,
}

impl Model {
    fn new(in_flight: usize) -> Model {
        // Batches grow for half of the windows.
        let backlog_batch_bytes = if in_flight.is_multiple_of(2) { 900 } else { BATCH_BYTES };
        Model {
            queue: Queue::new(QueueOptions { backlog_batch_bytes, ..options(in_flight) }, 1000),
            now: Instant::now(),
            batches: Vec::new(),
            outcomes: BTreeMap::new(),
            flights: BTreeMap::new(),
            wire: VecDeque::new(),
            replies: Vec::new(),
            ghosts: VecDeque::new(),
            log: Vec::new(),
            refused: false,
        }
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Append { len } => self.append(len),
            Op::Flush => self.queue.flush(),
            Op::Wait { ms } => self.now += Duration::from_millis(ms),
            Op::Serve(verdict) => self.serve(verdict),
            Op::Reply { which } => self.reply(which),
            Op::Disconnect => self.disconnect(),
            Op::ServeGhost => self.log.extend(self.ghosts.pop_front()),
        }
        self.drive();
    }

    fn append(&mut self, len: usize) {
        let (now, next) = (self.now, self.batches.len());
        let value = vec![1; len];
        let appended = self.queue.append(record(&value), WhenFull::OpenNext, &At(now), || next).unwrap();
        if appended.state == next {
            self.batches.push(0);
        }
        assert_eq!(appended.index, self.batches[appended.state], "indexes count up within a batch");
        self.batches[appended.state] += 1;
    }

    fn serve(&mut self, verdict: Verdict) {
        let Some(flight) = self.wire.pop_front() else { return };
        if verdict == Verdict::Accept {
            self.log.push(self.flights[&flight]);
        }
        // A final refusal counts if its reply is lost: the batch is sent again then.
        self.refused |= verdict != Verdict::Accept;
        self.replies.push((flight, verdict));
    }

    fn reply(&mut self, which: usize) {
        if self.replies.is_empty() {
            return;
        }
        let (flight, verdict) = self.replies.remove(which % self.replies.len());
        self.flights.remove(&flight);
        if verdict == Verdict::RefuseForNow {
            return self.queue.handle_failure(self.now, flight, false, &"not now".into(), 0.5);
        }
        if let Some(batch) = self.queue.handle_answer(flight) {
            let failed = Outcome::Failed { unsure: batch.unsure };
            self.finish(batch, if verdict == Verdict::Accept { Outcome::Acknowledged } else { failed });
        }
    }

    fn disconnect(&mut self) {
        self.ghosts.extend(self.wire.drain(..).map(|flight| self.flights[&flight]));
        self.replies.clear();
        let lost: Vec<FlightId> = std::mem::take(&mut self.flights).into_keys().collect();
        for flight in lost {
            self.queue.handle_failure(self.now, flight, true, &"lost".into(), 0.5);
        }
    }

    /// What the driver does after anything happened.
    fn drive(&mut self) {
        while let Some((batch, unsure)) = self.queue.poll_expired(self.now) {
            self.finish(batch, Outcome::Failed { unsure });
        }
        while let Some(sending) = self.queue.poll_send(self.now) {
            let (batch, _) = protocol::batch::Batch::split_first(&sending.bytes).unwrap();
            let next = *self.flights.values().max().unwrap_or(&0);
            let state = *self.queue.lane.flight_mut(sending.flight).map(|batch| &batch.state).unwrap();
            assert_eq!(batch.record_count().get(), self.batches[state]);
            assert!(state >= next, "batch {state} is sent behind {next}");
            self.flights.insert(sending.flight, state);
            self.wire.push_back(sending.flight);
        }
        if let Some(at) = self.queue.poll_timeout(true) {
            assert!(self.now < at, "an alarm that is over would ring for ever");
        }
    }

    fn finish(&mut self, batch: ClosedBatch<usize>, outcome: Outcome) {
        assert_eq!(batch.records.get(), self.batches[batch.state], "all records share the outcome");
        let before = self.outcomes.insert(batch.state, outcome);
        assert_eq!(before, None, "batch {} has two outcomes", batch.state);
    }

    /// Everything is answered from now on.
    fn settle(&mut self) {
        self.apply(Op::Flush);
        for _ in 0..10_000 {
            if self.queue.states().next().is_none() {
                return;
            }
            self.apply(Op::Serve(Verdict::Accept));
            self.apply(Op::Reply { which: 0 });
            self.apply(Op::Wait { ms: 1 });
        }
        panic!("some records never get an outcome");
    }

    fn check(&self, in_flight: usize) {
        assert_eq!(self.outcomes.len(), self.batches.len(), "every record has an outcome");
        for (batch, outcome) in &self.outcomes {
            let is_there = self.log.contains(batch);
            match outcome {
                Outcome::Acknowledged => assert!(is_there, "batch {batch} was acknowledged and is not there"),
                Outcome::Failed { unsure: false } => {
                    assert!(!is_there, "batch {batch} is there and was said not to be");
                }
                Outcome::Failed { unsure: true } => {}
            }
        }
        // A batch that failed with "may have been applied" may be read from a lost connection at any
        // later time; it promises no order.
        let mut first_copies = Vec::new();
        for batch in self.log.iter().filter(|batch| self.outcomes[batch] == Outcome::Acknowledged) {
            if !first_copies.contains(batch) {
                first_copies.push(*batch);
            }
        }
        if in_flight == 1 || !self.refused {
            assert!(first_copies.is_sorted(), "out of order: {:?}", self.log);
        }
        // Whatever a broker refuses for now, only the rest of its window can overtake it.
        for (at, batch) in first_copies.iter().enumerate() {
            let overtaken_by = first_copies[..at].iter().filter(|earlier| *earlier > batch).count();
            assert!(overtaken_by < in_flight, "{overtaken_by} overtook batch {batch}: {first_copies:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn records_keep_their_order_and_get_one_outcome(
        in_flight in 1..5_usize,
        ops in prop::collection::vec(op(), 1..120),
    ) {
        let mut model = Model::new(in_flight);
        ops.into_iter().for_each(|op| model.apply(op));
        model.settle();
        model.check(in_flight);
    }

    #[test]
    fn draining_at_any_time_gives_the_rest_their_outcome(
        in_flight in 1..5_usize,
        ops in prop::collection::vec(op(), 1..60),
    ) {
        let mut model = Model::new(in_flight);
        ops.into_iter().for_each(|op| model.apply(op));
        for (batch, unsure) in model.queue.drain() {
            model.finish(batch, Outcome::Failed { unsure });
        }
        // What was under way may still be applied; nothing else is.
        while !model.wire.is_empty() {
            model.serve(Verdict::Accept);
        }
        model.check(in_flight);
    }
}
