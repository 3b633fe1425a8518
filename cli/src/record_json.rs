//! A record as one line of JSON, the same from `consume` and from `dump`.
//!
//!     {"topic":"t","partition":0,"offset":7,"timestamp":1700000000000,"key":"k","value":"v","headers":[]}
//!     {…,"value":"/wA=","value_encoding":"base64",…}          bytes that are not UTF-8
//!
//! A null key or value is `null`. The names are part of the CLI's promise: fields may be added, none
//! may change.

use ringlog_client::{Header, Offset, PartitionIndex, Timestamp};
use serde::Serialize;

#[derive(Serialize)]
pub struct RecordJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<u32>,
    offset: u64,
    /// Milliseconds since 1970.
    timestamp: i64,
    key: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_encoding: Option<&'static str>,
    value: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_encoding: Option<&'static str>,
    headers: Vec<HeaderJson<'a>>,
}

#[derive(Serialize)]
struct HeaderJson<'a> {
    key: &'a str,
    value: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_encoding: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Text<'a> {
    Utf8(&'a str),
    Base64(String),
}

impl<'a> RecordJson<'a> {
    /// `place` is topic and partition, where they are known.
    pub fn new(
        place: Option<(&'a str, PartitionIndex)>,
        offset: Offset,
        timestamp: Timestamp,
        key: Option<&'a [u8]>,
        value: Option<&'a [u8]>,
        headers: &'a [Header],
    ) -> RecordJson<'a> {
        let (key, key_encoding) = text(key);
        let (value, value_encoding) = text(value);
        let header = |header: &'a Header| {
            let (value, value_encoding) = text(header.value.as_deref());
            HeaderJson { key: header.key.as_str(), value, value_encoding }
        };
        RecordJson {
            topic: place.map(|(topic, _)| topic),
            partition: place.map(|(_, partition)| partition.get()),
            offset: offset.get(),
            timestamp: timestamp.millis(),
            key,
            key_encoding,
            value,
            value_encoding,
            headers: headers.iter().map(header).collect(),
        }
    }
}

fn text(bytes: Option<&[u8]>) -> (Option<Text<'_>>, Option<&'static str>) {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => (None, None),
        Some((_, Ok(text))) => (Some(Text::Utf8(text)), None),
        Some((bytes, Err(_))) => (Some(Text::Base64(base64(bytes))), Some("base64")),
    }
}

/// RFC 4648, with padding: three bytes are four digits of six bits.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits =
            group.iter().enumerate().fold(0u32, |bits, (i, byte)| bits | u32::from(*byte) << (16 - 8 * i));
        for i in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * i) & 63) as usize];
            text.push(if i <= group.len() { digit as char } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_the_one_of_the_rfc() {
        let cases = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (bytes, text) in cases {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xff, 0, 0xfe]), "/wD+");
    }

    #[test]
    fn bytes_that_are_no_text_are_marked() {
        let headers = [Header { key: "h".into(), value: None }];
        let place = Some(("t", PartitionIndex::new(3)));
        let (offset, time) = (Offset::new(7), Timestamp::from_millis(5));
        let json = RecordJson::new(place, offset, time, None, Some(b"\xff"), &headers);
        assert_eq!(
            serde_json::to_string(&json).unwrap(),
            r#"{"topic":"t","partition":3,"offset":7,"timestamp":5,"key":null,"value":"/w==","value_encoding":"base64","headers":[{"key":"h","value":null}]}"#
        );
    }
}
