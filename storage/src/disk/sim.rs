//! A disk that lives in memory, loses power on request, and fails on request.
//!
//!     write_at ── in flight ──completes──▶ live (volatile) ──fdatasync──▶ durable
//!                     │                        │                            │
//!     power cut:   any 512-byte sectors     any sectors, any version      always
//!
//! Operations complete in an order drawn from the seed, one at each [`SimDisk::step`]; between two
//! steps the power may be cut ([`SimDisk::crash_image`]). A crash image keeps what is durable, and of
//! the rest any subset of sectors, each in any version it had since; of a new file's name, a size, a
//! block that was never written before, only what its own fdatasync or its directory's sync promised.
//!
//! With [`FlushScope::Device`] one fdatasync also makes durable the completed pure overwrites of
//! other files, and nothing else of them: that is what the commit rounds rely on, and a write that is
//! taken for an overwrite wrongly is lost here.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::{BLOCK, Buf, Buffers, Disk, DiskFile, FlushScope};

mod world;
use world::{Inode, Names, Overwrite, World};

/// Random numbers of the simulation, from one seed: SplitMix64.
#[derive(Clone, Debug)]
pub struct SimRng(u64);

impl SimRng {
    pub fn new(seed: u64) -> SimRng {
        SimRng(seed)
    }

    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.draw() % end as u64) as usize
    }

    pub fn coin(&mut self) -> bool {
        self.draw() & 1 == 1
    }
}

/// What goes wrong, and when: the n-th write, fdatasync, … counted from 1 over the whole disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    pub operation: Operation,
    pub nth: u64,
    /// Whether every later operation of this kind fails too.
    pub sticky: bool,
    pub error: io::ErrorKind,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Operation {
    Write,
    Fdatasync,
    Create,
    SyncDir,
    Read,
    Truncate,
    SyncAll,
    Remove,
    Offload,
}

/// An operation that was submitted and has not completed.
enum Pending {
    Write {
        inode: u64,
        at: u64,
        bytes: Vec<u8>,
    },
    Fdatasync {
        inode: u64,
        covers: Covered,
    },
    SyncDir {
        dir: String,
        names: Names,
    },
    SyncAll {
        then: Box<World>,
    },
    /// Dirty pages that a failed sync has marked clean: no later sync will write them.
    SyncFailed {
        inode: u64,
    },
    /// Takes time and changes nothing more: a read, or an operation that has failed.
    Wait,
}

/// What an fdatasync will have made durable: the state when it was submitted.
struct Covered {
    own: Inode,
    overwrites: Vec<Overwrite>,
}

struct Slot {
    pending: Option<Pending>,
    error: Option<io::ErrorKind>,
    waker: Option<Waker>,
}

struct State {
    world: World,
    rng: SimRng,
    scope: FlushScope,
    slots: BTreeMap<u64, Slot>,
    next_slot: u64,
    counts: BTreeMap<Operation, u64>,
    fault: Option<Fault>,
    free_bytes: u64,
}

#[derive(Clone)]
pub struct SimDisk(Rc<RefCell<State>>);

impl SimDisk {
    pub fn new(seed: u64, scope: FlushScope) -> SimDisk {
        SimDisk::with_world(World::default(), seed, scope)
    }

    fn with_world(world: World, seed: u64, scope: FlushScope) -> SimDisk {
        let state = State {
            world,
            rng: SimRng::new(seed),
            scope,
            slots: BTreeMap::new(),
            next_slot: 0,
            counts: BTreeMap::new(),
            fault: None,
            free_bytes: u64::MAX,
        };
        SimDisk(Rc::new(RefCell::new(state)))
    }

    pub fn set_fault(&self, fault: Fault) {
        self.0.borrow_mut().fault = Some(fault);
    }

    /// How many operations of a kind were submitted.
    pub fn count(&self, operation: Operation) -> u64 {
        self.0.borrow().counts.get(&operation).copied().unwrap_or(0)
    }

    /// Completes one pending operation, chosen by the seed. `false` if there is none.
    pub fn step(&self) -> bool {
        let mut state = self.0.borrow_mut();
        let ready: Vec<u64> =
            state.slots.iter().filter(|(_, slot)| slot.pending.is_some()).map(|(id, _)| *id).collect();
        if ready.is_empty() {
            return false;
        }
        let chosen = ready[state.rng.below(ready.len())];
        let slot = state.slots.get_mut(&chosen).expect("BUG: chosen from the slots");
        let pending = slot.pending.take().expect("BUG: chosen because it is pending");
        let waker = slot.waker.take();
        state.world.complete(pending);
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// Runs a future to its end, completing the disk's operations in the disk's order.
    ///
    /// # Panics
    /// If the future waits for something that is not this disk.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        loop {
            if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                return value;
            }
            assert!(self.step(), "stuck: the future waits for something that is not the disk");
        }
    }

    /// What the disk might hold if the power went now: one of many, drawn by `seed`.
    pub fn crash_image(&self, seed: u64) -> SimDisk {
        let state = self.0.borrow();
        let in_flight = state.slots.values().filter_map(|slot| match &slot.pending {
            Some(Pending::Write { inode, at, bytes }) => Some((*inode, *at, bytes.as_slice())),
            _ => None,
        });
        let mut rng = SimRng::new(seed);
        let world = state.world.after_power_cut(in_flight, &mut rng);
        SimDisk::with_world(world, rng.draw(), state.scope)
    }

    /// What a killed process leaves: every completed write, and of those in flight any subset.
    pub fn kill_image(&self, seed: u64) -> SimDisk {
        let state = self.0.borrow();
        let mut world = state.world.clone();
        let mut rng = SimRng::new(seed);
        for slot in state.slots.values() {
            if let Some(Pending::Write { inode, at, bytes }) = &slot.pending
                && rng.coin()
            {
                world.write(*inode, *at, bytes);
            }
        }
        SimDisk::with_world(world, rng.draw(), state.scope)
    }

    /// Changes bytes behind everybody's back: damage for tests of corruption.
    pub fn damage(&self, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
        self.0.borrow_mut().world.damage(path, change);
    }

    pub fn contents(&self, path: &str) -> Option<Vec<u8>> {
        self.0.borrow().world.contents(path)
    }

    /// Every file there is, for checks that none was deleted.
    pub fn files(&self) -> BTreeSet<String> {
        self.0.borrow().world.files()
    }

    fn admit(&self, operation: Operation) -> Option<io::ErrorKind> {
        let mut state = self.0.borrow_mut();
        let count = state.counts.entry(operation).or_default();
        *count += 1;
        let count = *count;
        let fault = state.fault.filter(|fault| fault.operation == operation)?;
        (count == fault.nth || (fault.sticky && fault.nth < count)).then_some(fault.error)
    }

    /// Submits an operation and waits for its completion.
    async fn run(
        &self,
        operation: Operation,
        pending: impl FnOnce(&World) -> io::Result<Pending>,
    ) -> io::Result<()> {
        let error = self.admit(operation);
        let id = {
            let mut state = self.0.borrow_mut();
            // A failed write may have left any part of its bytes: it stays in flight until it fails.
            let pending = pending(&state.world)?;
            let pending = match (&error, pending) {
                (Some(_), Pending::Write { inode, at, bytes }) => {
                    let kept = state.rng.below(bytes.len() / 512 + 1) * 512;
                    Pending::Write { inode, at, bytes: bytes[..kept].to_vec() }
                }
                (Some(_), Pending::Fdatasync { inode, .. }) => Pending::SyncFailed { inode },
                (Some(_), _) => Pending::Wait,
                (None, pending) => pending,
            };
            let id = state.next_slot;
            state.next_slot += 1;
            state.slots.insert(id, Slot { pending: Some(pending), error, waker: None });
            id
        };
        poll_fn(|cx| {
            let mut state = self.0.borrow_mut();
            let slot = state.slots.get_mut(&id).expect("BUG: a slot lives until it is polled to its end");
            if slot.pending.is_some() {
                slot.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            let error = slot.error;
            state.slots.remove(&id);
            Poll::Ready(error.map_or(Ok(()), |kind| Err(io::Error::from(kind))))
        })
        .await
    }
}

/// Memory of the simulated disk. New buffers are filled with a pattern: a byte that was never set
/// must not look like a zero.
pub struct SimBuf(Vec<u8>);

impl AsRef<[u8]> for SimBuf {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl AsMut<[u8]> for SimBuf {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Buf for SimBuf {
    fn trim(&mut self, len: usize) {
        self.0.truncate(len);
    }
}

impl Buffers for SimDisk {
    type Buf = SimBuf;

    fn alloc(&self, len: usize) -> SimBuf {
        assert!(len > 0 && len.is_multiple_of(BLOCK), "BUG: direct I/O buffer of {len} bytes");
        SimBuf(vec![0xA5; len])
    }
}

impl Disk for SimDisk {
    type File = SimFile;

    fn flush_scope(&self) -> FlushScope {
        self.0.borrow().scope
    }

    async fn create(&self, path: &str) -> io::Result<SimFile> {
        self.run(Operation::Create, |_| Ok(Pending::Wait)).await?;
        let inode = self.0.borrow_mut().world.create(path)?;
        Ok(SimFile { disk: self.clone(), inode })
    }

    async fn open(&self, path: &str) -> io::Result<SimFile> {
        let inode = self.0.borrow().world.lookup(path)?;
        Ok(SimFile { disk: self.clone(), inode })
    }

    async fn create_dir(&self, path: &str) -> io::Result<()> {
        self.0.borrow_mut().world.create_dir(path)
    }

    async fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.0.borrow().world.list(dir)
    }

    async fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.run(Operation::Create, |_| Ok(Pending::Wait)).await?;
        self.0.borrow_mut().world.rename(from, to)
    }

    async fn link(&self, from: &str, to: &str) -> io::Result<()> {
        self.run(Operation::Create, |_| Ok(Pending::Wait)).await?;
        self.0.borrow_mut().world.link(from, to)
    }

    async fn remove_file(&self, path: &str) -> io::Result<()> {
        self.run(Operation::Remove, |_| Ok(Pending::Wait)).await?;
        self.0.borrow_mut().world.remove(path)
    }

    async fn remove_dir(&self, path: &str) -> io::Result<()> {
        self.0.borrow_mut().world.remove_dir(path)
    }

    async fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.run(Operation::SyncDir, |world| {
            Ok(Pending::SyncDir { dir: dir.to_owned(), names: world.names(dir) })
        })
        .await
    }

    async fn sync_all(&self) -> io::Result<()> {
        self.run(Operation::SyncAll, |world| Ok(Pending::SyncAll { then: Box::new(world.clone()) })).await
    }

    async fn offload<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let waited = self.run(Operation::Offload, |_| Ok(Pending::Wait)).await;
        waited.expect("BUG: no fault is injected into work that is not the disk's");
        work()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(self.0.borrow().free_bytes)
    }
}

pub struct SimFile {
    disk: SimDisk,
    inode: u64,
}

fn check_aligned(at: u64, len: usize) -> io::Result<()> {
    if at.is_multiple_of(BLOCK as u64) && len.is_multiple_of(BLOCK) {
        Ok(())
    } else {
        Err(io::ErrorKind::InvalidInput.into())
    }
}

impl DiskFile for SimFile {
    type Buf = SimBuf;
    type ReadBuf = Rc<[u8]>;

    async fn write_at(&self, buf: Rc<SimBuf>, at: u64) -> io::Result<()> {
        check_aligned(at, buf.0.len())?;
        let write = |_: &World| Ok(Pending::Write { inode: self.inode, at, bytes: buf.0.clone() });
        self.disk.run(Operation::Write, write).await
    }

    async fn read_at(&self, at: u64, len: usize) -> io::Result<Rc<[u8]>> {
        check_aligned(at, len)?;
        self.disk.run(Operation::Read, |_| Ok(Pending::Wait)).await?;
        Ok(self.disk.0.borrow().world.read(self.inode, at, len).into())
    }

    async fn fdatasync(&self) -> io::Result<()> {
        let device = self.disk.flush_scope() == FlushScope::Device;
        self.disk
            .run(Operation::Fdatasync, |world| {
                let overwrites = if device { world.volatile_overwrites(self.inode) } else { Vec::new() };
                Ok(Pending::Fdatasync {
                    inode: self.inode,
                    covers: Covered { own: world.inode(self.inode), overwrites },
                })
            })
            .await
    }

    async fn reserve(&self, _from: u64, to: u64) -> io::Result<()> {
        self.disk.run(Operation::Truncate, |_| Ok(Pending::Wait)).await?;
        let mut sim = self.disk.0.borrow_mut();
        if sim.world.inode(self.inode).live_len() < to {
            sim.world.truncate(self.inode, to);
        }
        Ok(())
    }

    async fn truncate(&self, len: u64) -> io::Result<()> {
        self.disk.run(Operation::Truncate, |_| Ok(Pending::Wait)).await?;
        self.disk.0.borrow_mut().world.truncate(self.inode, len);
        Ok(())
    }

    async fn size(&self) -> io::Result<u64> {
        Ok(self.disk.0.borrow().world.inode(self.inode).live_len())
    }

    async fn close(self) -> io::Result<()> {
        Ok(())
    }
}
