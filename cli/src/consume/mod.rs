//! `ringlog consume`: the records of a topic, one after the other, on stdout.
//!
//!     --from ──▶ where each partition starts ─▶ Reader ─▶ Printer ─▶ stdout
//!     -e     ──▶ where each ends, asked once       1,024 records at a time, flushed when nothing waits
//!
//! Records of one partition come in order; those of several are mixed as they arrive.

use std::future;
use std::io::Write;

use ringlog_client::{Client, ConsumeError, Offset, OffsetSpec, PartitionIndex, Reader, StartAt};

use crate::connect::{Connect, about_topic};
use crate::exit::{Exit, Failure};
use crate::output::{Stdout, stdout};

mod from;
use from::From;

mod group;

mod format;
use format::Format;

mod printer;
use printer::Printer;

/// Print the records of a topic
///
/// Waits for new records until Ctrl-C, unless -e or -n ends it. Prints the value of each record and a
/// newline, unless --jsonl or -f says otherwise.
///
/// FORMAT: %t topic, %p partition, %o offset, %k key, %s value, %T timestamp in milliseconds,
/// %h headers as k=v,k=v, %K and %S lengths of key and value (-1 for null), %R length of the value as
/// four bytes, big-endian, %% a percent sign; \n \r \t \\ \xHH. No newline is added.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The topic
    topic: String,

    /// Where to start: start, end, an offset, -N for the last N of each partition, or @TIME with
    /// TIME as 2026-11-21T12:00:00Z, 2026-11-21, or milliseconds since 1970
    #[arg(
        long,
        default_value = "end",
        value_name = "WHERE",
        allow_hyphen_values = true,
        verbatim_doc_comment
    )]
    from: From,

    /// As a member of this group: shares the partitions with its other members, goes on from what the
    /// group has committed, and commits what was printed
    #[arg(short, long, conflicts_with_all = ["partition", "exit_at_end"], verbatim_doc_comment)]
    group: Option<String>,

    /// With --group: a member that the broker has not heard of for so many milliseconds is out
    #[arg(long, requires = "group", value_name = "MS", default_value = "10000")]
    session_timeout: u64,

    /// Only this partition; can be repeated
    #[arg(short, long)]
    partition: Vec<u32>,

    /// End after so many records
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// End where the topic ended when the command began
    #[arg(short = 'e', long)]
    exit_at_end: bool,

    /// One JSON object per record; bytes that are not UTF-8 as base64, marked by "value_encoding"
    #[arg(long, conflicts_with = "format")]
    jsonl: bool,

    /// Print each record as FORMAT says
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<Format>,

    #[command(flatten)]
    connect: Connect,
}

pub fn run(args: Args) -> Result<(), Failure> {
    args.connect.run(|client| consume(&args, client))
}

async fn consume(args: &Args, client: Client) -> Result<(), Failure> {
    if let Some(group) = &args.group {
        return group::consume(args, group, client).await;
    }
    let mut reader = match start(args, &client).await {
        Ok(reader) => reader,
        Err(error) => return Err(about_start(&client, &args.topic, error).await),
    };
    let ends = if args.exit_at_end { Ends::ask(&client, &mut reader).await? } else { Ends::never() };
    let mut out = stdout();
    let printer = Printer::new(args.jsonl, args.format.clone());
    let done = print_all(&mut reader, &printer, &mut out, ends, args.count).await;
    // What came before an error is the user's all the same.
    let flushed = out.flush().map_err(|error| Failure::output(&error));
    done.and(flushed)
}

async fn start(args: &Args, client: &Client) -> Result<Reader, ConsumeError> {
    let mut builder = client.reader().topic(args.topic.as_str());
    if !args.partition.is_empty() {
        builder = builder.partitions(args.partition.clone());
    }
    let start = match args.from {
        From::Start => StartAt::Earliest,
        From::Offset(offset) => StartAt::Offset(offset),
        From::Time(time) => StartAt::Timestamp(time),
        From::End | From::Last(_) => StartAt::Latest,
    };
    let mut reader = builder.start(start).build().await?;
    if let From::Last(count) = args.from {
        rewind(client, &mut reader, count).await?;
    }
    Ok(reader)
}

/// Goes back by `count` offsets in each partition, or to its start.
async fn rewind(client: &Client, reader: &mut Reader, count: u64) -> Result<(), ConsumeError> {
    let admin = client.admin();
    let partitions: Vec<PartitionIndex> = reader.partitions().collect();
    for partition in partitions {
        let listed = admin.list_offsets(reader.topic(), partition, OffsetSpec::Earliest).await;
        let first = listed.map_err(ConsumeError::Start)?.offset.unwrap_or(Offset::ZERO);
        let end = reader.position(partition).unwrap_or(first);
        let back = Offset::new(end.get().saturating_sub(count));
        reader.seek(partition, back.max(first))?;
    }
    Ok(())
}

async fn about_start(client: &Client, topic: &str, error: ConsumeError) -> Failure {
    match error {
        ConsumeError::UnknownTopic { topic: name } => {
            about_topic(client, topic, ringlog_client::AdminError::UnknownTopic { topic: name }).await
        }
        error => error.into(),
    }
}

async fn print_all(
    reader: &mut Reader,
    printer: &Printer,
    out: &mut Stdout,
    mut ends: Ends,
    count: Option<u64>,
) -> Result<(), Failure> {
    let mut left = count.unwrap_or(u64::MAX);
    let mut unflushed = false;
    while 0 < left && !ends.reached() {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(RECORDS_AT_A_TIME);
        let records = tokio::select! {
            biased;
            records = reader.recv_batch(most) => records,
            // Nothing waits: whoever reads our output shall have what there is.
            () = future::ready(()), if unflushed => {
                out.flush().map_err(|error| Failure::output(&error))?;
                unflushed = false;
                continue;
            }
        };
        let records = match records {
            Ok(records) => records,
            // The reader goes on trying by itself, and so does who waits for records; a script that
            // wants what there is does not.
            Err(error @ ConsumeError::Unavailable { .. }) if ends.0.is_none() => {
                eprintln!("note: {error}; still trying");
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        for record in records.iter().filter(|record| ends.includes(record.partition, record.offset)) {
            printer.print(record, out).map_err(|error| Failure::output(&error))?;
            left -= 1;
        }
        unflushed = true;
        ends.note_positions(reader)?;
    }
    Ok(())
}

const RECORDS_AT_A_TIME: usize = 1024;

/// Where to stop in each partition that is not done yet; with `None`, nowhere.
struct Ends(Option<Vec<(PartitionIndex, Offset)>>);

impl Ends {
    fn never() -> Ends {
        Ends(None)
    }

    async fn ask(client: &Client, reader: &mut Reader) -> Result<Ends, Failure> {
        let admin = client.admin();
        let mut ends = Vec::new();
        for partition in reader.partitions() {
            let end = admin.list_offsets(reader.topic(), partition, OffsetSpec::Latest).await?.offset;
            let end = end.unwrap_or(Offset::ZERO);
            // To the reader this is an error too; but it is asked only if there is something to read.
            if let Some(start) = reader.position(partition).filter(|start| end < *start) {
                let what = format!("partition {partition} ends at offset {end}, before {start}");
                return Err(Failure::new(Exit::Error, what).with_next("--from -1 is its last record"));
            }
            ends.push((partition, end));
        }
        let mut ends = Ends(Some(ends));
        ends.note_positions(reader)?;
        Ok(ends)
    }

    fn reached(&self) -> bool {
        self.0.as_ref().is_some_and(Vec::is_empty)
    }

    /// Whether a record was there when the ends were asked for. Those of partitions that are done came
    /// later, in a batch that was already here.
    fn includes(&self, partition: PartitionIndex, offset: Offset) -> bool {
        let Some(ends) = &self.0 else { return true };
        ends.iter().any(|(index, end)| *index == partition && offset < *end)
    }

    /// Crosses off the partitions that have been read to their end, and pauses them, so that new
    /// records there do not hold up the others.
    fn note_positions(&mut self, reader: &mut Reader) -> Result<(), Failure> {
        let Some(ends) = &mut self.0 else { return Ok(()) };
        let mut done = Vec::new();
        ends.retain(|(partition, end)| {
            let ahead = reader.position(*partition).is_some_and(|position| position < *end);
            if !ahead {
                done.push(*partition);
            }
            ahead
        });
        done.into_iter().try_for_each(|partition| reader.pause(partition)).map_err(Failure::from)
    }
}
