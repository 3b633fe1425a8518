//! InitProducerId: no id twice, across shards, restarts and kills; epochs one after the other.

mod raw;

use std::collections::HashSet;
use std::path::Path;

use broker::{Broker, Config};
use protocol::api::{InitProducerIdReply, InitProducerIdRequest, Message};
use protocol::model::{ErrorCode, ProducerEpoch, ProducerId, ShardId};
use raw::{Answer, Raw, scratch};

fn start(data_dir: &Path) -> Broker {
    Broker::start(Config { cpus: vec![0, 1], ..Config::ephemeral(data_dir.to_owned()) }).unwrap()
}

fn ask(raw: &mut Raw, producer: Option<(i64, i16)>) -> (ErrorCode, i64, i16) {
    let producer = producer.map(|(id, epoch)| (ProducerId::new(id), ProducerEpoch::new(epoch)));
    let answer = raw.call(&InitProducerIdRequest { timeout_ms: 10_000, producer });
    let Answer::Reply(_, body) = answer else { panic!("{answer:?}") };
    let reply = InitProducerIdReply::read(&body).unwrap();
    (reply.error, reply.producer_id.get(), reply.producer_epoch.get())
}

#[test]
fn no_id_is_given_twice_on_any_shard_after_any_restart() {
    let dir = tempfile::tempdir_in(scratch()).unwrap();
    let mut given = HashSet::new();
    for asked in [3, 1200, 1, 0, 700] {
        let broker = start(dir.path());
        for shard in [0, 1].map(ShardId::new) {
            let (mut raw, _) = Raw::connect_to(broker.addr(), Some(shard));
            for _ in 0..asked {
                let (error, id, epoch) = ask(&mut raw, None);
                assert_eq!((error, epoch), (ErrorCode::None, 0));
                assert!(given.insert(id), "{id} was given twice");
            }
        }
        // What is left of a block is not remembered: a stop is to the ids as a kill.
        broker.stop().unwrap();
    }
}

#[test]
fn an_epoch_follows_the_one_that_is_named() {
    let dir = tempfile::tempdir_in(scratch()).unwrap();
    let broker = start(dir.path());
    let mut raw = Raw::connect(broker.addr());
    let (_, id, _) = ask(&mut raw, None);
    assert_eq!(ask(&mut raw, Some((id, 0))), (ErrorCode::None, id, 1));
    assert_eq!(ask(&mut raw, Some((id, 1))), (ErrorCode::None, id, 2));
    let (error, other, epoch) = ask(&mut raw, Some((id, i16::MAX)));
    assert_eq!((error, epoch), (ErrorCode::None, 0));
    assert_ne!(other, id);
    assert_eq!(ask(&mut raw, Some((id + 1_000_000, 0))).0, ErrorCode::InvalidRequest, "nobody's");
    broker.stop().unwrap();
}
