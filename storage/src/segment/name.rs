//! File names of a partition's directory, and the only code that reads them.
//!
//!     00000000000000000000.log      first segment
//!     00000000000000341072.log      segment whose first record is 341,072
//!     00000000000000341072.index    its sparse index

use protocol::model::Offset;

const DIGITS: usize = 20;

pub fn log_file(base: Offset) -> String {
    format!("{:0DIGITS$}.log", base.get())
}

pub fn index_file(base: Offset) -> String {
    format!("{:0DIGITS$}.index", base.get())
}

/// The base offset in a segment's file name; `None` for any other name.
pub fn parse_log_file(name: &str) -> Option<Offset> {
    let digits = name.strip_suffix(".log")?;
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
}
