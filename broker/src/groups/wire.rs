//! Kafka's primitives, as its stored records and the consumer protocol use them. All big-endian.
//!
//!     i16 i32 i64      string = i16 length, UTF-8 (−1: null)      bytes = i32 length (−1: null)
//!     flexible: compact string or bytes = uvarint (length + 1), content (0: null); tagged fields at the end
//!
//! A reader never panics and never allocates: what it returns are slices of what it was given.

/// Why bytes are not what they should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WireError {
    #[error("the bytes end within a field")]
    Short,
    #[error("a length or a count is negative or larger than allowed")]
    Length,
    #[error("a string is not UTF-8")]
    Utf8,
    #[error("a number is outside of its range")]
    Range,
    #[error("bytes follow the last field")]
    Trailing,
    #[error("version {0} is not known")]
    Version(i16),
}

/// Longest string: what the classic form can say. Longer ones of the compact form could not be written again.
pub(super) const STRING_BYTES_MAX: usize = i16::MAX as usize;

pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    /// Lengths are those of a flexible version.
    is_flexible: bool,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, is_flexible: false }
    }

    /// From here on, lengths are compact and structs end with tagged fields.
    pub fn flexible(&mut self, is_flexible: bool) {
        self.is_flexible = is_flexible;
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.bytes.split_at_checked(len).ok_or(WireError::Short)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        self.take(N)?.try_into().map_err(|_| WireError::Short)
    }

    pub fn i16(&mut self) -> Result<i16, WireError> {
        self.array().map(i16::from_be_bytes)
    }

    pub fn i32(&mut self) -> Result<i32, WireError> {
        self.array().map(i32::from_be_bytes)
    }

    pub fn i64(&mut self) -> Result<i64, WireError> {
        self.array().map(i64::from_be_bytes)
    }

    fn uvarint(&mut self) -> Result<u32, WireError> {
        let mut value: u64 = 0;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(value).map_err(|_| WireError::Length);
            }
        }
        Err(WireError::Length)
    }

    /// A length; `None` for null. `wide` says which of the two classic forms it has.
    fn length(&mut self, wide: bool) -> Result<Option<usize>, WireError> {
        let length = match (self.is_flexible, wide) {
            (true, _) => i64::from(self.uvarint()?) - 1,
            (false, true) => i64::from(self.i32()?),
            (false, false) => i64::from(self.i16()?),
        };
        match length {
            -1 => Ok(None),
            _ => usize::try_from(length).map(Some).map_err(|_| WireError::Length),
        }
    }

    pub fn nullable_string(&mut self) -> Result<Option<&'a str>, WireError> {
        let Some(length) = self.length(false)? else { return Ok(None) };
        if STRING_BYTES_MAX < length {
            return Err(WireError::Length);
        }
        std::str::from_utf8(self.take(length)?).map(Some).map_err(|_| WireError::Utf8)
    }

    pub fn string(&mut self) -> Result<&'a str, WireError> {
        self.nullable_string()?.ok_or(WireError::Length)
    }

    pub fn bytes(&mut self) -> Result<&'a [u8], WireError> {
        let length = self.length(true)?.ok_or(WireError::Length)?;
        self.take(length)
    }

    /// How many elements follow. Says nothing about whether they fit; never allocate by it.
    pub fn count(&mut self) -> Result<usize, WireError> {
        self.length(true)?.ok_or(WireError::Length)
    }

    /// The end of a struct: in a flexible version its tagged fields, which are skipped.
    pub fn end_struct(&mut self) -> Result<(), WireError> {
        if self.is_flexible {
            for _ in 0..self.uvarint()? {
                self.uvarint()?;
                let length = self.uvarint()?;
                self.take(usize::try_from(length).map_err(|_| WireError::Length)?)?;
            }
        }
        Ok(())
    }

    pub fn end(self) -> Result<(), WireError> {
        if self.bytes.is_empty() { Ok(()) } else { Err(WireError::Trailing) }
    }
}

/// Appends fields in their classic form.
#[derive(Default)]
pub(super) struct Writer(pub Vec<u8>);

impl Writer {
    pub fn i16(&mut self, value: i16) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub fn i32(&mut self, value: i32) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub fn i64(&mut self, value: i64) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    /// # Panics
    /// If the string is longer than 32,767 bytes; requests are checked before they come here.
    pub fn string(&mut self, value: &str) {
        self.i16(i16::try_from(value.len()).expect("BUG: a string of a group is longer than its limit"));
        self.0.extend_from_slice(value.as_bytes());
    }

    pub fn nullable_string(&mut self, value: Option<&str>) {
        match value {
            Some(value) => self.string(value),
            None => self.i16(-1),
        }
    }

    /// # Panics
    /// If there are more than 2 GiB; a group holds far less.
    pub fn bytes(&mut self, value: &[u8]) {
        self.count(value.len());
        self.0.extend_from_slice(value);
    }

    pub fn count(&mut self, count: usize) {
        self.i32(i32::try_from(count).expect("BUG: a group is larger than its limit"));
    }
}
