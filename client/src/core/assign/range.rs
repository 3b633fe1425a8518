//! "range": every topic on its own, neighbouring partitions together.
//!
//!     topic of 8, members a b c      a: 0 1 2     b: 3 4 5     c: 6 7
//!
//! Topics with equally many partitions are cut alike, so what is joined by key finds itself at one
//! member. The price: the first members get the one more of every topic.

use super::{Given, Problem};

pub(super) fn assign(problem: &Problem) -> Given {
    let mut given = vec![None; problem.partition_count()];
    for (topic, subscribers) in problem.subscribers().into_iter().enumerate() {
        let mut partitions = problem.partitions(topic);
        let (each, more) = (partitions.len() / subscribers.len(), partitions.len() % subscribers.len());
        for (at, member) in subscribers.into_iter().enumerate() {
            let count = each + usize::from(at < more);
            partitions.by_ref().take(count).for_each(|partition| given[partition] = Some(member));
        }
    }
    given
}
