//! What members and leader tell each other through the coordinator: Kafka's ConsumerProtocol, big-endian.
//!
//!     subscription   i16 version │ [topic] │ user data │ v1: [topic [i32]] owned │ v2: i32 generation │ v3: rack
//!     assignment     i16 version │ [topic [i32]] │ user data
//!     string         i16 length, UTF-8; −1 is none        list, bytes    i32 length; −1 is none
//!
//! The coordinator does not look at these bytes, so members of several kinds and ages read each other's.
//! Later versions only add fields at the end: of a version we do not know, the part we know is read.
//!
//! The older way to say what one owns is the user data of the sticky assignor; "sticky" still uses it, as
//! its members own nothing any more when they join. "cooperative-sticky" puts its generation there, for
//! leaders that know nothing of version 2.

use std::sync::Arc;

use protocol::model::PartitionIndex;

use super::{Assignor, Generation, Member, TopicPartition};

/// The newest version there is, which is written: of both messages, as Kafka's clients do.
const VERSION: i16 = 3;

/// What a member tells the leader.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Subscription {
    pub topics: Vec<Arc<str>>,
    pub user_data: Option<Vec<u8>>,
    pub owned: Vec<TopicPartition>,
    pub generation: Option<Generation>,
    pub rack: Option<Arc<str>>,
}

/// Bytes of another member that do not have the form they should.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidBytes {
    #[error("the bytes end inside of {0}")]
    Truncated(&'static str),
    #[error("{0} is negative")]
    Negative(&'static str),
    #[error("{0} is not UTF-8")]
    NotUtf8(&'static str),
}

impl Subscription {
    /// What a member says that wants one of `assignor`'s assignments. `owned` is what it owns, or for
    /// "sticky" what it was last given.
    pub fn new(
        assignor: Assignor,
        topics: Vec<Arc<str>>,
        owned: Vec<TopicPartition>,
        generation: Option<Generation>,
    ) -> Subscription {
        let (user_data, owned) = match assignor {
            Assignor::Range | Assignor::RoundRobin => (None, owned),
            Assignor::Sticky => (Some(sticky_data(owned, generation)), Vec::new()),
            Assignor::CooperativeSticky => {
                (Some(Generation::to_wire(generation).to_be_bytes().to_vec()), owned)
            }
        };
        Subscription { topics, user_data, owned, generation, rack: None }
    }

    /// The member as `assignor` sees it. User data that cannot be read say nothing.
    pub fn into_member(self, assignor: Assignor, id: Arc<str>, instance_id: Option<Arc<str>>) -> Member {
        let data = self.user_data.as_deref().unwrap_or_default();
        let (owned, generation) = match assignor {
            Assignor::Sticky => read_sticky_data(data).unwrap_or_default(),
            _ => (
                self.owned,
                self.generation
                    .or_else(|| Fields(data).i32("generation").ok().and_then(Generation::from_wire)),
            ),
        };
        Member { id, instance_id, topics: self.topics, owned, generation }
    }

    pub fn write(self) -> Vec<u8> {
        let mut out = VERSION.to_be_bytes().to_vec();
        put_len(&mut out, self.topics.len());
        self.topics.iter().for_each(|topic| put_string(&mut out, topic));
        put_bytes(&mut out, self.user_data.as_deref());
        put_partitions(&mut out, self.owned);
        out.extend(Generation::to_wire(self.generation).to_be_bytes());
        match &self.rack {
            Some(rack) => put_string(&mut out, rack),
            None => out.extend((-1_i16).to_be_bytes()),
        }
        out
    }

    pub fn read(bytes: &[u8]) -> Result<Subscription, InvalidBytes> {
        let mut fields = Fields(bytes);
        let version = fields.version()?;
        let mut read = Subscription::default();
        for _ in 0..fields.len("topics")?.unwrap_or(0) {
            read.topics.push(fields.string("topic")?);
        }
        read.user_data = fields.bytes("user data")?.map(<[u8]>::to_vec);
        if version >= 1 {
            read.owned = fields.partitions()?;
        }
        if version >= 2 {
            read.generation = Generation::from_wire(fields.i32("generation")?);
        }
        if version >= 3 {
            read.rack = fields.optional_string("rack")?;
        }
        Ok(read)
    }
}

/// What the leader tells a member.
pub fn write_assignment(partitions: Vec<TopicPartition>) -> Vec<u8> {
    let mut out = VERSION.to_be_bytes().to_vec();
    put_partitions(&mut out, partitions);
    put_bytes(&mut out, None);
    out
}

/// Sorted, each partition once. No bytes at all are no partitions: what a coordinator says to a member
/// that the leader does not mention.
pub fn read_assignment(bytes: &[u8]) -> Result<Vec<TopicPartition>, InvalidBytes> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let mut fields = Fields(bytes);
    fields.version()?;
    let mut partitions = fields.partitions()?;
    fields.bytes("user data")?;
    partitions.sort();
    partitions.dedup();
    Ok(partitions)
}

/// The user data of "sticky": previous assignment and generation.
fn sticky_data(owned: Vec<TopicPartition>, generation: Option<Generation>) -> Vec<u8> {
    let mut out = Vec::new();
    put_partitions(&mut out, owned);
    out.extend(Generation::to_wire(generation).to_be_bytes());
    out
}

/// Without the generation, they are of a version before there was one.
fn read_sticky_data(data: &[u8]) -> Result<(Vec<TopicPartition>, Option<Generation>), InvalidBytes> {
    let mut fields = Fields(data);
    let owned = fields.partitions()?;
    Ok((owned, fields.i32("generation").ok().and_then(Generation::from_wire)))
}

fn put_len(out: &mut Vec<u8>, len: usize) {
    out.extend(i32::try_from(len).expect("BUG: over 2 GiB for a coordinator").to_be_bytes());
}

/// # Panics
/// If the string is longer than 32,767 bytes; names of topics and racks are bounded far below.
fn put_string(out: &mut Vec<u8>, text: &str) {
    let len = i16::try_from(text.len()).expect("BUG: a name over 32,767 bytes");
    out.extend(len.to_be_bytes());
    out.extend(text.as_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            put_len(out, bytes.len());
            out.extend(bytes);
        }
        None => out.extend((-1_i32).to_be_bytes()),
    }
}

/// Topic by topic, in the order of their names.
fn put_partitions(out: &mut Vec<u8>, mut partitions: Vec<TopicPartition>) {
    partitions.sort();
    let topics: Vec<&[TopicPartition]> = partitions.chunk_by(|a, b| a.topic == b.topic).collect();
    put_len(out, topics.len());
    for topic in topics {
        put_string(out, &topic[0].topic);
        put_len(out, topic.len());
        // Indexes are below the partitions a topic may have, 100,000.
        topic.iter().for_each(|owned| out.extend(owned.partition.get().to_be_bytes()));
    }
}

/// What is left to read.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, field: &'static str, len: usize) -> Result<&'a [u8], InvalidBytes> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(InvalidBytes::Truncated(field))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], InvalidBytes> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(InvalidBytes::Truncated(field))?;
        self.0 = rest;
        Ok(*taken)
    }

    fn i32(&mut self, field: &'static str) -> Result<i32, InvalidBytes> {
        Ok(i32::from_be_bytes(self.array(field)?))
    }

    fn i16(&mut self, field: &'static str) -> Result<i16, InvalidBytes> {
        Ok(i16::from_be_bytes(self.array(field)?))
    }

    fn version(&mut self) -> Result<i16, InvalidBytes> {
        let version = self.i16("version")?;
        if version < 0 { Err(InvalidBytes::Negative("version")) } else { Ok(version) }
    }

    /// `None` for −1. Whatever it counts is read item by item, so it sizes nothing.
    fn len(&mut self, field: &'static str) -> Result<Option<usize>, InvalidBytes> {
        match self.i32(field)? {
            -1 => Ok(None),
            len => usize::try_from(len).map(Some).map_err(|_| InvalidBytes::Negative(field)),
        }
    }

    fn bytes(&mut self, field: &'static str) -> Result<Option<&'a [u8]>, InvalidBytes> {
        let len = self.len(field)?;
        len.map(|len| self.take(field, len)).transpose()
    }

    fn optional_string(&mut self, field: &'static str) -> Result<Option<Arc<str>>, InvalidBytes> {
        let len = self.i16(field)?;
        if len == -1 {
            return Ok(None);
        }
        let len = usize::try_from(len).map_err(|_| InvalidBytes::Negative(field))?;
        let text = std::str::from_utf8(self.take(field, len)?).map_err(|_| InvalidBytes::NotUtf8(field))?;
        Ok(Some(text.into()))
    }

    fn string(&mut self, field: &'static str) -> Result<Arc<str>, InvalidBytes> {
        self.optional_string(field)?.ok_or(InvalidBytes::Negative(field))
    }

    fn partitions(&mut self) -> Result<Vec<TopicPartition>, InvalidBytes> {
        let mut partitions = Vec::new();
        for _ in 0..self.len("partitions")?.unwrap_or(0) {
            let topic = self.string("topic of partitions")?;
            for _ in 0..self.len("partitions of a topic")?.unwrap_or(0) {
                let index = self.i32("partition")?;
                let index = u32::try_from(index).map_err(|_| InvalidBytes::Negative("partition"))?;
                let (topic, partition) = (Arc::clone(&topic), PartitionIndex::new(index));
                partitions.push(TopicPartition { topic, partition });
            }
        }
        Ok(partitions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn owned(topic: &str, partitions: impl IntoIterator<Item = u32>) -> Vec<TopicPartition> {
        let topic: Arc<str> = topic.into();
        let named =
            |index| TopicPartition { topic: Arc::clone(&topic), partition: PartitionIndex::new(index) };
        partitions.into_iter().map(named).collect()
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// A subscription to `foo` and `bar` with 4 bytes of user data, up to a version.
    fn kafka(version: i16) -> Vec<u8> {
        let mut bytes = version.to_be_bytes().to_vec();
        bytes.extend(*b"\0\0\0\x02\0\x03foo\0\x03bar\0\0\0\x04\x00\x00\x00\x07");
        if version >= 1 {
            bytes.extend(*b"\0\0\0\x01\0\x03bar\0\0\0\x02\0\0\0\0\0\0\0\x05");
        }
        if version >= 2 {
            bytes.extend(*b"\0\0\0\x09");
        }
        if version >= 3 {
            bytes.extend(*b"\0\x02r1");
        }
        bytes
    }

    #[test]
    fn every_version_is_read_and_of_later_ones_what_is_known() {
        let topics: Vec<Arc<str>> = vec!["foo".into(), "bar".into()];
        let mut expected = Subscription { topics, user_data: Some(vec![0, 0, 0, 7]), ..Default::default() };
        assert_eq!(Subscription::read(&kafka(0)).unwrap(), expected);
        expected.owned = owned("bar", [0, 5]);
        assert_eq!(Subscription::read(&kafka(1)).unwrap(), expected);
        expected.generation = Generation::from_wire(9);
        assert_eq!(Subscription::read(&kafka(2)).unwrap(), expected);
        expected.rack = Some("r1".into());
        assert_eq!(Subscription::read(&kafka(3)).unwrap(), expected);
        let later = [kafka(9), b"whatever".to_vec()].concat();
        assert_eq!(Subscription::read(&later).unwrap(), expected);
        assert_eq!(expected.write(), kafka(3), "and the newest version is written, byte by byte");
    }

    #[test]
    fn a_subscription_without_anything_is_kafkas() {
        let range = Subscription::new(Assignor::Range, vec!["t".into()], Vec::new(), None);
        assert_eq!(hex(&range.write()), "000300000001000174ffffffff00000000ffffffffffff");
    }

    #[test]
    fn sticky_says_what_it_was_given_in_its_user_data() {
        let generation = Generation::from_wire(3);
        let sticky = Subscription::new(Assignor::Sticky, vec!["t".into()], owned("t", [4, 2]), generation);
        let data = sticky.user_data.as_deref().unwrap();
        assert_eq!(hex(data), "00000001000174000000020000000200000004_00000003".replace('_', ""));
        assert_eq!(sticky.owned, [], "it let go of everything before it joined");
        let read = Subscription::read(&sticky.clone().write()).unwrap();
        let member = read.into_member(Assignor::Sticky, "m".into(), None);
        assert_eq!((member.owned, member.generation), (owned("t", [2, 4]), generation));
        // As Kafka wrote it before it knew generations.
        let old = Subscription { user_data: Some(data[..data.len() - 4].to_vec()), ..sticky };
        let member = old.into_member(Assignor::Sticky, "m".into(), None);
        assert_eq!((member.owned, member.generation), (owned("t", [2, 4]), None));
        let none = Subscription { user_data: Some(vec![1, 2]), ..Default::default() };
        assert_eq!(none.into_member(Assignor::Sticky, "m".into(), None).owned, []);
    }

    #[test]
    fn a_cooperative_member_of_version_1_says_its_generation_in_its_user_data() {
        let cooperative = Assignor::CooperativeSticky;
        let old = Subscription::read(&kafka(1)).unwrap().into_member(cooperative, "m".into(), None);
        assert_eq!((old.owned, old.generation), (owned("bar", [0, 5]), Generation::from_wire(7)));
        let new = Subscription::read(&kafka(2)).unwrap().into_member(cooperative, "m".into(), None);
        assert_eq!(new.generation, Generation::from_wire(9));
        let ours = Subscription::new(cooperative, vec![], owned("t", [1]), Generation::from_wire(5));
        assert_eq!(ours.user_data, Some(vec![0, 0, 0, 5]));
    }

    #[test]
    fn an_assignment_is_kafkas_and_no_bytes_are_no_partitions() {
        let partitions = [owned("b", [1]), owned("a", [3, 0])].concat();
        let bytes = write_assignment(partitions);
        let golden = "000300000002000161000000020000000000000003000162000000010000000 1ffffffff";
        assert_eq!(hex(&bytes), golden.replace(' ', ""));
        assert_eq!(read_assignment(&bytes).unwrap(), [owned("a", [0, 3]), owned("b", [1])].concat());
        assert_eq!(read_assignment(&[]).unwrap(), []);
        let twice = write_assignment(owned("a", [3, 3, 0]));
        assert_eq!(read_assignment(&twice).unwrap(), owned("a", [0, 3]));
        let (mut old, mut later) = (bytes.clone(), bytes);
        (old[1], later[1]) = (0, 9);
        later.extend([1, 2, 3]);
        assert_eq!(read_assignment(&old), read_assignment(&later));
    }

    #[test]
    fn a_count_that_the_bytes_cannot_hold_is_refused_and_allocates_nothing() {
        let absurd = b"\0\x01\x7f\xff\xff\xff\0\x01t";
        assert_eq!(Subscription::read(absurd), Err(InvalidBytes::Truncated("topic")));
        let absurd = b"\0\x01\0\0\0\x01\0\x01t\x7f\xff\xff\xff\0\0\0\x01";
        assert_eq!(read_assignment(absurd), Err(InvalidBytes::Truncated("partition")));
        let negative = b"\0\x01\0\0\0\x01\0\x01t\0\0\0\x01\xff\0\0\0";
        assert_eq!(read_assignment(negative), Err(InvalidBytes::Negative("partition")));
        assert_eq!(read_assignment(b"\xff\xff"), Err(InvalidBytes::Negative("version")));
        assert_eq!(Subscription::read(b"\0\0\0\0\0\x01\0\x01\xff"), Err(InvalidBytes::NotUtf8("topic")));
    }

    #[test]
    fn every_prefix_is_refused() {
        let bytes = kafka(3);
        (0..bytes.len()).for_each(|len| assert!(Subscription::read(&bytes[..len]).is_err(), "{len}"));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(prop_oneof![Just(0_u8), 0..4_u8, any::<u8>()], 0..80)) {
            let _ = read_assignment(&bytes);
            let _ = read_sticky_data(&bytes);
            if let Ok(read) = Subscription::read(&bytes) {
                let mut again = Subscription::read(&read.clone().write()).unwrap();
                // Partitions are written in order.
                let mut owned = read.owned.clone();
                owned.sort();
                again.owned.sort();
                prop_assert_eq!(again, Subscription { owned, ..read });
            }
        }
    }
}
