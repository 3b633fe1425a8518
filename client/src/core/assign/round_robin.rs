//! "roundrobin": all partitions in the order of their names, dealt to the members in turn.
//!
//!     t0/0 t0/1 t1/0 t1/1 u/0        a ─▶ b ─▶ c ─▶ a ─▶ b
//!
//! A member that does not subscribe to the topic is passed over, and it is not made up for: whoever comes
//! next is dealt to, as in Kafka.

use super::{Given, Problem};

pub(super) fn assign(problem: &Problem) -> Given {
    let mut given = vec![None; problem.partition_count()];
    let mut turn = 0;
    for topic in 0..problem.topics.len() {
        for partition in problem.partitions(topic) {
            // Ends: only topics with a subscriber are in the problem.
            while !problem.is_subscribed(turn, topic) {
                turn = (turn + 1) % problem.member_count();
            }
            given[partition] = Some(turn);
            turn = (turn + 1) % problem.member_count();
        }
    }
    given
}
