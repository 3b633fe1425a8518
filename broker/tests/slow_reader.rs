//! A client that does not read its replies is not read from, whatever it has sent already.
//!
//!     200 fetches in one write ─▶ answered until 4 MiB are owed ─▶ the rest waits in the receive buffer

mod raw;

use std::time::{Duration, Instant, UNIX_EPOCH};

use broker::EmbeddedBroker;
use protocol::api::FetchParams;
use protocol::batch::{BatchBuilder, Codec};
use protocol::model::{ErrorCode, Timestamp};
use raw::{Raw, scratch};

const RECORD_BYTES: usize = 512 << 10;
const FETCHES: u64 = 200;

fn answered(raw: &mut Raw) -> u64 {
    let shards = raw.stats().shards;
    let counters = shards.iter().flat_map(|shard| &shard.counters);
    counters.filter(|(name, _)| name == "fetch_requests").map(|(_, value)| value).sum()
}

#[test]
fn requests_that_came_in_one_read_wait_for_their_peer_one_by_one() {
    let broker = EmbeddedBroker::start_with(scratch(), |mut config| {
        config.cpus.truncate(1);
        config
    })
    .unwrap();
    let mut raw = Raw::connect(broker.addr());
    let topic = raw.create_topic("t", 1, &[]).id;
    let now = Timestamp::from_millis(UNIX_EPOCH.elapsed().unwrap().as_millis() as i64);
    let mut batch = BatchBuilder::new(Codec::None);
    batch.try_append(now, None, Some(&vec![7; RECORD_BYTES]), &[]).unwrap();
    assert_eq!(raw.produce(topic, 0, &batch.finish()).0, ErrorCode::None);

    let mut slow = Raw::connect(broker.addr());
    let params = FetchParams { max_wait_ms: 0, min_bytes: 1, max_bytes: 1 << 20 };
    slow.send_fetches(params, &[(topic, 0, 0)], FETCHES);
    // Until it does not go on: 4 MiB are owed, and the sockets of both sides hold some more.
    let (begun, mut before) = (Instant::now(), 0);
    loop {
        std::thread::sleep(Duration::from_millis(100));
        let now = answered(&mut raw);
        if 0 < now && now == before {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{now} fetches, and it goes on");
        before = now;
    }
    assert!(
        before < FETCHES / 2,
        "{before} fetches of {RECORD_BYTES} bytes were answered to who reads nothing"
    );
    for _ in 0..FETCHES {
        assert_eq!(slow.fetched().partitions[0].result.error, ErrorCode::None);
    }
    assert_eq!(answered(&mut raw), FETCHES);
}
