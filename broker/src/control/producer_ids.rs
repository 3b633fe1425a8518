//! Producer ids: reserved in blocks by a record of the catalog, given out one by one.
//!
//!     catalog  ProducerIdsReserved { next: 3000 }        durable before the first of the block is given
//!     block    [2000 … 2417 given … 2418 next … 3000)    what a crash leaves of it is never given out
//!
//! Napkin: a durable record costs a few milliseconds and one in a thousand requests pays it.

use std::ops::Range;

use protocol::api::{InitProducerIdReply, InitProducerIdRequest};
use protocol::model::{ErrorCode, ProducerEpoch, ProducerId};
use storage::catalog::{Catalog, MetadataRecord};

/// Ids that are reserved and were not given out; empty at start.
#[derive(Default)]
pub struct ProducerIds {
    block: Range<i64>,
}

impl ProducerIds {
    /// Answers a producer. Where a record comes with it, that is to be applied, and to be durable before
    /// this answer or a later one is told.
    pub fn answer(
        &mut self,
        request: InitProducerIdRequest,
        catalog: &Catalog,
    ) -> (InitProducerIdReply, Option<MetadataRecord>) {
        match request.producer {
            Some((id, _)) if catalog.producer_ids_next() <= id => {
                // An id of another cluster, or of a data directory that was lost: its epochs say nothing
                // here, and it may be somebody's one day.
                (InitProducerIdReply::refused(ErrorCode::InvalidRequest), None)
            }
            Some((id, epoch)) if epoch.get() < i16::MAX => {
                (given(id, ProducerEpoch::new(epoch.get() + 1)), None)
            }
            Some(_) | None => {
                let (id, record) = self.next(catalog);
                (given(id, ProducerEpoch::FIRST), record)
            }
        }
    }

    fn next(&mut self, catalog: &Catalog) -> (ProducerId, Option<MetadataRecord>) {
        let (start, mut record) = (catalog.producer_ids_next().get(), None);
        if self.block.is_empty() {
            let reserved = catalog.plan_producer_ids();
            let MetadataRecord::ProducerIdsReserved { next } = reserved else {
                panic!("BUG: {reserved:?} reserves no producer ids");
            };
            self.block = start..next.get();
            record = Some(reserved);
        }
        let id = self.block.next().expect("BUG: a block that was just reserved has ids");
        assert!(id < start || record.is_some(), "BUG: producer id {id} is not reserved");
        (ProducerId::new(id), record)
    }

    /// A record was not made durable: its ids are nobody's. What is left of an earlier block goes as well,
    /// since there are enough.
    pub fn forget(&mut self) {
        self.block = 0..0;
    }
}

fn given(producer_id: ProducerId, producer_epoch: ProducerEpoch) -> InitProducerIdReply {
    InitProducerIdReply { error: ErrorCode::None, producer_id, producer_epoch }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn ask(producer: Option<(i64, i16)>) -> InitProducerIdRequest {
        let producer = producer.map(|(id, epoch)| (ProducerId::new(id), ProducerEpoch::new(epoch)));
        InitProducerIdRequest { timeout_ms: 1000, producer }
    }

    /// The records are what survives; each life of the broker begins with them alone.
    fn live(records: &mut Vec<MetadataRecord>, requests: usize) -> Vec<i64> {
        let mut catalog = Catalog::from_records(records);
        let mut ids = ProducerIds::default();
        let mut ask_one = || {
            let (reply, record) = ids.answer(ask(None), &catalog);
            record.iter().for_each(|record| catalog.apply(record));
            records.extend(record);
            assert_eq!((reply.error, reply.producer_epoch), (ErrorCode::None, ProducerEpoch::FIRST));
            reply.producer_id.get()
        };
        (0..requests).map(|_| ask_one()).collect()
    }

    #[test]
    fn no_id_is_given_twice_whenever_the_broker_dies() {
        let mut records = Vec::new();
        let mut given = HashSet::new();
        for requests in [1, 999, 0, 1000, 1001, 2500, 1, 1] {
            for id in live(&mut records, requests) {
                assert!(given.insert(id), "{id} was given twice");
            }
        }
        assert!(records.len() <= 12, "a record reserves a thousand: {}", records.len());
    }

    #[test]
    fn an_epoch_follows_the_last_until_there_is_none() {
        let mut catalog = Catalog::default();
        let mut ids = ProducerIds::default();
        let mut answer = |request| {
            let (reply, record) = ids.answer(request, &catalog);
            record.iter().for_each(|record| catalog.apply(record));
            (reply.error, reply.producer_id.get(), reply.producer_epoch.get())
        };
        assert_eq!(answer(ask(Some((0, 0)))).0, ErrorCode::InvalidRequest, "nobody has it");
        assert_eq!(answer(ask(None)), (ErrorCode::None, 0, 0));
        assert_eq!(answer(ask(Some((0, 0)))), (ErrorCode::None, 0, 1));
        assert_eq!(answer(ask(Some((0, 0)))), (ErrorCode::None, 0, 1), "a repeated request is the same one");
        assert_eq!(answer(ask(Some((0, i16::MAX - 1)))), (ErrorCode::None, 0, i16::MAX));
        assert_eq!(answer(ask(Some((0, i16::MAX)))), (ErrorCode::None, 1, 0));
    }

    #[test]
    fn what_could_not_be_reserved_is_not_given() {
        let (mut catalog, mut ids) = (Catalog::default(), ProducerIds::default());
        let (reply, record) = ids.answer(ask(None), &catalog);
        assert!(reply.producer_id.get() == 0 && record.is_some());
        ids.forget();
        let (reply, record) = ids.answer(ask(None), &catalog);
        assert_eq!(reply.producer_id.get(), 0, "nobody was told of it");
        catalog.apply(&record.expect("the block has to be reserved again"));
        assert_eq!(ids.answer(ask(None), &catalog), (given(ProducerId::new(1), ProducerEpoch::FIRST), None));
    }
}
