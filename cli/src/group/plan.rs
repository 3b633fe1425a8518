//! Where a group goes on after a reset; decides, and asks nobody.
//!
//!     start           current              end
//!       |---------------|-------------------|
//!       ▲ earliest      ▲ current           ▲ latest
//!                 ◀── shift-by -N    shift-by N ──▶
//!
//! As in Kafka, what lies outside of a partition is moved to its nearer end, a time after the last record
//! is the end, and --to-current gives a partition without an offset the end.

use ringlog_client::Timestamp;

/// What the command line asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    Earliest,
    Latest,
    Offset(u64),
    Time(Timestamp),
    ShiftBy(i64),
    Current,
}

/// What is known of a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Known {
    /// The group's; `None` if it has committed none.
    pub current: Option<u64>,
    /// Of the first record that there is.
    pub start: u64,
    /// Of the record that comes next.
    pub end: u64,
    /// Of the first record at the target's time or later, if there is one.
    pub at_time: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    pub new: u64,
    /// Why it is not what the command line says, where it is not.
    pub moved: Option<Moved>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moved {
    ToStart,
    ToEnd,
}

/// An offset cannot be shifted that is not there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NothingToShift;

pub fn plan(target: Target, known: &Known) -> Result<Step, NothingToShift> {
    let as_said = |new| Step { new, moved: None };
    Ok(match target {
        Target::Earliest => as_said(known.start),
        Target::Latest => as_said(known.end),
        Target::Offset(offset) => clamp(i128::from(offset), known),
        Target::Time(_) => match known.at_time {
            Some(offset) => clamp(i128::from(offset), known),
            None => Step { new: known.end, moved: Some(Moved::ToEnd) },
        },
        Target::ShiftBy(by) => {
            let current = known.current.ok_or(NothingToShift)?;
            clamp(i128::from(current) + i128::from(by), known)
        }
        Target::Current => as_said(known.current.unwrap_or(known.end)),
    })
}

fn clamp(offset: i128, known: &Known) -> Step {
    match u64::try_from(offset) {
        Ok(offset) if known.end < offset => Step { new: known.end, moved: Some(Moved::ToEnd) },
        Ok(offset) if known.start <= offset => Step { new: offset, moved: None },
        _ => Step { new: known.start, moved: Some(Moved::ToStart) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: Known = Known { current: Some(15), start: 10, end: 20, at_time: None };

    fn new(target: Target) -> (u64, Option<Moved>) {
        let step = plan(target, &KNOWN).unwrap();
        (step.new, step.moved)
    }

    #[test]
    fn a_target_inside_of_the_partition_is_taken_as_it_is() {
        assert_eq!(new(Target::Earliest), (10, None));
        assert_eq!(new(Target::Latest), (20, None));
        assert_eq!(new(Target::Current), (15, None));
        for offset in [10, 12, 20] {
            assert_eq!(new(Target::Offset(offset)), (offset, None));
        }
        assert_eq!(new(Target::ShiftBy(-5)), (10, None));
        assert_eq!(new(Target::ShiftBy(5)), (20, None));
    }

    #[test]
    fn a_target_outside_is_moved_to_the_nearer_end() {
        assert_eq!(new(Target::Offset(9)), (10, Some(Moved::ToStart)));
        assert_eq!(new(Target::Offset(21)), (20, Some(Moved::ToEnd)));
        assert_eq!(new(Target::ShiftBy(-6)), (10, Some(Moved::ToStart)));
        assert_eq!(new(Target::ShiftBy(6)), (20, Some(Moved::ToEnd)));
        assert_eq!(new(Target::ShiftBy(i64::MIN)), (10, Some(Moved::ToStart)));
        assert_eq!(new(Target::ShiftBy(i64::MAX)), (20, Some(Moved::ToEnd)));
        assert_eq!(new(Target::Offset(u64::MAX)), (20, Some(Moved::ToEnd)));
    }

    #[test]
    fn a_time_is_where_its_first_record_is_or_the_end() {
        let time = Target::Time(Timestamp::from_millis(5));
        assert_eq!(new(time), (20, Some(Moved::ToEnd)));
        let known = Known { at_time: Some(17), ..KNOWN };
        assert_eq!(plan(time, &known), Ok(Step { new: 17, moved: None }));
    }

    #[test]
    fn without_an_offset_there_is_nothing_to_shift_and_the_current_one_is_the_end() {
        let known = Known { current: None, ..KNOWN };
        assert_eq!(plan(Target::ShiftBy(1), &known), Err(NothingToShift));
        assert_eq!(plan(Target::Current, &known), Ok(Step { new: 20, moved: None }));
    }

    #[test]
    fn an_offset_that_retention_has_passed_is_kept_by_to_current_alone() {
        let known = Known { current: Some(3), ..KNOWN };
        assert_eq!(plan(Target::Current, &known), Ok(Step { new: 3, moved: None }));
        assert_eq!(plan(Target::ShiftBy(0), &known), Ok(Step { new: 10, moved: Some(Moved::ToStart) }));
    }
}
