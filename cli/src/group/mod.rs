//! `ringlog group`: who reads what, how far they have got, and how to send them elsewhere.
//!
//!     list ▸ describe                                         looks
//!     reset-offsets ─▶ plan.rs ─▶ shown, or done (--execute)  while the group has no members
//!     delete ▸ delete-offsets                                 the same; destroys, so they ask
//!     remove-member                                           for members that are stuck

mod list;

mod describe;

mod topics;

mod plan;

mod reset_offsets;

mod delete;

mod delete_offsets;

mod remove_member;

use crate::exit::Failure;

/// List, describe and delete groups, and change how far they have read
#[derive(clap::Subcommand)]
pub enum Verb {
    List(list::Args),
    Describe(describe::Args),
    ResetOffsets(reset_offsets::Args),
    Delete(delete::Args),
    DeleteOffsets(delete_offsets::Args),
    RemoveMember(remove_member::Args),
}

pub fn run(verb: &Verb) -> Result<(), Failure> {
    match verb {
        Verb::List(args) => list::run(args),
        Verb::Describe(args) => describe::run(args),
        Verb::ResetOffsets(args) => reset_offsets::run(args),
        Verb::Delete(args) => delete::run(args),
        Verb::DeleteOffsets(args) => delete_offsets::run(args),
        Verb::RemoveMember(args) => remove_member::run(args),
    }
}

fn count(offsets: usize) -> String {
    if offsets == 1 { "1 offset".to_owned() } else { format!("{offsets} offsets") }
}
