//! `ringlog topic`: makes, lists, describes and deletes topics, and the beginnings of their partitions.

mod create;

mod list;

mod describe;

mod delete;

mod delete_records;

use crate::exit::Failure;

/// Create, list, describe and delete topics, or the first records of a partition
#[derive(clap::Subcommand)]
pub enum Verb {
    Create(create::Args),
    List(list::Args),
    Describe(describe::Args),
    Delete(delete::Args),
    DeleteRecords(delete_records::Args),
}

pub fn run(verb: &Verb) -> Result<(), Failure> {
    match verb {
        Verb::Create(args) => create::run(args),
        Verb::List(args) => list::run(args),
        Verb::Describe(args) => describe::run(args),
        Verb::Delete(args) => delete::run(args),
        Verb::DeleteRecords(args) => delete_records::run(args),
    }
}
