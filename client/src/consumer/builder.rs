//! How a consumer behaves: its group, what it reads, when it commits, how long it may be silent.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::model::TopicName;
use regex::Regex;

use super::shared::{Shared, State};
use super::{Consumer, RebalanceListener};
use crate::core::assign::Assignor;
use crate::core::commit::{self, Commits};
use crate::core::group::{self, Membership};
use crate::driver::cluster::Cluster;
use crate::driver::member;
use crate::error::{AdminError, ConsumeError, InvalidRetry};
use crate::limits;
use crate::reader::ReaderOptions;
use crate::retry::Retry;

/// When positions are committed without being asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AutoCommit {
    /// Only by [`Consumer::commit`] and its like.
    Off,
    /// At this interval, before a partition is given away, and on close.
    Every(Duration),
}

/// Where to begin in a partition of which the group has committed nothing, or nothing that still exists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AutoOffsetReset {
    Earliest,
    Latest,
    /// Nowhere: the partition stands still with [`ConsumeError::NoOffset`] until `seek`.
    None,
}

/// What a consumer subscribes to.
#[derive(Clone, Debug)]
pub(crate) enum Subscription {
    Topics(BTreeSet<Arc<str>>),
    Pattern(Regex),
}

/// What the member's task goes by.
#[derive(Clone, Debug)]
pub(crate) struct MemberOptions {
    pub group: Arc<str>,
    pub client_id: String,
    pub instance_id: Option<Arc<str>>,
    pub session_timeout: Duration,
    pub max_poll_interval: Duration,
    pub reset: AutoOffsetReset,
    pub reader: ReaderOptions,
}

#[must_use = "nothing is joined before build()"]
pub struct ConsumerBuilder {
    cluster: Arc<Cluster>,
    group: Arc<str>,
    topics: BTreeSet<Arc<str>>,
    pattern: Option<Regex>,
    instance_id: Option<Arc<str>>,
    /// `None` if nothing was said about it.
    assignors: Option<Vec<Assignor>>,
    retry: Option<Retry>,
    auto_commit: AutoCommit,
    reset: AutoOffsetReset,
    session_timeout: Duration,
    max_poll_interval: Duration,
    max_poll_records: usize,
    reader: ReaderOptions,
    listener: Option<Box<dyn RebalanceListener>>,
}

impl ConsumerBuilder {
    pub(crate) fn new(cluster: Arc<Cluster>, group: Arc<str>) -> ConsumerBuilder {
        ConsumerBuilder {
            cluster,
            group,
            topics: BTreeSet::new(),
            pattern: None,
            instance_id: None,
            assignors: None,
            retry: None,
            auto_commit: AutoCommit::Every(limits::AUTO_COMMIT_INTERVAL),
            reset: AutoOffsetReset::Latest,
            session_timeout: limits::SESSION_TIMEOUT,
            max_poll_interval: limits::MAX_POLL_INTERVAL,
            max_poll_records: limits::MAX_POLL_RECORDS,
            reader: ReaderOptions {
                max_wait: limits::FETCH_MAX_WAIT,
                min_bytes: limits::FETCH_MIN_BYTES,
                fetch_bytes: limits::FETCH_BYTES,
                prefetch_bytes: limits::PREFETCH_BYTES,
            },
            listener: None,
        }
    }

    /// Reads these topics; one that does not exist yet is read once it does.
    pub fn topics<T: Into<Arc<str>>>(mut self, topics: impl IntoIterator<Item = T>) -> Self {
        self.topics.extend(topics.into_iter().map(Into::into));
        self
    }

    /// Reads every topic whose whole name matches, those that are made later too (they are found within
    /// 30 s). Topics of the broker's own (`__…`) never match.
    pub fn pattern(mut self, pattern: Regex) -> Self {
        self.pattern = Some(pattern);
        self
    }

    /// Makes the member a static one (KIP-345): one that comes back within the session timeout under the
    /// same id has its partitions again, without a rebalance; closing it does not leave the group.
    pub fn instance_id(mut self, id: impl Into<Arc<str>>) -> Self {
        self.instance_id = Some(id.into());
        self
    }

    /// The assignors that this member offers, the preferred one first; cooperative-sticky by default.
    /// All members of a group must have one in common.
    ///
    /// # Panics
    /// If there is none.
    pub fn assignors(mut self, assignors: impl IntoIterator<Item = Assignor>) -> Self {
        let assignors: Vec<Assignor> = assignors.into_iter().collect();
        assert!(!assignors.is_empty(), "a member offers at least one assignor");
        self.assignors = Some(assignors);
        self
    }

    /// Reads the retry topics of its topics too, and hands out their records when they are due; until then
    /// only their own partition waits. [`Workers`](super::Workers) move what fails by it. The retry topics
    /// and those of dead letters have to exist, see [`Retry::create_topics`]; `build` looks.
    pub fn retry(mut self, retry: &Retry) -> Self {
        self.retry = Some(retry.clone());
        self
    }

    /// Every 5 s by default.
    pub fn auto_commit(mut self, auto_commit: AutoCommit) -> Self {
        self.auto_commit = auto_commit;
        self
    }

    /// Latest by default, as with Kafka.
    pub fn auto_offset_reset(mut self, reset: AutoOffsetReset) -> Self {
        self.reset = reset;
        self
    }

    /// A member that is not heard of for so long is out of the group; 10 s by default. Heartbeats are sent
    /// by a task of their own, three in that time.
    pub fn session_timeout(mut self, timeout: Duration) -> Self {
        self.session_timeout = timeout;
        self
    }

    /// Longest time between two calls for records, after which the member leaves; 5 min by default.
    pub fn max_poll_interval(mut self, interval: Duration) -> Self {
        self.max_poll_interval = interval;
        self
    }

    /// Most records that [`Consumer::poll`] returns; 500 by default.
    pub fn max_poll_records(mut self, records: usize) -> Self {
        self.max_poll_records = records.max(1);
        self
    }

    /// How long a broker may wait for records; 1 s by default.
    pub fn max_wait(mut self, wait: Duration) -> Self {
        self.reader.max_wait = wait;
        self
    }

    /// Bytes read ahead of the application, for each topic; 8 MiB by default.
    pub fn prefetch_bytes(mut self, bytes: usize) -> Self {
        self.reader.prefetch_bytes = bytes.max(1);
        self
    }

    /// Is told which partitions come and go.
    pub fn rebalance_listener(mut self, listener: impl RebalanceListener) -> Self {
        self.listener = Some(Box::new(listener));
        self
    }

    /// Starts to join the group; returns at once. What goes wrong is told by the first call for records.
    ///
    /// # Errors
    /// No or wrong topics. With [`retry`](ConsumerBuilder::retry) the topics are asked for first: then also
    /// [`ConsumeError::Retry`], and [`ConsumeError::Start`] if nobody answers.
    pub async fn build(mut self) -> Result<Consumer, ConsumeError> {
        if self.topics.is_empty() && self.pattern.is_none() {
            return Err(ConsumeError::NoTopic);
        }
        for name in &self.topics {
            TopicName::new(name).map_err(|why| {
                ConsumeError::Start(AdminError::InvalidTopic { topic: Arc::clone(name), why })
            })?;
        }
        let retry = self.retry.take();
        if let Some(retry) = &retry {
            self.add_retry_topics(retry).await?;
        }
        let now = Instant::now();
        let membership = Membership::new(
            group::Options {
                instance_id: self.instance_id.clone(),
                assignors: self.assignors.unwrap_or_else(|| vec![Assignor::CooperativeSticky]),
                session_timeout: self.session_timeout,
                max_poll_interval: self.max_poll_interval,
                retry_backoff: limits::RETRY_BACKOFF,
            },
            now,
        );
        let auto_commit = match self.auto_commit {
            AutoCommit::Off => None,
            AutoCommit::Every(interval) => Some(interval),
        };
        let commits = Commits::new(
            commit::Options {
                auto_commit,
                retry_backoff: limits::RETRY_BACKOFF,
                timeout: limits::COMMIT_TIMEOUT,
            },
            now,
        );
        let options = MemberOptions {
            group: Arc::clone(&self.group),
            client_id: self.cluster.client_id().to_owned(),
            instance_id: self.instance_id,
            session_timeout: self.session_timeout,
            max_poll_interval: self.max_poll_interval,
            reset: self.reset,
            reader: self.reader,
        };
        let subscription = match self.pattern {
            Some(pattern) => Subscription::Pattern(pattern),
            None => Subscription::Topics(self.topics),
        };
        let policy = retry.as_ref().map(|retry| retry.policy().clone());
        let shared = Arc::new(Shared::new(State::new(membership, commits, policy), self.reset));
        member::spawn(Arc::clone(&self.cluster), options, subscription, self.listener, Arc::clone(&shared));
        Ok(Consumer::new(self.cluster, self.group, shared, self.max_poll_records, retry))
    }

    async fn add_retry_topics(&mut self, retry: &Retry) -> Result<(), ConsumeError> {
        if self.pattern.is_some() {
            return Err(ConsumeError::Retry(InvalidRetry::NeedsNames));
        }
        if retry.policy().keeps_key_order() {
            let assignors = self.assignors.get_or_insert_with(|| vec![Assignor::Range]);
            if assignors.iter().any(|assignor| *assignor != Assignor::Range) {
                return Err(ConsumeError::Retry(InvalidRetry::OrderNeedsRange));
            }
        }
        for topic in self.topics.clone() {
            let topics = retry.check(&topic).await?;
            self.topics.extend(topics.into_iter().map(Arc::from));
        }
        Ok(())
    }
}
