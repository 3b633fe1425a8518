//! `ringlog topic`: makes, lists, describes and deletes topics.

mod create;

mod list;

mod describe;

mod delete;

use crate::exit::Failure;

/// Create, list, describe and delete topics
#[derive(clap::Subcommand)]
pub enum Verb {
    Create(create::Args),
    List(list::Args),
    Describe(describe::Args),
    Delete(delete::Args),
}

pub fn run(verb: &Verb) -> Result<(), Failure> {
    match verb {
        Verb::Create(args) => create::run(args),
        Verb::List(args) => list::run(args),
        Verb::Describe(args) => describe::run(args),
        Verb::Delete(args) => delete::run(args),
    }
}
