//! One TCP connection and its task: requests in, replies out, any number of them under way.
//!
//!     submit ─▶ inbox ─▶ task ─┬─ outbox ══ vectored writes ══▶ broker
//!             (a lock)         └─ exchange: correlation id → completion
//!     completion ◀────────────────── reply ◀══ one buffer a frame ══╛
//!
//! Requests are put into the inbox under a lock, and the task takes all that are there at once. Who a reply
//! is for is known to the task alone, so replies are matched without a lock.
//!
//! Handles are cheap to clone; when the last one goes, the task ends and the socket closes. Each
//! request's completion is called exactly once: with the reply, when its bytes are written if no
//! reply is due, or with the error that ended the connection. Completions run on the connection's
//! task and must not block.
//! Inbox and completions are bounded by their users: a producer by its in-flight windows, a reader
//! by its fetches under way.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use protocol::api::{Api, VERSION, Writer};
use protocol::frame::{FrameHeader, FrameKind, append_frame_with_payload};
use protocol::model::limits::FRAME_BODY_BYTES_MAX;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;

use super::lock;
use crate::core::assembler::FrameAssembler;
use crate::core::exchange::Exchange;
use crate::core::outbox::Outbox;
use crate::error::ConnectionError;
use crate::limits::TIMEOUT_TICK;

/// Slices of one vectored write; more gain nothing at the sizes of our parts.
const SLICES_PER_WRITE: usize = 64;

/// How a request ended, if the connection did not.
pub(crate) enum Answer {
    Reply {
        header: FrameHeader,
        body: Bytes,
    },
    /// The bytes are with the kernel, and that is all there will be.
    Written,
}

pub(crate) type Completion = Box<dyn FnOnce(Result<Answer, ConnectionError>) + Send>;

/// When the completion is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Until {
    /// The reply, which is due within the timeout.
    Reply(Duration),
    Written,
}

#[derive(Clone)]
pub(crate) struct Connection(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    task: AbortHandle,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.end(ConnectionError::ClosedByClient { address: Arc::clone(&self.shared.address) });
        self.task.abort();
    }
}

struct Shared {
    address: Arc<str>,
    /// Largest frame body that the broker reads.
    body_limit: AtomicUsize,
    inbox: Mutex<Inbox>,
    filled: Notify,
}

/// Requests that the task has not taken yet.
struct Inbox {
    outbox: Outbox<Completion>,
    exchange: Exchange<Completion>,
    ended: Option<ConnectionError>,
}

impl Connection {
    /// Takes over a connected socket; must be called on a tokio runtime.
    pub(crate) fn start(stream: TcpStream, address: Arc<str>) -> Connection {
        let shared = Arc::new(Shared {
            address,
            body_limit: AtomicUsize::new(FRAME_BODY_BYTES_MAX),
            inbox: Mutex::new(Inbox { outbox: Outbox::new(), exchange: Exchange::new(), ended: None }),
            filled: Notify::new(),
        });
        let task = Task { shared: Arc::clone(&shared), outbox: Outbox::new(), exchange: Exchange::new() };
        let task = tokio::spawn(task.run(stream)).abort_handle();
        Connection(Arc::new(Handle { shared, task }))
    }

    pub(crate) fn address(&self) -> &Arc<str> {
        &self.0.shared.address
    }

    /// Largest frame body that the broker reads, as its Hello says.
    pub(crate) fn body_limit(&self) -> usize {
        self.0.shared.body_limit.load(Ordering::Relaxed)
    }

    pub(crate) fn set_body_limit(&self, bytes: usize) {
        self.0.shared.body_limit.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn is_ended(&self) -> bool {
        lock(&self.0.shared.inbox).ended.is_some()
    }

    /// Sends a request whose body is what `head` writes, and then `payload`.
    pub(crate) fn submit<'a>(
        &self,
        api: Api,
        head: impl FnOnce(&mut Writer<'_>),
        payload: impl Iterator<Item = &'a Bytes> + Clone,
        until: Until,
        now: Instant,
        completion: Completion,
    ) {
        let payload_len = payload.clone().map(Bytes::len).sum();
        let mut inbox = lock(&self.0.shared.inbox);
        if let Some(error) = &inbox.ended {
            let error = error.clone();
            drop(inbox);
            return completion(Err(error));
        }
        let (id, written) = match until {
            Until::Reply(timeout) => (inbox.exchange.open(now, timeout, completion), None),
            Until::Written => (inbox.exchange.next_id(), Some(completion)),
        };
        let is_first = inbox.outbox.is_empty();
        inbox.outbox.write(|out| {
            append_frame_with_payload(out, api, VERSION, FrameKind::Request, id, payload_len, |body| {
                head(&mut Writer::new(body));
            });
        });
        payload.for_each(|part| inbox.outbox.push(part));
        if let Some(written) = written {
            inbox.outbox.mark(written);
        }
        drop(inbox);
        if is_first {
            // Otherwise the task has been woken, and takes this with what was there.
            self.0.shared.filled.notify_one();
        }
    }
}

impl Shared {
    /// No request is taken in any more. The first reason counts.
    fn end(&self, error: ConnectionError) {
        let mut inbox = lock(&self.inbox);
        if inbox.ended.is_none() {
            tracing::debug!(address = %self.address, %error, "connection ended");
            inbox.ended = Some(error);
        }
    }

    fn lost(&self, cause: io::Error) -> ConnectionError {
        ConnectionError::Lost { address: Arc::clone(&self.address), cause: Arc::new(cause) }
    }
}

/// What the task holds. However it ends, aborted among others, whoever still waits is told.
struct Task {
    shared: Arc<Shared>,
    outbox: Outbox<Completion>,
    exchange: Exchange<Completion>,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.shared.end(ConnectionError::ClosedByClient { address: Arc::clone(&self.shared.address) });
        self.take_requests();
        let error = lock(&self.shared.inbox).ended.clone().expect("BUG: it was just ended");
        for completion in self.exchange.drain().into_iter().chain(self.outbox.drain_marks()) {
            completion(Err(error.clone()));
        }
    }
}

impl Task {
    async fn run(mut self, stream: TcpStream) {
        let error = self.serve(stream).await;
        self.shared.end(error);
    }

    /// Writes and reads until the connection ends, and returns why it did.
    async fn serve(&mut self, mut stream: TcpStream) -> ConnectionError {
        let shared = Arc::clone(&self.shared);
        let address = || Arc::clone(&shared.address);
        let (mut read, mut write) = stream.split();
        let mut assembler = FrameAssembler::new(FRAME_BODY_BYTES_MAX);
        let mut tick = tokio::time::interval(TIMEOUT_TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.take_requests();
            let mut slices = [io::IoSlice::new(&[]); SLICES_PER_WRITE];
            let count = self.outbox.slices(&mut slices);
            let mut target = match assembler.target() {
                Ok(target) => target,
                Err(cause) => return ConnectionError::Frame { address: address(), cause },
            };
            // What is there to be written is bounded, what there is to be read is not: writes go first.
            tokio::select! {
                biased;
                _ = tick.tick() => {
                    if let Some(after) = self.exchange.overdue(Instant::now()) {
                        return ConnectionError::RequestTimeout { address: address(), after };
                    }
                }
                written = write.write_vectored(&slices[..count]), if 0 < count => match written {
                    Ok(0) => return shared.lost(io::ErrorKind::WriteZero.into()),
                    Ok(len) => self.handle_written(len),
                    Err(cause) => return shared.lost(cause),
                },
                received = read.read_buf(&mut target) => match received {
                    Ok(0) => return ConnectionError::ClosedByBroker { address: address() },
                    Ok(_) => loop {
                        match assembler.next_frame() {
                            Ok(Some((header, body))) => self.handle_reply(header, body),
                            Ok(None) => break,
                            Err(cause) => return ConnectionError::Frame { address: address(), cause },
                        }
                    },
                    Err(cause) => return shared.lost(cause),
                },
                () = shared.filled.notified() => {}
            }
        }
    }

    fn take_requests(&mut self) {
        let mut inbox = lock(&self.shared.inbox);
        self.outbox.take_from(&mut inbox.outbox);
        self.exchange.take_from(&mut inbox.exchange);
    }

    fn handle_written(&mut self, len: usize) {
        self.outbox.advance(len);
        while let Some(completion) = self.outbox.poll_mark() {
            completion(Ok(Answer::Written));
        }
    }

    fn handle_reply(&mut self, header: FrameHeader, body: Bytes) {
        match self.exchange.close(header.correlation) {
            Some(completion) => completion(Ok(Answer::Reply { header, body })),
            None => tracing::debug!(address = %self.shared.address, ?header, "a reply that nobody asked for"),
        }
    }
}
