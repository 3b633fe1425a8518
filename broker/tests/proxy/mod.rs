//! A network that loses replies and cuts connections, between clients and a broker.
//!
//!     client ══ requests ══════════════════════▶ proxy ═▶ broker      every one arrives, some late
//!     client ◀═ replies ══ lost ✕ ══ cut off ✕ ═ proxy ◀═ broker      of Produce and InitProducerId
//!
//! A request that the proxy has taken always reaches the broker, also when its connection is cut: then
//! it comes late, beside those of the client's next connection, and its reply goes nowhere. That is
//! the failure which makes clients without idempotence store a record twice.
//!
//! The broker is to advertise the proxy's address (`listener.advertised`), so the proxy is bound
//! first and led to the broker then, and again wherever a broker that was killed comes back.

#![allow(dead_code)] // every test that includes this uses a part of it

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use protocol::api::Api;
use protocol::frame::FrameHeader;
use protocol::model::limits::FRAME_BODY_BYTES_MAX;

/// What goes wrong, in thousandths of the replies that can be lost.
#[derive(Default)]
pub struct Faults {
    /// This reply is lost; the connection goes on.
    pub lost: AtomicU32,
    /// The connection is cut before this reply.
    pub cut: AtomicU32,
    /// How often either has happened.
    pub lost_count: AtomicU64,
    pub cut_count: AtomicU64,
}

pub struct Proxy {
    shared: Arc<Shared>,
    addr: SocketAddr,
}

struct Shared {
    faults: Faults,
    broker: Mutex<Option<SocketAddr>>,
    stopped: AtomicBool,
    random: AtomicU64,
}

/// The longest that a request of a cut connection is under way.
const LATE_MAX: Duration = Duration::from_millis(40);

impl Proxy {
    /// Listens on a free port; connections are refused until `lead_to`.
    pub fn start(seed: u64) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            faults: Faults::default(),
            broker: Mutex::new(None),
            stopped: AtomicBool::new(false),
            random: AtomicU64::new(seed),
        });
        let serving = shared.clone();
        std::thread::spawn(move || serve(&serving, &listener));
        Proxy { shared, addr }
    }

    /// What clients connect to, and what the broker is to advertise.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// New connections lead to this broker.
    pub fn lead_to(&self, broker: SocketAddr) {
        *self.shared.broker.lock().unwrap() = Some(broker);
    }

    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// From now on in thousandths of the replies.
    pub fn set_faults(&self, lost: u32, cut: u32) {
        self.faults().lost.store(lost, Ordering::Relaxed);
        self.faults().cut.store(cut, Ordering::Relaxed);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.addr); // wakes the thread that accepts
    }
}

impl Shared {
    /// SplitMix64.
    fn random(&self) -> u64 {
        let mut z = self.random.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn happens(&self, thousandths: &AtomicU32, count: &AtomicU64) -> bool {
        let happens = self.random() % 1000 < u64::from(thousandths.load(Ordering::Relaxed));
        count.fetch_add(u64::from(happens), Ordering::Relaxed);
        happens
    }
}

fn serve(shared: &Arc<Shared>, listener: &TcpListener) {
    for client in listener.incoming().map_while(Result::ok) {
        if shared.stopped.load(Ordering::Relaxed) {
            return;
        }
        let addr = *shared.broker.lock().unwrap();
        // A broker that is away: the client sees its connection closed.
        let Some(broker) = addr.and_then(|addr| TcpStream::connect(addr).ok()) else { continue };
        for socket in [&client, &broker] {
            socket.set_nodelay(true).unwrap();
        }
        let is_cut = Arc::new(AtomicBool::new(false));
        let (from, to) = (client.try_clone().unwrap(), broker.try_clone().unwrap());
        let (requests, cut) = (shared.clone(), is_cut.clone());
        std::thread::spawn(move || pass_requests(&requests, from, to, &cut));
        let replies = shared.clone();
        std::thread::spawn(move || pass_replies(&replies, broker, client, &is_cut));
    }
}

/// Everything the client has sent goes to the broker, a part of it late if the connection was cut.
fn pass_requests(shared: &Shared, mut client: TcpStream, mut broker: TcpStream, is_cut: &AtomicBool) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(len @ 1..) = client.read(&mut buffer) {
        if is_cut.load(Ordering::Relaxed) {
            std::thread::sleep(LATE_MAX.mul_f64((shared.random() % 1000) as f64 / 1000.0));
        }
        if broker.write_all(&buffer[..len]).is_err() {
            break;
        }
    }
    // Half of it: replies to what was sent are still read, and the broker gets all it was sent.
    let _ = broker.shutdown(Shutdown::Write); // it may be gone
}

/// Replies come whole or not at all.
fn pass_replies(shared: &Shared, mut broker: TcpStream, mut client: TcpStream, is_cut: &AtomicBool) {
    let Faults { lost, cut, lost_count, cut_count } = &shared.faults;
    let mut buffer = vec![0; 64 << 10];
    let mut unread = Vec::new();
    'connection: while let Ok(len @ 1..) = broker.read(&mut buffer) {
        unread.extend_from_slice(&buffer[..len]);
        while let Some((api, len)) = first_frame(&unread) {
            let frame: Vec<u8> = unread.drain(..len).collect();
            let can_fail = matches!(api, Api::Produce | Api::InitProducerId);
            if can_fail && shared.happens(cut, cut_count) {
                break 'connection;
            }
            if can_fail && shared.happens(lost, lost_count) {
                continue;
            }
            if client.write_all(&frame).is_err() {
                break 'connection;
            }
        }
    }
    is_cut.store(true, Ordering::Relaxed);
    let _ = client.shutdown(Shutdown::Both); // what it has sent can still be read
    // The broker must not wait for somebody to take its replies.
    while let Ok(1..) = broker.read(&mut buffer) {}
}

/// Api and length of the frame that `bytes` begin with, if all of it is there.
fn first_frame(bytes: &[u8]) -> Option<(Api, usize)> {
    let header = FrameHeader::parse(bytes, FRAME_BODY_BYTES_MAX).expect("brokers send frames")?;
    (header.frame_len() <= bytes.len()).then_some((header.api, header.frame_len()))
}
