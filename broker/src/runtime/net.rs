//! Sockets of a shard: read when bytes are there, send what goes without waiting, wait for room.
//!
//!     Socket::read          reader task    sleeps until bytes arrive
//!     Socket::try_send      anybody        one sendmsg, never waits
//!     Socket::send_waiting  writer task    sleeps until the socket takes bytes again
//!
//! Reader and writer share one stream; each borrows it only for the length of a poll.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::time::{Duration, Instant};

use futures_lite::io::{AsyncRead, AsyncWrite};
use glommio::net::{TcpListener, TcpStream};
use socket2::{Domain, Protocol, SockAddr, Socket as RawSocket, Type};

use super::sys;

/// Connections the kernel keeps for a shard that has not accepted them yet.
const BACKLOG: i32 = 1024;

/// How long an address may be in use by what is left of a broker that was killed. It was seen to be 5
/// to 11 ms.
const PREDECESSOR_MAX: Duration = Duration::from_secs(2);
const PREDECESSOR_PAUSE: Duration = Duration::from_millis(5);

/// Binds one listening socket per shard to the same address; the kernel deals connections out.
///
/// # Errors
/// `AddrInUse`, after [`PREDECESSOR_MAX`], also where another broker of the same user listens with
/// SO_REUSEPORT, which the kernel alone would let us share without a word.
pub fn bind(addr: SocketAddr, shards: usize) -> io::Result<(SocketAddr, Vec<OwnedFd>)> {
    if addr.port() != 0 {
        wait_until_free(addr)?;
    }
    let first = listening_socket(addr, true)?;
    let addr = first.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
    let mut sockets = vec![OwnedFd::from(first)];
    for _ in 1..shards {
        sockets.push(OwnedFd::from(listening_socket(addr, true)?));
    }
    Ok((addr, sockets))
}

/// A broker that was killed may still listen when its process is gone: the kernel takes rings with pending
/// accepts down on its own time.
fn wait_until_free(addr: SocketAddr) -> io::Result<()> {
    let deadline = Instant::now() + PREDECESSOR_MAX;
    loop {
        match listening_socket(addr, false) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                std::thread::sleep(PREDECESSOR_PAUSE);
            }
            bound => return bound.map(drop),
        }
    }
}

fn listening_socket(addr: SocketAddr, shared: bool) -> io::Result<RawSocket> {
    let socket = RawSocket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // A port whose old connections are in TIME_WAIT can be bound; one that is listened on cannot.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.bind(&SockAddr::from(addr))?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

pub struct Listener(TcpListener);

impl Listener {
    /// Takes over a listening socket. Call on the shard's executor.
    pub fn new(socket: OwnedFd) -> Listener {
        Listener(sys::listener(socket))
    }

    pub async fn accept(&self) -> io::Result<Socket> {
        let stream = self.0.accept().await.map_err(io::Error::from)?;
        stream.set_nodelay(true).map_err(io::Error::from)?;
        Ok(Socket { fd: stream.as_raw_fd(), stream: RefCell::new(stream) })
    }
}

pub struct Socket {
    fd: RawFd,
    stream: RefCell<TcpStream>,
}

impl Socket {
    /// Takes over a connection, from another shard. Call on the shard's executor.
    pub fn adopt(socket: OwnedFd) -> Socket {
        let stream = sys::stream(socket);
        Socket { fd: stream.as_raw_fd(), stream: RefCell::new(stream) }
    }

    /// A second handle to the connection, which survives this one.
    pub fn duplicate(&self) -> io::Result<OwnedFd> {
        sys::duplicate(&*self.stream.borrow())
    }

    pub fn peer(&self) -> Option<SocketAddr> {
        self.stream.borrow().peer_addr().ok()
    }

    /// Waits for bytes; 0 at the end of the stream.
    pub async fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| Pin::new(&mut *self.stream.borrow_mut()).poll_read(cx, buf)).await
    }

    /// Sends what the socket takes now; `None` if it takes nothing.
    pub fn try_send(&self, slices: &[IoSlice<'_>]) -> Option<io::Result<usize>> {
        sys::send_vectored(self.fd, slices)
    }

    /// Sends some of `bytes`, waiting until the socket takes any.
    pub async fn send_waiting(&self, bytes: &[u8]) -> io::Result<usize> {
        poll_fn(|cx| Pin::new(&mut *self.stream.borrow_mut()).poll_write(cx, bytes)).await
    }

    /// Ends the connection in both directions; whoever waits for it wakes up.
    pub fn shut_down(&self) {
        sys::shut_down(self.fd);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_waited_for_while_its_last_owner_goes() {
        let (addr, sockets) = bind("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let owner = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            drop(sockets);
        });
        assert_eq!(bind(addr, 2).unwrap().0, addr);
        owner.join().unwrap();
    }

    #[test]
    fn an_address_whose_owner_stays_is_refused() {
        let (addr, _sockets) = bind("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        assert_eq!(bind(addr, 1).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
