//! What TCP over loopback carries from a client core to a broker core, with nothing done to the bytes.
//!
//!     client core   write(buffer) ──▶ lo ──▶ read(buffer)   broker core
//!
//! Measured here: 1.3 GB/s far, 3.3 GB/s near. The receiver counts, over its own time.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Cores, on_cores};
use crate::clock::Moment;

pub fn gb_per_second(cores: &Cores, buffer_bytes: usize, stretch: Duration) -> Result<f64> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen on loopback")?;
    let mut sender = TcpStream::connect(listener.local_addr()?).context("cannot connect over loopback")?;
    let (receiver, _) = listener.accept().context("cannot accept over loopback")?;
    let received = std::thread::scope(|scope| {
        scope.spawn(|| on_cores(&cores.client, || send(&mut sender, buffer_bytes, stretch)));
        on_cores(&cores.broker, move || receive(receiver, buffer_bytes, stretch))
    });
    received.context("loopback failed")
}

/// Sends until the other side has had enough.
fn send(stream: &mut TcpStream, buffer_bytes: usize, stretch: Duration) {
    let buffer = vec![7; buffer_bytes];
    let end = Moment::now().plus(stretch * 2);
    while Moment::now() < end && stream.write_all(&buffer).is_ok() {}
}

/// Closes the stream at the end, which resets it: a sender that waits for room in a window that was only shut
/// down would wait for ever.
fn receive(mut stream: TcpStream, buffer_bytes: usize, stretch: Duration) -> std::io::Result<f64> {
    let mut buffer = vec![0; buffer_bytes];
    let (start, mut bytes) = (Moment::now(), 0_u64);
    let end = start.plus(stretch);
    let elapsed = loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(len) => bytes += len as u64,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        let now = Moment::now();
        if now >= end {
            break now.since(start);
        }
    };
    Ok(bytes as f64 / 1e9 / elapsed.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_carries_bytes() {
        let cores = crate::sys::allowed_cores().unwrap();
        let cores = Cores { broker: cores.clone(), client: cores };
        assert!(gb_per_second(&cores, 64 << 10, Duration::from_millis(20)).unwrap() > 0.001);
    }
}
