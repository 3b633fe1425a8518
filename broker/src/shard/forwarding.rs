//! Record sets of this shard's partitions for connections of others.
//!
//!     a few KiB  copied into one buffer, which the other shard owns
//!     more       lent: the other shard sends them from this one's chunks, and says when they are sent
//!
//! A Kafka client has one connection to a broker, so most of what it fetches is another shard's.

use std::rc::Rc;

use bytes::BytesMut;
use protocol::api::FetchResult;
use smallvec::smallvec;

use super::Shard;
use super::fetching::FetchResults;
use super::message::{Forwarded, ShardMessage};
use super::requests::Pieces;
use crate::connection::Piece;
use crate::metrics::count;
use crate::runtime::loan::{self, Loan, Steady};

/// Less is copied within microseconds, for which a loan would take a message home. Not measured.
const LEND_FROM: usize = 32 << 10;

/// Makes what was found ready to leave the shard's thread.
pub fn pack(shard: &Shard, found: FetchResults) -> (Vec<FetchResult>, Forwarded) {
    let len: usize = found.iter().map(|(result, _)| result.records_len as usize).sum();
    let (results, pieces): (Vec<FetchResult>, Vec<Pieces>) = found.into_iter().unzip();
    let pieces = pieces.into_iter().flatten();
    if LEND_FROM <= len {
        count(&shard.counters.lent_bytes, len as u64);
        count(&shard.counters.lent_bytes_now, len as u64);
        return (results, Forwarded::Lent { loan: Loan::new(pieces.map(Piece::into_parts)), home: shard.id });
    }
    let mut copied = BytesMut::with_capacity(len);
    pieces.for_each(|piece| copied.extend_from_slice(piece.bytes()));
    (results, Forwarded::Copied(copied.freeze()))
}

/// What another shard has found, as pieces for a reply.
pub fn unpack(shard: &Shard, results: Vec<FetchResult>, records: Forwarded) -> FetchResults {
    match records {
        Forwarded::Copied(mut bytes) => {
            let mut pieces_of = |result: &FetchResult| match result.records_len as usize {
                0 => Pieces::new(),
                len => smallvec![Piece::new(Rc::new(bytes.split_to(len)), 0..len)],
            };
            results.into_iter().map(|result| (result, pieces_of(&result))).collect()
        }
        Forwarded::Lent { loan, home } => {
            let home = shard.peer(home).clone();
            let bring_home = move |loan| {
                let _ = home.try_send(ShardMessage::Returned(loan)); // a shard that has stopped frees nothing
            };
            let mut owners = loan::borrow(loan, bring_home).into_iter();
            results.into_iter().map(|result| (result, take(&mut owners, &result))).collect()
        }
    }
}

/// The pieces of one result.
fn take(owners: &mut impl Iterator<Item = Rc<dyn Steady>>, result: &FetchResult) -> Pieces {
    let (mut pieces, mut left) = (Pieces::new(), result.records_len as usize);
    while 0 < left {
        let owner = owners.next().expect("BUG: a loan is as long as its results say");
        let len = (*owner).as_ref().len();
        left = left.checked_sub(len).expect("BUG: a piece is of one result");
        pieces.push(Piece::new(owner, 0..len));
    }
    pieces
}

/// A loan has come home.
pub fn end(shard: &Shard, loan: &Loan) {
    let left = shard.counters.lent_bytes_now.get().checked_sub(loan.len() as u64);
    shard.counters.lent_bytes_now.set(left.expect("BUG: more came home than was lent"));
}
