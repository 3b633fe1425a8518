//! Flags that make no sense together, told in words before anything is started.
//!
//!     --rate 5k --outstanding 1      refused: "--rate is an open loop, --outstanding a closed one"

use std::time::Duration;

use ringlog_client as client;

use super::{Flags, Keys, Stream, Workload};
use crate::verify::stamp::VERIFIED_LEN_MIN;

impl Flags {
    /// Tells the first thing that makes no sense, in words for the user.
    pub fn check(&self, workload: Workload) -> Result<(), String> {
        if self.verify && self.record_size < VERIFIED_LEN_MIN as u64 {
            return Err(format!("--verify needs records of {VERIFIED_LEN_MIN} bytes or more"));
        }
        let deals_out = matches!(workload, Workload::Consume | Workload::Pubsub | Workload::Drain);
        if self.verify && deals_out && self.consumers > self.partitions as usize {
            return Err("--verify needs a partition for each consumer: others read the same twice".to_owned());
        }
        let has_history = matches!(workload, Workload::Consume | Workload::Drain);
        if !has_history && self.records.is_some() && self.duration.is_some() {
            return Err("give --records or --duration, not both".to_owned());
        }
        if self.verify && workload == Workload::Consume && self.duration.is_some() {
            return Err("--verify reads a topic once, not for a --duration".to_owned());
        }
        if self.records == Some(0) || self.duration == Some(Duration::ZERO) {
            return Err("a run of nothing has no result".to_owned());
        }
        if self.rate.is_some() && self.outstanding.is_some() {
            return Err("--rate is an open loop, --outstanding a closed one".to_owned());
        }
        if self.rate.is_some() && workload == Workload::Consume {
            return Err("--rate is for what sends, and consume does not".to_owned());
        }
        self.check_kafka(workload)?;
        self.check_groups(workload)?;
        self.check_kill(workload)?;
        self.check_mix(workload)?;
        if self.interval < Duration::from_millis(10) {
            return Err("--interval must be 10ms or more".to_owned());
        }
        let largest = client::limits::DECOMPRESSED_BATCH_BYTES_MAX as u64;
        if self.record_size > largest || self.buffer_bytes > u64::from(u32::MAX) || self.batch_bytes > largest
        {
            return Err("sizes of records and batches end at 128m, of buffers at 4g".to_owned());
        }
        Ok(())
    }

    fn check_kafka(&self, workload: Workload) -> Result<(), String> {
        let joins = matches!(workload, Workload::Fanout | Workload::Rebalance | Workload::Groups);
        match self.kafka {
            true if joins => Err("--kafka is for produce, consume, pubsub, drain and mixed".to_owned()),
            true if self.no_routing => {
                Err("--no-routing is for the bundled client, not for --kafka".to_owned())
            }
            true if self.bootstrap.is_some() && self.kafka_bootstrap.is_none() => {
                Err("--kafka with --bootstrap needs --kafka-bootstrap too".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn check_groups(&self, workload: Workload) -> Result<(), String> {
        let open_loop = self.outstanding.is_none() && self.records.is_none();
        match workload {
            Workload::Rebalance if !open_loop => {
                Err("a rebalance has a --rate and a --duration, and ends by itself".to_owned())
            }
            Workload::Rebalance if self.key != Keys::None => {
                Err("a rebalance sends to each partition in turn: keys would not".to_owned())
            }
            Workload::Rebalance if (self.partitions as usize) <= self.group.members => {
                Err("a rebalance needs --partitions for all --members and one more".to_owned())
            }
            Workload::Groups if self.verify || self.rate.is_some() || self.records.is_some() => {
                Err("groups sends nothing: there is nothing to verify, count or pace".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// What was acknowledged is counted, not numbered: a record that is stored twice would hide a lost one.
    fn check_kill(&self, workload: Workload) -> Result<(), String> {
        let is_ours = workload == Workload::Produce && self.bootstrap.is_none();
        match self.kill {
            true if !is_ours => Err("--kill is for produce with a broker of our own".to_owned()),
            true if !self.is_idempotent() => Err("--kill needs acks all and 5 in flight at most".to_owned()),
            _ => Ok(()),
        }
    }

    /// Each stream of a mix has to make sense by itself.
    fn check_mix(&self, workload: Workload) -> Result<(), String> {
        if workload != Workload::Mixed {
            let none = self.mix.is_empty();
            return if none { Ok(()) } else { Err("--mix is for the workload mixed".to_owned()) };
        }
        let default_mix = if self.mix.is_empty() { Stream::default_mix() } else { Vec::new() };
        let streams: Vec<&Stream> = self.mix.iter().chain(&default_mix).collect();
        for (at, stream) in streams.iter().enumerate() {
            if streams[..at].iter().any(|other| other.name == stream.name) {
                return Err(format!("--mix has two topics with the name {}", stream.name));
            }
            let alone = Flags { mix: Vec::new(), ..stream.applied_to(self) };
            alone.check(Workload::Pubsub).map_err(|why| format!("--mix {}: {why}", stream.name))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::flags;
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused_in_words() {
        let why = |line, workload| flags(line).check(workload).unwrap_err();
        assert!(why("--verify --record-size 15", Workload::Produce).contains("16 bytes"));
        assert!(why("--verify --consumers 2", Workload::Pubsub).contains("partition for each"));
        assert!(why("--records 1 --duration 1s", Workload::Produce).contains("not both"));
        assert!(why("--rate 5 --outstanding 5", Workload::Pubsub).contains("open loop"));
        assert!(why("--records 0", Workload::Produce).contains("nothing"));
        assert!(why("--kill", Workload::Pubsub).contains("for produce"));
        assert!(why("--kill --bootstrap h:1", Workload::Produce).contains("of our own"));
        assert!(why("--kill --acks 1", Workload::Produce).contains("acks all"));
        assert!(why("--mix a:size=1k", Workload::Produce).contains("mixed"));
        assert!(why("--mix a --mix a", Workload::Mixed).contains("two topics"));
        assert!(why("--mix a:size=4 --verify", Workload::Mixed).contains("--mix a: --verify"));
        assert!(why("--kafka", Workload::Fanout).contains("--kafka is for"));
        assert!(why("--kafka --no-routing", Workload::Produce).contains("bundled client"));
        assert!(why("--kafka --bootstrap h:1", Workload::Produce).contains("--kafka-bootstrap"));
        assert!(why("", Workload::Rebalance).contains("one more"));
        assert!(why("--partitions 9 --records 5", Workload::Rebalance).contains("ends by itself"));
        assert!(why("--partitions 9 --key seq", Workload::Rebalance).contains("keys"));
        assert!(why("--verify", Workload::Groups).contains("nothing to verify"));
        assert_eq!(flags("--partitions 5").check(Workload::Rebalance), Ok(()));
        assert_eq!(flags("--verify --consumers 2").check(Workload::Fanout), Ok(()));
        assert_eq!(flags("--verify --record-size 16").check(Workload::Produce), Ok(()));
        assert_eq!(flags("--records 1 --duration 1s").check(Workload::Consume), Ok(()));
    }
}
