//! Which scenarios there are, what each is meant to break, and the run that does it.
//!
//!     {2s}, {20000}      times and counts that --scale multiplies
//!
//! The numbers are those of the survey that the suite comes from; sizes are scaled to one node and a few
//! seconds, ratios between them are not.

/// One scenario.
#[derive(Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub title: &'static str,
    /// In a broker that is not made for it.
    pub breaks: &'static str,
    pub load: Load,
}

/// How a scenario is run.
#[derive(Clone, Copy, Debug)]
pub enum Load {
    Words(&'static str),
    /// Once as fast as it goes, then in an open loop at a share of what was reached.
    ShareOf {
        words: &'static str,
        percent: u32,
    },
}

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "B1",
        title: "few partitions, big batches, durable",
        breaks: "the baseline: bandwidth of the device",
        load: Load::Words("produce --producers 4 --partitions 4 --duration {2s} --warmup 500ms"),
    },
    Scenario {
        name: "B2",
        title: "the same bytes from 50 producers, linger 1 ms",
        breaks: "cost of a request, flushes per partition",
        load: Load::Words(
            "produce --producers 50 --partitions 4 --linger 1ms --buffer-bytes 1m --duration {2s} --warmup 500ms",
        ),
    },
    Scenario {
        name: "B3",
        title: "10,000 keys over 400 partitions",
        breaks: "tiny batches, rewriting of tail blocks, flushes per partition",
        load: Load::Words(
            "produce --producers 4 --partitions 400 --key rand:10k --duration {2s} --warmup 500ms",
        ),
    },
    Scenario {
        name: "B4",
        title: "one record of 100 B a request",
        breaks: "system calls and the fixed cost of a request",
        load: Load::Words(
            "produce --batch-bytes 1 --record-size 100 --linger 0 --outstanding 256 --in-flight 256 --duration {2s} --warmup 500ms",
        ),
    },
    Scenario {
        name: "B5",
        title: "soak at 70 % of what is possible",
        breaks: "garbage collection of the SSD, fragmentation, leaks; use --scale 1000",
        load: Load::ShareOf {
            words: "produce --producers 2 --partitions 4 --duration {2s} --warmup 500ms",
            percent: 70,
        },
    },
    Scenario {
        name: "B6",
        title: "retention deletes while producers run",
        breaks: "unlink, extents, TRIM, dropping of an index",
        load: Load::Words(
            "produce --partitions 2 --topic-config retention.bytes=33554432 --topic-config segment.bytes=16777216 \
             --duration {3s} --warmup 500ms",
        ),
    },
    Scenario {
        name: "B7",
        title: "not flushed before it is acknowledged",
        breaks: "the CPU: copies, checks, system calls",
        load: Load::Words(
            "produce --acks 1 --topic-config flush.ms=1000 --producers 2 --partitions 4 --duration {2s} --warmup 500ms",
        ),
    },
    Scenario {
        name: "B8",
        title: "a history is drained while producers run",
        breaks: "read-ahead, the cache, producers starved by fetches",
        load: Load::Words(
            "drain --partitions 4 --records {300000} --rate 20k --duration {1s} --warmup 500ms --broker-set shards.cache_bytes=64MiB",
        ),
    },
    Scenario {
        name: "B9",
        title: "1,000 partitions, 1 % of them active, one consumer of all",
        breaks: "polling, memory of a partition, the plan of a fetch",
        load: Load::Words("pubsub --partitions 1000 --key rand:10 --rate 5k --duration {2s} --warmup 500ms"),
    },
    Scenario {
        name: "B10",
        title: "100 consumers wait, next to nothing comes",
        breaks: "an idle broker that is not idle: its CPU ought to be 0",
        load: Load::Words("pubsub --consumers 100 --rate 2 --linger 0 --duration {3s} --warmup 1s"),
    },
    Scenario {
        name: "B11",
        title: "one hot partition, many cold ones",
        breaks: "balance of the cores",
        load: Load::Words(
            "mixed --mix hot:size=1k,partitions=1,rate=50k --mix cold:size=1k,partitions=64,rate=2k,key=rand:1k \
             --duration {2s} --warmup 500ms",
        ),
    },
    Scenario {
        name: "B12",
        title: "8 consumers of one partition",
        breaks: "records read or encoded again for each",
        load: Load::Words("pubsub --consumers 8 --rate 10k --duration {2s} --warmup 500ms"),
    },
    Scenario {
        name: "B13",
        title: "SIGKILL with a large active segment, restart",
        breaks: "recovery: how long, and what is lost; cargo test --release --test kill_loop looks harder",
        load: Load::Words("produce --kill --records {500000}"),
    },
    Scenario {
        name: "B14",
        title: "1,000 records a second, one at a time",
        breaks: "timers, cores that sleep, the floor of a flush",
        load: Load::Words("pubsub --rate 1k --linger 0 --duration {2s} --warmup 500ms"),
    },
    Scenario {
        name: "B15",
        title: "64 clients that come and go beside producers",
        breaks: "accepting, handing over, cleaning up after who is gone",
        load: Load::Words("pubsub --churn 64 --rate 5k --duration {2s} --warmup 500ms"),
    },
];
