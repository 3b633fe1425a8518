//! The same load through Kafka's listener, by librdkafka.
//!
//!     flags ─▶ librdkafka's settings ─▶ sender: delivery reports ─▶ tally
//!                                    └▶ reader: a thread of its own ─▶ intake
//!
//! Topics, ends and counters are asked for by the native client, as in any run.

use rdkafka::config::ClientConfig;

use crate::flags::Flags;

mod sender;
pub use sender::KafkaSender;

mod reader;
pub use reader::KafkaConsumer;

/// What a producer of `flags` is told, as near to the bundled client's meaning as librdkafka has it.
///
/// Requests in flight are those of a connection, which is all partitions here.
fn producer_config(address: &str, flags: &Flags) -> ClientConfig {
    let mut config = client_config(address);
    // Bytes decide what the buffer holds.
    let message_max = MESSAGE_BYTES_MAX.max(flags.record_size + RECORD_OVERHEAD);
    // Not more than fill one: librdkafka makes room for so many before it writes any.
    let records_per_batch = (flags.batch_bytes / (flags.record_size + 1)).clamp(1, RECORDS_PER_BATCH_MAX);
    config
        .set("acks", flags.acks.to_string())
        .set("enable.idempotence", flags.is_idempotent().to_string())
        .set("linger.ms", (flags.linger.as_secs_f64() * 1e3).to_string())
        .set("batch.size", flags.batch_bytes.to_string())
        .set("batch.num.messages", records_per_batch.to_string())
        .set("queue.buffering.max.messages", "0")
        .set("queue.buffering.max.kbytes", (flags.buffer_bytes >> 10).max(1).to_string())
        .set("max.in.flight.requests.per.connection", flags.in_flight.to_string())
        .set("message.max.bytes", message_max.to_string())
        .set("compression.codec", flags.compression.to_string());
    config
}

/// What a consumer is told. It belongs to no group, but librdkafka assigns nothing without the name of one.
fn consumer_config(address: &str, repeat: bool) -> ClientConfig {
    let mut config = client_config(address);
    config
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error");
    if repeat {
        // A fetch at the end would wait for records that never come before the next lap begins.
        config.set("fetch.wait.max.ms", "1");
    }
    config
}

fn client_config(address: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address).set("client.id", "bench").set("socket.nagle.disable", "true");
    config
}

/// librdkafka's default.
const RECORDS_PER_BATCH_MAX: u64 = 10_000;
/// librdkafka's default.
const MESSAGE_BYTES_MAX: u64 = 1_000_000;
/// Of a record in a batch of its own, and some more.
const RECORD_OVERHEAD: u64 = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::tests::flags;

    #[test]
    fn librdkafka_knows_every_setting() {
        for line in
            ["", "--acks 0 --in-flight 9", "--compression zstd --linger 0 --batch-bytes 1", "--linger 1500us"]
        {
            producer_config("127.0.0.1:1", &flags(line)).create_native_config().expect(line);
        }
        consumer_config("127.0.0.1:1", true).create_native_config().expect("a consumer's settings");
    }

    #[test]
    fn a_window_above_five_is_not_idempotent() {
        let idempotence =
            |line| producer_config("h:1", &flags(line)).get("enable.idempotence").map(str::to_owned);
        assert_eq!(idempotence("").as_deref(), Some("true"));
        assert_eq!(idempotence("--in-flight 6").as_deref(), Some("false"));
        assert_eq!(idempotence("--acks 1").as_deref(), Some("false"));
    }
}
