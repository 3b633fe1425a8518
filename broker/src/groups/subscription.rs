//! Which topics a consumer subscribes to, read from the metadata it joined with.
//!
//!     i16 version │ i32 n, n strings: topics │ user data, owned partitions, … (not read)
//!
//! Every version begins like version 0, and that is all the coordinator wants to know. The bytes are a
//! client's: what cannot be read is "not known", never an error.

use std::collections::BTreeSet;

use super::wire::{Reader, WireError};

/// The protocol type of Kafka's consumers, the only one whose metadata is understood.
pub(super) const CONSUMER: &str = "consumer";

/// Adds the topics of one member's subscription to `topics`.
pub(super) fn read_topics<'a>(metadata: &'a [u8], topics: &mut BTreeSet<&'a str>) -> Result<(), WireError> {
    let mut reader = Reader::new(metadata);
    let version = reader.i16()?;
    if version < 0 {
        return Err(WireError::Version(version));
    }
    for _ in 0..reader.count()? {
        topics.insert(reader.string()?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Version 1, topics `a` and `bc`, no user data, nothing owned.
    pub const GOLDEN: &[u8] = b"\x00\x01\0\0\0\x02\0\x01a\0\x02bc\xff\xff\xff\xff\0\0\0\0";

    #[test]
    fn topics_are_read_and_what_follows_is_left() {
        let mut topics = BTreeSet::new();
        assert_eq!(read_topics(GOLDEN, &mut topics), Ok(()));
        assert_eq!(topics.into_iter().collect::<Vec<_>>(), ["a", "bc"]);
    }

    #[test]
    fn damaged_subscriptions_are_errors() {
        for end in 0..13 {
            assert!(read_topics(&GOLDEN[..end], &mut BTreeSet::new()).is_err(), "{end}");
        }
        let endless = b"\0\0\x7f\xff\xff\xff";
        assert_eq!(read_topics(endless, &mut BTreeSet::new()), Err(WireError::Short));
        assert_eq!(read_topics(b"\xff\xff\0\0\0\0", &mut BTreeSet::new()), Err(WireError::Version(-1)));
    }
}
