//! The flags of workloads with groups: how many, of whom, and how their members behave.
//!
//!     fanout      --groups 3 --consumers 2      3 groups of 2 members each
//!     rebalance   --members 100                 1 group of 100, then 101, then 100
//!     groups      --groups 10000                10,000 groups of 1, which read nothing

use std::time::Duration;

use clap::Args;
use ringlog_client::Assignor;
use serde::Serialize;

use super::{as_name, parse_some, seconds};
use crate::units;

#[derive(Args, Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct GroupFlags {
    /// Of fanout and groups: how many groups; each has --consumers members.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = parse_some)]
    pub groups: usize,
    /// Of rebalance: members of the group before one joins.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = parse_some)]
    pub members: usize,
    /// One of range, roundrobin, sticky, cooperative-sticky.
    #[arg(long, value_name = "NAME", default_value = "cooperative-sticky", value_parser = parse_assignor)]
    #[serde(serialize_with = "as_name")]
    pub assignor: Assignor,
    /// A member that is silent for so long is out of its group; it sends three heartbeats in that time.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = units::parse_duration)]
    #[serde(serialize_with = "seconds")]
    pub session_timeout: Duration,
    /// How long a member's fetch waits for records.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = units::parse_duration)]
    #[serde(serialize_with = "seconds")]
    pub max_wait: Duration,
    /// Of fanout: so long nobody sends after everybody has joined, and the broker's CPU is told apart.
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = units::parse_duration)]
    #[serde(serialize_with = "seconds")]
    pub rest: Duration,
}

fn parse_assignor(text: &str) -> Result<Assignor, String> {
    let unknown =
        || format!("{text:?} is not an assignor: it is one of range, roundrobin, sticky, cooperative-sticky");
    Assignor::from_name(text).ok_or_else(unknown)
}
