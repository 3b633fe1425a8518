//! docs/protocol.md shows what the encoders write: every block between its markers is made here.
//!
//!     example message ── Writer::recording ──▶ fields ──▶ byte table ──▶ <!-- generated: NAME --> … <!-- end -->
//!     ErrorCode::ALL, Api::ALL, limits.rs ──▶ tables ──────────────────▶
//!
//! The test compares; UPDATE_DOCS=1 writes. The prose between the blocks is written by hand.

use std::path::Path;

use protocol::api::{Api, VERSION};
use protocol::model::{ErrorCode, limits};

#[path = "protocol_doc/groups.rs"]
mod groups;

#[path = "protocol_doc/examples.rs"]
mod examples;
use examples::{Example, examples};

const REWRITE: &str = "UPDATE_DOCS=1 cargo test -p ringlog-protocol --test protocol_doc";

struct Block {
    name: String,
    text: String,
}

fn path() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/protocol.md")
}

fn document() -> String {
    std::fs::read_to_string(path()).expect("docs/protocol.md is there")
}

fn blocks() -> Vec<Block> {
    let block = |name: &str, text| Block { name: name.to_owned(), text };
    let mut blocks = vec![
        block("apis", apis()),
        block("errors", errors()),
        block("limits", limits_table()),
        block("frame header", examples::header_table()),
    ];
    let messages = examples().into_iter().map(|example| Block { text: example.table(), name: example.name });
    blocks.extend(messages);
    blocks
}

fn apis() -> String {
    let mut text = "| number | api | version |\n|---:|---|---:|\n".to_owned();
    for &api in Api::ALL {
        let name = api.name().expect("Api::ALL has names");
        text += &format!("| {} | [{name}](#{}) | {VERSION} |\n", api.to_wire(), name.to_lowercase());
    }
    text
}

fn errors() -> String {
    let mut text = "| number | name | retriable | text |\n|---:|---|---|---|\n".to_owned();
    for code in ErrorCode::ALL {
        let name = code.name().expect("ErrorCode::ALL has names");
        let retriable = if code.is_retriable() { "yes" } else { "no" };
        text += &format!("| {} | {name} | {retriable} | {} |\n", code.to_wire(), code.text());
    }
    text
}

/// The comments are those of the constants, so this table has no words of its own.
fn limits_table() -> String {
    let values = [
        ("TOPIC_NAME_BYTES_MAX", limits::TOPIC_NAME_BYTES_MAX),
        ("SHORT_STRING_BYTES_MAX", limits::SHORT_STRING_BYTES_MAX),
        ("LONG_STRING_BYTES_MAX", limits::LONG_STRING_BYTES_MAX),
        ("GROUP_ID_BYTES_MAX", limits::GROUP_ID_BYTES_MAX),
        ("OFFSET_METADATA_BYTES_MAX", limits::OFFSET_METADATA_BYTES_MAX),
        ("HELLO_BODY_BYTES_MAX", limits::HELLO_BODY_BYTES_MAX),
        ("FRAME_BODY_BYTES_MAX", limits::FRAME_BODY_BYTES_MAX),
        ("PARTITIONS_PER_REQUEST_MAX", limits::PARTITIONS_PER_REQUEST_MAX),
        ("TOPICS_PER_REQUEST_MAX", limits::TOPICS_PER_REQUEST_MAX),
        ("GROUPS_PER_REQUEST_MAX", limits::GROUPS_PER_REQUEST_MAX),
        ("MEMBERS_PER_GROUP_MAX", limits::MEMBERS_PER_GROUP_MAX),
        ("PROTOCOLS_PER_MEMBER_MAX", limits::PROTOCOLS_PER_MEMBER_MAX),
        ("PARTITIONS_PER_TOPIC_MAX", limits::PARTITIONS_PER_TOPIC_MAX as usize),
        ("CONFIGS_PER_TOPIC_MAX", limits::CONFIGS_PER_TOPIC_MAX),
        ("BATCH_BYTES_MAX", limits::BATCH_BYTES_MAX),
        ("BATCH_BYTES_DEFAULT", limits::BATCH_BYTES_DEFAULT),
        ("RECORDS_PER_BATCH_MAX", limits::RECORDS_PER_BATCH_MAX as usize),
    ];
    let documented = documented_constants(include_str!("../src/model/limits.rs"));
    let names: Vec<&str> = documented.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, values.map(|(name, _)| name), "limits.rs has other limits than this test");
    let mut text = "| limit | value | what it bounds |\n|---|---:|---|\n".to_owned();
    for ((name, value), (_, comment)) in values.iter().zip(&documented) {
        text += &format!("| {name} | {} | {comment} |\n", with_commas(*value));
    }
    text
}

/// Each `pub const` of a source file and the `///` comment above it.
fn documented_constants(source: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    for line in source.lines() {
        if let Some(text) = line.strip_prefix("/// ") {
            comment.push(text);
        } else if let Some(constant) = line.strip_prefix("pub const ") {
            let (name, _) = constant.split_once(':').expect("a constant has a type");
            found.push((name.to_owned(), std::mem::take(&mut comment).join(" ")));
        } else {
            comment.clear();
        }
    }
    found
}

fn with_commas(value: usize) -> String {
    let digits = value.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap()).collect();
    groups.join(",")
}

/// The document with every generated block replaced by what it should be.
fn regenerated(document: &str) -> String {
    const BEGIN: &str = "<!-- generated: ";
    const END: &str = "<!-- end -->";
    let mut left = blocks();
    let mut pieces = document.split(BEGIN);
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (name, rest) = piece.split_once(" -->").expect("a marker ends with -->");
        let (_, behind) = rest.split_once(END).unwrap_or_else(|| panic!("block {name} has no {END}"));
        let at = left.iter().position(|block| block.name == name);
        let block = left.remove(at.unwrap_or_else(|| panic!("block {name} is unknown or stands twice")));
        text += &format!("{BEGIN}{name} -->\n\n{}\n{END}{behind}", block.text);
    }
    let missing: Vec<&str> = left.iter().map(|block| block.name.as_str()).collect();
    assert!(missing.is_empty(), "docs/protocol.md has no block for {missing:?}");
    text
}

#[test]
fn the_document_shows_what_the_encoders_write() {
    let found = document();
    let wanted = regenerated(&found);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path(), wanted).expect("docs/protocol.md can be written");
        return;
    }
    let first = found.lines().zip(wanted.lines()).find(|(found, wanted)| found != wanted);
    assert!(found == wanted, "docs/protocol.md is stale, first at {first:?}; run: {REWRITE}");
}

#[test]
fn every_api_has_a_section_and_every_error_code_a_line() {
    let document = regenerated(&document());
    for &api in Api::ALL {
        let heading = format!("\n### {}\n", api.name().expect("Api::ALL has names"));
        assert_eq!(document.matches(&heading).count(), 1, "{heading:?}");
    }
    for code in ErrorCode::ALL {
        let line = format!("\n| {} | {} |", code.to_wire(), code.name().expect("ErrorCode::ALL has names"));
        assert_eq!(document.matches(&line).count(), 1, "{line:?}");
    }
}

#[test]
fn every_api_has_an_example_of_its_request_and_its_reply() {
    let count = |api: Api, is_request: bool| {
        let is_one = |example: &&Example| example.header().api == api && example.is_request() == is_request;
        examples().iter().filter(is_one).count()
    };
    for &api in Api::ALL {
        assert_eq!((count(api, true), count(api, false) >= 1), (1, true), "{api:?}");
    }
}
