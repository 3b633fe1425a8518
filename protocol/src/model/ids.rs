//! Names by number: topics, partitions, shards, nodes, producers, requests.
//!
//!     cluster ── node ── shard (one core) ── partition of a topic ── leader epoch
//!
//! Each is a number that must not be mixed up with another, and that is all these types do.

use std::fmt;

use super::RecordCount;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($int);

        impl $name {
            pub const fn new(value: $int) -> $name {
                $name(value)
            }

            pub const fn get(self) -> $int {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

id!(
    /// Partition of a topic, counted from 0.
    PartitionIndex(u32)
);
id!(
    /// One core of a broker and all it owns, counted from 0.
    ShardId(u16)
);
id!(
    /// One broker of a cluster.
    NodeId(u32)
);
id!(
    /// Chosen by the client, echoed in the reply to the same request.
    CorrelationId(u64)
);
id!(
    /// Term of a partition's leadership (KIP-101); a new leader has a higher one.
    LeaderEpoch(i32)
);
id!(
    /// Identity of an idempotent producer (KIP-98); −1 is none.
    ProducerId(i64)
);
id!(
    /// Incarnation of a producer id (KIP-98); −1 is none.
    ProducerEpoch(i16)
);
id!(
    /// Number of the first record of a batch within its producer and partition (KIP-98); −1 is none.
    Sequence(i32)
);

impl LeaderEpoch {
    /// The epoch of a partition that has had one leader only.
    pub const FIRST: LeaderEpoch = LeaderEpoch(0);
}

impl ProducerId {
    pub const NONE: ProducerId = ProducerId(-1);
}

impl ProducerEpoch {
    pub const NONE: ProducerEpoch = ProducerEpoch(-1);

    /// Of every new producer id.
    pub const FIRST: ProducerEpoch = ProducerEpoch(0);
}

impl Sequence {
    pub const NONE: Sequence = Sequence(-1);

    /// Of a producer's first record in a partition, in each of its epochs.
    pub const FIRST: Sequence = Sequence(0);

    /// The sequence of the record `records` behind this one. After 2^31 − 1 comes 0 again, as in Kafka.
    pub fn after(self, records: RecordCount) -> Sequence {
        let sum = i64::from(self.0) + i64::from(records.get());
        Sequence((sum & i64::from(i32::MAX)) as i32)
    }
}

macro_rules! uuid {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            pub const fn from_bytes(bytes: [u8; 16]) -> $name {
                $name(bytes)
            }

            pub const fn to_bytes(self) -> [u8; 16] {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_uuid(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_uuid(&self.0, f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidUuid;

            /// Reads the form that `Display` writes.
            fn from_str(text: &str) -> Result<$name, InvalidUuid> {
                parse_uuid(text).map($name)
            }
        }
    };
}

uuid!(
    /// What a topic is called inside: a random UUID, so that a name never becomes a path and a topic
    /// created again under an old name is another topic.
    TopicId
);
uuid!(
    /// What a cluster is called; made once, with the data directory.
    ClusterId
);

/// A text that is not 32 hexadecimal digits in groups of 8-4-4-4-12.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a UUID of the form 8-4-4-4-12 hexadecimal digits")]
pub struct InvalidUuid;

const DASHES: [usize; 4] = [8, 13, 18, 23];

fn write_uuid(bytes: &[u8; 16], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (i, byte) in bytes.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            f.write_str("-")?;
        }
        write!(f, "{byte:02x}")?;
    }
    Ok(())
}

fn parse_uuid(text: &str) -> Result<[u8; 16], InvalidUuid> {
    let dashes_right = text.len() == 36 && DASHES.iter().all(|&at| text.as_bytes().get(at) == Some(&b'-'));
    if !dashes_right {
        return Err(InvalidUuid);
    }
    let mut digits = text.bytes().filter(|byte| *byte != b'-').map(|byte| (byte as char).to_digit(16));
    let mut bytes = [0; 16];
    for byte in &mut bytes {
        let high = digits.next().flatten().ok_or(InvalidUuid)?;
        let low = digits.next().flatten().ok_or(InvalidUuid)?;
        *byte = (high << 4 | low) as u8;
    }
    digits.next().is_none().then_some(bytes).ok_or(InvalidUuid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_id_reads_what_it_writes() {
        let id = TopicId::from_bytes(*b"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff");
        assert_eq!(id.to_string(), "00112233-4455-6677-8899-aabbccddeeff");
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn sequences_begin_again_after_the_last() {
        let after = |sequence, records| Sequence::new(sequence).after(RecordCount::new(records)).get();
        assert_eq!(after(0, 1), 1);
        assert_eq!(after(i32::MAX, 1), 0);
        assert_eq!(after(i32::MAX - 2, 5), 2);
    }

    #[test]
    fn anything_else_is_not_a_topic_id() {
        for text in ["", "..", "00112233-4455-6677-8899-aabbccddeef", "00112233-4455-6677-8899-aabbccddee-f"]
        {
            assert_eq!(text.parse::<TopicId>(), Err(InvalidUuid), "{text:?}");
        }
        assert_eq!("00112233x4455-6677-8899-aabbccddeeff".parse::<TopicId>(), Err(InvalidUuid));
        assert_eq!("0011223g-4455-6677-8899-aabbccddeeff".parse::<TopicId>(), Err(InvalidUuid));
    }
}
