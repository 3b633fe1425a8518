//! `ringlog consume --group`: the records as a member of a group, until a signal.
//!
//!     recv ─▶ print ─▶ flush ─▶ recv …      asking for more says that the last ones are done: what was
//!                                           committed has been printed
//!     SIGINT, SIGTERM, -n ─▶ commit, leave

use std::io::Write;
use std::time::Duration;

use ringlog_client::{AutoOffsetReset, Client, ConsumeError, Consumer};
use tokio::signal::unix::{SignalKind, signal};

use super::printer::Printer;
use super::{Args, From, RECORDS_AT_A_TIME};
use crate::exit::{Exit, Failure};
use crate::output::stdout;

/// How long the last commit and the leaving may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

pub async fn consume(args: &Args, group: &str, client: Client) -> Result<(), Failure> {
    let reset = match args.from {
        From::Start => AutoOffsetReset::Earliest,
        From::End => AutoOffsetReset::Latest,
        _ => {
            let what = "with --group, --from is start or end: where to begin if the group has no offset";
            let next = format!("ringlog group reset-offsets {group} --topic {}", args.topic);
            return Err(Failure::new(Exit::Usage, what).with_next(next));
        }
    };
    client.admin().describe_topic(&args.topic).await?;
    let consumer = client.consumer(group).topics([args.topic.as_str()]).auto_offset_reset(reset);
    let consumer = consumer.session_timeout(Duration::from_millis(args.session_timeout));
    let mut consumer = consumer.build().await?;
    let printed = print_all(args, &mut consumer).await;
    let closed = consumer.close(CLOSE_TIMEOUT).await.map_err(Failure::from);
    printed.and(closed)
}

async fn print_all(args: &Args, consumer: &mut Consumer) -> Result<(), Failure> {
    let no_signals = |error| Failure::new(Exit::Error, format!("cannot catch signals: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(no_signals)?;
    let (mut out, printer) = (stdout(), Printer::new(args.jsonl, args.format.clone()));
    let mut left = args.count.unwrap_or(u64::MAX);
    while 0 < left {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(RECORDS_AT_A_TIME);
        let records = tokio::select! {
            records = consumer.recv_batch(most) => records,
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
        };
        let records = match records {
            Ok(records) => records,
            Err(error @ (ConsumeError::Unavailable { .. } | ConsumeError::LeftGroup { .. })) => {
                eprintln!("note: {error}; still trying");
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        left -= records.len() as u64;
        let printed = records.iter().try_for_each(|record| printer.print(record, &mut out));
        printed.and_then(|()| out.flush()).map_err(|error| Failure::output(&error))?;
    }
    Ok(())
}
