//! What holds for all parts of the batch together.
//!
//!     records ── BatchBuilder ──▶ bytes ──(cut, flip, noise)──▶ Batch, decode_batch ──▶ records, or an error
//!
//! The bytes of `sample_batch` are the example in docs/data_file.md.

use bytes::Bytes;
use expect_test::expect;
use proptest::prelude::*;

use super::*;
use crate::model::{
    ErrorCode, LeaderEpoch, Offset, ProducerEpoch, ProducerId, RecordCount, Sequence, Timestamp,
};

mod hostile;

const LIMIT: usize = 1 << 20;

/// One record: key "k", value "v", header "h" = "x", at 2023-11-14 22:13:20 UTC.
pub(super) fn sample_batch() -> Bytes {
    let mut builder = BatchBuilder::new(Codec::None);
    append(&mut builder, b"k", b"v");
    builder.finish()
}

fn append(builder: &mut BatchBuilder, key: &[u8], value: &[u8]) {
    let at = Timestamp::from_millis(1_700_000_000_000);
    builder.try_append(at, Some(key), Some(value), &[("h", Some(b"x"))]).unwrap();
}

fn batch(bytes: &[u8]) -> Batch<'_> {
    let (batch, rest) = Batch::split_first(bytes).unwrap();
    assert!(rest.is_empty());
    batch
}

/// One line for each field of a batch with one record and one header.
fn labelled(bytes: &[u8]) -> String {
    const FIELDS: [(usize, &str); 26] = [
        (8, "base offset"),
        (4, "length of what follows"),
        (4, "leader epoch"),
        (1, "magic"),
        (4, "crc-32c of what follows"),
        (2, "attributes"),
        (4, "last offset delta"),
        (8, "base timestamp"),
        (8, "max timestamp"),
        (8, "producer id"),
        (2, "producer epoch"),
        (4, "base sequence"),
        (4, "record count"),
        (1, "record: length of what follows"),
        (1, "  attributes"),
        (1, "  timestamp delta"),
        (1, "  offset delta"),
        (1, "  key length"),
        (1, "  key"),
        (1, "  value length"),
        (1, "  value"),
        (1, "  header count"),
        (1, "    header key length"),
        (1, "    header key"),
        (1, "    header value length"),
        (1, "    header value"),
    ];
    let mut at = 0;
    let mut lines = String::new();
    for (len, name) in FIELDS {
        let field = &bytes[at..at + len];
        let hex: Vec<String> = field.iter().map(|byte| format!("{byte:02x}")).collect();
        lines += &format!("{at:>2}  {:<23}  {name}\n", hex.join(" "));
        at += len;
    }
    assert_eq!(at, bytes.len());
    lines
}

#[test]
fn a_batch_of_one_record_has_these_bytes() {
    expect![[r#"
             0  00 00 00 00 00 00 00 00  base offset
             8  00 00 00 3e              length of what follows
            12  ff ff ff ff              leader epoch
            16  02                       magic
            17  5e 93 53 8d              crc-32c of what follows
            21  00 00                    attributes
            23  00 00 00 00              last offset delta
            27  00 00 01 8b cf e5 68 00  base timestamp
            35  00 00 01 8b cf e5 68 00  max timestamp
            43  ff ff ff ff ff ff ff ff  producer id
            51  ff ff                    producer epoch
            53  ff ff ff ff              base sequence
            57  00 00 00 01              record count
            61  18                       record: length of what follows
            62  00                         attributes
            63  00                         timestamp delta
            64  00                         offset delta
            65  02                         key length
            66  6b                         key
            67  02                         value length
            68  76                         value
            69  02                         header count
            70  02                           header key length
            71  68                           header key
            72  02                           header value length
            73  78                           header value
    "#]]
    .assert_eq(&labelled(&sample_batch()));
}

#[test]
fn the_document_shows_what_the_builder_writes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/data_file.md");
    let document = std::fs::read_to_string(path).unwrap();
    let example: String = labelled(&sample_batch()).lines().map(|line| format!("    {line}\n")).collect();
    assert!(document.contains(&example), "docs/data_file.md should contain\n{example}");
}

#[test]
fn the_view_reads_every_field() {
    let mut builder = BatchBuilder::new(Codec::Lz4);
    for millis in [50, 70, 60] {
        builder.try_append(Timestamp::from_millis(millis), None, Some(b"v"), &[]).unwrap();
    }
    builder.set_producer(ProducerId::new(7), ProducerEpoch::new(8), Sequence::new(9));
    let mut bytes = builder.finish().to_vec();
    stamp(&mut bytes, Offset::new(100), LeaderEpoch::new(3));
    let batch = batch(&bytes);
    assert_eq!(
        (batch.base_offset(), batch.last_offset(), batch.next_offset()),
        (Offset::new(100), Offset::new(102), Offset::new(103))
    );
    assert_eq!((batch.record_count(), batch.leader_epoch()), (RecordCount::new(3), LeaderEpoch::new(3)));
    assert_eq!((batch.codec(), batch.attributes()), (Codec::Lz4, 3));
    assert_eq!(batch.base_timestamp(), Timestamp::from_millis(50));
    assert_eq!(batch.max_timestamp(), Timestamp::from_millis(70));
    assert_eq!(batch.timestamp_type(), TimestampType::Create);
    assert_eq!(batch.producer_id(), ProducerId::new(7));
    assert_eq!(batch.producer_epoch(), ProducerEpoch::new(8));
    assert_eq!(batch.base_sequence(), Sequence::new(9));
    assert!(!batch.is_control() && !batch.is_transactional());
    assert_eq!((batch.len(), batch.as_bytes()), (bytes.len(), bytes.as_slice()));
    assert_eq!(batch.records_bytes(), &bytes[HEADER_LEN..]);
    assert_eq!(format!("{batch:?}"), format!("Batch([100, 103), {} bytes, lz4)", bytes.len()));
}

#[test]
fn a_run_of_batches_is_split_and_its_cut_end_is_reported() {
    let one = sample_batch();
    let mut run = [&one[..], &one[..], &one[..20]].concat();
    let items: Vec<_> = batches(&run).map(|item| item.map(|batch| batch.len())).collect();
    let truncated = BatchError::Truncated { need: one.len(), have: 20 };
    assert_eq!(items, [Ok(one.len()), Ok(one.len()), Err(truncated)]);
    assert!(truncated.is_truncated());

    run[16] = 1;
    let items: Vec<_> = batches(&run).map(|item| item.map(|batch| batch.len())).collect();
    assert_eq!(items, [Err(BatchError::Magic)], "nothing is believed behind an error");
    assert_eq!(batches(b"").count(), 0);
}

/// The sample with `bytes` at `at`; `sealed` computes the checksum anew, as a faulty producer would.
fn edited(at: usize, bytes: &[u8], sealed: bool) -> Vec<u8> {
    let mut batch = sample_batch().to_vec();
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    if sealed {
        let crc = crc32c::crc32c(&batch[21..]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
    }
    batch
}

#[test]
fn a_header_that_breaks_a_rule_is_no_batch() {
    let max = i64::MAX.to_be_bytes();
    let near_max = (i64::MAX - 1).to_be_bytes();
    let cases: [(usize, &[u8], Result<(), BatchError>); 15] = [
        (0, &[0x80], Err(BatchError::NegativeOffset)),
        (0, &max, Err(BatchError::OffsetOverflow)),
        (0, &near_max, Ok(())),
        (8, &[0xff], Err(BatchError::Length)),
        (8, &[0, 0, 0, 48], Err(BatchError::Length)),
        (8, &[0, 0, 0, 63], Err(BatchError::Truncated { need: 75, have: 74 })),
        (16, &[0], Err(BatchError::Magic)),
        (16, &[0xff], Err(BatchError::Magic)),
        (22, &[5], Err(BatchError::Codec)),
        (22, &[4], Ok(())),
        (23, &[0, 0, 0, 1], Ok(())),
        (23, &[0xff; 4], Err(BatchError::Counts)),
        (57, &[0; 4], Ok(())),
        (57, &[0, 0, 0, 3], Err(BatchError::Counts)),
        (57, &[0x80, 0, 0, 0], Err(BatchError::Counts)),
    ];
    for (at, bytes, result) in cases {
        let batch = edited(at, bytes, true);
        assert_eq!(Batch::split_first(&batch).map(|_| ()), result, "byte {at} = {bytes:02x?}");
    }
}

/// Position and bytes of an edit, whether the checksum follows, what a broker says.
type Edit<'a> = (usize, &'a [u8], bool, Result<(), BatchError>);

#[test]
fn a_broker_takes_only_what_a_client_may_send() {
    let producer = |id: i64, epoch: i16, sequence: i32| {
        [&id.to_be_bytes()[..], &epoch.to_be_bytes(), &sequence.to_be_bytes()].concat()
    };
    let cases: [Edit<'_>; 21] = [
        (57, &[0; 4], true, Err(BatchError::Counts)),
        (23, &[0, 0, 0, 1], true, Err(BatchError::Counts)),
        (0, &[0, 0, 0, 9], true, Ok(())),
        (73, b"y", false, Err(BatchError::Crc)),
        (22, &[0x20], true, Err(BatchError::Control)),
        (22, &[0x08], true, Err(BatchError::LogAppendTime)),
        (22, &[0x10], true, Err(BatchError::Transactional)),
        (43, &producer(5, 0, 0), true, Ok(())),
        (43, &producer(5, 0, -1), true, Err(BatchError::Producer)),
        (43, &producer(5, -1, 0), true, Err(BatchError::Producer)),
        (43, &producer(-2, 0, 0), true, Err(BatchError::Producer)),
        (43, &producer(-1, -1, -1), true, Ok(())),
        (61, &[0x16], true, Err(BatchError::RecordCount)),
        (61, &[0x1a], true, Err(BatchError::RecordCount)),
        (61, &[0x01], true, Err(BatchError::RecordCount)),
        (62, &[0xff], true, Ok(())),
        // Attributes, Δtimestamp, Δoffset, lengths of key and value, …: everything in the record.
        (63, &[0xff; 11], true, Err(BatchError::RecordCount)),
        (64, &[0x02], true, Err(BatchError::RecordCount)),
        (65, &[0x7e], true, Err(BatchError::RecordCount)),
        (67, &[0x7e], true, Err(BatchError::RecordCount)),
        (23, &[0, 0, 0, 0], true, Ok(())),
    ];
    for (at, bytes, sealed, result) in cases {
        let bytes = edited(at, bytes, sealed);
        assert_eq!(batch(&bytes).check_for_append(LIMIT), result, "byte {at}");
    }
    let bytes = sample_batch();
    let too_large = BatchError::TooLarge { len: 74, max: 73 };
    assert_eq!(batch(&bytes).check_for_append(74), Ok(()));
    assert_eq!(batch(&bytes).check_for_append(73), Err(too_large));
    assert_eq!(too_large.code(), ErrorCode::MessageTooLarge);
    assert_eq!(BatchError::Crc.code(), ErrorCode::CorruptMessage);
    assert_eq!(BatchError::Producer.code(), ErrorCode::InvalidRecord);
}

/// Three records, of which the header announces `count`.
fn with_count(codec: Codec, count: u8) -> Vec<u8> {
    let mut builder = BatchBuilder::new(codec);
    for value in [b"a", b"b", b"c"] {
        append(&mut builder, b"k", value);
    }
    let mut bytes = builder.finish().to_vec();
    bytes[26] = count - 1;
    bytes[60] = count;
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}

#[test]
fn a_record_count_that_lies_is_found_by_the_broker_or_else_by_the_consumer() {
    for count in [2, 4] {
        let plain = with_count(Codec::None, count);
        assert_eq!(batch(&plain).check_for_append(LIMIT), Err(BatchError::RecordCount));
        for codec in Codec::ALL {
            let bytes = Bytes::from(with_count(codec, count));
            let error = decode_batch(bytes, LIMIT).map(|_| ()).unwrap_err();
            let expected = match count {
                2 => RecordError::Leftover { bytes: 13 },
                _ => RecordError::Record { index: 3, fault: RecordFault::Length },
            };
            assert_eq!(error, expected, "{codec}");
        }
    }
}

#[test]
fn log_append_time_replaces_every_records_own() {
    let mut bytes = edited(22, &[0x08], true);
    bytes[35..43].copy_from_slice(&42_i64.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    let record = decode_batch(Bytes::from(bytes), LIMIT).unwrap().next().unwrap();
    assert_eq!(record.timestamp, Timestamp::from_millis(42));
}

#[test]
fn a_header_key_that_is_not_text_stops_nobody() {
    let record = decode_batch(Bytes::from(edited(71, &[0xff], true)), LIMIT).unwrap().next().unwrap();
    assert_eq!(record.headers[0].key, "\u{fffd}");
}

#[test]
fn uncompressed_records_are_slices_of_the_batch() {
    let bytes = sample_batch();
    let record = decode_batch(bytes.clone(), LIMIT).unwrap().next().unwrap();
    assert_eq!(record.value.unwrap().as_ptr(), bytes[68..].as_ptr());
}

#[test]
fn bytes_behind_the_batch_are_not_ignored() {
    let two = [sample_batch(), sample_batch()].concat();
    let error = decode_batch(Bytes::from(two), LIMIT).map(|_| ()).unwrap_err();
    assert_eq!(error, RecordError::Leftover { bytes: 74 });
}

#[test]
fn a_bomb_in_a_batch_is_refused() {
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let mut builder = BatchBuilder::new(codec);
        builder.try_append(Timestamp::NONE, None, Some(&vec![0; 4 * LIMIT]), &[]).unwrap();
        let error = decode_batch(builder.finish(), LIMIT).map(|_| ()).unwrap_err();
        assert_eq!(error, RecordError::Decompress(DecompressError::TooLarge { codec, limit: LIMIT }));
    }
}

#[test]
fn a_builder_refuses_what_does_not_fit_and_stays_as_it_was() {
    let mut builder = BatchBuilder::new(Codec::None);
    append(&mut builder, b"k", b"v");
    let huge = vec![0; crate::model::limits::BATCH_BYTES_MAX];
    let refused = builder.try_append(Timestamp::NONE, None, Some(&huge), &[]);
    assert!(matches!(refused, Err(BuildError::TooLarge { .. })), "{refused:?}");
    assert_eq!(builder.record_count(), RecordCount::new(1));
    assert_eq!(builder.finish(), sample_batch());
}

#[test]
fn a_builder_forgets_the_last_batch() {
    for codec in Codec::ALL {
        let mut fresh = BatchBuilder::new(codec);
        append(&mut fresh, b"k", b"v");
        let mut used = BatchBuilder::new(codec);
        used.try_append(Timestamp::from_millis(i64::MAX), None, None, &[]).unwrap();
        used.set_producer(ProducerId::new(1), ProducerEpoch::new(1), Sequence::new(1));
        let _ = used.finish();
        assert!(used.is_empty() && used.estimated_len() == HEADER_LEN);
        append(&mut used, b"k", b"v");
        assert_eq!(used.finish(), fresh.finish(), "{codec}");
    }
}

#[test]
fn every_prefix_of_a_batch_is_truncated() {
    for codec in Codec::ALL {
        let whole = Bytes::from(with_count(codec, 3));
        for have in 0..whole.len() {
            let cut = &whole[..have];
            let need = if have < 12 { HEADER_LEN } else { whole.len() };
            let error = BatchError::Truncated { need, have };
            assert_eq!(Batch::split_first(cut).map(|_| ()), Err(error), "{codec}");
            assert_eq!(Batch::peek_len(cut), (have >= 12).then_some(whole.len()));
            assert_eq!(decode_batch(whole.slice(..have), LIMIT).map(|_| ()), Err(error.into()));
        }
    }
}

#[test]
fn every_flipped_bit_behind_the_length_is_detected() {
    for codec in Codec::ALL {
        let whole = with_count(codec, 3);
        for (at, bit) in (0..whole.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            let found = Batch::split_first(&bytes).and_then(|(batch, _)| batch.check_crc());
            let unprotected = at < 8 || (12..16).contains(&at);
            assert!(unprotected || found.is_err(), "{codec}: bit {bit} of byte {at}");
            let decoded = decode_batch(Bytes::from(bytes), LIMIT).map(Iterator::count);
            assert!(unprotected || decoded.is_err(), "{codec}: bit {bit} of byte {at}");
        }
    }
}

fn overhead_per_record(count: usize, value: &[u8]) -> usize {
    let mut builder = BatchBuilder::new(Codec::None);
    for n in 0..count {
        builder.try_append(Timestamp::from_millis(n as i64 / 10), None, Some(value), &[]).unwrap();
    }
    (builder.finish().len() - HEADER_LEN).div_ceil(count) - value.len()
}

#[test]
fn a_record_costs_few_bytes_beside_its_value() {
    assert_eq!(overhead_per_record(64, &[0; 50]), 7);
    assert_eq!(overhead_per_record(1000, &[0; 100]), 11);
}

/// A record as a test makes it up.
type Made = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(String, Option<Vec<u8>>)>);

fn any_record() -> impl Strategy<Value = Made> {
    let bytes = || prop::option::of(prop::collection::vec(any::<u8>(), 0..60));
    let timestamp = prop_oneof![1_700_000_000_000..1_700_000_100_000_i64, any::<i64>()];
    let headers = prop::collection::vec(("[a-cä]{0,3}", bytes()), 0..4);
    (timestamp, bytes(), bytes(), headers)
}

fn built(codec: Codec, records: &[Made]) -> Bytes {
    let mut builder = BatchBuilder::new(codec);
    for (timestamp, key, value, headers) in records {
        let headers: Vec<(&str, Option<&[u8]>)> =
            headers.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
        let before = builder.estimated_len();
        let bound = record_size_upper_bound(key.as_deref(), value.as_deref(), &headers);
        builder
            .try_append(Timestamp::from_millis(*timestamp), key.as_deref(), value.as_deref(), &headers)
            .unwrap();
        assert!(builder.estimated_len() - before <= bound);
    }
    builder.finish()
}

fn owned(index: usize, made: &Made, base: Offset) -> OwnedRecord {
    let (timestamp, key, value, headers) = made.clone();
    OwnedRecord {
        offset: base + RecordCount::new(index as u32),
        timestamp: Timestamp::from_millis(timestamp),
        key: key.map(Bytes::from),
        value: value.map(Bytes::from),
        headers: headers
            .into_iter()
            .map(|(key, value)| Header { key: key.as_str().into(), value: value.map(Bytes::from) })
            .collect(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn records_come_back_through_every_codec(records in prop::collection::vec(any_record(), 1..200)) {
        for codec in Codec::ALL {
            let mut bytes = built(codec, &records).to_vec();
            let base = Offset::new(1 << 40);
            stamp(&mut bytes, base, LeaderEpoch::FIRST);
            prop_assert_eq!(batch(&bytes).check_for_append(LIMIT), Ok(()));
            let decoded = decode_batch(Bytes::from(bytes), LIMIT).unwrap();
            prop_assert_eq!(decoded.len(), records.len());
            for (index, record) in decoded.enumerate() {
                prop_assert_eq!(record, owned(index, &records[index], base));
            }
        }
    }
}
