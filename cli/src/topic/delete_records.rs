//! `ringlog topic delete-records`: the beginning of one partition goes; destroys data, so it asks.

use ringlog_client::{Offset, PartitionIndex};

use crate::confirm::confirm;
use crate::connect::{Connect, about_topic};
use crate::exit::Failure;

/// Delete the first records of a partition
#[derive(clap::Args)]
pub struct Args {
    /// The topic
    name: String,

    /// The partition
    #[arg(short, long)]
    partition: u32,

    /// The first offset to keep, or `latest` to keep none
    #[arg(long, value_name = "OFFSET", value_parser = before)]
    before: Before,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,

    #[command(flatten)]
    connect: Connect,
}

/// Which records go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Before {
    Latest,
    Offset(Offset),
}

fn before(text: &str) -> Result<Before, String> {
    if text == "latest" {
        return Ok(Before::Latest);
    }
    let offset = text.parse().ok().and_then(Offset::from_wire);
    offset.map(Before::Offset).ok_or_else(|| "expected an offset, or latest".to_owned())
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let Args { name, partition, .. } = args;
    if !args.yes {
        let what = match args.before {
            Before::Latest => "all records".to_owned(),
            Before::Offset(offset) => format!("the records before offset {offset}"),
        };
        confirm(&format!("delete {what} of partition {partition} of topic {name:?}"))?;
    }
    let offset = match args.before {
        Before::Latest => None,
        Before::Offset(offset) => Some(offset),
    };
    args.connect.run(|client| async move {
        match client.admin().delete_records(name, PartitionIndex::new(*partition), offset).await {
            Ok(start) => {
                eprintln!("{name}/{partition} begins at offset {start} now");
                Ok(())
            }
            Err(error) => Err(about_topic(&client, name, error).await),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_or_latest() {
        assert_eq!(before("latest"), Ok(Before::Latest));
        assert_eq!(before("12"), Ok(Before::Offset(Offset::new(12))));
        for text in ["", "-1", "all", "1.5"] {
            assert!(before(text).is_err(), "{text:?}");
        }
    }
}
