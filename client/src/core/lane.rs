//! The order of one partition's batches on their way to the broker.
//!
//!     push ─▶ waiting │ 7 │ 6 │ ──take──▶ flights │ 5 │ 4 │ 3 │ ──answered──▶ done
//!                ▲                                  │
//!                └──── all that failed, in order ◀──┘  once every flight has its answer
//!
//!     pipelined   up to `window` flights
//!     draining    a flight failed: nothing is sent until the others are answered
//!     probing     one flight at a time, until each that failed has been answered
//!
//! A failed batch waits for the answers of those behind it, because sending it again beside them
//! could put it anywhere among them, and sending them again unasked would double them. It is tried
//! again alone, so that it is overtaken by one window at most, however often it is refused.
//! Invariant: waiting and flights, end to end, are in the order of `push`; only `take` moves a batch
//! out of waiting, only the last answer of a drained window moves some back.

use std::collections::VecDeque;

/// One try of one batch. Ids are not used again, so the answer to an earlier try of the batch, or
/// to a batch that is gone, is told from this one's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FlightId(u64);

#[derive(Debug)]
pub struct Lane<B> {
    waiting: VecDeque<B>,
    flights: VecDeque<Flight<B>>,
    window: usize,
    /// Flights that failed and wait for the others' answers; above 0 the lane drains.
    failed: usize,
    /// How many batches, counted from the first flight, failed before; above 0 the lane probes.
    unproven: usize,
    next_flight: u64,
}

#[derive(Debug)]
struct Flight<B> {
    id: FlightId,
    /// `None` once the batch was given up; the flight still has to be answered.
    batch: Option<B>,
    failed: bool,
}

/// What a failure led to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failed {
    /// No such flight.
    Unknown,
    /// Flights behind or before it are not answered yet.
    Draining,
    /// Everything that failed waits again, in order.
    Returned,
}

impl<B> Lane<B> {
    pub fn new(window: usize) -> Lane<B> {
        assert!(window > 0, "BUG: a window of no batches sends nothing");
        Lane {
            waiting: VecDeque::new(),
            flights: VecDeque::new(),
            window,
            failed: 0,
            unproven: 0,
            next_flight: 0,
        }
    }

    pub fn push(&mut self, batch: B) {
        self.waiting.push_back(batch);
    }

    /// The batch that `take` would take next.
    pub fn first_waiting(&self) -> Option<&B> {
        self.waiting.front()
    }

    /// The batch that was pushed last, if it is not under way.
    pub fn last_waiting(&self) -> Option<&B> {
        self.waiting.back()
    }

    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether one more batch may be under way.
    pub fn has_room(&self) -> bool {
        if self.failed > 0 {
            return false;
        }
        if self.unproven > 0 {
            return self.flights.is_empty();
        }
        // Counted from the oldest one: an answer that overtakes the oldest one's must not let more
        // batches pass it, should it turn out to be refused.
        self.flights.front().is_none_or(|oldest| self.next_flight - oldest.id.0 < self.window as u64)
    }

    /// Whether a batch that is pushed now may be under way together with those before it.
    pub fn has_room_for_one_more(&self) -> bool {
        if self.failed > 0 || self.unproven > 0 {
            return self.failed == 0 && self.flights.is_empty() && self.waiting.is_empty();
        }
        let under_way = self.flights.front().map_or(0, |oldest| self.next_flight - oldest.id.0);
        under_way + (self.waiting.len() as u64) < self.window as u64
    }

    /// The next batch to send, if one may be sent.
    pub fn take(&mut self) -> Option<(FlightId, &mut B)> {
        if !self.has_room() {
            return None;
        }
        let batch = self.waiting.pop_front()?;
        let id = FlightId(self.next_flight);
        self.next_flight += 1;
        self.flights.push_back(Flight { id, batch: Some(batch), failed: false });
        self.check();
        self.flights.back_mut().and_then(|flight| flight.batch.as_mut()).map(|batch| (id, batch))
    }

    /// The broker has given its last word on this flight, good or bad: the batch, unless it was
    /// given up before.
    pub fn answered(&mut self, id: FlightId) -> Option<B> {
        let at = self.flights.iter().position(|flight| flight.id == id && !flight.failed)?;
        let flight = self.flights.remove(at).expect("BUG: position() found it");
        self.unproven = self.unproven.saturating_sub(1);
        self.return_failed();
        self.check();
        flight.batch
    }

    /// The flight failed and shall be tried again.
    pub fn failed(&mut self, id: FlightId) -> Failed {
        let Some(flight) = self.flights.iter_mut().find(|flight| flight.id == id && !flight.failed) else {
            return Failed::Unknown;
        };
        flight.failed = true;
        self.failed += 1;
        self.return_failed();
        self.check();
        if self.failed > 0 { Failed::Draining } else { Failed::Returned }
    }

    /// Once all flights are answered, those that failed wait again, in order.
    fn return_failed(&mut self) {
        if self.failed == 0 || self.failed < self.flights.len() {
            return;
        }
        // The one that probed was counted before; it is counted again if it is still wanted.
        self.unproven = self.unproven.saturating_sub(1);
        while let Some(flight) = self.flights.pop_back() {
            if let Some(batch) = flight.batch {
                self.waiting.push_front(batch);
                self.unproven += 1;
            }
        }
        self.failed = 0;
    }

    /// The batch of this flight, if it is still wanted.
    pub fn flight_mut(&mut self, id: FlightId) -> Option<&mut B> {
        self.flights.iter_mut().find(|flight| flight.id == id).and_then(|flight| flight.batch.as_mut())
    }

    /// Whether every batch before that of this flight has its outcome.
    pub fn is_first(&self, id: FlightId) -> bool {
        self.flights.iter().find(|flight| flight.batch.is_some()).is_some_and(|first| first.id == id)
    }

    /// Every batch in order.
    pub fn batches_mut(&mut self) -> impl Iterator<Item = &mut B> {
        self.flights.iter_mut().filter_map(|flight| flight.batch.as_mut()).chain(&mut self.waiting)
    }

    /// The first batch that `is_over` says is over its time, and whether it is under way: then its
    /// flight still counts until it is answered.
    pub fn give_up(&mut self, is_over: impl Fn(&B) -> bool) -> Option<(B, bool)> {
        for flight in &mut self.flights {
            if flight.batch.as_ref().is_some_and(&is_over) {
                return flight.batch.take().map(|batch| (batch, !flight.failed));
            }
        }
        if !self.waiting.front().is_some_and(is_over) {
            return None;
        }
        if self.unproven > self.flights.len() {
            self.unproven -= 1;
        }
        self.waiting.pop_front().map(|batch| (batch, false))
    }

    /// Every batch, in order, and whether it is under way; the lane is empty afterwards.
    pub fn drain(&mut self) -> Vec<(B, bool)> {
        let flights =
            self.flights.drain(..).filter_map(|flight| flight.batch.map(|batch| (batch, !flight.failed)));
        let all = flights.chain(self.waiting.drain(..).map(|batch| (batch, false))).collect();
        (self.failed, self.unproven) = (0, 0);
        all
    }

    /// Every batch in order.
    pub fn batches(&self) -> impl Iterator<Item = &B> {
        self.flights.iter().filter_map(|flight| flight.batch.as_ref()).chain(&self.waiting)
    }

    fn check(&self) {
        assert!(self.flights.len() <= self.window, "BUG: more flights than the window");
        assert!(self.unproven == 0 || self.flights.len() <= 1, "BUG: batches beside the one that probes");
        assert!(
            self.unproven <= self.flights.len() + self.waiting.len(),
            "BUG: more batches failed than there are"
        );
        debug_assert!(self.flights.iter().is_sorted_by_key(|flight| flight.id), "BUG: flights out of order");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(batches: std::ops::Range<u32>, window: usize) -> Lane<u32> {
        let mut lane = Lane::new(window);
        batches.for_each(|batch| lane.push(batch));
        lane
    }

    fn take(lane: &mut Lane<u32>) -> Vec<(FlightId, u32)> {
        std::iter::from_fn(|| lane.take().map(|(id, batch)| (id, *batch))).collect()
    }

    fn batches(flights: &[(FlightId, u32)]) -> Vec<u32> {
        flights.iter().map(|(_, batch)| *batch).collect()
    }

    #[test]
    fn a_window_is_sent_in_order_and_refilled_by_answers() {
        let mut lane = lane(0..5, 3);
        let flights = take(&mut lane);
        assert_eq!(batches(&flights), [0, 1, 2]);
        assert_eq!(lane.answered(flights[1].0), Some(1));
        assert_eq!(take(&mut lane), [], "batch 0 may still be refused, and would stand behind 3");
        assert!(!lane.has_room_for_one_more());
        assert_eq!(lane.answered(flights[0].0), Some(0));
        assert!(!lane.has_room_for_one_more(), "2 is under way, 3 and 4 wait: the window is spoken for");
        assert_eq!(batches(&take(&mut lane)), [3, 4]);
    }

    #[test]
    fn a_lost_window_is_sent_again_in_order_one_first() {
        let mut lane = lane(0..4, 3);
        let flights = take(&mut lane);
        assert_eq!(lane.failed(flights[0].0), Failed::Draining);
        assert_eq!(lane.failed(flights[1].0), Failed::Draining);
        assert_eq!(lane.failed(flights[2].0), Failed::Returned);
        let again = take(&mut lane);
        assert_eq!(batches(&again), [0]);
        assert_eq!(lane.answered(again[0].0), Some(0));
        let again = take(&mut lane);
        assert_eq!(batches(&again), [1], "2 failed too, and 1 may fail again");
        assert_eq!(lane.failed(again[0].0), Failed::Returned);
        for batch in [1, 2] {
            let again = take(&mut lane);
            assert_eq!(batches(&again), [batch]);
            lane.answered(again[0].0);
        }
        lane.push(4);
        assert_eq!(batches(&take(&mut lane)), [3, 4], "all that failed is through");
    }

    #[test]
    fn a_refused_batch_waits_for_the_answers_behind_it() {
        let mut lane = lane(0..4, 3);
        let flights = take(&mut lane);
        assert_eq!(lane.failed(flights[0].0), Failed::Draining);
        assert_eq!(take(&mut lane), [], "nothing overtakes the failed batch");
        assert_eq!(lane.answered(flights[2].0), Some(2));
        assert_eq!(lane.answered(flights[1].0), Some(1));
        assert_eq!(batches(&take(&mut lane)), [0], "batch 2 was accepted and is not sent again");
    }

    #[test]
    fn an_answer_counts_once() {
        let mut lane = lane(0..2, 2);
        let flights = take(&mut lane);
        assert_eq!(lane.answered(flights[0].0), Some(0));
        assert_eq!((lane.answered(flights[0].0), lane.failed(flights[0].0)), (None, Failed::Unknown));
        assert_eq!(lane.failed(flights[1].0), Failed::Returned);
        assert_eq!((lane.answered(flights[1].0), lane.failed(flights[1].0)), (None, Failed::Unknown));
    }

    #[test]
    fn a_batch_given_up_under_way_still_holds_its_place() {
        let mut lane = lane(0..3, 2);
        let flights = take(&mut lane);
        assert_eq!(lane.give_up(|batch| *batch == 0), Some((0, true)));
        assert_eq!(take(&mut lane), []);
        assert_eq!(lane.failed(flights[0].0), Failed::Draining);
        assert_eq!(lane.failed(flights[1].0), Failed::Returned);
        assert_eq!(lane.give_up(|batch| *batch == 1), Some((1, false)));
        assert_eq!(batches(&take(&mut lane)), [2]);
    }

    #[test]
    fn draining_hands_everything_back_in_order() {
        let mut lane = lane(0..4, 2);
        let flights = take(&mut lane);
        lane.failed(flights[0].0);
        assert_eq!(lane.drain(), [(0, false), (1, true), (2, false), (3, false)]);
        assert_eq!(lane.answered(flights[1].0), None);
    }
}
