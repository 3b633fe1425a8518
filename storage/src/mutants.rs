//! Faults that a test switches on to prove that it would notice them. Never in a release.
//!
//!     ci/mutants ─▶ each of these in turn ─▶ the suite has to fail within 1,000 seeds
//!
//! Without the `mutants` feature no fault can be switched on, and the checks compile to nothing.

/// A fault in a place where a wrong line of code would lose or garble data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mutant {
    /// Acknowledge when the writes completed, without waiting for an fdatasync.
    AckBeforeSync,
    /// Issue the fdatasync together with the writes instead of after them.
    SyncBeforeWritesComplete,
    /// Try a failed fdatasync again, and believe the second answer.
    RetrySync,
    /// Let one file's fdatasync stand for files with new extents too.
    OneFlushForAll,
    /// Do not make the names of new segments durable.
    NoDirectorySync,
    /// Leave out the sync of the filesystem that ends a round of very many new files.
    NoWholeSync,
    /// Begin a chunk with another prefix than the block on disk has.
    RewriteTailDifferently,
    /// Take every bad batch for a torn tail.
    TruncateAtAnyBadBatch,
    /// Serve what recovery read without syncing it.
    ServeBeforeSync,
    /// Forget the producers at a restart.
    NoProducerReload,
    /// Write an index that reaches beyond what is durable.
    IndexPastDurable,
    /// Delete files of a log before the checkpoint knows that they are gone.
    DeleteBeforeCheckpoint,
    /// Delete the old segments before their compacted successor is durable.
    SwapBeforeSync,
    /// Delete directories that no topic of the catalog owns.
    DeleteOrphans,
}

/// Which fault is on: none, unless a test has asked for one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Mutation {
    #[cfg(feature = "mutants")]
    on: Option<Mutant>,
}

impl Mutation {
    #[cfg(feature = "mutants")]
    pub fn new(on: Option<Mutant>) -> Mutation {
        Mutation { on }
    }

    /// Whether this fault is on; never without the feature.
    #[inline]
    pub fn is(self, mutant: Mutant) -> bool {
        #[cfg(feature = "mutants")]
        let on = self.on;
        #[cfg(not(feature = "mutants"))]
        let on: Option<Mutant> = None;
        on == Some(mutant)
    }
}
