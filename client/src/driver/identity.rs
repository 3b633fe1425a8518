//! Who a producer is: asked for when a partition first needs it, and again for each next epoch.
//!
//!     partition wants one ─▶ ask ─ ─ task: InitProducerId, retried ─ ─▶ handle_answer ─▶ its partitions wake
//!
//! One question at a time for the whole producer: partitions that want a newer identity while it is
//! under way share the answer.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use protocol::api::{InitProducerIdReply, InitProducerIdRequest};
use protocol::model::ErrorCode;

use super::cluster::Cluster;
use super::jitter;
use crate::core::backoff::Backoff;
use crate::core::sequence::Identity;
use crate::error::AdminError;

/// The result of one try, for `handle_answer`.
pub(crate) type Asked = Result<Identity, Arc<str>>;

#[derive(Default)]
pub(crate) struct Identities {
    current: Option<Identity>,
    asking: bool,
    /// Ids of the queues that wait for the answer.
    waiting: BTreeSet<usize>,
    last_error: Option<Arc<str>>,
}

impl Identities {
    pub(crate) fn current(&self) -> Option<Identity> {
        self.current
    }

    /// Why there is none yet, if a try failed.
    pub(crate) fn last_error(&self) -> Option<&Arc<str>> {
        self.last_error.as_ref()
    }

    /// Asks for an identity newer than the current one, on behalf of a queue. `report` is called with
    /// the result of each try, and says whether anybody still listens.
    pub(crate) fn ask(
        &mut self,
        queue: usize,
        cluster: &Arc<Cluster>,
        first_pause: Duration,
        report: impl Fn(Asked) -> bool + Send + 'static,
    ) {
        self.waiting.insert(queue);
        if std::mem::replace(&mut self.asking, true) {
            return;
        }
        let (cluster, mut known) = (Arc::clone(cluster), self.current);
        tokio::spawn(async move {
            let mut backoff = Backoff::new(first_pause);
            loop {
                let asked = ask_once(&cluster, &mut known).await;
                let is_over = asked.is_ok();
                if !report(asked) || is_over {
                    return;
                }
                tokio::time::sleep(backoff.next_pause(jitter())).await;
            }
        });
    }

    /// Returns the ids of the queues that can go on.
    pub(crate) fn handle_answer(&mut self, asked: Asked) -> BTreeSet<usize> {
        match asked {
            Ok(identity) => {
                tracing::debug!(id = %identity.id, epoch = %identity.epoch, "producer identity");
                (self.current, self.last_error, self.asking) = (Some(identity), None, false);
                std::mem::take(&mut self.waiting)
            }
            Err(error) => {
                tracing::warn!(%error, "no producer id; trying again");
                self.last_error = Some(error);
                BTreeSet::new()
            }
        }
    }
}

/// `known` is forgotten if the broker does not know it: its data directory is another one, and any
/// new id will do.
async fn ask_once(cluster: &Cluster, known: &mut Option<Identity>) -> Asked {
    let producer = known.map(|identity| (identity.id, identity.epoch));
    let request = InitProducerIdRequest { timeout_ms: cluster.request_timeout_ms(), producer };
    let reply: Result<InitProducerIdReply, AdminError> = cluster.call_control(&request).await;
    match reply {
        Ok(reply) if reply.error.is_ok() => {
            Ok(Identity { id: reply.producer_id, epoch: reply.producer_epoch })
        }
        Ok(reply) => {
            if reply.error == ErrorCode::InvalidRequest {
                *known = None;
            }
            Err(reply.error.to_string().into())
        }
        Err(error) => Err(error.to_string().into()),
    }
}
