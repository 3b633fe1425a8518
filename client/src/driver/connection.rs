//! One TCP connection: requests in, replies out, any number of them under way.
//!
//!     submit ─▶ queue ─▶ writer task ══ vectored writes ══▶ broker
//!                 │ correlation id → completion                │
//!     completion ◀┴──── reader task ◀══ one buffer a frame ════┘
//!
//! Handles are cheap to clone; when the last one goes, both tasks end and the socket closes. Each
//! request's completion is called exactly once: with the reply, when its bytes are written if no
//! reply is due, or with the error that ended the connection. Completions run on the connection's
//! tasks and must not block.
//! Queue and completions are bounded by their users: a producer by its in-flight windows, a reader
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
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
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
    tasks: [AbortHandle; 2],
}

impl Drop for Handle {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        self.shared.end(ConnectionError::ClosedByClient { address: Arc::clone(&self.shared.address) });
    }
}

struct Shared {
    address: Arc<str>,
    /// Largest frame body that the broker reads.
    body_limit: AtomicUsize,
    state: Mutex<State>,
    queued: Notify,
}

struct State {
    queue: Outbox<Completion>,
    exchange: Exchange<Completion>,
    ended: Option<ConnectionError>,
}

impl Connection {
    /// Takes over a connected socket; must be called on a tokio runtime.
    pub(crate) fn start(stream: TcpStream, address: Arc<str>) -> Connection {
        let shared = Arc::new(Shared {
            address,
            body_limit: AtomicUsize::new(FRAME_BODY_BYTES_MAX),
            state: Mutex::new(State { queue: Outbox::new(), exchange: Exchange::new(), ended: None }),
            queued: Notify::new(),
        });
        let (read, write) = stream.into_split();
        let reader = tokio::spawn(run_reader(Arc::clone(&shared), read));
        let writer = tokio::spawn(run_writer(Arc::clone(&shared), write));
        Connection(Arc::new(Handle { shared, tasks: [reader.abort_handle(), writer.abort_handle()] }))
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
        lock(&self.0.shared.state).ended.is_some()
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
        let mut state = lock(&self.0.shared.state);
        if let Some(error) = &state.ended {
            let error = error.clone();
            drop(state);
            return completion(Err(error));
        }
        let (id, written) = match until {
            Until::Reply(timeout) => (state.exchange.open(now, timeout, completion), None),
            Until::Written => (state.exchange.next_id(), Some(completion)),
        };
        let is_first = state.queue.is_empty();
        state.queue.write(|out| {
            append_frame_with_payload(out, api, VERSION, FrameKind::Request, id, payload_len, |body| {
                head(&mut Writer::new(body));
            });
        });
        payload.for_each(|part| state.queue.push(part));
        if let Some(written) = written {
            state.queue.mark(written);
        }
        drop(state);
        if is_first {
            // Otherwise the writer has been woken, and takes this with what was there.
            self.0.shared.queued.notify_one();
        }
    }
}

impl Shared {
    /// Ends the connection once; whoever waits is told.
    fn end(&self, error: ConnectionError) {
        let mut state = lock(&self.state);
        if state.ended.is_some() {
            return;
        }
        tracing::debug!(address = %self.address, %error, "connection ended");
        state.ended = Some(error.clone());
        let mut waiting = state.exchange.drain();
        waiting.extend(state.queue.drain_marks());
        drop(state);
        for completion in waiting {
            completion(Err(error.clone()));
        }
        self.queued.notify_one();
    }

    fn lost(&self, cause: io::Error) -> ConnectionError {
        ConnectionError::Lost { address: Arc::clone(&self.address), cause: Arc::new(cause) }
    }
}

/// Completions of frames that the writer holds: told that the connection ended, however the task
/// ends, aborted among them.
struct WriterBox {
    shared: Arc<Shared>,
    outbox: Outbox<Completion>,
}

impl Drop for WriterBox {
    fn drop(&mut self) {
        let closed = || ConnectionError::ClosedByClient { address: Arc::clone(&self.shared.address) };
        let error = lock(&self.shared.state).ended.clone().unwrap_or_else(closed);
        for completion in self.outbox.drain_marks() {
            completion(Err(error.clone()));
        }
    }
}

async fn run_writer(shared: Arc<Shared>, mut write: OwnedWriteHalf) {
    let mut writer = WriterBox { shared: Arc::clone(&shared), outbox: Outbox::new() };
    loop {
        {
            let mut state = lock(&shared.state);
            if state.ended.is_some() {
                return;
            }
            writer.outbox.take_from(&mut state.queue);
        }
        if writer.outbox.is_empty() {
            shared.queued.notified().await;
            continue;
        }
        if let Err(cause) = write_some(&mut write, &mut writer.outbox).await {
            return shared.end(shared.lost(cause));
        }
    }
}

async fn write_some(write: &mut OwnedWriteHalf, outbox: &mut Outbox<Completion>) -> io::Result<()> {
    let mut slices = [io::IoSlice::new(&[]); SLICES_PER_WRITE];
    let count = outbox.slices(&mut slices);
    let len = write.write_vectored(&slices[..count]).await?;
    if len == 0 {
        return Err(io::ErrorKind::WriteZero.into());
    }
    outbox.advance(len);
    while let Some(completion) = outbox.poll_mark() {
        completion(Ok(Answer::Written));
    }
    Ok(())
}

async fn run_reader(shared: Arc<Shared>, read: OwnedReadHalf) {
    let error = read_frames(&shared, read).await;
    shared.end(error);
}

/// Reads until the connection ends, and returns why it did.
async fn read_frames(shared: &Shared, mut read: OwnedReadHalf) -> ConnectionError {
    let address = || Arc::clone(&shared.address);
    let mut assembler = FrameAssembler::new(FRAME_BODY_BYTES_MAX);
    let mut tick = tokio::time::interval(TIMEOUT_TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let mut target = match assembler.target() {
            Ok(target) => target,
            Err(cause) => return ConnectionError::Frame { address: address(), cause },
        };
        let len = tokio::select! {
            biased;
            len = read.read_buf(&mut target) => len,
            _ = tick.tick() => {
                let state = lock(&shared.state);
                if let Some(ended) = &state.ended {
                    return ended.clone();
                }
                match state.exchange.overdue(Instant::now()) {
                    Some(after) => return ConnectionError::RequestTimeout { address: address(), after },
                    None => continue,
                }
            }
        };
        match len {
            Ok(0) => return ConnectionError::ClosedByBroker { address: address() },
            Ok(_) => {}
            Err(cause) => return shared.lost(cause),
        }
        loop {
            match assembler.next_frame() {
                Ok(Some((header, body))) => answer(shared, header, body),
                Ok(None) => break,
                Err(cause) => return ConnectionError::Frame { address: address(), cause },
            }
        }
    }
}

fn answer(shared: &Shared, header: FrameHeader, body: Bytes) {
    let completion = lock(&shared.state).exchange.close(header.correlation);
    match completion {
        Some(completion) => completion(Ok(Answer::Reply { header, body })),
        None => tracing::debug!(address = %shared.address, ?header, "a reply that nobody asked for"),
    }
}
