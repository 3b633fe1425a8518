//! Replies in the order of their requests, on which Kafka's clients rely.
//!
//!     asked      7 ▸ 8 ▸ 9
//!     answered   9 ▸ 7 ▸ 8
//!     sent       7 ▸ 8 ▸ 9        9 is ready first and waits here until 7 and 8 have gone
//!
//! Each request takes a turn when it is read. A reply whose turn it is goes straight to the outbox, as all
//! do where requests are answered in the order they came; only one that is early is kept.

use std::collections::VecDeque;

use super::outbox::Outbox;

/// A request's place in the order of replies of its connection. Is answered exactly once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Turn(u64);

#[derive(Default)]
pub struct Order {
    /// The turn of the first one in `waiting`.
    first: u64,
    waiting: VecDeque<Waiting>,
    /// Bytes of the replies that are early.
    early_bytes: usize,
    /// Bytes kept of the requests that are not answered.
    kept_bytes: usize,
}

/// A request that is not answered, or whose reply is early.
struct Waiting {
    reply: Option<Outbox>,
    /// Bytes of the request that are kept until it is answered.
    kept: usize,
}

impl Order {
    pub fn take_turn(&mut self, kept: usize) -> Turn {
        self.waiting.push_back(Waiting { reply: None, kept });
        self.kept_bytes += kept;
        Turn(self.first + self.waiting.len() as u64 - 1)
    }

    /// Requests that have no reply in the outbox yet.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Bytes of replies that wait for others.
    pub fn early_bytes(&self) -> usize {
        self.early_bytes
    }

    /// Bytes that are kept of requests without a reply.
    pub fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }

    /// Puts a reply in its place: into `outbox`, and with it those that waited for it, or aside.
    pub fn reply(&mut self, turn: Turn, outbox: &mut Outbox, write: impl FnOnce(&mut Outbox)) {
        let at = turn.0.checked_sub(self.first).expect("BUG: a turn was answered twice");
        if 0 < at {
            let place = self.waiting.get_mut(at as usize).expect("BUG: a turn that nobody took");
            let mut early = Outbox::default();
            write(&mut early);
            self.early_bytes += early.len();
            self.kept_bytes -= std::mem::take(&mut place.kept);
            assert!(place.reply.replace(early).is_none(), "BUG: a turn was answered twice");
            return;
        }
        write(outbox);
        self.pass();
        while self.waiting.front().is_some_and(|next| next.reply.is_some()) {
            let ready = self.pass().expect("BUG: it was just seen");
            self.early_bytes -= ready.len();
            outbox.append(ready);
        }
    }

    fn pass(&mut self) -> Option<Outbox> {
        self.first += 1;
        let passed = self.waiting.pop_front().expect("BUG: a turn that nobody took");
        self.kept_bytes -= passed.kept;
        passed.reply
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(outbox: &Outbox) -> String {
        String::from_utf8(outbox.unsent_bytes()).unwrap()
    }

    fn reply(order: &mut Order, outbox: &mut Outbox, turn: Turn) {
        let name = format!("{} ", turn.0);
        order.reply(turn, outbox, |out| out.with_head(|bytes| bytes.extend_from_slice(name.as_bytes())));
    }

    #[test]
    fn an_early_reply_waits_for_those_before_it() {
        let (mut order, mut outbox) = (Order::default(), Outbox::default());
        let turns = [10, 20, 30].map(|kept| order.take_turn(kept));
        assert_eq!(order.kept_bytes(), 60);
        reply(&mut order, &mut outbox, turns[2]);
        assert_eq!(order.kept_bytes(), 30);
        assert_eq!((text(&outbox).as_str(), order.waiting(), order.early_bytes()), ("", 3, 2));
        reply(&mut order, &mut outbox, turns[0]);
        assert_eq!((text(&outbox).as_str(), order.waiting(), order.early_bytes()), ("0 ", 2, 2));
        reply(&mut order, &mut outbox, turns[1]);
        assert_eq!((text(&outbox).as_str(), order.waiting(), order.early_bytes()), ("0 1 2 ", 0, 0));
        assert_eq!(order.kept_bytes(), 0);
    }

    /// All orders in which six requests can be answered, each with some asked late.
    #[test]
    fn replies_leave_in_the_order_of_their_requests() {
        for mut pick in 0..720 {
            let (mut order, mut outbox) = (Order::default(), Outbox::default());
            let mut asked: Vec<Turn> = (0..3).map(|_| order.take_turn(1)).collect();
            for count in (1..=6).rev() {
                let which = pick % asked.len();
                pick /= count;
                let turn = asked.swap_remove(which);
                reply(&mut order, &mut outbox, turn);
                if 3 < count {
                    asked.push(order.take_turn(1));
                }
            }
            assert_eq!(text(&outbox), "0 1 2 3 4 5 ");
            assert_eq!((order.waiting(), order.early_bytes(), order.kept_bytes()), (0, 0, 0));
        }
    }
}
