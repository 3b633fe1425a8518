//! What became of the records: counted as their tickets are settled, oldest first.
//!
//!     enqueue ─▶ Ticket ─▶ waiting ─▶ produced | failed ─▶ "produced 9 records, 1 failed", exit code

use std::collections::VecDeque;

use ringlog_client::{SendError, Ticket};

use crate::exit::{Exit, Failure};

/// What became of the records.
#[derive(Default)]
pub struct Tally {
    waiting: VecDeque<Ticket>,
    produced: u64,
    failed: u64,
    first_error: Option<SendError>,
}

impl Tally {
    pub fn wait_for(&mut self, ticket: Ticket) {
        self.waiting.push_back(ticket);
    }

    /// Records without an outcome.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub fn has_failures(&self) -> bool {
        0 < self.failed
    }

    /// Whether the next record would fail too. A record that is too large says nothing about others.
    pub fn is_hopeless(&self) -> bool {
        matches!(
            self.first_error,
            Some(
                SendError::TimedOut { .. }
                    | SendError::UnknownTopic { .. }
                    | SendError::Metadata { .. }
                    | SendError::Closed
            )
        )
    }

    /// Takes the outcomes that are there, oldest first. Tickets of different partitions may finish
    /// out of order; those behind an unfinished one are counted later.
    pub async fn settle_done(&mut self) {
        while self.waiting.front().is_some_and(Ticket::is_done) {
            self.settle_one().await;
        }
    }

    pub async fn settle_all(&mut self) {
        while !self.waiting.is_empty() {
            self.settle_one().await;
        }
    }

    async fn settle_one(&mut self) {
        let Some(ticket) = self.waiting.front_mut() else { return };
        let outcome = ticket.await;
        // Only now: who stops waiting here has not lost count of it.
        self.waiting.pop_front();
        match outcome {
            Ok(_) => self.produced += 1,
            Err(error) => self.note_failure(error),
        }
    }

    pub fn note_failure(&mut self, error: SendError) {
        self.failed += 1;
        self.first_error.get_or_insert(error);
    }

    pub fn summary(&self) -> String {
        let records =
            |count: u64| if count == 1 { "1 record".to_owned() } else { format!("{count} records") };
        match self.failed {
            0 => format!("produced {}", records(self.produced)),
            failed => format!("produced {}, {failed} failed", records(self.produced)),
        }
    }

    pub fn outcome(self) -> Result<(), Failure> {
        let Some(error) = self.first_error else { return Ok(()) };
        let again = if error.may_have_been_applied() { "; it may be in the topic all the same" } else { "" };
        let failure = Failure::from(error);
        if self.produced == 0 {
            return Err(failure);
        }
        Err(Failure::new(
            Exit::Partial,
            format!("{} records were not produced; the first: {failure}{again}", self.failed),
        ))
    }
}
