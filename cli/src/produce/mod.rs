//! `ringlog produce`: each line of stdin becomes a record.
//!
//!     stdin ─▶ thread: 256 KiB reads, cut at newlines ─▶ channel of 8 ─▶ enqueue ─▶ tickets ─▶ count
//!              slices of the read buffer, no copy                        waits while 32 MiB are unsent
//!
//! Nothing is awaited per record: the client batches, and tickets are looked at once per read.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use ringlog_client::{Acks, Client, Codec, PartitionIndex, Producer, Record, TopicDescription};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{self, Receiver};

use crate::arguments;
use crate::connect::{Connect, about_topic};
use crate::exit::{Exit, Failure};

mod lines;
use lines::Lines;

mod tally;
use tally::Tally;

/// Send the lines of stdin to a topic
///
/// Each line is the value of one record, without its newline. Ends when stdin does and every record
/// has an outcome. Ctrl-C stops reading and delivers what was read; a second one gives up on it.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The topic; it must exist
    topic: String,

    /// What stands before the first SEP of a line is the record's key; a line without one has none
    #[arg(short = 'K', long = "key-separator", value_name = "SEP", value_parser = separator)]
    key_separator: Option<String>,

    /// A header for every record; can be repeated
    #[arg(short = 'H', long = "header", value_name = "KEY=VALUE", value_parser = arguments::key_value)]
    header: Vec<(String, String)>,

    /// Compression: none, gzip, snappy, lz4 or zstd
    #[arg(short = 'z', long = "compression", default_value = "none", value_name = "CODEC")]
    codec: Codec,

    /// When a record counts as delivered: all (durable on every replica in sync), leader, none
    #[arg(long, default_value = "all", value_parser = acks, allow_hyphen_values = true)]
    acks: Acks,

    /// Send to this partition, whatever the key
    #[arg(short, long)]
    partition: Option<u32>,

    /// How long a batch may wait for more records
    #[arg(long, default_value = "5ms", value_name = "DURATION", value_parser = broker::config::parse_duration)]
    linger: Duration,

    /// How long to try before a record counts as failed
    #[arg(long, default_value = "30s", value_name = "DURATION", value_parser = broker::config::parse_duration)]
    timeout: Duration,

    /// Do not print how many records were produced
    #[arg(short, long)]
    quiet: bool,

    #[command(flatten)]
    connect: Connect,
}

pub fn run(args: Args) -> Result<(), Failure> {
    args.connect.run(|client| produce(&args, client))
}

async fn produce(args: &Args, client: Client) -> Result<(), Failure> {
    let topic = match client.admin().describe_topic(&args.topic).await {
        Ok(topic) => topic,
        Err(error) => return Err(about_topic(&client, &args.topic, error).await),
    };
    check_partition(args, &topic)?;
    let producer = client
        .producer()
        .topic(args.topic.as_str())
        .acks(args.acks)
        .compression(args.codec)
        .linger(args.linger)
        .delivery_timeout(args.timeout)
        .build()
        .map_err(|error| Failure::usage(error.to_string()))?;
    let mut interrupts = signal(SignalKind::interrupt())
        .map_err(|error| Failure::new(Exit::Error, format!("cannot catch Ctrl-C: {error}")))?;
    let mut tally = Tally::default();
    let read = tokio::select! {
        read = send_all(args, &producer, &mut tally) => read,
        _ = interrupts.recv() => Ok(()),
    };
    let all_settled = async {
        producer.flush().await;
        tally.settle_all().await;
    };
    let given_up = tokio::select! {
        () = all_settled => false,
        _ = interrupts.recv() => true,
    };
    if given_up {
        return Err(Failure::new(Exit::Partial, format!("gave up on {} records", tally.waiting())));
    }
    if !args.quiet || tally.has_failures() {
        eprintln!("{}", tally.summary());
    }
    read.and_then(|()| tally.outcome())
}

/// Until stdin ends, or nothing more will be delivered anyway.
async fn send_all(args: &Args, producer: &Producer, tally: &mut Tally) -> Result<(), Failure> {
    let mut lines = read_lines();
    while let Some(chunk) = lines.recv().await {
        for line in chunk.map_err(|error| Failure::new(Exit::Error, format!("cannot read stdin: {error}")))? {
            match producer.enqueue(record(args, line)).await {
                Ok(ticket) => tally.wait_for(ticket),
                Err(error) => tally.note_failure(error),
            }
        }
        tally.settle_done().await;
        if tally.is_hopeless() {
            eprintln!("note: stopped reading stdin");
            break;
        }
    }
    Ok(())
}

/// Reads on a thread of its own, some chunks ahead: a read of stdin cannot be waited for otherwise.
fn read_lines() -> Receiver<io::Result<Vec<Bytes>>> {
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
    std::thread::spawn(move || {
        for chunk in Lines::new(io::stdin().lock()) {
            let last = chunk.is_err();
            // The receiver is gone after Ctrl-C.
            if sender.blocking_send(chunk).is_err() || last {
                return;
            }
        }
    });
    receiver
}

const CHUNKS_AHEAD: usize = 8;

fn record(args: &Args, line: Bytes) -> Record {
    let (key, value) = match args.key_separator.as_deref().and_then(|separator| find(&line, separator)) {
        Some((key_end, value_start)) => (Some(line.slice(..key_end)), line.slice(value_start..)),
        None => (None, line),
    };
    let mut record = Record::to_default().value(value);
    if let Some(key) = key {
        record = record.key(key);
    }
    if let Some(partition) = args.partition {
        record = record.partition(partition);
    }
    for (name, value) in &args.header {
        record = record.header(name.as_str(), Bytes::copy_from_slice(value.as_bytes()));
    }
    record
}

/// Where the first `separator` begins and ends.
fn find(line: &[u8], separator: &str) -> Option<(usize, usize)> {
    let at = line.windows(separator.len()).position(|window| window == separator.as_bytes())?;
    Some((at, at + separator.len()))
}

fn check_partition(args: &Args, topic: &TopicDescription) -> Result<(), Failure> {
    let Some(index) = args.partition.map(PartitionIndex::new) else { return Ok(()) };
    if topic.partitions.iter().any(|partition| partition.index == index) {
        return Ok(());
    }
    let count = topic.partitions.len();
    Err(Failure::new(
        Exit::NotFound,
        format!("topic {:?} has no partition {index}; it has {count}", topic.name),
    ))
}

fn separator(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("the separator is empty".to_owned());
    }
    Ok(text.replace("\\t", "\t"))
}

fn acks(text: &str) -> Result<Acks, String> {
    match text {
        "all" | "-1" => Ok(Acks::All),
        "leader" | "1" => Ok(Acks::Leader),
        "none" | "0" => Ok(Acks::None),
        _ => Err("expected all, leader or none".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_ends_at_the_first_separator() {
        assert_eq!(find(b"k:v:w", ":"), Some((1, 2)));
        assert_eq!(find(b"k=>v", "=>"), Some((1, 3)));
        assert_eq!(find(b":v", ":"), Some((0, 1)));
        assert_eq!(find(b"kv", ":"), None);
        assert_eq!(find(b"", ":"), None);
        assert_eq!(separator("\\t"), Ok("\t".to_owned()));
        assert!(separator("").is_err());
    }

    #[test]
    fn acks_have_names_and_kafka_s_numbers() {
        assert_eq!([acks("all"), acks("-1")], [Ok(Acks::All), Ok(Acks::All)]);
        assert_eq!([acks("leader"), acks("0")], [Ok(Acks::Leader), Ok(Acks::None)]);
        assert!(acks("2").is_err());
    }
}
