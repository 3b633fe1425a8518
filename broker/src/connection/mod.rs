//! A connection: frames in, frames out, and nothing about what they mean.
//!
//!     socket ─read─▶ receive buffer ─ whole frames ─▶ Service::request
//!     socket ◀─send── outbox ◀─ reply ─────────────── anybody, at any time
//!                      └ socket full? the writer task waits for room
//!
//! Lives on one shard. A connection is a state machine run by one reader task, however many requests
//! are in flight, and one writer task that sleeps unless the socket is full. Replies that are ready
//! together leave in one send (one send per acknowledgement costs x0.06 to x0.27, datapath.md).
//! A reader whose peer does not take its replies stops reading: nothing is queued without bound.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use crate::runtime::Notify;
use crate::runtime::net::Socket;
use protocol::api::{Api, ErrorResponse, VERSION};
use protocol::frame::{FrameHeader, FrameKind, append_frame};
use protocol::model::{CorrelationId, ErrorCode};

mod outbox;
pub use outbox::{Cuts, Outbox, Piece};

mod order;
use order::Order;
pub use order::Turn;

mod receive_buffer;

mod patience;
use patience::Patience;

mod reader;
pub use reader::{Admission, Service, serve, serve_kafka};

pub struct Connection {
    socket: Socket,
    outbox: RefCell<Outbox>,
    /// Of replies to Kafka's clients; empty for others.
    order: RefCell<Order>,
    /// Bytes of memory that the peer's requests take up which wait for their answers.
    waiting_bytes: Cell<usize>,
    /// Bytes that are being read from disk for the peer.
    reading: Cell<usize>,
    /// The outbox grew, shrank, or the connection closed.
    changed: Notify,
    patience: Patience,
    closed: Cell<bool>,
    /// Whether the connection stands in its shard's list of those with replies to send.
    listed: Cell<bool>,
    /// Whether the writer task is sending the first part of the outbox.
    writer_at_work: Cell<bool>,
}

impl Connection {
    pub fn new(socket: Socket) -> Rc<Connection> {
        Rc::new(Connection {
            socket,
            outbox: RefCell::default(),
            order: RefCell::default(),
            waiting_bytes: Cell::new(0),
            reading: Cell::new(0),
            changed: Notify::default(),
            patience: Patience::default(),
            closed: Cell::new(false),
            listed: Cell::new(false),
            writer_at_work: Cell::new(false),
        })
    }

    /// The client's address, for people to read.
    pub fn peer_host(&self) -> String {
        self.socket.peer().map_or_else(String::new, |peer| peer.ip().to_string())
    }

    pub fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Puts the connection on the list of those to flush; `false` if it is there already.
    pub fn enlist(&self) -> bool {
        !self.closed.get() && !self.listed.replace(true)
    }

    /// Queues a reply; [`Connection::flush`] sends it.
    pub fn reply(&self, api: Api, correlation: CorrelationId, body: impl FnOnce(&mut Vec<u8>)) {
        self.reply_with_payload(api, correlation, body, []);
    }

    /// Queues a reply whose body ends in bytes that lie elsewhere; they are sent from there.
    pub fn reply_with_payload(
        &self,
        api: Api,
        correlation: CorrelationId,
        body: impl FnOnce(&mut Vec<u8>),
        payload: impl AsRef<[Piece]> + IntoIterator<Item = Piece>,
    ) {
        if !self.closed.get() {
            self.outbox.borrow_mut().push(api, correlation, body, payload);
        }
    }

    /// The next reply's place, for protocols whose replies come in the order of their requests. Until it is
    /// answered, so many bytes of the request are kept.
    pub fn take_turn(&self, kept: usize) -> Turn {
        self.order.borrow_mut().take_turn(kept)
    }

    /// Queues the reply whose turn it is, or keeps it until those before it are queued.
    pub fn reply_in_turn(&self, turn: Turn, write: impl FnOnce(&mut Outbox)) {
        if !self.closed.get() {
            self.order.borrow_mut().reply(turn, &mut self.outbox.borrow_mut(), write);
        }
    }

    pub fn reply_error(&self, header: FrameHeader, error: ErrorCode, message: impl Into<String>) {
        if self.closed.get() {
            return;
        }
        let response = ErrorResponse { error, message: message.into() };
        self.outbox.borrow_mut().with_head(|out| {
            append_frame(out, header.api, VERSION, FrameKind::ErrorReply, header.correlation, |out| {
                response.append_to(out);
            });
        });
    }

    /// Sends what the socket takes; the writer task sends the rest.
    pub fn flush(&self) {
        self.listed.set(false);
        if self.writer_at_work.get() || self.closed.get() {
            return;
        }
        if self.outbox.borrow_mut().send(&self.socket).is_err() {
            self.close();
        }
        self.changed.notify();
    }

    /// Counts what a request takes up until it is answered.
    pub fn begin_waiting(&self, bytes: usize) {
        self.waiting_bytes.set(self.waiting_bytes.get() + bytes);
    }

    /// A request is answered. Whoever says so sends the answer, too, and with it wakes the reader.
    pub fn end_waiting(&self, bytes: usize) {
        self.waiting_bytes.set(self.waiting_bytes.get() - bytes);
    }

    /// Bytes of replies that the peer has not taken yet, and of requests that are kept for theirs.
    fn owed(&self) -> usize {
        let order = self.order.borrow();
        self.outbox.borrow().len() + order.early_bytes() + order.kept_bytes() + self.waiting_bytes.get()
    }

    /// Requests whose replies are to come in their turn, and have not.
    fn turns_taken(&self) -> usize {
        self.order.borrow().waiting()
    }

    /// Ends the connection: both tasks wake up and end, replies to come are dropped.
    pub fn close(&self) {
        if !self.closed.replace(true) {
            self.socket.shut_down();
            *self.outbox.borrow_mut() = Outbox::default();
            *self.order.borrow_mut() = Order::default();
            self.changed.notify();
        }
    }

    /// Gives the connection up without ending it: another shard serves it from now on.
    pub fn abandon(&self) -> std::io::Result<std::os::fd::OwnedFd> {
        let socket = self.socket.duplicate()?;
        self.closed.set(true);
        self.changed.notify();
        Ok(socket)
    }

    /// Sends what the socket did not take at once. Run beside [`serve`], ends with the connection.
    pub async fn write_waiting(&self) {
        loop {
            let has_unsent = || self.closed.get() || 0 < self.outbox.borrow().len();
            self.changed.until(|| has_unsent().then_some(())).await;
            if self.closed.get() {
                return;
            }
            // Held by the writer itself while it waits, since a borrow must not be.
            let Some(first) = self.outbox.borrow().first() else { continue };
            self.writer_at_work.set(true);
            let sent = self.socket.send_waiting(first.bytes()).await;
            self.writer_at_work.set(false);
            match sent {
                Ok(sent) if !self.closed.get() => self.outbox.borrow_mut().advance(sent),
                _ => self.close(),
            }
            self.flush();
        }
    }

    /// Waits until the peer has been answered, and has taken its replies, but for so many bytes and turns, or
    /// until the connection closed.
    async fn wait_until_owed_at_most(&self, bytes: usize, turns: usize, keeps_frame: bool) {
        let (mut owed_before, mut untaken_before) = (usize::MAX, 0);
        let is_enough = || {
            let (owed, untaken) = (self.owed(), self.outbox.borrow().len());
            // More may have come in between; it is enough that some was taken. While there is nothing to take
            // it is the broker's turn.
            if 0 < untaken {
                if untaken_before == 0 || untaken < untaken_before {
                    self.patience.await_taking(Instant::now(), keeps_frame);
                }
            } else if !keeps_frame {
                self.patience.await_nothing();
            } else if 0 < untaken_before || owed < owed_before {
                self.patience.await_answers(Instant::now());
            }
            (owed_before, untaken_before) = (owed, untaken);
            (self.closed.get() || (owed <= bytes && self.turns_taken() <= turns)).then_some(())
        };
        self.changed.until(is_enough).await;
        self.patience.await_nothing();
    }

    /// Whether the peer has been waited for long enough, and is gone.
    pub fn is_overdue(&self, now: Instant, is_tight: bool) -> bool {
        let is_owed = 0 < self.owed() || 0 < self.turns_taken();
        self.patience.is_over(now, is_owed, is_tight)
    }

    /// Waits until what the peer has not taken, or is being read for it, leaves it within `limit`, and counts
    /// `bytes` more as being read. One read is always begun. `false` if they are counted meanwhile.
    pub async fn begin_reading(&self, bytes: usize, limit: usize, is_counted: impl Fn() -> bool) -> bool {
        let fits = || {
            let unsent = self.outbox.borrow().len() + self.order.borrow().early_bytes() + self.reading.get();
            self.closed.get() || unsent == 0 || unsent + bytes <= limit
        };
        let may_begin = || if is_counted() { Some(false) } else { fits().then_some(true) };
        let counts = self.changed.until(may_begin).await;
        if counts {
            self.reading.set(self.reading.get() + bytes);
        }
        counts
    }

    /// Has those who wait look again.
    pub fn look_again(&self) {
        self.changed.notify();
    }

    /// So many bytes are in the outbox now, or will never be.
    pub fn end_reading(&self, bytes: usize) {
        self.reading.set(self.reading.get() - bytes);
        self.changed.notify();
    }
}
