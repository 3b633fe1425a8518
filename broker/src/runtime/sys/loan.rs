//! Bytes of one thread that another one reads, without a copy.
//!
//!     home ─ Loan ─ a message ─▶ borrower: reads the bytes, until its socket has taken them
//!      ▲                            │
//!      └── the owners go here ◀─────┘ the same Loan
//!
//! Owners are counted without atomics, and their memory is of their shard's pool: no other thread may clone or
//! drop them. The borrower only reads what they own, which does not change. A loan that cannot come home,
//! because its shard has stopped, is never freed.

use std::mem::ManuallyDrop;
use std::ops::Range;
use std::rc::Rc;
use std::thread::ThreadId;

use bytes::Bytes;
use glommio::io::DmaBuffer;
use storage::disk::uring::UringRead;

/// Owns bytes that other threads may read.
///
/// # Safety
///
/// As long as the value lives and is not moved, `as_ref` gives the same bytes at the same address, and nobody
/// changes them while they are shared.
pub unsafe trait Steady: AsRef<[u8]> {}

// SAFETY: heap memory of its own, or of a pool that it keeps alive; changed through `&mut` only.
unsafe impl Steady for DmaBuffer {}
// SAFETY: as above, and never changed after the read.
unsafe impl Steady for UringRead {}
// SAFETY: immutable.
unsafe impl Steady for Bytes {}
// SAFETY: immutable, and never freed.
unsafe impl Steady for &'static [u8] {}

type Owner = Rc<dyn Steady>;

pub struct Loan {
    /// Touched at home only.
    owners: ManuallyDrop<Vec<Owner>>,
    slices: Vec<Slice>,
    home: ThreadId,
}

struct Slice {
    start: *const u8,
    len: usize,
}

// SAFETY: `owners` is used by no thread but `home`, and the bytes behind `slices` stay where and as they are
// while the owners live, as `Steady` promises. They live until `home` drops the loan.
unsafe impl Send for Loan {}

impl Loan {
    /// # Panics
    /// If a range is not within its owner's bytes.
    pub fn new(pieces: impl Iterator<Item = (Owner, Range<usize>)>) -> Loan {
        let (mut owners, mut slices) = (Vec::new(), Vec::new());
        for (owner, range) in pieces {
            let bytes = (*owner).as_ref().get(range).expect("BUG: a piece outside of its owner");
            slices.push(Slice { start: bytes.as_ptr(), len: bytes.len() });
            owners.push(owner);
        }
        Loan { owners: ManuallyDrop::new(owners), slices, home: std::thread::current().id() }
    }

    /// Bytes of all pieces.
    pub fn len(&self) -> usize {
        self.slices.iter().map(|slice| slice.len).sum()
    }

    fn piece(&self, index: usize) -> &[u8] {
        let slice = self.slices.get(index).expect("BUG: a piece that is not in the loan");
        // SAFETY: it was a slice of an owner's when the loan was made, and the owners live as long as the loan.
        unsafe { std::slice::from_raw_parts(slice.start, slice.len) }
    }
}

/// The pieces of a loan at its borrower; `bring_home` gets it when the last of them is dropped.
pub fn borrow(loan: Loan, bring_home: impl FnOnce(Loan) + 'static) -> Vec<Rc<dyn Steady>> {
    let count = loan.slices.len();
    let borrowed = Rc::new(Borrowed { loan: Some(loan), bring_home: Some(Box::new(bring_home)) });
    (0..count).map(|index| Rc::new(Piece { of: borrowed.clone(), index }) as Rc<dyn Steady>).collect()
}

struct Borrowed {
    /// Gone only while it is dropped.
    loan: Option<Loan>,
    bring_home: Option<Box<dyn FnOnce(Loan)>>,
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        if let (Some(loan), Some(bring_home)) = (self.loan.take(), self.bring_home.take()) {
            bring_home(loan);
        }
    }
}

struct Piece {
    of: Rc<Borrowed>,
    index: usize,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        self.of.loan.as_ref().map_or(&[], |loan| loan.piece(self.index))
    }
}

// SAFETY: a loan's bytes do not change, and the loan lives as long as its pieces.
unsafe impl Steady for Piece {}

impl Drop for Loan {
    fn drop(&mut self) {
        if self.home == std::thread::current().id() {
            // SAFETY: dropped once, here, and not used afterwards.
            unsafe { ManuallyDrop::drop(&mut self.owners) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lend(owner: &Rc<Bytes>) -> Loan {
        let piece = |range| (owner.clone() as Owner, range);
        Loan::new([piece(0..5), piece(6..11)].into_iter())
    }

    #[test]
    fn is_read_elsewhere_and_freed_at_home() {
        let owner = Rc::new(Bytes::from("hello world".to_owned()));
        let loan = lend(&owner);
        let (road, home) = std::sync::mpsc::channel();
        let read = move || {
            assert_eq!(loan.len(), 10);
            let mut pieces = borrow(loan, move |loan| road.send(loan).unwrap());
            let second = pieces.pop().unwrap();
            let text = [(*pieces.pop().unwrap()).as_ref(), (*second).as_ref()].concat();
            drop(second);
            text
        };
        assert_eq!(std::thread::spawn(read).join().unwrap(), b"helloworld");
        assert_eq!(Rc::strong_count(&owner), 3);
        drop(home.recv().unwrap());
        assert_eq!(Rc::strong_count(&owner), 1);
    }

    #[test]
    fn what_does_not_come_home_is_never_freed() {
        let owner = Rc::new(Bytes::from("hello world".to_owned()));
        let loan = lend(&owner);
        std::thread::spawn(move || drop(loan)).join().unwrap();
        assert_eq!(Rc::strong_count(&owner), 3);
    }
}
