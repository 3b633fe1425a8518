//! What a client may do with something, for those who want to be told: all there is, since nobody is asked
//! who he is.
//!
//!     bit      3     4      5       6       7      8         9               10                11             12
//!           read  write  create  delete  alter  describe  cluster action  describe configs  alter configs  idempotent write
//!
//! The numbers are the codes of Kafka's `AclOperation`, the sets those of `AclEntry.supportedOperations`
//! (apache/kafka; read in both). Kafka 4 has for groups also describe configs and alter configs: of groups there
//! are no settings here, so that there the set is that of Kafka 3.

pub use kafka::messages::metadata::NO_OPERATIONS;

pub const TOPIC: i32 = bits(&[3, 4, 5, 6, 7, 8, 10, 11]);
pub const GROUP: i32 = bits(&[3, 6, 8]);
pub const CLUSTER: i32 = bits(&[5, 7, 8, 9, 10, 11, 12]);

/// `all`, or that it was not asked for: kafka-python before 3 reads the latter as operations that it does
/// not know, so it must not be said to who did ask.
pub const fn told(is_asked: bool, all: i32) -> i32 {
    if is_asked { all } else { NO_OPERATIONS }
}

const fn bits(mut numbers: &[u32]) -> i32 {
    let mut bits = 0;
    while let [number, rest @ ..] = numbers {
        bits |= 1 << *number;
        numbers = rest;
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The figures that a Kafka broker without ACLs sends (for groups, one of version 3).
    #[test]
    fn operations_are_those_of_kafka() {
        assert_eq!((TOPIC, GROUP, CLUSTER), (3576, 328, 8096));
        assert_eq!((told(true, GROUP), told(false, GROUP)), (328, i32::MIN));
    }
}
