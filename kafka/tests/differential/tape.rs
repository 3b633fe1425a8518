//! Random contents from a tape of bytes: a shorter tape makes smaller contents, so failures shrink.
//!
//!     tape  07 81 00 …  ─▶  i32, text, list …      an ended tape gives zeroes, which are empty lists

use kafka_protocol::protocol::StrBytes;

pub struct Tape {
    bytes: std::vec::IntoIter<u8>,
}

/// Lengths around which the compact writing grows by a byte, and characters of several bytes.
const LONG_TEXT: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\
                         0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

const WORDS: [&str; 6] = ["", "a", "orders", "größe-✓", "consumer", "10.0.0.1"];

impl Tape {
    pub fn new(bytes: Vec<u8>) -> Tape {
        Tape { bytes: bytes.into_iter() }
    }

    pub fn u8(&mut self) -> u8 {
        self.bytes.next().unwrap_or(0)
    }

    pub fn bool(&mut self) -> bool {
        self.u8() % 2 == 1
    }

    pub fn i8(&mut self) -> i8 {
        self.u8().cast_signed()
    }

    pub fn i16(&mut self) -> i16 {
        i16::from_be_bytes([self.u8(), self.u8()])
    }

    pub fn i32(&mut self) -> i32 {
        i32::from(self.i16()) << (self.u8() % 17)
    }

    pub fn i64(&mut self) -> i64 {
        i64::from(self.i32()) << (self.u8() % 33)
    }

    pub fn uuid(&mut self) -> [u8; 16] {
        std::array::from_fn(|_| self.u8())
    }

    pub fn text(&mut self) -> &'static str {
        match self.u8() {
            at @ 0..180 => WORDS[usize::from(at) % WORDS.len()],
            at => &LONG_TEXT[..usize::from(at) % 6 + 123],
        }
    }

    pub fn maybe_text(&mut self) -> Option<&'static str> {
        self.bool().then(|| self.text())
    }

    pub fn blob(&mut self) -> Vec<u8> {
        let len = self.u8() % 24;
        (0..len).map(|_| self.u8()).collect()
    }

    pub fn list<T>(&mut self, mut item: impl FnMut(&mut Tape) -> T) -> Vec<T> {
        let len = self.u8() % 4;
        (0..len).map(|_| item(self)).collect()
    }

    pub fn maybe<T>(&mut self, item: impl FnOnce(&mut Tape) -> T) -> Option<T> {
        self.bool().then(|| item(self))
    }
}

pub fn str_bytes(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
