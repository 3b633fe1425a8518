//! The states of a group, and the only table of what may follow what.
//!
//!                      ┌────────── first member joins ──────────┐
//!                      │                                        ▼
//!     Dead ◀─ removed ─ Empty ◀── nobody is left ── PreparingRebalance ◀── join, leave, expiry ──┐
//!                                                       │      ▲                                 │
//!                                          all have joined     │ somebody joined anew, or left   │
//!                                                       ▼      │                                 │
//!                                                CompletingRebalance ── leader's assignment ─▶ Stable

/// What a group is doing. The names are Kafka's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// No members; perhaps offsets.
    Empty,
    /// Members are asked to join; their joins wait.
    PreparingRebalance,
    /// Everybody knows the new generation; all wait for what the leader assigns.
    CompletingRebalance,
    /// Everybody can have its assignment.
    Stable,
    /// Removed. Nobody sees a group in this state, except as "there is none".
    Dead,
}

impl State {
    /// As ListGroups and DescribeGroups say it.
    pub fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::PreparingRebalance => "PreparingRebalance",
            State::CompletingRebalance => "CompletingRebalance",
            State::Stable => "Stable",
            State::Dead => "Dead",
        }
    }

    pub(super) fn may_become(self, next: State) -> bool {
        match next {
            State::Empty => matches!(self, State::PreparingRebalance),
            State::PreparingRebalance => {
                matches!(self, State::Empty | State::CompletingRebalance | State::Stable)
            }
            State::CompletingRebalance => matches!(self, State::PreparingRebalance),
            State::Stable => matches!(self, State::CompletingRebalance),
            State::Dead => self != State::Dead,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::State::*;

    #[test]
    fn the_table_of_transitions_is_the_picture() {
        let states = [Empty, PreparingRebalance, CompletingRebalance, Stable, Dead];
        let row = |from: super::State| states.map(|to| u8::from(from.may_become(to)));
        assert_eq!(row(Empty), [0, 1, 0, 0, 1]);
        assert_eq!(row(PreparingRebalance), [1, 0, 1, 0, 1]);
        assert_eq!(row(CompletingRebalance), [0, 1, 0, 1, 1]);
        assert_eq!(row(Stable), [0, 1, 0, 0, 1]);
        assert_eq!(row(Dead), [0, 0, 0, 0, 0]);
    }
}
