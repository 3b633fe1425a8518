//! Asking a coordinator that may not be ready.
//!
//!     ask ─▶ CoordinatorNotAvailable ─▶ 50 ‥ 100 ms ─▶ ask ─▶ CoordinatorLoadInProgress ─▶ … ─▶ the answer
//!
//! It is not while it reads its state, nor while the topic is made that keeps the groups, which the first
//! request of all asks for. A coordinator that is not ready does nothing and says so; then the request is
//! repeated, with growing pauses, until the client's request timeout has passed.

use protocol::api::Message;
use protocol::model::ErrorCode;
use protocol::model::limits::GROUPS_PER_REQUEST_MAX;
use tokio::time::{Instant, sleep};

use super::check_group;
use crate::admin::Admin;
use crate::core::backoff::Backoff;
use crate::driver::jitter;
use crate::error::AdminError;
use crate::limits::RETRY_BACKOFF;

impl Admin {
    /// Repeats a request while `code` finds in its reply that the coordinator was not ready. Such a reply
    /// says that nothing was done. The last one is returned when time is up.
    pub(super) async fn ask_coordinator<Q: Message, R: Message>(
        &self,
        request: &Q,
        code: impl Fn(&R) -> ErrorCode,
    ) -> Result<R, AdminError> {
        let mut tries = Tries::new(self);
        loop {
            let reply = self.cluster.call_control(request).await;
            let outcome = reply.as_ref().map_or_else(|error| error.code().unwrap_or(ErrorCode::None), &code);
            if !is_not_ready(outcome) || !tries.pause().await {
                return reply;
            }
        }
    }

    /// One answer for each group. Only those whose coordinator was not ready are asked for again: what
    /// is done for the others is done once.
    pub(super) async fn ask_each<Q: Message, R: Message, E>(
        &self,
        groups: &[&str],
        request: impl Fn(Vec<String>) -> Q,
        entries: impl Fn(R) -> Vec<E>,
        code: impl Fn(&E) -> ErrorCode,
    ) -> Result<Vec<E>, AdminError> {
        groups.iter().try_for_each(|group| check_group(group))?;
        let mut answers: Vec<Option<E>> = groups.iter().map(|_| None).collect();
        let mut left: Vec<usize> = (0..groups.len()).collect();
        let mut tries = Tries::new(self);
        while !left.is_empty() {
            for places in left.chunks(GROUPS_PER_REQUEST_MAX) {
                let named = places.iter().map(|at| groups[*at].to_owned()).collect();
                let reply = self.ask_coordinator(&request(named), |_| ErrorCode::None).await?;
                for (at, entry) in places.iter().zip(entries(reply)) {
                    answers[*at] = Some(entry);
                }
            }
            left.retain(|at| answers[*at].as_ref().is_some_and(|entry| is_not_ready(code(entry))));
            if !left.is_empty() && !tries.pause().await {
                break;
            }
        }
        let unanswered = || AdminError::Refused {
            code: ErrorCode::RequestTimedOut,
            message: "the broker did not answer for every group".to_owned(),
        };
        answers.into_iter().map(|answer| answer.ok_or_else(unanswered)).collect()
    }
}

/// When to try again, and when no more.
struct Tries {
    backoff: Backoff,
    end: Instant,
}

impl Tries {
    fn new(admin: &Admin) -> Tries {
        Tries { backoff: Backoff::new(RETRY_BACKOFF), end: Instant::now() + admin.cluster.request_timeout() }
    }

    /// `false` at once if the time is up before the pause is over.
    async fn pause(&mut self) -> bool {
        let pause = self.backoff.next_pause(jitter());
        if self.end < Instant::now() + pause {
            return false;
        }
        sleep(pause).await;
        true
    }
}

pub(super) fn is_not_ready(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::CoordinatorNotAvailable | ErrorCode::CoordinatorLoadInProgress | ErrorCode::NotCoordinator
    )
}

/// Partitions of a group have one coordinator, which is ready for all of them or for none.
pub(super) fn not_ready_of(codes: &[ErrorCode]) -> ErrorCode {
    codes.iter().copied().find(|code| is_not_ready(*code)).unwrap_or(ErrorCode::None)
}
