//! Every file opens with what it is.

use ci::repository;

use crate::report;

#[test]
fn every_file_opens_with_a_picture() {
    let missing = repository().into_iter().filter(|source| !source.text.starts_with("//! "));
    report(
        missing
            .map(|source| format!("{}:1: does not open with `//!`: say what the file is", source.path))
            .collect(),
    );
}
