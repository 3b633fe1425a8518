//! Writes the fields of a response.
//!
//!     values ─ string, i32, list … ─▶ Writer ─▶ appended to a buffer that the caller keeps
//!
//! The same calls write both writings. A caller whose bytes lie elsewhere (the records of a Fetch) asks
//! where they belong and sends them from where they are.

use super::{STRING_BYTES_MAX, Uuid, varint};
use crate::api::Api;
use crate::error::ErrorCode;

/// The end of a buffer, to which a response is written.
pub struct Writer<'o> {
    out: &'o mut Vec<u8>,
    version: i16,
    flexible: bool,
}

impl<'o> Writer<'o> {
    /// Writes a body of `api` in `version`.
    pub fn new(out: &'o mut Vec<u8>, api: Api, version: i16) -> Writer<'o> {
        Writer::with(out, version, api.is_flexible(version))
    }

    /// As [`Writer::new`], with the writing said outright.
    pub fn with(out: &'o mut Vec<u8>, version: i16, flexible: bool) -> Writer<'o> {
        Writer { out, version, flexible }
    }

    pub fn version(&self) -> i16 {
        self.version
    }

    /// Whether fields that came with `version` are written.
    pub fn since(&self, version: i16) -> bool {
        version <= self.version
    }

    /// Where the next byte will stand in the buffer.
    pub fn position(&self) -> usize {
        self.out.len()
    }

    pub fn i8(&mut self, value: i8) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    pub fn i16(&mut self, value: i16) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    pub fn i32(&mut self, value: i32) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    pub fn i64(&mut self, value: i64) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    pub fn bool(&mut self, value: bool) {
        self.i8(i8::from(value));
    }

    pub fn uuid(&mut self, value: &Uuid) {
        self.out.extend_from_slice(value);
    }

    pub fn error(&mut self, error: ErrorCode) {
        self.i16(error.to_wire());
    }

    pub fn varint(&mut self, value: u32) {
        varint::append(self.out, value);
    }

    /// A string. What is longer than Kafka's readers accept is cut between characters: the names in a
    /// response come from its request and are not, but texts for people might be.
    pub fn string(&mut self, text: &str) {
        let text = &text[..text.floor_char_boundary(STRING_BYTES_MAX)];
        let len = i16::try_from(text.len()).expect("BUG: the text was cut above");
        match self.flexible {
            true => self.varint(u32::from(len.cast_unsigned()) + 1),
            false => self.i16(len),
        }
        self.out.extend_from_slice(text.as_bytes());
    }

    pub fn nullable_string(&mut self, text: Option<&str>) {
        match (text, self.flexible) {
            (Some(text), _) => self.string(text),
            (None, true) => self.varint(0),
            (None, false) => self.i16(-1),
        }
    }

    /// Count of an array, or length of bytes that others write; `None` for null.
    ///
    /// # Panics
    /// Over 2^31 − 1, which no frame can hold.
    pub fn nullable_count(&mut self, count: Option<usize>) {
        let count = count.map(|count| i32::try_from(count).expect("BUG: over 2^31 items in a response"));
        match (count, self.flexible) {
            (Some(count), true) => self.varint(count.cast_unsigned() + 1),
            (None, true) => self.varint(0),
            (count, false) => self.i32(count.unwrap_or(-1)),
        }
    }

    pub fn count(&mut self, count: usize) {
        self.nullable_count(Some(count));
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.out.extend_from_slice(bytes);
    }

    pub fn list<T>(&mut self, items: &[T], mut item: impl FnMut(&mut Writer<'o>, &T)) {
        self.count(items.len());
        for each in items {
            item(self, each);
        }
    }

    /// The end of a struct without tagged fields. Nothing in a classic message.
    pub fn no_tags(&mut self) {
        self.tag_count(0);
    }

    /// The end of a struct: so many calls of [`Writer::tagged`] follow, in the order of their tags.
    pub fn tag_count(&mut self, count: usize) {
        if self.flexible {
            self.varint(u32::try_from(count).expect("BUG: over 2^32 tagged fields"));
        }
    }

    /// One tagged field; `value` writes what is in it.
    pub fn tagged(&mut self, tag: u32, value: impl FnOnce(&mut Writer<'_>)) {
        let mut field = Vec::new();
        value(&mut Writer::with(&mut field, self.version, self.flexible));
        self.varint(tag);
        self.varint(u32::try_from(field.len()).expect("BUG: a tagged field over 4 GiB"));
        self.out.extend_from_slice(&field);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(flexible: bool, write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut Writer::with(&mut out, 0, flexible));
        out
    }

    #[test]
    fn nothing_has_two_writings() {
        let write = |w: &mut Writer<'_>| {
            w.nullable_string(None);
            w.nullable_count(None);
            w.no_tags();
        };
        assert_eq!(written(false, write), [0xff; 6]);
        assert_eq!(written(true, write), [0; 3]);
    }

    #[test]
    fn an_overlong_string_is_cut_between_characters() {
        let text = "ä".repeat(STRING_BYTES_MAX);
        let out = written(false, |w| w.string(&text));
        assert_eq!(out.len(), 2 + STRING_BYTES_MAX - 1);
        assert_eq!(out[..2], 0x7ffe_i16.to_be_bytes());
    }

    #[test]
    fn a_tagged_field_says_its_length() {
        let out = written(true, |w| {
            w.tag_count(1);
            w.tagged(2, |w| w.i64(7));
        });
        assert_eq!(out, [1, 2, 8, 0, 0, 0, 0, 0, 0, 0, 7]);
    }
}
