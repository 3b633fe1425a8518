//! What a group leaves in `__consumer_offsets`, in Kafka's own formats.
//!
//!     key    i16 0 or 1 │ group │ topic │ i32 partition              value: OffsetCommitValue, or none
//!            i16 2      │ group                                      value: GroupMetadataValue, or none
//!            i16 3 …                                                 not ours; skipped
//!
//!     offset  v0 offset metadata commit-time                         v1 … expire-time   v2 = v0
//!     (i16 v) v3 offset leader-epoch metadata commit-time            v4 = v3 flexible
//!     group   v0 type generation protocol? leader? [id client host session subscription assignment]
//!     (i16 v) v1 rebalance before session   v2 since before members   v3 instance? behind id   v4 flexible
//!
//! Version 3 of both is written, all are read. A key without value is a tombstone. The expire time of v1 is
//! read and not kept: nobody has written it since Kafka 2.1.

use protocol::model::{LeaderEpoch, Offset, PartitionIndex, Timestamp};

use super::wire::{Reader, WireError, Writer};

/// One record for the group's partition. Without a value it takes back what the key had.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupRecord {
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
}

/// Why a record is not one of ours, though its key says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecordError {
    #[error("key: {0}")]
    Key(WireError),
    #[error("value: {0}")]
    Value(WireError),
}

/// What a key names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Key<'a> {
    Offset { group: &'a str, topic: &'a str, partition: PartitionIndex },
    Group { group: &'a str },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct OffsetValue<'a> {
    pub offset: Offset,
    pub leader_epoch: Option<LeaderEpoch>,
    pub metadata: &'a str,
    pub committed_at: Timestamp,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct GroupValue<'a> {
    pub protocol_type: &'a str,
    pub generation: i32,
    pub protocol: Option<&'a str>,
    pub leader: Option<&'a str>,
    /// When the group came into its state; [`Timestamp::NONE`] where the version does not say.
    pub since: Timestamp,
    pub members: Vec<MemberValue<'a>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct MemberValue<'a> {
    pub id: &'a str,
    pub instance: Option<&'a str>,
    pub client_id: &'a str,
    pub client_host: &'a str,
    pub rebalance_timeout_ms: i32,
    pub session_timeout_ms: i32,
    pub subscription: &'a [u8],
    pub assignment: &'a [u8],
}

const OFFSET_KEY: i16 = 1;
const GROUP_KEY: i16 = 2;
const WRITTEN_VERSION: i16 = 3;
const FLEXIBLE_VERSION: i16 = 4;

/// `None` for a key of another kind.
pub(super) fn read_key(key: &[u8]) -> Result<Option<Key<'_>>, RecordError> {
    parse_key(key).map_err(RecordError::Key)
}

fn parse_key(key: &[u8]) -> Result<Option<Key<'_>>, WireError> {
    let mut reader = Reader::new(key);
    let key = match reader.i16()? {
        0 | OFFSET_KEY => {
            let (group, topic) = (reader.string()?, reader.string()?);
            let partition = u32::try_from(reader.i32()?).map_err(|_| WireError::Range)?;
            Key::Offset { group, topic, partition: PartitionIndex::new(partition) }
        }
        GROUP_KEY => Key::Group { group: reader.string()? },
        version if version < 0 => return Err(WireError::Version(version)),
        _ => return Ok(None),
    };
    reader.end()?;
    Ok(Some(key))
}

pub(super) fn read_offset(value: &[u8]) -> Result<OffsetValue<'_>, RecordError> {
    parse_offset(value).map_err(RecordError::Value)
}

fn parse_offset(value: &[u8]) -> Result<OffsetValue<'_>, WireError> {
    let mut reader = Reader::new(value);
    let version = known(reader.i16()?)?;
    reader.flexible(FLEXIBLE_VERSION <= version);
    let offset = Offset::from_wire(reader.i64()?).ok_or(WireError::Range)?;
    let leader_epoch = if 3 <= version { reader.i32()? } else { -1 };
    let metadata = reader.string()?;
    let committed_at = Timestamp::from_millis(reader.i64()?);
    if version == 1 {
        reader.i64()?;
    }
    reader.end_struct()?;
    reader.end()?;
    let leader_epoch = (0 <= leader_epoch).then_some(LeaderEpoch::new(leader_epoch));
    Ok(OffsetValue { offset, leader_epoch, metadata, committed_at })
}

pub(super) fn read_group(value: &[u8]) -> Result<GroupValue<'_>, RecordError> {
    parse_group(value).map_err(RecordError::Value)
}

fn parse_group(value: &[u8]) -> Result<GroupValue<'_>, WireError> {
    let mut reader = Reader::new(value);
    let version = known(reader.i16()?)?;
    reader.flexible(FLEXIBLE_VERSION <= version);
    let protocol_type = reader.string()?;
    let generation = reader.i32()?;
    if generation < 0 {
        return Err(WireError::Range);
    }
    let (protocol, leader) = (reader.nullable_string()?, reader.nullable_string()?);
    let since = if 2 <= version { Timestamp::from_millis(reader.i64()?) } else { Timestamp::NONE };
    let mut members = Vec::new();
    for _ in 0..reader.count()? {
        members.push(parse_member(&mut reader, version)?);
    }
    reader.end_struct()?;
    reader.end()?;
    Ok(GroupValue { protocol_type, generation, protocol, leader, since, members })
}

fn parse_member<'a>(reader: &mut Reader<'a>, version: i16) -> Result<MemberValue<'a>, WireError> {
    let id = reader.string()?;
    let instance = if 3 <= version { reader.nullable_string()? } else { None };
    let (client_id, client_host) = (reader.string()?, reader.string()?);
    let rebalance = if 1 <= version { Some(reader.i32()?) } else { None };
    let session_timeout_ms = reader.i32()?;
    let rebalance_timeout_ms = rebalance.unwrap_or(session_timeout_ms);
    let (subscription, assignment) = (reader.bytes()?, reader.bytes()?);
    reader.end_struct()?;
    Ok(MemberValue {
        id,
        instance,
        client_id,
        client_host,
        rebalance_timeout_ms,
        session_timeout_ms,
        subscription,
        assignment,
    })
}

fn known(version: i16) -> Result<i16, WireError> {
    if (0..=FLEXIBLE_VERSION).contains(&version) { Ok(version) } else { Err(WireError::Version(version)) }
}

pub(super) fn offset_key(group: &str, topic: &str, partition: PartitionIndex) -> Vec<u8> {
    let mut key = Writer::default();
    key.i16(OFFSET_KEY);
    key.string(group);
    key.string(topic);
    key.i32(partition.get() as i32); // a topic has at most 100,000
    key.0
}

pub(super) fn group_key(group: &str) -> Vec<u8> {
    let mut key = Writer::default();
    key.i16(GROUP_KEY);
    key.string(group);
    key.0
}

pub(super) fn write_offset(value: &OffsetValue<'_>) -> Vec<u8> {
    let mut bytes = Writer::default();
    bytes.i16(WRITTEN_VERSION);
    bytes.i64(value.offset.to_wire());
    bytes.i32(value.leader_epoch.map_or(-1, LeaderEpoch::get));
    bytes.string(value.metadata);
    bytes.i64(value.committed_at.millis());
    bytes.0
}

pub(super) fn write_group(value: &GroupValue<'_>) -> Vec<u8> {
    let mut bytes = Writer::default();
    bytes.i16(WRITTEN_VERSION);
    bytes.string(value.protocol_type);
    bytes.i32(value.generation);
    bytes.nullable_string(value.protocol);
    bytes.nullable_string(value.leader);
    bytes.i64(value.since.millis());
    bytes.count(value.members.len());
    for member in &value.members {
        bytes.string(member.id);
        bytes.nullable_string(member.instance);
        bytes.string(member.client_id);
        bytes.string(member.client_host);
        bytes.i32(member.rebalance_timeout_ms);
        bytes.i32(member.session_timeout_ms);
        bytes.bytes(member.subscription);
        bytes.bytes(member.assignment);
    }
    bytes.0
}

#[cfg(test)]
mod tests;
