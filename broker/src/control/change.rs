//! Changes of a topic that is there: more partitions, other settings.
//!
//!     orders {retention.ms: 1h}  ─ segment.bytes = 1 MiB, retention.ms reset ─▶  {segment.bytes: 1 MiB}
//!
//! The record says what came out, not what was asked for, so a replay needs no defaults and no rules.
//! What would change nothing, or is only to be checked, writes no record and is answered at once.

use std::collections::{BTreeMap, BTreeSet};

use protocol::api::{AlterTopicRequest, ConfigChange, CreatePartitionsRequest};
use protocol::model::{ErrorCode, TopicName};
use storage::catalog::TopicRefusal;

use super::round::{Planned, Refused, Round, invalid_config, refused, topic_name};
use crate::config::TopicConfig;
use crate::shard::OFFSETS_TOPIC;

impl Round<'_> {
    pub(super) fn plan_growth(&self, request: &CreatePartitionsRequest) -> Planned {
        let name = topic_name(&request.name)?;
        let record = self.catalog().plan_partitions(&name, request.total).map_err(refused)?;
        Ok((!request.validate_only).then_some(record))
    }

    pub(super) fn plan_alteration(&self, request: AlterTopicRequest) -> Planned {
        let name = topic_name(&request.name)?;
        let unknown = || refused(TopicRefusal::Unknown(name.clone()));
        let before = &self.catalog().topic(name.as_str()).ok_or_else(unknown)?.configs;
        let configs = changed(before, request.changes)?;
        let given = configs.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let config = TopicConfig::resolve(self.defaults(), given).map_err(invalid_config)?;
        check_own(&name, &config)?;
        if request.validate_only || configs == *before {
            return Ok(None);
        }
        self.catalog().plan_configs(&name, configs).map(Some).map_err(refused)
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
