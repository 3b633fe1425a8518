//! Format strings as kcat has them: `%t [%p] at %o: %k = %s\n`.
//!
//!     "%o: %s\n" ──parse──▶ [Offset, Literal(": "), Value, Literal("\n")] ──write──▶ bytes, per record
//!
//! Understood once, before the first record: a mistake is a usage error, not half an output.

use std::io::{self, Write};
use std::str::FromStr;

use ringlog_client::ConsumedRecord;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Format(Vec<Piece>);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Piece {
    Literal(Vec<u8>),
    Topic,
    Partition,
    Offset,
    Key,
    KeyLength,
    Value,
    ValueLength,
    /// The value's length as 4 bytes, big-endian, so that a program can cut a stream of values apart.
    ValueLengthRaw,
    Timestamp,
    Headers,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Format, String> {
        let mut pieces = Vec::new();
        let mut literal = Vec::new();
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            match c {
                '%' => match rest.next() {
                    Some('%') => literal.push(b'%'),
                    Some(letter) => {
                        let piece = piece(letter).ok_or_else(|| format!("%{letter} has no meaning"))?;
                        if !literal.is_empty() {
                            pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                        }
                        pieces.push(piece);
                    }
                    None => return Err("a lone % at the end; write %% for a percent sign".to_owned()),
                },
                '\\' => literal.push(escaped(&mut rest)?),
                c => literal.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(Format(pieces))
    }
}

fn piece(letter: char) -> Option<Piece> {
    Some(match letter {
        't' => Piece::Topic,
        'p' => Piece::Partition,
        'o' => Piece::Offset,
        'k' => Piece::Key,
        'K' => Piece::KeyLength,
        's' => Piece::Value,
        'S' => Piece::ValueLength,
        'R' => Piece::ValueLengthRaw,
        'T' => Piece::Timestamp,
        'h' => Piece::Headers,
        _ => return None,
    })
}

/// What follows a backslash.
fn escaped(rest: &mut std::str::Chars<'_>) -> Result<u8, String> {
    match rest.next() {
        Some('n') => Ok(b'\n'),
        Some('r') => Ok(b'\r'),
        Some('t') => Ok(b'\t'),
        Some('0') => Ok(0),
        Some('\\') => Ok(b'\\'),
        Some('x') => {
            let mut digit = || rest.next().and_then(|c| c.to_digit(16));
            let digits = digit().zip(digit()).ok_or("\\x needs two hexadecimal digits")?;
            Ok((digits.0 << 4 | digits.1) as u8)
        }
        Some(c) => Err(format!("\\{c} has no meaning")),
        None => Err("a lone \\ at the end; write \\\\ for a backslash".to_owned()),
    }
}

impl Format {
    pub fn write(&self, record: &ConsumedRecord, out: &mut impl Write) -> io::Result<()> {
        for piece in &self.0 {
            piece.write(record, out)?;
        }
        Ok(())
    }
}

impl Piece {
    fn write(&self, record: &ConsumedRecord, out: &mut impl Write) -> io::Result<()> {
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        match self {
            Piece::Literal(bytes) => out.write_all(bytes),
            Piece::Topic => out.write_all(record.topic.as_bytes()),
            Piece::Partition => write!(out, "{}", record.partition),
            Piece::Offset => write!(out, "{}", record.offset),
            Piece::Key => out.write_all(key.unwrap_or_default()),
            Piece::KeyLength => write!(out, "{}", length(key)),
            Piece::Value => out.write_all(value.unwrap_or_default()),
            Piece::ValueLength => write!(out, "{}", length(value)),
            Piece::ValueLengthRaw => out.write_all(&length(value).to_be_bytes()),
            Piece::Timestamp => write!(out, "{}", record.timestamp.millis()),
            Piece::Headers => write_headers(record, out),
        }
    }
}

/// -1 for null, as the bytes of a record have it.
fn length(bytes: Option<&[u8]>) -> i32 {
    bytes.map_or(-1, |bytes| {
        i32::try_from(bytes.len()).expect("BUG: a batch, and so a record, is below 2 GiB")
    })
}

fn write_headers(record: &ConsumedRecord, out: &mut impl Write) -> io::Result<()> {
    for (i, header) in record.headers.iter().enumerate() {
        let separator = if i == 0 { "" } else { "," };
        write!(out, "{separator}{}=", header.key)?;
        out.write_all(header.value.as_deref().unwrap_or(b"NULL"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use ringlog_client::{Header, Offset, PartitionIndex, Timestamp};

    fn record() -> ConsumedRecord {
        ConsumedRecord {
            topic: "orders".into(),
            partition: PartitionIndex::new(3),
            offset: Offset::new(41),
            timestamp: Timestamp::from_millis(1_700_000_000_000),
            key: None,
            value: Some(Bytes::from_static(b"ab\xff")),
            headers: vec![
                Header { key: "a".into(), value: Some(Bytes::from_static(b"1")) },
                Header { key: "b".into(), value: None },
            ],
        }
    }

    fn formatted(format: &str) -> Vec<u8> {
        let mut out = Vec::new();
        format.parse::<Format>().unwrap().write(&record(), &mut out).unwrap();
        out
    }

    #[test]
    fn every_letter_has_its_meaning() {
        assert_eq!(formatted("%t/%p@%o %T\\n"), b"orders/3@41 1700000000000\n");
        assert_eq!(formatted("[%k] %K [%s] %S"), b"[] -1 [ab\xff] 3");
        assert_eq!(formatted("%h"), b"a=1,b=NULL");
        assert_eq!(formatted("%R%s"), b"\0\0\0\x03ab\xff");
        assert_eq!(formatted("100%% \\t\\x41\\\\ é"), "100% \tA\\ é".as_bytes());
        assert_eq!(formatted(""), b"");
    }

    #[test]
    fn what_has_no_meaning_is_refused() {
        for format in ["%", "%z", "\\", "\\q", "\\x4", "\\xzz"] {
            assert!(format.parse::<Format>().is_err(), "{format}");
        }
    }
}
