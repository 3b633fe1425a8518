//! What a topic may be called: Kafka's rule, so that names work on both listeners.
//!
//!     orders   payments.v2   __consumer_offsets        yes
//!     ../x   ""   "a b"   "."   ".."   250 letters      no

use std::fmt;

use super::limits::TOPIC_NAME_BYTES_MAX;

/// A legal topic name: 1 to 249 of `[a-zA-Z0-9._-]`, and neither `.` nor `..`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Box<str>);

impl TopicName {
    pub fn new(name: &str) -> Result<TopicName, InvalidTopicName> {
        if name.is_empty() {
            return Err(InvalidTopicName::Empty);
        }
        if name.len() > TOPIC_NAME_BYTES_MAX {
            return Err(InvalidTopicName::TooLong { bytes: name.len() });
        }
        if name == "." || name == ".." {
            return Err(InvalidTopicName::Dots);
        }
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        match name.chars().find(|c| !legal(*c)) {
            Some(character) => Err(InvalidTopicName::Character { character }),
            None => Ok(TopicName(name.into())),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the two are different names that are one where `.` is written as `_`, as in the names of
    /// Kafka's metrics.
    pub fn collides_with(&self, other: &str) -> bool {
        let fold = |byte| if byte == b'.' { b'_' } else { byte };
        let is_alike = || self.as_str().bytes().map(fold).eq(other.bytes().map(fold));
        self.as_str().len() == other.len() && self.as_str() != other && is_alike()
    }

    /// The name with `_` for each `.`: the same for two names that collide.
    pub fn folded(&self) -> Box<str> {
        self.as_str().replace('.', "_").into()
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl std::borrow::Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Why a topic name is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidTopicName {
    #[error("a topic name must not be empty")]
    Empty,
    #[error("a topic name has at most {TOPIC_NAME_BYTES_MAX} characters, this one {bytes}")]
    TooLong { bytes: usize },
    #[error("`.` and `..` are not topic names")]
    Dots,
    #[error("a topic name consists of letters, digits, `.`, `_` and `-`; {character:?} is none of them")]
    Character { character: char },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legal_names_are_kept_as_they_are() {
        let longest = "x".repeat(249);
        for name in ["a", "orders", "payments.v2", "__consumer_offsets", "A-1", "...", &longest] {
            assert_eq!(TopicName::new(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn names_collide_that_differ_in_dots_and_underscores_alone() {
        let name = TopicName::new("a.b_c").unwrap();
        assert!(["a_b.c", "a_b_c", "a.b.c"].iter().all(|other| name.collides_with(other)));
        assert!(["a.b_c", "a-b_c", "a.b_", "a.b_cc", ""].iter().all(|other| !name.collides_with(other)));
        for other in ["a_b.c", "a_b_c", "a.b_c", "a-b_c", "a.b_", "a.b_cc"] {
            let is_folded_alike = TopicName::new(other).unwrap().folded() == name.folded();
            assert_eq!(is_folded_alike, other == name.as_str() || name.collides_with(other), "{other}");
        }
    }

    #[test]
    fn illegal_names_are_refused_with_the_reason() {
        let long = "x".repeat(250);
        for (name, why) in [
            ("", InvalidTopicName::Empty),
            (".", InvalidTopicName::Dots),
            ("..", InvalidTopicName::Dots),
            ("../x", InvalidTopicName::Character { character: '/' }),
            ("a b", InvalidTopicName::Character { character: ' ' }),
            ("ä", InvalidTopicName::Character { character: 'ä' }),
            ("a\0", InvalidTopicName::Character { character: '\0' }),
            (&long, InvalidTopicName::TooLong { bytes: 250 }),
        ] {
            assert_eq!(TopicName::new(name), Err(why), "{name:?}");
        }
    }
}
