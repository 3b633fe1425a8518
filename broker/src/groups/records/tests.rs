//! Golden bytes, computed by hand from Kafka's schemas; and bytes of anybody.

use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// 2023-11-14 22:13:20 UTC.
const TIME: Timestamp = Timestamp::from_millis(1_700_000_000_000);

const OFFSET_KEY_V1: &str = "0001  0001 67  0002 7431  00000005";
const GROUP_KEY_V2: &str = "0002  0001 67";

const OFFSET_V0: &str = "0000  000000000000002a  0001 6d  0000018bcfe56800";
const OFFSET_V1: &str = "0001  000000000000002a  0001 6d  0000018bcfe56800  0000018bcfe56801";
const OFFSET_V2: &str = "0002  000000000000002a  0001 6d  0000018bcfe56800";
const OFFSET_V3: &str = "0003  000000000000002a  00000007  0001 6d  0000018bcfe56800";
const OFFSET_V4: &str = "0004  000000000000002a  00000007  02 6d  0000018bcfe56800  00";
/// With a tagged field 0 of three bytes, which nobody knows.
const OFFSET_V4_TAGGED: &str = "0004  000000000000002a  00000007  02 6d  0000018bcfe56800  01 00 03 aabbcc";

const CONSUMER: &str = "0008 636f6e73756d6572";
const HEAD: &str = "00000003  0005 72616e6765  0002 6d31";

fn group_v(version: i16) -> String {
    let since = if 2 <= version { "0000018bcfe56800" } else { "" };
    let instance = if 3 <= version { "0001 69" } else { "" };
    let rebalance = if 1 <= version { "000493e0" } else { "" };
    format!(
        "{version:04x} {CONSUMER} {HEAD} {since} 00000001 \
         0002 6d31 {instance} 0001 63 0002 2f68 {rebalance} 0000afc8 00000002 aabb 00000001 cc"
    )
}

const GROUP_V4: &str = "0004  09 636f6e73756d6572  00000003  06 72616e6765  03 6d31  0000018bcfe56800  02 \
     03 6d31  02 69  02 63  03 2f68  000493e0  0000afc8  03 aabb  02 cc  00  00";

fn group(version: i16) -> GroupValue<'static> {
    let member = MemberValue {
        id: "m1",
        instance: (3 <= version).then_some("i"),
        client_id: "c",
        client_host: "/h",
        rebalance_timeout_ms: if 1 <= version { 300_000 } else { 45_000 },
        session_timeout_ms: 45_000,
        subscription: b"\xaa\xbb",
        assignment: b"\xcc",
    };
    GroupValue {
        protocol_type: "consumer",
        generation: 3,
        protocol: Some("range"),
        leader: Some("m1"),
        since: if 2 <= version { TIME } else { Timestamp::NONE },
        members: vec![member],
    }
}

fn offset(leader_epoch: Option<LeaderEpoch>) -> OffsetValue<'static> {
    OffsetValue { offset: Offset::new(42), leader_epoch, metadata: "m", committed_at: TIME }
}

#[test]
fn keys_are_kafkas() {
    let partition = PartitionIndex::new(5);
    assert_eq!(offset_key("g", "t1", partition), bytes(OFFSET_KEY_V1));
    assert_eq!(group_key("g"), bytes(GROUP_KEY_V2));
    let key = Some(Key::Offset { group: "g", topic: "t1", partition });
    assert_eq!(read_key(&bytes(OFFSET_KEY_V1)), Ok(key));
    assert_eq!(read_key(&bytes(&OFFSET_KEY_V1.replacen("0001", "0000", 1))), Ok(key));
    assert_eq!(read_key(&bytes(GROUP_KEY_V2)), Ok(Some(Key::Group { group: "g" })));
}

#[test]
fn keys_of_other_kinds_are_skipped_and_bad_ones_refused() {
    // Of KIP-848's groups, for one.
    assert_eq!(read_key(&bytes("0003 0001 67")), Ok(None));
    assert_eq!(read_key(&bytes("ffff 0001 67")), Err(RecordError::Key(WireError::Version(-1))));
    assert_eq!(read_key(&bytes("0002 0001 67 00")), Err(RecordError::Key(WireError::Trailing)));
    assert_eq!(read_key(&bytes("0002 0001 ff")), Err(RecordError::Key(WireError::Utf8)));
    assert_eq!(read_key(&bytes("0002 ffff")), Err(RecordError::Key(WireError::Length)));
    assert_eq!(read_key(&bytes("0001 0001 67 0001 74 ffffffff")), Err(RecordError::Key(WireError::Range)));
}

#[test]
fn offsets_are_written_as_version_3_and_read_of_every_version() {
    let with_epoch = offset(Some(LeaderEpoch::new(7)));
    assert_eq!(write_offset(&with_epoch), bytes(OFFSET_V3));
    for old in [OFFSET_V0, OFFSET_V1, OFFSET_V2] {
        assert_eq!(read_offset(&bytes(old)), Ok(offset(None)), "{old}");
    }
    for new in [OFFSET_V3, OFFSET_V4, OFFSET_V4_TAGGED] {
        assert_eq!(read_offset(&bytes(new)), Ok(with_epoch), "{new}");
    }
    assert_eq!(read_offset(&write_offset(&offset(None))), Ok(offset(None)));
}

#[test]
fn groups_are_written_as_version_3_and_read_of_every_version() {
    assert_eq!(write_group(&group(3)), bytes(&group_v(3)));
    for version in 0..=3 {
        assert_eq!(read_group(&bytes(&group_v(version))), Ok(group(version)), "{version}");
    }
    assert_eq!(read_group(&bytes(GROUP_V4)), Ok(group(4)));
    let empty = GroupValue { protocol: None, leader: None, members: Vec::new(), ..group(3) };
    assert_eq!(read_group(&write_group(&empty)), Ok(empty));
}

#[test]
fn values_out_of_range_are_refused() {
    let refused = |hex: &str| read_offset(&bytes(hex)).unwrap_err();
    assert_eq!(refused(&OFFSET_V3.replacen("0003", "0005", 1)), RecordError::Value(WireError::Version(5)));
    assert_eq!(refused("0003 ffffffffffffffff 00000007 0000 0000018bcfe56800"), {
        RecordError::Value(WireError::Range)
    });
    let generation = bytes(&group_v(3).replacen("00000003", "ffffffff", 1));
    assert_eq!(read_group(&generation), Err(RecordError::Value(WireError::Range)));
    // Two thousand million members are promised and none is there: nothing is allocated by it.
    let endless = bytes(&format!("0003 {CONSUMER} {HEAD} 0000018bcfe56800 7fffffff"));
    assert_eq!(read_group(&endless), Err(RecordError::Value(WireError::Short)));
}

#[test]
fn every_prefix_and_every_longer_value_is_refused_and_no_mutation_panics() {
    type Reads = fn(&[u8]) -> bool;
    let (reads_key, reads_offset): (Reads, Reads) = (|b| read_key(b).is_ok(), |b| read_offset(b).is_ok());
    let reads_group: Reads = |b| read_group(b).is_ok();
    let offsets = [OFFSET_V0, OFFSET_V1, OFFSET_V2, OFFSET_V3, OFFSET_V4, OFFSET_V4_TAGGED];
    let groups = [group_v(0), group_v(1), group_v(2), group_v(3), GROUP_V4.to_owned()];
    let keys = [OFFSET_KEY_V1, GROUP_KEY_V2].map(|key| (key.to_owned(), reads_key));
    let offsets = offsets.map(|value| (value.to_owned(), reads_offset));
    let groups = groups.map(|value| (value, reads_group));
    for (hex, reads) in keys.into_iter().chain(offsets).chain(groups) {
        let whole = bytes(&hex);
        assert!(reads(&whole), "{hex}");
        assert!(!reads(&[whole.as_slice(), b"\0"].concat()), "{hex} and a byte");
        (0..whole.len()).for_each(|end| assert!(!reads(&whole[..end]), "{end} bytes of {hex}"));
        for at in 0..whole.len() {
            for byte in 0..=u8::MAX {
                let mut mutated = whole.clone();
                mutated[at] = byte;
                for reads in [reads_key, reads_offset, reads_group] {
                    reads(&mutated);
                }
            }
        }
    }
}
