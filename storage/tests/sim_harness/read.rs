//! Opening the logs of a disk, and reading all that they hold, as consumers get it.
//!
//!     recover each ─▶ start ─ read ─▶ whole batches ─ read ─▶ … ─▶ high watermark, or the first error

use std::collections::BTreeMap;
use std::rc::Rc;

use protocol::batch::{OwnedRecord, decode_batch};
use protocol::model::LeaderEpoch;
use storage::checkpoint::{CHECKPOINTS_DIR, Checkpoint};
use storage::disk::Disk;
use storage::disk::sim::SimDisk;
use storage::id::{LogId, TOPICS_DIR};
use storage::log::{LogState, ReadPlan};
use storage::mutants::{Mutant, Mutation};
use storage::recovery::{RecoveryOptions, recover};
use storage::store::{ColdError, OpenLog, Store, remove_log_files};

use super::{History, LogHistory, Sent, config, simulated_time};

/// Recovers every log and reads all it holds.
pub(super) async fn open(
    disk: SimDisk,
    store: Rc<Store<SimDisk>>,
    logs: Vec<LogId>,
    removed: BTreeMap<LogId, bool>,
    seed: u64,
    mutant: Option<Mutant>,
) -> History {
    disk.create_dir(TOPICS_DIR).await.expect("creating a directory");
    disk.create_dir(CHECKPOINTS_DIR).await.expect("creating a directory");
    let checkpoint = Checkpoint::read_all(&disk).await.expect("reading checkpoints");
    let mut history = History::default();
    for id in logs {
        if removed.contains_key(&id) {
            // The catalog remembers that it is to go, and a start finishes it.
            remove_log_files(&disk, id).await.expect("deleting what is left");
            continue;
        }
        let mut options = RecoveryOptions::new(config(seed, id), LeaderEpoch::FIRST, simulated_time());
        options.checkpoint = checkpoint.logs.get(&id).copied();
        options.mutation = Mutation::new(mutant);
        let recovered = recover(&disk, id, &options).await.expect("the disk works");
        let state = recovered.log.state();
        assert_eq!(*state, LogState::Open, "log {id} was taken for corrupt; there are {:?}", disk.files());
        let log = store.add(id, recovered.log, options.checkpoint);
        history.logs.insert(id, read_log(&store, &log).await);
    }
    store.write_checkpoint().await.expect("writing a checkpoint");
    history
}

/// All that a log holds.
pub async fn read_log(store: &Store<SimDisk>, log: &Rc<OpenLog<SimDisk>>) -> LogHistory {
    let (sent, error) = read_until_error(store, log).await;
    assert!(error.is_none(), "log {}: {error:?}", log.id());
    log.read(|log| LogHistory {
        sent,
        start: log.start(),
        end: log.high_watermark(),
        start_max: log.start(),
        clean_max: log.clean_upto(),
        producers: log.producers().clone(),
        compacts: log.config().cleanup.compact,
    })
}

/// The batches of a log up to the first that cannot be read, and why it cannot.
pub async fn read_until_error(
    store: &Store<SimDisk>,
    log: &Rc<OpenLog<SimDisk>>,
) -> (Vec<Sent>, Option<ColdError>) {
    let mut batches = Vec::new();
    let (mut offset, end) = log.read(|log| (log.start(), log.high_watermark()));
    while offset < end {
        let mut slices = Vec::new();
        let bytes = match store.plan_read(log, offset, 10_000, &mut slices).expect("in range") {
            ReadPlan::AtEnd => panic!("at the end at {offset} of {end}"),
            ReadPlan::Hot { .. } => slices.iter().flat_map(|slice| slice.bytes().to_vec()).collect(),
            ReadPlan::Cold(cold) => match store.read_cold(log, cold, offset, 10_000).await {
                Ok(read) => {
                    let next = read.next().expect("a read has a batch");
                    store.read_ahead(log, offset, next, 10_000).await;
                    read.bytes().to_vec()
                }
                Err(error) => return (batches, Some(error)),
            },
        };
        for batch in protocol::batch::batches(&bytes) {
            let batch = batch.expect("a whole batch");
            assert!(offset < batch.next_offset(), "a read begins with the batch that holds the offset");
            offset = batch.next_offset();
            batches.push(Sent::new(batch.base_offset(), offset, batch.as_bytes().to_vec()));
        }
    }
    (batches, None)
}

/// The records of a batch.
pub fn records(bytes: &[u8]) -> Vec<OwnedRecord> {
    decode_batch(bytes::Bytes::copy_from_slice(bytes), 1 << 24).expect("a valid batch").collect()
}
