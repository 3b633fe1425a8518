//! The reader of a connection: takes frames out of the stream and hands them on, one after another.
//!
//!     read ─▶ header ─ too large ─▶ error reply, close
//!               │ body not there yet: promise memory for it, read on
//!               ▼
//!             Hello first ─▶ stay, or hand the socket over to the shard it asks for
//!             then requests ─▶ Service::request
//!
//! Memory is promised before it is read (design D9): without credit the reader waits and the peer's
//! TCP window fills. A buffer that has grown is kept for the next frame while nobody else needs the memory,
//! and half a second longer than frames come. The bytes of a request are the service's only until
//! `request` returns.

use std::fmt::Display;
use std::rc::Rc;
use std::time::{Duration, Instant};

use kafka::header::HeaderError;
use protocol::api::{Api, HelloRequest, Message};
use protocol::frame::{FRAME_HEADER_LEN, FrameError, FrameHeader, FrameKind};
use protocol::model::limits::HELLO_BODY_BYTES_MAX;
use protocol::model::{CorrelationId, ErrorCode, ShardId};

use super::Connection;
use super::receive_buffer::ReceiveBuffer;
use crate::runtime::{self, Notify};

/// How long a refused peer may take to read why, before the socket is closed on it.
const FAREWELL: Duration = Duration::from_millis(500);

/// How long a buffer stays larger than that of an idle connection after the last frame.
const OVERSIZED_FOR: Duration = Duration::from_millis(500);

/// Requests of one of Kafka's clients that may wait for their replies; librdkafka sends up to a million, unasked.
const TURNS_MAX: usize = 1024;

/// Whether a connection is served here.
pub enum Admission {
    Here,
    Elsewhere(ShardId),
    Refused,
}

/// What a shard does for its connections.
pub trait Service: 'static {
    fn frame_bytes_max(&self) -> usize;

    fn connection_out_bytes(&self) -> usize;

    fn hello_timeout(&self) -> Duration;

    /// How long one of Kafka's clients may be idle.
    fn kafka_idle_max(&self) -> Duration;

    /// Judges a Hello and answers it unless the connection goes elsewhere.
    fn hello(&self, connection: &Rc<Connection>, header: FrameHeader, hello: HelloRequest) -> Admission;

    /// Takes a request; its reply is queued now or later, under its correlation id.
    fn request(&self, connection: &Rc<Connection>, header: FrameHeader, body: &[u8]);

    /// Takes a request of one of Kafka's clients, without its length; its reply is queued in turn. An error
    /// ends the connection.
    fn kafka_request(&self, connection: &Rc<Connection>, frame: &[u8]) -> Result<(), HeaderError>;

    /// Hands the connection over, with what it has sent so far.
    fn hand_over(&self, to: ShardId, connection: &Connection, received: &[u8]);

    /// Sends replies that are ready.
    fn flush(&self);

    /// Waits until the shard has memory for `bytes` more that a frame needs, and takes it.
    fn reserve(&self, bytes: usize) -> impl Future<Output = ()>;

    /// Takes memory for `bytes` more if there is plenty.
    fn try_reserve(&self, bytes: usize) -> bool;

    /// Gives memory back.
    fn release(&self, bytes: usize);

    /// Whether others need the memory that a connection keeps for its next frame.
    fn is_tight(&self) -> bool;

    /// Has a connection that keeps memory told when others begin to need it.
    fn add_holder(&self, holder: Rc<Notify>);

    fn remove_holder(&self, holder: &Rc<Notify>);

    /// Waits until the shard takes requests again: its commits may lag behind its readers.
    fn wait_for_room(&self) -> impl Future<Output = ()>;

    /// Writes to the log why a connection was ended, but not for each of a thousand.
    fn complain(&self, connection: &Connection, why: &dyn Display);
}

/// Serves a connection to its end. `received` is what another shard had read of it.
pub async fn serve<S: Service>(service: Rc<S>, connection: Rc<Connection>, received: Vec<u8>) {
    let mut reader = Reader::new(service, connection, &received, None);
    let stays = runtime::with_timeout(reader.service.hello_timeout(), reader.say_hello()).await;
    if stays == Some(true) {
        reader.run().await;
    }
    if stays != Some(false) {
        reader.connection.close();
    }
    reader.set_reserved(0);
}

/// Serves a connection of one of Kafka's clients to its end.
pub async fn serve_kafka<S: Service>(service: Rc<S>, connection: Rc<Connection>) {
    let idle_max = Some(service.kafka_idle_max());
    let mut reader = Reader::new(service, connection, &[], idle_max);
    reader.run_kafka().await;
    reader.connection.close();
    reader.set_reserved(0);
}

struct Reader<S> {
    service: Rc<S>,
    connection: Rc<Connection>,
    buffer: ReceiveBuffer,
    /// Bytes promised to this connection: all of a buffer that has grown.
    reserved: usize,
    /// Others need them.
    wanted_back: Rc<Notify>,
    /// How long the peer may be idle.
    idle_max: Option<Duration>,
}

impl<S: Service> Reader<S> {
    fn new(
        service: Rc<S>,
        connection: Rc<Connection>,
        received: &[u8],
        idle_max: Option<Duration>,
    ) -> Reader<S> {
        let buffer = ReceiveBuffer::new(received);
        let wanted_back = Rc::default();
        Reader { buffer, reserved: 0, wanted_back, service, connection, idle_max }
    }

    /// Waits for the Hello. `true` if the connection stays here; `false` if it is another's now.
    async fn say_hello(&mut self) -> bool {
        let Some(header) = self.next_frame(HELLO_BODY_BYTES_MAX).await else { return true };
        let body = &self.buffer.unread()[FRAME_HEADER_LEN..header.frame_len()];
        let hello = match (header.api, header.kind) {
            (Api::Hello, FrameKind::Request) => HelloRequest::read(body).map_err(|error| error.to_string()),
            _ => Err("the first message of a connection is a Hello".to_owned()),
        };
        match hello {
            Ok(hello) => match self.service.hello(&self.connection, header, hello) {
                Admission::Here => {
                    self.buffer.consume(header.frame_len());
                    self.service.flush();
                    true
                }
                Admission::Elsewhere(shard) => {
                    self.service.hand_over(shard, &self.connection, self.buffer.unread());
                    false
                }
                Admission::Refused => {
                    self.say_farewell().await;
                    true
                }
            },
            Err(message) => {
                self.connection.reply_error(header, ErrorCode::InvalidRequest, message);
                self.say_farewell().await;
                true
            }
        }
    }

    async fn run(&mut self) {
        while let Some(header) = self.next_frame(self.service.frame_bytes_max()).await {
            self.service.wait_for_room().await;
            self.wait_for_peer().await;
            let body = &self.buffer.unread()[FRAME_HEADER_LEN..header.frame_len()];
            match header.kind {
                FrameKind::Request => self.service.request(&self.connection, header, body),
                FrameKind::Reply | FrameKind::ErrorReply => {
                    let message = "a client sends requests, this frame is a reply";
                    self.connection.reply_error(header, ErrorCode::InvalidRequest, message);
                    self.connection.flush();
                }
            }
            self.buffer.consume(header.frame_len());
            runtime::yield_if_needed().await;
        }
    }

    /// Waits until the peer has been answered, and has taken its replies, but for what may be outstanding. Many
    /// requests may have come in one read, so each of them asks.
    async fn wait_for_peer(&self) {
        if self.must_wait_for_peer() {
            let limit = self.service.connection_out_bytes();
            self.service.flush();
            self.connection.wait_until_owed_at_most(limit, TURNS_MAX - 1, 0 < self.reserved).await;
        }
    }

    fn must_wait_for_peer(&self) -> bool {
        self.service.connection_out_bytes() < self.connection.owed()
            || TURNS_MAX <= self.connection.turns_taken()
    }

    async fn run_kafka(&mut self) {
        let limit = self.service.frame_bytes_max();
        let parse = |bytes: &[u8]| {
            kafka::frame::parse(bytes, limit).map(|len| len.map(|len| (len, kafka::frame::LENGTH_LEN + len)))
        };
        loop {
            let len = match self.receive(kafka::frame::LENGTH_LEN, parse).await {
                Ok(Some(len)) => len,
                Ok(None) => return,
                Err(error) => return self.give_up(&error),
            };
            self.service.wait_for_room().await;
            self.wait_for_peer().await;
            let whole = kafka::frame::LENGTH_LEN + len;
            let frame = &self.buffer.unread()[kafka::frame::LENGTH_LEN..whole];
            if let Err(error) = self.service.kafka_request(&self.connection, frame) {
                return self.give_up(&error);
            }
            self.buffer.consume(whole);
            runtime::yield_if_needed().await;
        }
    }

    /// Kafka has no reply to what cannot be read: the connection ends, and the log tells why.
    fn give_up(&self, error: &impl Display) {
        self.service.complain(&self.connection, error);
        self.service.flush();
    }

    /// Receives until a whole native frame is there. `None` when the connection has ended.
    async fn next_frame(&mut self, body_limit: usize) -> Option<FrameHeader> {
        let parse = |bytes: &[u8]| {
            let header = FrameHeader::parse(bytes, body_limit);
            header.map(|header| header.map(|header| (header, header.frame_len())))
        };
        match self.receive(FRAME_HEADER_LEN, parse).await {
            Ok(header) => header,
            Err(error) => {
                self.refuse(error).await;
                None
            }
        }
    }

    /// Receives until a whole frame is there, as `parse` finds one and its length at the beginning of what
    /// was received; before it does, `head_len` bytes are needed. `None` when the connection has ended.
    async fn receive<T, E>(
        &mut self,
        head_len: usize,
        parse: impl Fn(&[u8]) -> Result<Option<(T, usize)>, E>,
    ) -> Result<Option<T>, E> {
        let (mut filled, mut waited) = (false, Duration::ZERO);
        let mut is_first_look = true;
        loop {
            if self.connection.is_closed() {
                return Ok(None);
            }
            let wanted = match parse(self.buffer.unread())? {
                Some((frame, len)) if len <= self.buffer.unread().len() => return Ok(Some(frame)),
                Some((_, len)) => len,
                None => head_len,
            };
            // Nothing more can be done with what is here: let the replies go before waiting.
            self.service.flush();
            let is_new = std::mem::take(&mut is_first_look);
            if is_new && (self.service.is_tight() || self.must_wait_for_peer()) {
                self.shrink();
            }
            self.wait_for_peer().await;
            let capacity = self.make_room(wanted, filled).await;
            let begun = self.begin_to_wait(wanted, waited);
            let read = self.read(capacity).await;
            self.connection.patience.await_nothing();
            let Some((received, room)) = read else {
                self.shrink();
                continue;
            };
            waited += begun.map_or(Duration::ZERO, |begun| begun.elapsed());
            if received == 0 {
                return Ok(None);
            }
            self.buffer.received(received);
            filled = received == room;
        }
    }

    /// Notes by when the peer has to say more; since when, if it is in the middle of a frame.
    fn begin_to_wait(&self, wanted: usize, waited: Duration) -> Option<Instant> {
        let patience = &self.connection.patience;
        if !self.buffer.unread().is_empty() {
            let now = Instant::now();
            patience.await_rest(now, wanted, waited);
            return Some(now);
        }
        if let Some(idle_max) = self.idle_max {
            patience.await_next(Instant::now(), idle_max);
        }
        None
    }

    /// Bytes received, 0 at the end of the stream, and how many there was room for. `None` if a buffer
    /// that frames have left behind was not needed for some time.
    async fn read(&mut self, capacity: usize) -> Option<(usize, usize)> {
        let oversized = self.buffer.is_oversized();
        let needed = self.wanted_back.version();
        let free = self.buffer.free(capacity);
        let room = free.len();
        let read = self.connection.socket.read(free);
        let received = match oversized {
            false => read.await,
            true => {
                let needed = self.wanted_back.changed(needed);
                let unused = runtime::either(runtime::sleep(OVERSIZED_FOR), needed);
                runtime::unless(unused, read).await?
            }
        };
        Some((received.unwrap_or(0), room))
    }

    /// Gives back what neither an idle connection nor the bytes of a frame need that has come in part.
    fn shrink(&mut self) {
        let kept = self.buffer.shrink();
        self.set_reserved(self.reserved.min(kept));
    }

    /// Counts what was promised or gives back what is not needed any more.
    fn set_reserved(&mut self, bytes: usize) {
        match (self.reserved, bytes) {
            (0, 1..) => self.service.add_holder(self.wanted_back.clone()),
            (1.., 0) => self.service.remove_holder(&self.wanted_back),
            _ => {}
        }
        self.service.release(self.reserved.saturating_sub(bytes));
        self.reserved = bytes;
    }

    /// Has the memory promised that the next read needs: the capacity of the buffer then.
    async fn make_room(&mut self, frame_len: usize, filled: bool) -> usize {
        let capacity = self.buffer.capacity();
        if capacity < frame_len {
            self.service.reserve(frame_len - self.reserved).await;
            self.set_reserved(frame_len);
            return frame_len;
        }
        let grown = if filled { self.buffer.grown() } else { capacity };
        if capacity < grown && self.service.try_reserve(grown - self.reserved) {
            self.set_reserved(grown);
            return grown;
        }
        capacity
    }

    async fn refuse(&mut self, error: FrameError) {
        let unread = self.buffer.unread();
        let word = |at: usize| {
            unread.get(at..at + 2).and_then(|bytes| bytes.try_into().ok()).map(u16::from_le_bytes)
        };
        let correlation = unread.get(8..16).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
        let header = FrameHeader {
            body_len: 0,
            api: Api::from_wire(word(4).unwrap_or(0)),
            version: 0,
            kind: FrameKind::Request,
            correlation: CorrelationId::new(correlation.unwrap_or(0)),
        };
        self.connection.reply_error(header, error.code(), error.to_string());
        self.say_farewell().await;
    }

    /// Lets the last reply out: closing with bytes unread would reset the connection, and the peer
    /// would never learn why.
    async fn say_farewell(&mut self) {
        self.connection.flush();
        let connection = self.connection.clone();
        let drain = async {
            connection.wait_until_owed_at_most(0, usize::MAX, false).await;
            let mut waste = [0; 4096];
            while connection.socket.read(&mut waste).await.is_ok_and(|count| 0 < count) {}
        };
        runtime::with_timeout(FAREWELL, drain).await;
        self.connection.close();
    }
}
