//! Changes of a topic that is there: more partitions, other settings.
//!
//!     orders {retention.ms: 1h}  ─ segment.bytes = 1 MiB, retention.ms reset ─▶  {segment.bytes: 1 MiB}
//!
//! The record says what came out, not what was asked for, so a replay needs no defaults and no rules.
//! What would change nothing, or is only to be checked, writes no record and is answered at once.

use std::collections::{BTreeMap, BTreeSet};

use protocol::api::{
    AlterTopicReply, AlterTopicRequest, ConfigChange, CreatePartitionsReply, CreatePartitionsRequest,
};
use protocol::model::{ErrorCode, TopicName};
use storage::catalog::TopicRefusal;

use super::{Control, ControlReply};
use crate::config::TopicConfig;
use crate::shard::{OFFSETS_TOPIC, Origin};

/// Why not, as it is answered.
type Refused = (ErrorCode, String);

/// Whether the answer waits for the shards.
type Waits = bool;

impl Control {
    pub(super) fn create_partitions(&mut self, asker: Origin, request: &CreatePartitionsRequest) {
        if let Some((error, message)) = at_once(self.try_create_partitions(asker, request)) {
            self.answer(asker, ControlReply::Grown(CreatePartitionsReply { error, message }));
        }
    }

    fn try_create_partitions(
        &mut self,
        asker: Origin,
        request: &CreatePartitionsRequest,
    ) -> Result<Waits, Refused> {
        let name = topic_name(&request.name)?;
        let record = self.catalog.plan_partitions(&name, request.total).map_err(refused)?;
        if request.validate_only {
            return Ok(false);
        }
        self.write(record)?;
        let reply = CreatePartitionsReply { error: ErrorCode::None, message: String::new() };
        self.publish(Some((asker, ControlReply::Grown(reply))));
        Ok(true)
    }

    pub(super) fn alter_topic(&mut self, asker: Origin, request: AlterTopicRequest) {
        if let Some((error, message)) = at_once(self.try_alter(asker, request)) {
            self.answer(asker, ControlReply::Altered(AlterTopicReply { error, message }));
        }
    }

    fn try_alter(&mut self, asker: Origin, request: AlterTopicRequest) -> Result<Waits, Refused> {
        let name = topic_name(&request.name)?;
        let unknown = || refused(TopicRefusal::Unknown(name.clone()));
        let before = &self.catalog.topic(name.as_str()).ok_or_else(unknown)?.configs;
        let configs = changed(before, request.changes)?;
        let given = configs.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let config = TopicConfig::resolve(&self.defaults, given).map_err(invalid_config)?;
        check_own(&name, &config)?;
        if request.validate_only || configs == *before {
            return Ok(false);
        }
        let record = self.catalog.plan_configs(&name, configs).map_err(refused)?;
        self.write(record)?;
        let reply = AlterTopicReply { error: ErrorCode::None, message: String::new() };
        self.publish(Some((asker, ControlReply::Altered(reply))));
        Ok(true)
    }
}

/// The topic that the broker keeps its groups in is compacted: anything else would lose them.
pub(super) fn check_own(name: &TopicName, config: &TopicConfig) -> Result<(), Refused> {
    let is_compacted = config.cleanup.compact && !config.cleanup.delete;
    match name.as_str() == OFFSETS_TOPIC && !is_compacted {
        true => {
            let why = format!("the broker keeps its groups in {OFFSETS_TOPIC}, which is compacted");
            Err(invalid_config(format!("cleanup.policy: {why}")))
        }
        false => Ok(()),
    }
}

/// The answer that can be given now, if it does not wait.
fn at_once(outcome: Result<Waits, Refused>) -> Option<Refused> {
    match outcome {
        Ok(true) => None,
        Ok(false) => Some((ErrorCode::None, String::new())),
        Err(refused) => Some(refused),
    }
}

/// A topic's own settings after `changes`; the values are not checked.
fn changed(
    before: &BTreeMap<String, String>,
    changes: Vec<(String, ConfigChange)>,
) -> Result<BTreeMap<String, String>, Refused> {
    let (mut after, mut named) = (before.clone(), BTreeSet::new());
    for (key, change) in changes {
        if !named.insert(key.clone()) {
            return Err((ErrorCode::InvalidConfig, format!("{key} is named twice")));
        }
        match change {
            ConfigChange::Set(value) => {
                after.insert(key, value);
            }
            ConfigChange::Reset => {
                // What a later version has set can be reset by us, though we do not know it.
                if after.remove(&key).is_none() {
                    TopicConfig::check_name(&key).map_err(invalid_config)?;
                }
            }
        }
    }
    Ok(after)
}

fn topic_name(name: &str) -> Result<TopicName, Refused> {
    TopicName::new(name).map_err(|why| (ErrorCode::InvalidTopic, why.to_string()))
}

fn refused(why: TopicRefusal) -> Refused {
    (why.code(), why.to_string())
}

fn invalid_config(why: impl ToString) -> Refused {
    (ErrorCode::InvalidConfig, why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(before: &[(&str, &str)], changes: &[(&str, Option<&str>)]) -> Result<String, String> {
        let before = before.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let to_change = |value: Option<&str>| match value {
            Some(value) => ConfigChange::Set(value.to_owned()),
            None => ConfigChange::Reset,
        };
        let changes = changes.iter().map(|(key, value)| ((*key).to_owned(), to_change(*value))).collect();
        let after = changed(&before, changes).map_err(|(_, message)| message)?;
        Ok(after.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn what_is_not_named_stays() {
        let before = [("retention.ms", "1"), ("segment.ms", "2")];
        let set = change(&before, &[("retention.ms", Some("3")), ("flush.ms", Some("4"))]);
        assert_eq!(set.unwrap(), "flush.ms=4 retention.ms=3 segment.ms=2");
        assert_eq!(change(&before, &[("retention.ms", None)]).unwrap(), "segment.ms=2");
        assert_eq!(change(&before, &[("flush.ms", None)]).unwrap(), "retention.ms=1 segment.ms=2");
        assert_eq!(change(&before, &[]).unwrap(), "retention.ms=1 segment.ms=2");
    }

    #[test]
    fn a_key_stands_once_and_has_to_be_known_to_somebody() {
        let twice = change(&[], &[("flush.ms", Some("4")), ("flush.ms", None)]);
        assert_eq!(twice.unwrap_err(), "flush.ms is named twice");
        let unknown = change(&[], &[("flush.m", None)]).unwrap_err();
        assert!(unknown.contains("did you mean flush.ms?"), "{unknown}");
        assert_eq!(change(&[("of.tomorrow", "1")], &[("of.tomorrow", None)]).unwrap(), "");
    }
}
