//! What becomes of records that a consumer got: counted, timed and, if verified, entered in a ledger.
//!
//!     recv_batch ─▶ some records ─▶ count ▸ end-to-end latency from the stamp ▸ ledger ─▶ Report
//!
//! One look at the clock and one lock of the meter for all records of one `recv_batch`.

use std::sync::Arc;

use ringlog_client::ConsumedRecord;

use crate::clock::Moment;
use crate::meter::Meter;
use crate::verify::Received;
use crate::verify::stamp::Stamp;

/// What a consumer measures beside records and bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Timing {
    /// From the send time in the record to here.
    EndToEnd,
    /// How long one `recv_batch` took.
    Receive,
}

/// What one consumer did.
#[derive(Debug)]
pub struct Report {
    pub received: Option<Received>,
    pub last_record: Option<Moment>,
    /// Why it did not read up to the end.
    pub failure: Option<String>,
}

/// One consumer's measurements.
pub struct Intake {
    meter: Arc<Meter>,
    timing: Timing,
    ledger: Option<Received>,
    last_record: Option<Moment>,
}

impl Intake {
    pub fn new(meter: Arc<Meter>, timing: Timing) -> Intake {
        Intake { meter, timing, ledger: None, last_record: None }
    }

    /// Whose records are verified.
    pub fn verifying(mut self, producers: usize) -> Intake {
        self.ledger = Some(Received::of_producers(producers));
        self
    }

    /// Counts records, which were asked for at `asked`, and returns their bytes. Of each its partition and its
    /// value.
    pub fn take<'a>(
        &mut self,
        records: impl ExactSizeIterator<Item = (u32, &'a [u8])>,
        asked: Moment,
    ) -> usize {
        let count = records.len() as u64;
        let now = Moment::now();
        self.last_record = Some(now);
        let mut sample = self.meter.lock();
        let mut bytes = 0;
        for (partition, value) in records {
            bytes += value.len();
            let stamp = match &mut self.ledger {
                Some(ledger) => ledger.observe(partition, value),
                None if self.timing == Timing::EndToEnd => Stamp::read(value),
                None => None,
            };
            if self.timing == Timing::EndToEnd
                && let Some(sent_at) = stamp.and_then(|stamp| stamp.sent_at)
            {
                sample.latency.record(now.ns_since(sent_at), 1);
            }
        }
        if self.timing == Timing::Receive {
            sample.latency.record(now.ns_since(asked), 1);
        }
        sample.count(count, bytes as u64);
        bytes
    }

    pub fn report(self, failure: Option<String>) -> Report {
        Report { received: self.ledger, last_record: self.last_record, failure }
    }
}

/// Of each record what [`Intake::take`] asks for.
pub fn items(records: &[ConsumedRecord]) -> impl ExactSizeIterator<Item = (u32, &[u8])> {
    records.iter().map(|record| (record.partition.get(), record.value.as_deref().unwrap_or_default()))
}

pub const RECORDS_AT_ONCE: usize = 1024;

/// The client's tasks share a consumer's thread, and prefetched records never make it wait: after so many
/// bytes it lets them run.
pub const YIELD_BYTES: usize = 256 << 10;
