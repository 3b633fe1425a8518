//! What is demanded of a record set before any of it is appended.
//!
//!     record set ─▶ each batch: sound? its times? its keys, if the topic is compacted? ─▶ Checked, or why not
//!                     └ says no largest timestamp (older clients) ─▶ found among its records, written into it
//!
//! Compressed records are unpacked for their keys, and where the header does not say their times: what a
//! request may have unpacked is bounded, since the shard does nothing else meanwhile.

use std::borrow::Cow;

use protocol::batch::{Batch, Codec, DecompressError, RecordIter, batches, decompress, stamp_max_timestamp};
use protocol::model::limits::FRAME_BODY_BYTES_MAX;
use protocol::model::{ErrorCode, ProducerId, Timestamp};

use crate::config::TopicConfig;

/// What the batches of one request may come to when they are unpacked: a quarter of a second's work.
const UNPACKED_BYTES_MAX: usize = 256 << 20;

/// How much a request may still have unpacked.
pub struct Unpacking {
    left: usize,
}

impl Default for Unpacking {
    fn default() -> Unpacking {
        Unpacking { left: UNPACKED_BYTES_MAX }
    }
}

impl Unpacking {
    /// The records of a batch. What other batches have left no room for is to be sent again.
    fn unpack<'a>(&mut self, batch: &Batch<'a>) -> Result<Cow<'a, [u8]>, ErrorCode> {
        let packed = batch.records_bytes();
        if batch.codec() == Codec::None {
            return Ok(Cow::Borrowed(packed));
        }
        let limit = self.left.min(FRAME_BODY_BYTES_MAX);
        match decompress(batch.codec(), packed, limit) {
            Ok(records) => {
                self.left -= records.len();
                Ok(Cow::Owned(records))
            }
            Err(DecompressError::TooLarge { .. }) if limit < FRAME_BODY_BYTES_MAX => {
                self.left = 0;
                Err(ErrorCode::RequestTimedOut)
            }
            Err(_) => Err(ErrorCode::CorruptMessage),
        }
    }
}

/// A record set that may be appended as a whole.
#[derive(Debug)]
pub struct Checked {
    pub records: u64,
    /// Places of the batches that do not say their largest timestamp, and what it is.
    unsaid: Vec<(usize, Timestamp)>,
}

impl Checked {
    /// Everything that can be wrong with a record set, whatever is in the log.
    pub fn new(
        set: &[u8],
        config: &TopicConfig,
        now: Timestamp,
        unpacking: &mut Unpacking,
    ) -> Result<Checked, ErrorCode> {
        let mut checked = Checked { records: 0, unsaid: Vec::new() };
        let (mut sets, mut sequenced) = (0, false);
        for batch in batches(set) {
            let batch = batch.map_err(|error| error.code())?;
            batch.check_for_append(config.max_message_bytes).map_err(|error| error.code())?;
            let mut newest = batch.max_timestamp();
            let unsaid = newest < batch.base_timestamp();
            if unsaid || config.cleanup.compact {
                let seen = look_into(&batch, unpacking)?;
                if config.cleanup.compact && !seen.has_all_keys {
                    return Err(ErrorCode::InvalidRecord);
                }
                if unsaid {
                    newest = seen.newest;
                    checked.unsaid.push((sets, newest));
                }
            }
            check_times(config, batch.base_timestamp(), newest, now)?;
            checked.records += u64::from(batch.record_count().get());
            sets += 1;
            sequenced |= batch.producer_id() != ProducerId::NONE;
        }
        // Of two sequenced batches one might be known and the other out of order.
        let whole = sets == 1 || !sequenced;
        if checked.records == 0 || !whole { Err(ErrorCode::InvalidRecord) } else { Ok(checked) }
    }

    /// The batch at a place of the set with what its producer left out, if it did.
    pub fn mended(&self, place: usize, batch: &Batch<'_>) -> Option<Vec<u8>> {
        let (_, newest) = self.unsaid.iter().find(|(unsaid, _)| *unsaid == place)?;
        let mut bytes = batch.as_bytes().to_vec();
        stamp_max_timestamp(&mut bytes, *newest);
        Some(bytes)
    }
}

struct Seen {
    newest: Timestamp,
    /// A compacted topic keeps the newest record of each key: one without a key could not be kept.
    has_all_keys: bool,
}

fn look_into(batch: &Batch<'_>, unpacking: &mut Unpacking) -> Result<Seen, ErrorCode> {
    let unpacked = unpacking.unpack(batch)?;
    let mut seen = Seen { newest: Timestamp::NONE, has_all_keys: true };
    for record in RecordIter::new(batch, &unpacked) {
        let record = record.map_err(|_| ErrorCode::InvalidRecord)?;
        let millis = batch.base_timestamp().millis().wrapping_add(record.timestamp_delta);
        seen.newest = seen.newest.max(Timestamp::from_millis(millis));
        seen.has_all_keys &= record.key.is_some();
    }
    Ok(seen)
}

/// `message.timestamp.before.max.ms` and `message.timestamp.after.max.ms`, by a batch's first time and its
/// newest one. A batch without times passes.
fn check_times(
    config: &TopicConfig,
    first: Timestamp,
    newest: Timestamp,
    now: Timestamp,
) -> Result<(), ErrorCode> {
    let beyond = |limit: Option<u64>, ms: i64| limit.is_some_and(|limit| i128::from(limit) < i128::from(ms));
    let (first, newest) = (first.millis(), newest.millis());
    let early = 0 <= first && beyond(config.timestamp_before_max_ms, now.millis().saturating_sub(first));
    let late = beyond(config.timestamp_after_max_ms, newest.saturating_sub(now.millis()));
    if early || late { Err(ErrorCode::InvalidTimestamp) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use protocol::batch::BatchBuilder;

    use super::*;
    use crate::config::Config;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn records(codec: Codec, key: Option<&[u8]>, millis: &[i64]) -> Vec<u8> {
        let mut builder = BatchBuilder::new(codec);
        for at in millis {
            let time = Timestamp::from_millis(NOW.millis() + at);
            builder.try_append(time, key, Some(b"value"), &[]).unwrap();
        }
        builder.finish().to_vec()
    }

    fn config(entries: &[(&str, &str)]) -> TopicConfig {
        let defaults = Config::ephemeral("/tmp".into()).topic_defaults;
        TopicConfig::resolve(&defaults, entries.iter().copied()).unwrap()
    }

    fn check(set: &[u8], config: &TopicConfig) -> Result<Checked, ErrorCode> {
        Checked::new(set, config, NOW, &mut Unpacking::default())
    }

    #[test]
    fn a_largest_timestamp_that_is_left_out_is_found_and_written_in() {
        for codec in Codec::ALL {
            let said = records(codec, None, &[10, 30, 20]);
            let mut unsaid = said.clone();
            stamp_max_timestamp(&mut unsaid, Timestamp::NONE);
            let set = [said.clone(), unsaid.clone(), said.clone()].concat();
            let checked = check(&set, &config(&[])).unwrap();
            assert_eq!(checked.records, 9);
            let mended: Vec<_> = batches(&set)
                .enumerate()
                .map(|(place, batch)| checked.mended(place, &batch.unwrap()))
                .collect();
            assert_eq!(mended, [None, Some(said), None], "{codec}");
        }
    }

    #[test]
    fn a_timestamp_that_is_left_out_is_judged_too() {
        let config = config(&[("message.timestamp.after.max.ms", "25")]);
        let mut set = records(Codec::Zstd, None, &[10, 30]);
        stamp_max_timestamp(&mut set, Timestamp::NONE);
        assert_eq!(check(&set, &config).err(), Some(ErrorCode::InvalidTimestamp));
        let mut set = records(Codec::Zstd, None, &[10, 20]);
        stamp_max_timestamp(&mut set, Timestamp::NONE);
        assert!(check(&set, &config).is_ok());
    }

    #[test]
    fn records_without_a_timestamp_are_left_alone() {
        let mut builder = BatchBuilder::new(Codec::None);
        builder.try_append(Timestamp::NONE, None, None, &[]).unwrap();
        let set = builder.finish();
        let checked = check(&set, &config(&[])).unwrap();
        assert!(checked.unsaid.is_empty());
    }

    #[test]
    fn what_a_request_has_unpacked_is_bounded() {
        let config = config(&[("cleanup.policy", "compact")]);
        let mut builder = BatchBuilder::new(Codec::Zstd);
        builder.try_append(NOW, Some(b"k"), Some(&vec![0; 7 << 20]), &[]).unwrap();
        let set = builder.finish();
        assert!(set.len() < 20_000, "{} bytes", set.len());
        let mut unpacking = Unpacking::default();
        let mut check = || Checked::new(&set, &config, NOW, &mut unpacking).map(|checked| checked.records);
        for _ in 0..UNPACKED_BYTES_MAX / (7 << 20) {
            assert_eq!(check(), Ok(1));
        }
        assert_eq!([check(), check()], [Err(ErrorCode::RequestTimedOut); 2]);
    }
}
