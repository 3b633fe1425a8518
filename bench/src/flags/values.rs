//! Values of flags that are one of a few words: acks, keys, workloads.
//!
//!     "all" ─FromStr▶ Acks::All ─Display▶ "all"      what is printed can be given again

use std::fmt;
use std::str::FromStr;

use ringlog_client as client;
use serde::{Serialize, Serializer};

use crate::units;

/// Which workload the flags are for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Workload {
    Produce,
    Consume,
    Pubsub,
    Drain,
    Mixed,
    Fanout,
    Rebalance,
    Groups,
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Workload::Produce => "produce",
            Workload::Consume => "consume",
            Workload::Pubsub => "pubsub",
            Workload::Drain => "drain",
            Workload::Mixed => "mixed",
            Workload::Fanout => "fanout",
            Workload::Rebalance => "rebalance",
            Workload::Groups => "groups",
        })
    }
}

/// When a record counts as acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub enum Acks {
    #[serde(rename = "0")]
    None,
    #[serde(rename = "1")]
    Leader,
    #[serde(rename = "all")]
    All,
}

impl FromStr for Acks {
    type Err = String;

    fn from_str(text: &str) -> Result<Acks, String> {
        match text {
            "0" => Ok(Acks::None),
            "1" => Ok(Acks::Leader),
            "all" | "-1" => Ok(Acks::All),
            _ => Err(format!("{text:?} is not a level of acknowledgement: it is one of 0, 1, all")),
        }
    }
}

impl fmt::Display for Acks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Acks::None => "0",
            Acks::Leader => "1",
            Acks::All => "all",
        })
    }
}

impl From<Acks> for client::Acks {
    fn from(acks: Acks) -> client::Acks {
        match acks {
            Acks::None => client::Acks::None,
            Acks::Leader => client::Acks::Leader,
            Acks::All => client::Acks::All,
        }
    }
}

/// Which keys records have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keys {
    None,
    /// Every record another one.
    Sequential,
    /// One of so many, evenly.
    Random(u64),
}

impl FromStr for Keys {
    type Err = String;

    fn from_str(text: &str) -> Result<Keys, String> {
        match (text, text.strip_prefix("rand:").map(units::parse_count)) {
            ("none", _) => Ok(Keys::None),
            ("seq", _) => Ok(Keys::Sequential),
            (_, Some(Ok(count))) if count > 0 => Ok(Keys::Random(count)),
            _ => Err(format!("{text:?} is not a kind of keys: it is one of none, seq, rand:N")),
        }
    }
}

impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Keys::None => f.write_str("none"),
            Keys::Sequential => f.write_str("seq"),
            Keys::Random(count) => write!(f, "rand:{count}"),
        }
    }
}

impl Serialize for Keys {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_acks_read_what_they_print() {
        for keys in ["none", "seq", "rand:1000"] {
            assert_eq!(keys.parse::<Keys>().unwrap().to_string(), keys);
        }
        for acks in ["0", "1", "all"] {
            assert_eq!(acks.parse::<Acks>().unwrap().to_string(), acks);
        }
        for wrong in ["rand:0", "rand:", "random"] {
            assert!(wrong.parse::<Keys>().is_err(), "{wrong:?}");
        }
    }
}
