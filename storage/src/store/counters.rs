//! What a store has done since it was opened: plain cells, read by whoever asks.
//!
//!     count(&counters.commits, 1) ─▶ cells ─ list() ─▶ (name, value) for Stats, bench and tests

use std::cell::Cell;

/// Raises a mark to `to`.
pub(super) fn raise(mark: &Cell<u64>, to: u64) {
    mark.set(mark.get().max(to));
}

/// Adds to a counter.
pub(super) fn count(counter: &Cell<u64>, by: u64) {
    counter.set(counter.get() + by);
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters since the store was opened.
        #[derive(Default)]
        pub struct StoreCounters {
            $($(#[$doc])* pub $name: Cell<u64>,)*
        }

        impl StoreCounters {
            /// All of them by name.
            pub fn list(&self) -> Vec<(String, u64)> {
                vec![$((stringify!($name).to_owned(), self.$name.get()),)*]
            }
        }
    };
}

counters! {
    /// Commit rounds that were released.
    commits,
    fsyncs,
    committed_bytes,
    committed_logs,
    /// Chunks written in commit rounds.
    written_chunks,
    /// Microseconds that rounds spent writing, flushing, and waiting for the round before them.
    write_us,
    flush_us,
    order_us,
    /// The longest of each since the store was opened.
    write_us_max,
    flush_us_max,
    prepared_bytes,
    reserved_bytes,
    cold_reads,
    cold_read_bytes,
    /// Microseconds that they took, one beside the other.
    cold_read_us,
    /// Cold reads whose records had been read ahead.
    ahead_hits,
    fenced_logs,
    /// Batches of idempotent producers that had been stored before.
    duplicate_batches,
    /// Rounds that were made durable by syncing the whole filesystem.
    whole_syncs,
    deleted_segments,
    deleted_bytes,
    /// Files closed because too many were open.
    closed_files,
    /// Passes of compaction over one log.
    compactions,
    compaction_read_bytes,
    compaction_written_bytes,
    /// Records that compaction took away.
    compacted_records,
    scrubbed_bytes,
    scrub_passes,
    /// Segments in which the scrub found damage.
    scrub_damage,
}
