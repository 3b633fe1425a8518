//! `ringlog dump`: what a segment file holds, read from outside, with every checksum checked.
//!
//!     file ─▶ Scan ─▶ batch, batch, …, end (zeroes)     a line each
//!                  └▶ bad batch: where, why             exit code 8
//!
//! Reads with plain `read`, so that it works where io_uring does not, on a copy, or on a file of a
//! broker that does not start. The file of a running broker may end in the middle of a batch.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use protocol::model::Offset;

use crate::exit::{Exit, Failure};
use crate::output::{Format, Output, stdout};

mod scan;
use scan::{Bad, Fault, Found, Scan};

mod show;

/// Print the batches of a segment file (.log), and check them
///
/// Works without a broker. Ends with exit code 8 at the first batch that is damaged.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// DIR/topics/TOPIC-ID/PARTITION/OFFSET.log
    file: PathBuf,

    /// Print the records of each batch too
    #[arg(long)]
    records: bool,

    /// -o json prints one object per line
    #[command(flatten)]
    output: Output,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let unreadable =
        |error: io::Error| Failure::new(Exit::Error, format!("cannot read {}: {error}", args.file.display()));
    let file = File::open(&args.file).map_err(unreadable)?;
    let mut out = stdout();
    if args.output.format == Format::Table {
        writeln!(out, "{}", show::HEADER).map_err(|error| Failure::output(&error))?;
    }
    let done = dump(args, Scan::new(file, base_of(&args.file)), &mut out);
    // What came before a bad batch is wanted most of all.
    let flushed = out.flush().map_err(|error| Failure::output(&error));
    done.and(flushed)
}

fn dump(args: &Args, mut scan: Scan<File>, out: &mut impl Write) -> Result<(), Failure> {
    let mut totals = Totals::default();
    loop {
        match scan.next() {
            Ok(Found::Batch(found)) => {
                totals.add(
                    found.batch().next_offset(),
                    found.bytes.len(),
                    found.batch().record_count().get(),
                );
                show::batch(&found, "ok", args.records, args.output.format, out).map_err(output_failed)?;
            }
            Ok(Found::End { zeroes }) => {
                eprintln!("{}", totals.summary(zeroes));
                return Ok(());
            }
            Err(Fault::Read(error)) => {
                return Err(Failure::new(
                    Exit::Error,
                    format!("cannot read {}: {error}", args.file.display()),
                ));
            }
            Err(Fault::Bad(bad)) => {
                if let Some(found) = &bad.batch {
                    show::batch(found, "BAD", false, args.output.format, out).map_err(output_failed)?;
                }
                return Err(bad_batch(&args.file, &bad, &totals));
            }
        }
    }
}

fn output_failed(error: show::Error) -> Failure {
    match error {
        show::Error::Output(error) => Failure::output(&error),
        show::Error::Records { position, why } => {
            let what = format!(
                "the batch at position {position} has a good checksum and records that cannot be read: {why}"
            );
            Failure::new(Exit::CheckFailed, what)
                .with_next("its producer wrote it so; a consumer would stop here")
        }
    }
}

fn bad_batch(file: &Path, bad: &Bad, totals: &Totals) -> Failure {
    let what = format!("{}: bad batch at position {}: {}", file.display(), bad.position, bad.why);
    let before = match totals.next {
        Some(next) => format!("everything below offset {next} is good"),
        None => "nothing before it".to_owned(),
    };
    let next = format!(
        "{before}. The last batch of a broker that runs, or was killed, may be cut: at its next start it is removed. \
         Anything else is damage: the broker serves what is below, and says so in its log"
    );
    Failure::new(Exit::CheckFailed, what).with_next(next)
}

/// The offset in a segment's name.
fn base_of(file: &Path) -> Option<Offset> {
    let name = file.file_stem()?.to_str()?;
    let digits = name.len() == 20 && name.bytes().all(|byte| byte.is_ascii_digit());
    if digits { name.parse().ok().and_then(Offset::from_wire) } else { None }
}

#[derive(Default)]
struct Totals {
    batches: u64,
    records: u64,
    bytes: u64,
    /// The offset after the last record.
    next: Option<Offset>,
}

impl Totals {
    fn add(&mut self, next: Offset, bytes: usize, records: u32) {
        self.batches += 1;
        self.records += u64::from(records);
        self.bytes += bytes as u64;
        self.next = Some(next);
    }

    fn summary(&self, zeroes: u64) -> String {
        let Totals { batches, records, bytes, next } = self;
        let next = next.map_or_else(String::new, |next| format!(", next offset {next}"));
        let tail = match zeroes {
            0 => String::new(),
            zeroes => format!(", then {zeroes} bytes of zeroes prepared for what comes next"),
        };
        format!("{batches} batches, {records} records, {bytes} bytes, all checksums good{next}{tail}")
    }
}
