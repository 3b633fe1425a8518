//! One batch, as a line of a table or as a JSON object; its records below or in it.

use std::io::{self, Write};

use protocol::batch::{Batch, OwnedRecord, TimestampType, decode_batch};
use protocol::model::ProducerId;
use serde::Serialize;

use super::scan::FoundBatch;
use crate::output::Format;
use crate::record_json::RecordJson;
use crate::time;

pub const HEADER: &str = "    POSITION         BASE         LAST   COUNT    BYTES  CODEC   CRC  EPOCH  \
                          MAX TIMESTAMP             PRODUCER";

pub enum Error {
    Output(io::Error),
    /// The batch is as its producer made it, but not as a batch should be.
    Records {
        position: u64,
        why: String,
    },
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        Error::Output(error)
    }
}

/// What one compressed batch may unfold to; the client's limit.
const DECOMPRESSED_BYTES_MAX: usize = 128 << 20;

pub fn batch(
    found: &FoundBatch,
    crc: &'static str,
    with_records: bool,
    format: Format,
    out: &mut impl Write,
) -> Result<(), Error> {
    let records: Option<Vec<OwnedRecord>> = if with_records { Some(records(found)?) } else { None };
    match format {
        Format::Table => write_table(found, crc, records.unwrap_or_default(), out)?,
        Format::Json => {
            serde_json::to_writer(&mut *out, &BatchJson::new(found, crc, records.as_deref()))
                .map_err(io::Error::from)?;
            out.write_all(b"\n")?;
        }
    }
    Ok(())
}

fn records(found: &FoundBatch) -> Result<Vec<OwnedRecord>, Error> {
    let decoded = decode_batch(found.bytes.clone(), DECOMPRESSED_BYTES_MAX);
    let unreadable = |why: String| Error::Records { position: found.position, why };
    decoded.map(Iterator::collect).map_err(|error| unreadable(error.to_string()))
}

fn write_table(
    found: &FoundBatch,
    crc: &str,
    records: Vec<OwnedRecord>,
    out: &mut impl Write,
) -> io::Result<()> {
    let batch = found.batch();
    writeln!(
        out,
        "{:>12} {:>12} {:>12} {:>7} {:>8}  {:<6}  {crc:<3}  {:>5}  {:<24}  {}",
        found.position,
        batch.base_offset().get(),
        batch.last_offset().get(),
        batch.record_count().get(),
        batch.len(),
        batch.codec().name(),
        batch.leader_epoch().get(),
        time::show(batch.max_timestamp()),
        producer(&batch),
    )?;
    for record in records {
        let (key, value) = (quoted(record.key.as_deref()), quoted(record.value.as_deref()));
        write!(out, "{:>25}  {}  {key}  {value}", record.offset.get(), time::show(record.timestamp))?;
        for header in &record.headers {
            write!(out, "  {}={}", header.key, quoted(header.value.as_deref()))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// `4711/0/38` is producer id, epoch and first sequence.
fn producer(batch: &Batch<'_>) -> String {
    let mut text = match batch.producer_id() {
        ProducerId::NONE => "-".to_owned(),
        id => format!("{id}/{}/{}", batch.producer_epoch(), batch.base_sequence()),
    };
    if batch.is_transactional() {
        text.push_str(" transactional");
    }
    if batch.is_control() {
        text.push_str(" control");
    }
    text
}

/// Text in quotes, other bytes as Rust writes them, null as such.
fn quoted(bytes: Option<&[u8]>) -> String {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => "null".to_owned(),
        Some((_, Ok(text))) => format!("{text:?}"),
        Some((bytes, Err(_))) => format!("b\"{}\"", bytes.escape_ascii()),
    }
}

#[derive(Serialize)]
struct BatchJson<'a> {
    position: u64,
    base_offset: u64,
    last_offset: u64,
    count: u32,
    bytes: usize,
    codec: &'static str,
    crc: &'static str,
    leader_epoch: i32,
    base_timestamp: i64,
    max_timestamp: i64,
    timestamp_type: &'static str,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    transactional: bool,
    control: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    records: Option<Vec<RecordJson<'a>>>,
}

impl<'a> BatchJson<'a> {
    fn new(found: &FoundBatch, crc: &'static str, records: Option<&'a [OwnedRecord]>) -> BatchJson<'a> {
        let batch = found.batch();
        BatchJson {
            position: found.position,
            base_offset: batch.base_offset().get(),
            last_offset: batch.last_offset().get(),
            count: batch.record_count().get(),
            bytes: batch.len(),
            codec: batch.codec().name(),
            crc,
            leader_epoch: batch.leader_epoch().get(),
            base_timestamp: batch.base_timestamp().millis(),
            max_timestamp: batch.max_timestamp().millis(),
            timestamp_type: match batch.timestamp_type() {
                TimestampType::Create => "create",
                TimestampType::LogAppend => "log-append",
            },
            producer_id: batch.producer_id().get(),
            producer_epoch: batch.producer_epoch().get(),
            base_sequence: batch.base_sequence().get(),
            transactional: batch.is_transactional(),
            control: batch.is_control(),
            records: records.map(|records| records.iter().map(record_json).collect()),
        }
    }
}

fn record_json(record: &OwnedRecord) -> RecordJson<'_> {
    let (key, value) = (record.key.as_deref(), record.value.as_deref());
    RecordJson::new(None, record.offset, record.timestamp, key, value, &record.headers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use expect_test::expect;
    use protocol::batch::{BatchBuilder, Codec, stamp};
    use protocol::model::{LeaderEpoch, Offset, Timestamp};

    fn shown(format: Format) -> String {
        let mut builder = BatchBuilder::new(Codec::Lz4);
        let at = Timestamp::from_millis(1_700_000_000_123);
        builder.try_append(at, Some(b"k"), Some(b"\xff"), &[("h", None)]).unwrap();
        builder.try_append(at, None, Some("é".as_bytes()), &[]).unwrap();
        let mut bytes = builder.finish().to_vec();
        stamp(&mut bytes, Offset::new(41), LeaderEpoch::FIRST);
        let mut out = Vec::new();
        let found = FoundBatch { position: 4096, bytes: Bytes::from(bytes) };
        assert!(batch(&found, "ok", true, format, &mut out).is_ok());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_batch_is_a_line_under_its_header() {
        expect![[r#"
            a table:
                POSITION         BASE         LAST   COUNT    BYTES  CODEC   CRC  EPOCH  MAX TIMESTAMP             PRODUCER
                    4096           41           42       2       97  lz4     ok       0  2023-11-14T22:13:20.123Z  -
                                   41  2023-11-14T22:13:20.123Z  "k"  b"\xff"  h=null
                                   42  2023-11-14T22:13:20.123Z  null  "é"
        "#]].assert_eq(&format!("a table:\n{HEADER}\n{}", shown(Format::Table)));
    }

    #[test]
    fn a_batch_is_a_json_object() {
        expect![[r#"
            {"position":4096,"base_offset":41,"last_offset":42,"count":2,"bytes":97,"codec":"lz4","crc":"ok","leader_epoch":0,"base_timestamp":1700000000123,"max_timestamp":1700000000123,"timestamp_type":"create","producer_id":-1,"producer_epoch":-1,"base_sequence":-1,"transactional":false,"control":false,"records":[{"offset":41,"timestamp":1700000000123,"key":"k","value":"/w==","value_encoding":"base64","headers":[{"key":"h","value":null}]},{"offset":42,"timestamp":1700000000123,"key":null,"value":"é","headers":[]}]}
        "#]].assert_eq(&shown(Format::Json));
    }
}
