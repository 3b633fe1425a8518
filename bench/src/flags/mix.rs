//! A topic of a mixed load, and its part of the load.
//!
//!     NAME:size=64k,partitions=2,rate=200,compression=lz4     what is not said is as the other flags say

use std::fmt;
use std::str::FromStr;

use ringlog_client::Codec;
use serde::{Serialize, Serializer};

use super::{Flags, Keys};
use crate::payload::Content;
use crate::units;

/// One topic of a mixed load.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Stream {
    pub name: String,
    size: Option<u64>,
    partitions: Option<u32>,
    rate: Option<f64>,
    producers: Option<usize>,
    compression: Option<Codec>,
    key: Option<Keys>,
    payload: Option<Content>,
    /// As it was given.
    text: String,
}

impl Stream {
    /// Small, large and compressible records, in few, some and many partitions.
    pub fn default_mix() -> Vec<Stream> {
        DEFAULT_MIX.iter().map(|text| text.parse().expect("BUG: a mix that is a constant")).collect()
    }

    /// The flags of this stream's own producers and consumers.
    pub fn applied_to(&self, flags: &Flags) -> Flags {
        let mut flags = flags.clone();
        flags.topic = format!("{}-{}", flags.topic, self.name);
        flags.record_size = self.size.unwrap_or(flags.record_size);
        flags.partitions = self.partitions.unwrap_or(flags.partitions);
        flags.rate = self.rate.or(flags.rate);
        flags.producers = self.producers.unwrap_or(flags.producers);
        flags.compression = self.compression.unwrap_or(flags.compression);
        flags.key = self.key.unwrap_or(flags.key);
        flags.payload = self.payload.unwrap_or(flags.payload);
        flags
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let some = |count: u64| if count > 0 { Ok(count) } else { Err(format!("{key} must be 1 or more")) };
        let too_many = |_| format!("{key}={value} is too many");
        match key {
            "size" => self.size = Some(units::parse_bytes(value)?),
            "partitions" => {
                self.partitions = Some(u32::try_from(some(units::parse_count(value)?)?).map_err(too_many)?);
            }
            "producers" => {
                self.producers = Some(usize::try_from(some(units::parse_count(value)?)?).map_err(too_many)?);
            }
            "rate" => self.rate = Some(units::parse_rate(value)?),
            "compression" => {
                let unknown = |_| format!("{value:?} is not a codec");
                self.compression = Some(value.parse().map_err(unknown)?);
            }
            "key" => self.key = Some(value.parse()?),
            "payload" => self.payload = Some(value.parse()?),
            _ => return Err(format!("{key:?} is not one of {KEYS}")),
        }
        Ok(())
    }
}

impl FromStr for Stream {
    type Err = String;

    fn from_str(text: &str) -> Result<Stream, String> {
        let (name, rest) = text.split_once(':').unwrap_or((text, ""));
        if name.is_empty() {
            return Err(format!("{text:?} has no name: give NAME:size=1k,rate=10k"));
        }
        let mut stream = Stream { name: name.to_owned(), text: text.to_owned(), ..Stream::default() };
        for pair in rest.split(',').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').ok_or_else(|| format!("{pair:?} is not KEY=VALUE"))?;
            stream.set(key, value)?;
        }
        Ok(stream)
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Stream {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

const KEYS: &str = "size, partitions, rate, producers, compression, key, payload";

/// About 2, 32 and 10 MB/s: any machine keeps that schedule, so that latencies are the broker's.
const DEFAULT_MIX: [&str; 3] = [
    "small:size=100,partitions=4,rate=20k",
    "large:size=64k,partitions=2,rate=500",
    "packed:size=1k,partitions=16,rate=10k,compression=lz4,payload=text,key=rand:1k",
];

#[cfg(test)]
mod tests {
    use super::super::tests::flags;
    use super::*;

    #[test]
    fn a_stream_says_only_what_differs() {
        let stream: Stream = "hot:size=2k,rate=5k,compression=lz4".parse().unwrap();
        let applied = stream.applied_to(&flags("--partitions 7 --record-size 100"));
        assert_eq!((applied.topic.as_str(), applied.record_size), ("bench-hot", 2048));
        assert_eq!((applied.partitions, applied.rate), (7, Some(5000.0)));
        assert_eq!(applied.compression, Codec::Lz4);
        assert_eq!(stream.to_string(), "hot:size=2k,rate=5k,compression=lz4");
    }

    #[test]
    fn what_is_no_stream_is_refused_in_words() {
        let why = |text: &str| text.parse::<Stream>().unwrap_err();
        assert!(why(":size=1").contains("no name"));
        assert!(why("a:size").contains("KEY=VALUE"));
        assert!(why("a:colour=red").contains("one of size"));
        assert!(why("a:partitions=0").contains("1 or more"));
        assert!(why("a:compression=rar").contains("rar"));
        assert_eq!("alone".parse::<Stream>().unwrap().name, "alone");
        assert_eq!(Stream::default_mix().len(), 3);
    }
}
