//! Reads the fields of a request, in place.
//!
//!     body ─▶ Reader ─ string, i32, list … ─▶ borrowed values
//!                         └─▶ List: walked once to see that it is right, walked again to be used
//!
//! Nothing is allocated: a string is a slice of the body, and so is an array, whose items are read anew
//! each time somebody goes over them.

use std::fmt;
use std::marker::PhantomData;

use super::{STRING_BYTES_MAX, Uuid, varint};
use crate::api::Api;

/// A message that does not have the form it should have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Malformed {
    #[error("the message ends inside of {field}")]
    Truncated { field: &'static str },
    #[error("{field} is not allowed: {why}")]
    Invalid { field: &'static str, why: &'static str },
}

/// A position in the body of a request.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
    version: i16,
    flexible: bool,
    /// Items that arrays may still hold.
    items_left: usize,
}

/// Items of all arrays of one request that is read in place: the partitions of two of the largest topics.
/// What is remembered of an item is more than its bytes in the frame.
pub const ITEMS_MAX: usize = 200_000;

/// A value that can be read from where a [`Reader`] stands.
pub trait Read<'a>: Sized {
    fn read(r: &mut Reader<'a>) -> Result<Self, Malformed>;
}

impl<'a> Reader<'a> {
    /// Reads a body of `api` in `version`.
    pub fn new(body: &'a [u8], api: Api, version: i16) -> Reader<'a> {
        Reader::with(body, version, api.is_flexible(version))
    }

    /// As [`Reader::new`], with the writing said outright.
    pub fn with(body: &'a [u8], version: i16, flexible: bool) -> Reader<'a> {
        Reader { rest: body, version, flexible, items_left: ITEMS_MAX }
    }

    pub fn version(&self) -> i16 {
        self.version
    }

    /// Whether fields that came with `version` are there.
    pub fn since(&self, version: i16) -> bool {
        version <= self.version
    }

    pub fn is_flexible(&self) -> bool {
        self.flexible
    }

    pub fn take(&mut self, field: &'static str, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Malformed::Truncated { field })?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed::Truncated { field })?;
        self.rest = rest;
        Ok(*taken)
    }

    pub fn i8(&mut self, field: &'static str) -> Result<i8, Malformed> {
        Ok(i8::from_be_bytes(self.array(field)?))
    }

    pub fn i16(&mut self, field: &'static str) -> Result<i16, Malformed> {
        Ok(i16::from_be_bytes(self.array(field)?))
    }

    pub fn i32(&mut self, field: &'static str) -> Result<i32, Malformed> {
        Ok(i32::from_be_bytes(self.array(field)?))
    }

    pub fn i64(&mut self, field: &'static str) -> Result<i64, Malformed> {
        Ok(i64::from_be_bytes(self.array(field)?))
    }

    /// Everything but 0 is true, as Kafka reads it.
    pub fn bool(&mut self, field: &'static str) -> Result<bool, Malformed> {
        Ok(self.i8(field)? != 0)
    }

    pub fn uuid(&mut self, field: &'static str) -> Result<Uuid, Malformed> {
        self.array(field)
    }

    pub fn varint(&mut self, field: &'static str) -> Result<u32, Malformed> {
        match varint::read(self.rest) {
            Some(Ok((value, len))) => self.take(field, len).map(|_| value),
            Some(Err(())) => Err(Malformed::Invalid { field, why: "the varint is longer than 32 bits" }),
            None => Err(Malformed::Truncated { field }),
        }
    }

    /// Length or count in front of something; `None` for null. `classic` reads it in the old writing.
    fn length(
        &mut self,
        field: &'static str,
        classic: impl FnOnce(&mut Reader<'a>) -> Result<i32, Malformed>,
    ) -> Result<Option<usize>, Malformed> {
        if self.flexible {
            return Ok(self.varint(field)?.checked_sub(1).map(|len| len as usize));
        }
        match classic(self)? {
            -1 => Ok(None),
            len => usize::try_from(len)
                .map(Some)
                .map_err(|_| Malformed::Invalid { field, why: "the length is negative" }),
        }
    }

    pub fn nullable_string(&mut self, field: &'static str) -> Result<Option<&'a str>, Malformed> {
        let Some(len) = self.length(field, |r| r.i16(field).map(i32::from))? else { return Ok(None) };
        if len > STRING_BYTES_MAX {
            return Err(Malformed::Invalid { field, why: "the string is too long" });
        }
        let bytes = self.take(field, len)?;
        let text = std::str::from_utf8(bytes);
        text.map(Some).map_err(|_| Malformed::Invalid { field, why: "the string is not UTF-8" })
    }

    pub fn string(&mut self, field: &'static str) -> Result<&'a str, Malformed> {
        self.nullable_string(field)?.ok_or(null(field))
    }

    pub fn nullable_bytes(&mut self, field: &'static str) -> Result<Option<&'a [u8]>, Malformed> {
        match self.length(field, |r| r.i32(field))? {
            Some(len) => self.take(field, len).map(Some),
            None => Ok(None),
        }
    }

    pub fn bytes(&mut self, field: &'static str) -> Result<&'a [u8], Malformed> {
        self.nullable_bytes(field)?.ok_or(null(field))
    }

    /// Count of an array; `None` for null. An item takes at least a byte, so that more items than bytes
    /// that are left are refused before anybody makes room for them.
    pub fn nullable_count(&mut self, field: &'static str) -> Result<Option<usize>, Malformed> {
        let count = self.length(field, |r| r.i32(field))?;
        if count.is_some_and(|count| count > self.rest.len()) {
            return Err(Malformed::Truncated { field });
        }
        Ok(count)
    }

    pub fn nullable_list<T: Read<'a>>(
        &mut self,
        field: &'static str,
    ) -> Result<Option<List<'a, T>>, Malformed> {
        let Some(count) = self.nullable_count(field)? else { return Ok(None) };
        let too_many = Malformed::Invalid { field, why: "the request has too many items" };
        self.items_left = self.items_left.checked_sub(count).ok_or(too_many)?;
        let list = List { first: *self, count, item: PhantomData };
        for _ in 0..count {
            T::read(self)?;
        }
        Ok(Some(list))
    }

    pub fn list<T: Read<'a>>(&mut self, field: &'static str) -> Result<List<'a, T>, Malformed> {
        self.nullable_list(field)?.ok_or(null(field))
    }

    /// The end of a struct: tagged fields, of which none is of use to us. Nothing in a classic message.
    pub fn skip_tags(&mut self) -> Result<(), Malformed> {
        if !self.flexible {
            return Ok(());
        }
        for _ in 0..self.varint("tagged fields")? {
            self.varint("tag")?;
            let len = self.varint("tagged field")?;
            self.take("tagged field", len as usize)?;
        }
        Ok(())
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

const fn null(field: &'static str) -> Malformed {
    Malformed::Invalid { field, why: "it is null" }
}

/// An array of a request, known to be right, still in the frame.
pub struct List<'a, T> {
    first: Reader<'a>,
    count: usize,
    item: PhantomData<fn() -> T>,
}

impl<'a, T: Read<'a>> List<'a, T> {
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The items in the order of the request, read anew.
    pub fn iter(&self) -> Items<'a, T> {
        Items { at: self.first, left: self.count, item: PhantomData }
    }
}

impl<T> Clone for List<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for List<'_, T> {}

impl<'a, T: Read<'a> + PartialEq> PartialEq for List<'a, T> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<'a, T: Read<'a> + fmt::Debug> fmt::Debug for List<'a, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a, T: Read<'a>> IntoIterator for List<'a, T> {
    type Item = T;
    type IntoIter = Items<'a, T>;

    fn into_iter(self) -> Items<'a, T> {
        self.iter()
    }
}

/// The items of a [`List`].
pub struct Items<'a, T> {
    at: Reader<'a>,
    left: usize,
    item: PhantomData<fn() -> T>,
}

impl<'a, T: Read<'a>> Iterator for Items<'a, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.left = self.left.checked_sub(1)?;
        Some(T::read(&mut self.at).expect("BUG: the list was walked when its message was read"))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<'a, T: Read<'a>> ExactSizeIterator for Items<'a, T> {}

impl<'a> Read<'a> for i8 {
    fn read(r: &mut Reader<'a>) -> Result<i8, Malformed> {
        r.i8("item")
    }
}

impl<'a> Read<'a> for i32 {
    fn read(r: &mut Reader<'a>) -> Result<i32, Malformed> {
        r.i32("item")
    }
}

impl<'a> Read<'a> for &'a str {
    fn read(r: &mut Reader<'a>) -> Result<&'a str, Malformed> {
        r.string("item")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classic(bytes: &[u8]) -> Reader<'_> {
        Reader::with(bytes, 0, false)
    }

    fn flexible(bytes: &[u8]) -> Reader<'_> {
        Reader::with(bytes, 0, true)
    }

    #[test]
    fn a_string_has_two_writings_and_null_is_not_empty() {
        assert_eq!(classic(&[0, 2, b'a', b'b']).nullable_string("s"), Ok(Some("ab")));
        assert_eq!(classic(&[0, 0]).nullable_string("s"), Ok(Some("")));
        assert_eq!(classic(&[0xff, 0xff]).nullable_string("s"), Ok(None));
        assert_eq!(flexible(&[3, b'a', b'b']).nullable_string("s"), Ok(Some("ab")));
        assert_eq!(flexible(&[1]).nullable_string("s"), Ok(Some("")));
        assert_eq!(flexible(&[0]).nullable_string("s"), Ok(None));
        assert_eq!(flexible(&[0]).string("s"), Err(null("s")));
    }

    #[test]
    fn a_string_is_bounded_by_its_body_and_by_kafkas_limit() {
        assert_eq!(classic(&[0, 3, b'a', b'b']).string("s"), Err(Malformed::Truncated { field: "s" }));
        let negative = Malformed::Invalid { field: "s", why: "the length is negative" };
        assert_eq!(classic(&[0xff, 0xfe]).string("s"), Err(negative));
        assert_eq!(
            classic(&[0, 1, 0xff]).string("s"),
            Err(Malformed::Invalid { field: "s", why: "the string is not UTF-8" })
        );
        let mut long = vec![0x81, 0x80, 2];
        long.resize(3 + STRING_BYTES_MAX + 1, b'a');
        let too_long = Malformed::Invalid { field: "s", why: "the string is too long" };
        assert_eq!(flexible(&long).string("s"), Err(too_long));
        long[0] = 0x80;
        assert_eq!(flexible(&long).string("s").map(str::len), Ok(STRING_BYTES_MAX));
    }

    #[test]
    fn a_count_of_more_than_is_left_is_refused() {
        let short = Err(Malformed::Truncated { field: "l" });
        assert_eq!(classic(&[0, 0, 0, 3, 1, 2]).list::<i8>("l").map(|list| list.len()), short);
        assert_eq!(classic(&[0x7f, 0xff, 0xff, 0xff, 1]).list::<i8>("l").map(|list| list.len()), short);
        assert_eq!(
            flexible(&[0xff, 0xff, 0xff, 0xff, 0x0f, 1]).list::<i8>("l").map(|list| list.len()),
            short
        );
    }

    #[test]
    fn a_list_can_be_walked_again() {
        let mut r = flexible(&[3, 2, b'a', 3, b'b', b'c', 9]);
        let list = r.list::<&str>("l").unwrap();
        assert_eq!(r.rest(), [9]);
        for _ in 0..2 {
            assert_eq!((list.len(), list.iter().collect::<Vec<_>>()), (2, vec!["a", "bc"]));
        }
    }

    #[test]
    fn tagged_fields_are_skipped_within_bounds() {
        let mut r = flexible(&[2, 0, 1, 7, 0x80, 1, 2, 8, 8, 5]);
        assert_eq!(r.skip_tags(), Ok(()));
        assert_eq!(r.rest(), [5]);
        let short = Err(Malformed::Truncated { field: "tagged field" });
        assert_eq!(flexible(&[1, 0, 0xff, 0xff, 0xff, 0xff, 0x0f]).skip_tags(), short);
        let cut = Err(Malformed::Truncated { field: "tag" });
        assert_eq!(flexible(&[0xff, 0xff, 0xff, 0xff, 0x0f]).skip_tags(), cut);
        assert_eq!(classic(&[1]).skip_tags(), Ok(()));
    }
}
