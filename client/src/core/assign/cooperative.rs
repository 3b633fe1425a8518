//! "cooperative-sticky": the sticky assignment, in steps that never take a partition from under a reader.
//!
//!     generation 5    a owns 0 1 2 3     b is new     sticky says  a: 0 1   b: 2 3
//!     generation 6    a: 0 1             b: –         2 and 3 are nobody's: a lets go of them and rejoins
//!     generation 7    a: 0 1             b: 2 3
//!
//! A partition is held back if it would go to a member that does not own it while another one claims it,
//! with whatever generation: a claim says "I am reading it". Whoever finds a partition that it claims
//! missing lets go of it and rejoins, so nothing is held back twice.

use super::{Given, Problem, sticky};

pub(super) fn assign(problem: &Problem) -> Given {
    let mut given = sticky::assign(problem);
    let owners = sticky::owners(problem);
    for claim in &problem.claims {
        let taker = given[claim.partition];
        let is_kept = taker.is_some() && taker == owners[claim.partition];
        if !is_kept && taker != Some(claim.member) {
            given[claim.partition] = None;
        }
    }
    given
}
