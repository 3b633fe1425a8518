//! Reading and writing the fields of a message body.
//!
//!     u8 u16 i16 … u64 i64     little-endian           string   u16 length, UTF-8
//!     uuid                     16 bytes                list     u32 count, then the items
//!     blob                     u32 length, any bytes   optional string   as string, length 65535 for none
//!
//! A [`Reader`] never reads past its body and never allocates for a count that the rest of the body
//! could not hold. A [`Writer`] is told the name of each field: the documentation's byte tables are
//! what a writer recorded, so they cannot disagree with the encoder.

use crate::model::ErrorCode;

/// Length of a string that is not there.
const NO_STRING: u16 = u16::MAX;

/// A body that does not have the form its message has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("the body ends inside of {field}")]
    Truncated { field: &'static str },
    #[error("{field} is not allowed: {why}")]
    Invalid { field: &'static str, why: &'static str },
    #[error("{extra} bytes follow the end of the message")]
    Trailing { extra: usize },
}

impl DecodeError {
    pub fn code(self) -> ErrorCode {
        ErrorCode::InvalidRequest
    }
}

pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(body: &'a [u8]) -> Reader<'a> {
        Reader { rest: body }
    }

    pub fn take(&mut self, field: &'static str, len: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(DecodeError::Truncated { field })?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Truncated { field })?;
        self.rest = rest;
        Ok(*taken)
    }

    pub fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        Ok(u8::from_le_bytes(self.array(field)?))
    }

    pub fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        Ok(u16::from_le_bytes(self.array(field)?))
    }

    pub fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array(field)?))
    }

    pub fn i32(&mut self, field: &'static str) -> Result<i32, DecodeError> {
        Ok(i32::from_le_bytes(self.array(field)?))
    }

    pub fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array(field)?))
    }

    pub fn uuid(&mut self, field: &'static str) -> Result<[u8; 16], DecodeError> {
        self.array(field)
    }

    pub fn string(&mut self, field: &'static str, max: usize) -> Result<&'a str, DecodeError> {
        let len = usize::from(self.u16(field)?);
        if len > max {
            return Err(DecodeError::Invalid { field, why: "the string is too long" });
        }
        let bytes = self.take(field, len)?;
        std::str::from_utf8(bytes).map_err(|_| DecodeError::Invalid { field, why: "the string is not UTF-8" })
    }

    /// As [`Reader::string`], or nothing.
    pub fn optional_string(
        &mut self,
        field: &'static str,
        max: usize,
    ) -> Result<Option<&'a str>, DecodeError> {
        match self.rest.first_chunk() {
            Some(&length) if u16::from_le_bytes(length) == NO_STRING => {
                self.take(field, size_of::<u16>()).map(|_| None)
            }
            _ => self.string(field, max).map(Some),
        }
    }

    /// Bytes with a meaning to others only; they are borrowed, so nothing but the body bounds them.
    pub fn blob(&mut self, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let len = self.u32(field)? as usize;
        self.take(field, len)
    }

    /// Reads a list of at most `max` items, each of at least `item_len_min` bytes.
    pub fn list<T>(
        &mut self,
        field: &'static str,
        max: usize,
        item_len_min: usize,
        mut item: impl FnMut(&mut Reader<'a>) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let count = self.u32(field)? as usize;
        if count > max {
            return Err(DecodeError::Invalid { field, why: "the list is too long" });
        }
        if count.saturating_mul(item_len_min) > self.rest.len() {
            return Err(DecodeError::Truncated { field });
        }
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// What is left of the body, for messages that end in record sets.
    pub fn rest(self) -> &'a [u8] {
        self.rest
    }

    pub fn finish(self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            extra => Err(DecodeError::Trailing { extra }),
        }
    }
}

/// One field as an encoder wrote it: what documentation is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Field {
    pub name: &'static str,
    pub at: usize,
    pub len: usize,
    pub value: String,
}

pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
    fields: Option<&'a mut Vec<Field>>,
}

impl<'a> Writer<'a> {
    pub fn new(out: &'a mut Vec<u8>) -> Writer<'a> {
        Writer { out, fields: None }
    }

    /// A writer that also records what it wrote where.
    pub fn recording(out: &'a mut Vec<u8>, fields: &'a mut Vec<Field>) -> Writer<'a> {
        Writer { out, fields: Some(fields) }
    }

    fn put(&mut self, name: &'static str, bytes: &[u8], value: &dyn std::fmt::Display) {
        if let Some(fields) = &mut self.fields {
            fields.push(Field { name, at: self.out.len(), len: bytes.len(), value: value.to_string() });
        }
        self.out.extend_from_slice(bytes);
    }

    pub fn u8(&mut self, name: &'static str, value: u8) {
        self.put(name, &value.to_le_bytes(), &value);
    }

    pub fn u16(&mut self, name: &'static str, value: u16) {
        self.put(name, &value.to_le_bytes(), &value);
    }

    pub fn i16(&mut self, name: &'static str, value: i16) {
        self.put(name, &value.to_le_bytes(), &value);
    }

    pub fn u32(&mut self, name: &'static str, value: u32) {
        self.put(name, &value.to_le_bytes(), &value);
    }

    pub fn i32(&mut self, name: &'static str, value: i32) {
        self.put(name, &value.to_le_bytes(), &value);
    }

    pub fn u64(&mut self, name: &'static str, value: u64) {
        self.put(name, &value.to_le_bytes(), &value);
    }

    pub fn i64(&mut self, name: &'static str, value: i64) {
        self.put(name, &value.to_le_bytes(), &value);
    }

    pub fn uuid(&mut self, name: &'static str, value: &impl std::fmt::Display, bytes: [u8; 16]) {
        self.put(name, &bytes, value);
    }

    pub fn reserved(&mut self, len: usize) {
        self.put("reserved", &[0; 8][..len], &0);
    }

    /// Fixed bytes with a meaning of their own, such as a magic.
    pub fn bytes(&mut self, name: &'static str, bytes: &[u8]) {
        self.put(name, bytes, &String::from_utf8_lossy(bytes));
    }

    /// # Panics
    /// If the string is longer than 65,535 bytes; callers bound theirs far below.
    pub fn string(&mut self, name: &'static str, text: &str) {
        let len = u16::try_from(text.len()).expect("BUG: a string over 65,535 bytes");
        self.put("length", &len.to_le_bytes(), &len);
        self.put(name, text.as_bytes(), &format_args!("\"{text}\""));
    }

    /// As [`Writer::string`], or nothing.
    ///
    /// # Panics
    /// As [`Writer::string`], and at a string of 65,535 bytes.
    pub fn optional_string(&mut self, name: &'static str, text: Option<&str>) {
        match text {
            Some(text) => {
                assert!(text.len() != usize::from(NO_STRING), "BUG: a string over 65,534 bytes");
                self.string(name, text);
            }
            None => {
                self.put("length", &NO_STRING.to_le_bytes(), &NO_STRING);
                self.put(name, &[], &"none");
            }
        }
    }

    /// Bytes with a meaning to others only.
    pub fn blob(&mut self, name: &'static str, bytes: &[u8]) {
        self.count("length", bytes.len());
        self.put(name, bytes, &format_args!("\"{}\"", bytes.escape_ascii()));
    }

    /// Cuts a message for people to the length every reader accepts.
    pub fn message(&mut self, name: &'static str, text: &str) {
        let mut end = text.len().min(crate::model::limits::LONG_STRING_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.string(name, &text[..end]);
    }

    pub fn list<T>(&mut self, name: &'static str, items: &[T], mut item: impl FnMut(&mut Writer<'a>, &T)) {
        self.count(name, items.len());
        for each in items {
            item(self, each);
        }
    }

    pub fn count(&mut self, name: &'static str, count: usize) {
        self.u32(name, u32::try_from(count).expect("BUG: a list of over 2^32 items"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_that_the_body_cannot_hold_allocates_nothing() {
        let mut reader = Reader::new(&[0xff, 0xff, 0xff, 0x7f, 1, 2]);
        let read = reader.list("topics", usize::MAX, 2, |reader| reader.u16("item"));
        assert_eq!(read, Err(DecodeError::Truncated { field: "topics" }));
    }

    #[test]
    fn a_list_over_its_limit_is_refused_even_if_it_is_there() {
        let mut reader = Reader::new(&[2, 0, 0, 0, 1, 2]);
        let read = reader.list("topics", 1, 1, |reader| reader.u8("item"));
        assert_eq!(read, Err(DecodeError::Invalid { field: "topics", why: "the list is too long" }));
    }

    #[test]
    fn no_string_is_not_an_empty_one() {
        for text in [None, Some(""), Some("a")] {
            let mut out = Vec::new();
            Writer::new(&mut out).optional_string("text", text);
            let mut reader = Reader::new(&out);
            assert_eq!(reader.optional_string("text", 1), Ok(text));
            assert_eq!(reader.finish(), Ok(()));
        }
    }

    #[test]
    fn a_blob_that_is_not_there_is_truncated() {
        let mut reader = Reader::new(&[0xff, 0xff, 0xff, 0xff, 1, 2]);
        assert_eq!(reader.blob("metadata"), Err(DecodeError::Truncated { field: "metadata" }));
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let mut out = Vec::new();
        Writer::new(&mut out).message("message", &"ä".repeat(4096));
        let mut reader = Reader::new(&out);
        assert_eq!(reader.string("message", 4096).unwrap().len(), 4096);
        assert_eq!(reader.finish(), Ok(()));
    }
}
