//! Directories of many logs: made durable by a number of syncs that does not grow with theirs. (The simulated
//! disk never loses a directory, so only the syncs are counted here.)

use protocol::model::{PartitionIndex, TopicId};
use storage::disk::sim::Operation;
use storage::disk::{Disk, FlushScope, SimDisk};
use storage::id::{LogId, TOPICS_DIR};
use storage::recovery::create_log_dirs;

#[test]
fn the_directories_of_many_topics_cost_one_sync() {
    for (topics, syncs) in [(0, [0, 0]), (1, [2, 0]), (32, [33, 0]), (33, [0, 1]), (200, [0, 1])] {
        let topics: Vec<TopicId> = (0..topics).map(|n| TopicId::from_bytes([n; 16])).collect();
        let disk = SimDisk::new(7, FlushScope::File);
        disk.block_on(disk.create_dir(TOPICS_DIR)).unwrap();
        disk.block_on(disk.sync_dir("")).unwrap();
        let count = || [Operation::SyncDir, Operation::SyncAll].map(|operation| disk.count(operation));
        let before = count();
        let logs =
            |topic: &TopicId| [0, 5].map(|n| LogId { topic: *topic, partition: PartitionIndex::new(n) });
        let ids: Vec<LogId> = topics.iter().flat_map(logs).collect();
        disk.block_on(create_log_dirs(&disk, &ids)).unwrap();
        let after = count();
        assert_eq!([after[0] - before[0], after[1] - before[1]], syncs, "{} topics", topics.len());
        for id in ids {
            assert_eq!(disk.block_on(disk.list(&id.dir())).unwrap(), [""; 0], "{id}");
        }
    }
}
