//! One member of a group: who it is, what it offers, what it waits for.
//!
//!     join ──▶ waits for its generation ──▶ owes a sync ──▶ waits for its assignment ──▶ heartbeats
//!              (no session timeout)                         (no session timeout)
//!
//! Whoever waits is bounded by the group's phase, not by its session. Only a member that never had a
//! generation has a limit of its own while it waits: its client may not know that it is one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::ReplyTo;
use super::api::Join;
use super::config::{ENTRY_BYTES, NAME_BYTES_MAX};

/// One of the protocols that a member can use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Protocol {
    pub name: Arc<str>,
    pub metadata: Bytes,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Waiting {
    Nothing,
    Generation(ReplyTo),
    Assignment(ReplyTo),
}

#[derive(Debug)]
pub(super) struct Member {
    pub id: Arc<str>,
    pub instance: Option<Arc<str>>,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
    pub session_timeout: Duration,
    pub rebalance_timeout: Duration,
    /// The preferred first.
    pub protocols: Box<[Protocol]>,
    pub assignment: Bytes,
    /// When it is taken for dead. Reached only by one who waits for nothing, or is new.
    pub deadline: Instant,
    pub waiting: Waiting,
    /// Was never in a generation.
    pub is_new: bool,
    /// Was told a generation and has not asked for its assignment.
    pub owes_sync: bool,
}

impl Member {
    pub fn new(id: Arc<str>, join: &Join<'_>, deadline: Instant) -> Member {
        Member {
            id,
            instance: join.instance.map(Arc::from),
            client_id: cut(join.client_id).into(),
            client_host: cut(join.client_host).into(),
            session_timeout: join.session_timeout,
            rebalance_timeout: join.rebalance_timeout,
            protocols: protocols(join),
            assignment: Bytes::new(),
            deadline,
            waiting: Waiting::Nothing,
            is_new: true,
            owes_sync: false,
        }
    }

    pub fn is_static(&self) -> bool {
        self.instance.is_some()
    }

    pub fn waits_for_generation(&self) -> bool {
        matches!(self.waiting, Waiting::Generation(_))
    }

    /// When its silence ends its membership; `None` while it is the group it waits for.
    pub fn expires(&self) -> Option<Instant> {
        let may_expire = self.waiting == Waiting::Nothing || self.is_new;
        may_expire.then_some(self.deadline)
    }

    /// Whether it offers exactly these.
    pub fn offers(&self, protocols: &[(&str, &[u8])]) -> bool {
        let same = |own: &Protocol, (name, metadata): &(&str, &[u8])| {
            &*own.name == *name && own.metadata == **metadata
        };
        self.protocols.len() == protocols.len()
            && self.protocols.iter().zip(protocols).all(|(own, other)| same(own, other))
    }

    /// Empty if it does not offer the protocol.
    pub fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|own| &*own.name == protocol);
        found.map(|own| own.metadata.clone()).unwrap_or_default()
    }

    /// What is charged to the group for it.
    pub fn bytes(&self) -> usize {
        let instance = self.instance.as_ref().map_or(0, |instance| instance.len());
        let names = self.id.len() + instance + self.client_id.len() + self.client_host.len();
        let protocols = self.protocols.iter().map(|own| own.name.len() + own.metadata.len());
        ENTRY_BYTES + names + protocols.sum::<usize>() + self.assignment.len()
    }
}

pub(super) fn protocols(join: &Join<'_>) -> Box<[Protocol]> {
    let own = |(name, metadata): &(&str, &[u8])| Protocol {
        name: (*name).into(),
        metadata: Bytes::copy_from_slice(metadata),
    };
    join.protocols.iter().map(own).collect()
}

/// At most [`NAME_BYTES_MAX`] bytes of it.
pub(super) fn cut(text: &str) -> &str {
    let end = (0..=NAME_BYTES_MAX.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    #[test]
    fn long_client_ids_are_cut_between_characters() {
        assert_eq!(super::cut("short"), "short");
        let long = format!("{}ä", "x".repeat(254));
        assert_eq!(super::cut(&long), "x".repeat(254));
    }
}
