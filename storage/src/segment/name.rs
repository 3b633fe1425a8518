//! File names of a partition's directory, and the only code that reads them.
//!
//!     00000000000000000000.log      first segment
//!     00000000000000341072.log      segment whose first record is 341,072
//!     00000000000000341072.index    its sparse index
//!     spare                         zeroes, written for a segment to come
//!     compacted                     empty: offsets may have gaps, the log has been compacted
//!
//! While compaction replaces the segments of [base, next) (store/compact.rs):
//!
//!     00000000000000000000.cleaned                              being written; of no use after a crash
//!     00000000000000000000.index.cleaned                        the index that goes with it
//!     00000000000000000000-00000000000000682144.swap            whole and durable: takes their place

use protocol::model::Offset;

const DIGITS: usize = 20;

pub fn log_file(base: Offset) -> String {
    format!("{:0DIGITS$}.log", base.get())
}

pub fn index_file(base: Offset) -> String {
    format!("{:0DIGITS$}.index", base.get())
}

/// Zeroes that the next segment takes over.
pub const SPARE_FILE: &str = "spare";

/// Says that the log has been compacted, so that gaps between its offsets are no damage.
pub const COMPACTED_MARK: &str = "compacted";

pub fn cleaned_file(base: Offset) -> String {
    format!("{:0DIGITS$}.cleaned", base.get())
}

pub fn cleaned_index_file(base: Offset) -> String {
    format!("{:0DIGITS$}.index.cleaned", base.get())
}

/// The file that takes the place of the segments of [base, next).
pub fn swap_file(base: Offset, next: Offset) -> String {
    format!("{:0DIGITS$}-{:0DIGITS$}.swap", base.get(), next.get())
}

pub fn parse_swap_file(name: &str) -> Option<(Offset, Offset)> {
    let (base, next) = name.strip_suffix(".swap")?.split_once('-')?;
    let (base, next) = (parse_digits(base)?, parse_digits(next)?);
    (base < next).then_some((base, next))
}

/// Whether a file is only of use while compaction writes it.
pub fn is_cleaned_file(name: &str) -> bool {
    name.ends_with(".cleaned")
}

/// The base offset in a segment's file name; `None` for any other name.
pub fn parse_log_file(name: &str) -> Option<Offset> {
    parse_digits(name.strip_suffix(".log")?)
}

/// The base offset in an index file's name; `None` for any other name.
pub fn parse_index_file(name: &str) -> Option<Offset> {
    parse_digits(name.strip_suffix(".index")?)
}

fn parse_digits(digits: &str) -> Option<Offset> {
    if digits.len() != DIGITS || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<i64>().ok().and_then(Offset::from_wire)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_their_offsets_and_read_back() {
        let offsets = [0, 9, 10, 341_072, i64::MAX as u64].map(Offset::new);
        let names = offsets.map(log_file);
        assert!(names.is_sorted());
        assert_eq!(names.clone().map(|name| parse_log_file(&name)), offsets.map(Some));
        assert_eq!(names[3], "00000000000000341072.log");
    }

    #[test]
    fn other_names_are_no_segments() {
        for name in [
            "",
            "1.log",
            "00000000000000000000.index",
            "0000000000000000000x.log",
            "99999999999999999999.log",
        ] {
            assert_eq!(parse_log_file(name), None, "{name}");
        }
    }

    #[test]
    fn a_swap_file_names_what_it_replaces() {
        let (base, next) = (Offset::new(40), Offset::new(682_144));
        let name = swap_file(base, next);
        assert_eq!(name, "00000000000000000040-00000000000000682144.swap");
        assert_eq!(parse_swap_file(&name), Some((base, next)));
        assert_eq!(parse_swap_file(&swap_file(next, base)), None);
    }
}
