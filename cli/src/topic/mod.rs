//! `ringlog topic`: makes, lists, describes, changes and deletes topics, and the beginnings of their partitions.

mod create;

mod list;

mod describe;

mod alter;

mod add_partitions;

mod delete;

mod delete_records;

use crate::exit::Failure;

/// Create, list, describe, change and delete topics, or the first records of a partition
#[derive(clap::Subcommand)]
pub enum Verb {
    Create(create::Args),
    List(list::Args),
    Describe(describe::Args),
    Alter(alter::Args),
    AddPartitions(add_partitions::Args),
    Delete(delete::Args),
    DeleteRecords(delete_records::Args),
}

pub fn run(verb: &Verb) -> Result<(), Failure> {
    match verb {
        Verb::Create(args) => create::run(args),
        Verb::List(args) => list::run(args),
        Verb::Describe(args) => describe::run(args),
        Verb::Alter(args) => alter::run(args),
        Verb::AddPartitions(args) => add_partitions::run(args),
        Verb::Delete(args) => delete::run(args),
        Verb::DeleteRecords(args) => delete_records::run(args),
    }
}
