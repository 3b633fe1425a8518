//! The planes of the simulated disk: what programs see, what a power cut leaves.
//!
//!     Inode  live     [ block ][ block ][ block ]      size 3 blocks      what reads return
//!            history  sector → versions since the last covering sync
//!            durable  [ block ][ block ]               size 2 blocks, these blocks have extents
//!
//!     names  live {a, b, c}      durable {a, b}        per directory; a sync copies live to durable

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::{Pending, SimRng};
use crate::disk::BLOCK;

/// What a device writes whole; the page of a write may be torn between two.
const SECTOR: usize = 512;

#[derive(Clone, Default)]
pub struct Inode {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// Blocks whose extent is durable: overwriting them changes no metadata.
    extents: BTreeSet<u64>,
    /// Contents that sectors had, oldest first, since they were last made durable.
    history: BTreeMap<u64, Vec<Version>>,
    /// Sizes the file had since its size was last made durable, and the change that ended each.
    sizes: Vec<(u64, usize)>,
    /// Changes so far, and how many of them the last completed sync of this file covered. Of two
    /// syncs in flight the later one may complete first; the earlier one then changes nothing.
    changes: u64,
    synced: u64,
    /// Sectors that a flush of the device made durable, and up to which change: an older sync of
    /// this file that completes later must not take them back.
    flushed: BTreeMap<u64, u64>,
    /// Sectors that a failed sync gave up: what they hold reaches the disk only if written again.
    lost: BTreeSet<u64>,
}

/// What a sector was changed to, and by which change of the file.
type Version = (u64, Vec<u8>);

impl Inode {
    pub fn live_len(&self) -> u64 {
        self.live.len() as u64
    }

    fn write(&mut self, at: u64, bytes: &[u8]) {
        let end = at as usize + bytes.len();
        self.changes += 1;
        if self.live.len() < end {
            self.sizes.push((self.changes, self.live.len()));
            self.live.resize(end, 0);
        }
        self.live[at as usize..end].copy_from_slice(bytes);
        for (n, sector) in bytes.chunks(SECTOR).enumerate() {
            self.history
                .entry(at / SECTOR as u64 + n as u64)
                .or_default()
                .push((self.changes, sector.to_vec()));
            self.lost.remove(&(at / SECTOR as u64 + n as u64));
        }
    }

    /// A sync of this file failed: what it should have written stays in memory only.
    fn give_up(&mut self) {
        self.lost.extend(self.history.keys());
        self.history.clear();
    }

    fn truncate(&mut self, len: usize) {
        self.changes += 1;
        self.sizes.push((self.changes, self.live.len()));
        self.live.resize(len, 0);
    }

    /// What `then` holds, an earlier state of this file, becomes durable.
    fn sync_to(&mut self, then: &Inode) {
        if then.changes < self.synced {
            return;
        }
        self.synced = then.changes;
        let before = std::mem::replace(&mut self.durable, then.live.clone());
        self.flushed.retain(|_, change| then.changes < *change);
        for sector in self.flushed.keys() {
            let at = *sector as usize * SECTOR;
            if let (Some(place), Some(newer)) =
                (self.durable.get_mut(at..at + SECTOR), before.get(at..at + SECTOR))
            {
                place.copy_from_slice(newer);
            }
        }
        for sector in &then.lost {
            let at = *sector as usize * SECTOR;
            let end = (at + SECTOR).min(self.durable.len());
            if let Some(place) = self.durable.get_mut(at..end) {
                let len = place.len();
                place.fill(0);
                if let Some(old) = before.get(at..at + len) {
                    place.copy_from_slice(old);
                }
            }
        }
        self.extents = (0..then.live.len().div_ceil(BLOCK) as u64).collect();
        self.history.retain(|_, versions| {
            versions.retain(|(change, _)| then.changes < *change);
            !versions.is_empty()
        });
        self.sizes.retain(|(change, _)| then.changes < *change);
    }

    fn sync(&mut self) {
        let now = self.clone();
        self.sync_to(&now);
    }

    fn is_overwrite(&self, sector: u64) -> bool {
        let block = sector * SECTOR as u64 / BLOCK as u64;
        let end = (sector as usize + 1) * SECTOR;
        self.extents.contains(&block) && end <= self.durable.len()
    }

    /// One state that a power cut may leave.
    fn after_power_cut(&self, in_flight: &[(u64, &[u8])], rng: &mut SimRng) -> Inode {
        let mut sizes = vec![self.durable.len()];
        if !self.sizes.is_empty() {
            sizes.extend(self.sizes.iter().map(|(_, size)| *size));
            sizes.push(self.live.len());
        }
        sizes.extend(
            in_flight
                .iter()
                .map(|(at, bytes)| *at as usize + bytes.len())
                .filter(|end| self.live.len() < *end),
        );
        let size = sizes[rng.below(sizes.len())];
        let mut left = self.durable.clone();
        left.resize(size, 0);
        let mut versions = self.history.clone();
        for (at, bytes) in in_flight {
            for (n, sector) in bytes.chunks(SECTOR).enumerate() {
                versions.entry(at / SECTOR as u64 + n as u64).or_default().push((u64::MAX, sector.to_vec()));
            }
        }
        // Often all or nothing survives; the subsets in between are drawn sector by sector, as a disk with
        // sectors of 512 bytes tears, or block by block, as one with 4096.
        let mood = rng.below(5);
        let mut block = (u64::MAX, 0);
        for (sector, versions) in &versions {
            if mood != 4 || block.0 != sector * SECTOR as u64 / BLOCK as u64 {
                block = (sector * SECTOR as u64 / BLOCK as u64, rng.draw());
            }
            let survivor = match mood {
                0 => None,
                1 => versions.last(),
                _ => versions.get((block.1 % (versions.len() as u64 + 1)) as usize),
            };
            let at = *sector as usize * SECTOR;
            if let Some((_, bytes)) = survivor
                && at < left.len()
            {
                let end = (at + bytes.len()).min(left.len());
                left[at..end].copy_from_slice(&bytes[..end - at]);
            }
        }
        let mut inode = Inode { live: left, ..Inode::default() };
        inode.sync();
        inode
    }
}

/// A completed overwrite of durable blocks, which any flush of the device makes durable.
pub struct Overwrite {
    inode: u64,
    sector: u64,
    change: u64,
}

#[derive(Clone, Default)]
pub struct Names {
    live: BTreeMap<String, u64>,
    durable: BTreeMap<String, u64>,
    changes: u64,
    synced: u64,
}

#[derive(Clone, Default)]
pub struct World {
    inodes: BTreeMap<u64, Inode>,
    /// Directory to names; the entry of a directory itself counts as durable once made, which the
    /// broker's directories are before anything is written into them.
    dirs: BTreeMap<String, Names>,
    next_inode: u64,
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl World {
    pub fn inode(&self, inode: u64) -> Inode {
        self.inodes.get(&inode).cloned().unwrap_or_default()
    }

    fn inode_mut(&mut self, inode: u64) -> &mut Inode {
        self.inodes.entry(inode).or_default()
    }

    pub fn create(&mut self, path: &str) -> io::Result<u64> {
        let (dir, name) = split(path);
        let inode = self.next_inode;
        let names = self.dirs.entry(dir.to_owned()).or_default();
        if names.live.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        names.live.insert(name.to_owned(), inode);
        names.changes += 1;
        self.next_inode += 1;
        self.inodes.insert(inode, Inode::default());
        Ok(inode)
    }

    pub fn lookup(&self, path: &str) -> io::Result<u64> {
        let (dir, name) = split(path);
        self.dirs.get(dir).and_then(|names| names.live.get(name)).copied().ok_or_else(not_found)
    }

    pub fn create_dir(&mut self, path: &str) -> io::Result<()> {
        self.dirs.entry(path.to_owned()).or_default();
        Ok(())
    }

    pub fn remove_dir(&mut self, path: &str) -> io::Result<()> {
        self.dirs.remove(path).map(drop).ok_or_else(not_found)
    }

    pub fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let names = self.dirs.get(dir).ok_or_else(not_found)?;
        Ok(names.live.keys().cloned().collect())
    }

    /// The names of a directory as they are, for a sync to make durable.
    pub fn names(&self, dir: &str) -> Names {
        self.dirs.get(dir).cloned().unwrap_or_default()
    }

    pub fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let inode = self.lookup(from)?;
        self.remove(from)?;
        let (dir, name) = split(to);
        let names = self.dirs.entry(dir.to_owned()).or_default();
        names.live.insert(name.to_owned(), inode);
        names.changes += 1;
        Ok(())
    }

    pub fn link(&mut self, from: &str, to: &str) -> io::Result<()> {
        let inode = self.lookup(from)?;
        let (dir, name) = split(to);
        let names = self.dirs.entry(dir.to_owned()).or_default();
        if names.live.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        names.live.insert(name.to_owned(), inode);
        names.changes += 1;
        Ok(())
    }

    pub fn remove(&mut self, path: &str) -> io::Result<()> {
        let (dir, name) = split(path);
        let names = self.dirs.get_mut(dir).ok_or_else(not_found)?;
        names.changes += 1;
        names.live.remove(name).map(drop).ok_or_else(not_found)
    }

    pub fn write(&mut self, inode: u64, at: u64, bytes: &[u8]) {
        self.inode_mut(inode).write(at, bytes);
    }

    pub fn truncate(&mut self, inode: u64, len: u64) {
        self.inode_mut(inode).truncate(len as usize);
    }

    pub fn read(&self, inode: u64, at: u64, len: usize) -> Vec<u8> {
        let live = self.inodes.get(&inode).map_or(&[][..], |inode| &inode.live);
        let start = (at as usize).min(live.len());
        let end = (start + len).min(live.len());
        live[start..end].to_vec()
    }

    /// Completed writes to other files that changed no metadata: a device flush covers them.
    pub fn volatile_overwrites(&self, except: u64) -> Vec<Overwrite> {
        let mut overwrites = Vec::new();
        for (id, inode) in self.inodes.iter().filter(|(id, _)| **id != except) {
            for (sector, versions) in inode.history.iter().filter(|(sector, _)| inode.is_overwrite(**sector))
            {
                overwrites.extend(versions.last().map(|(change, _)| Overwrite {
                    inode: *id,
                    sector: *sector,
                    change: *change,
                }));
            }
        }
        overwrites
    }

    pub(super) fn complete(&mut self, pending: Pending) {
        match pending {
            Pending::Write { inode, at, bytes } => self.write(inode, at, &bytes),
            Pending::Fdatasync { inode, covers } => {
                self.inode_mut(inode).sync_to(&covers.own);
                for overwrite in covers.overwrites {
                    self.make_durable(overwrite);
                }
            }
            Pending::SyncDir { dir, names } => self.sync_names(&dir, names),
            Pending::SyncAll { then } => {
                for (id, inode) in &then.inodes {
                    self.inode_mut(*id).sync_to(inode);
                }
                for (dir, names) in then.dirs {
                    self.sync_names(&dir, names);
                }
            }
            Pending::SyncFailed { inode } => self.inode_mut(inode).give_up(),
            Pending::Wait => {}
        }
    }

    fn sync_names(&mut self, dir: &str, then: Names) {
        if let Some(now) = self.dirs.get_mut(dir)
            && now.synced <= then.changes
        {
            now.synced = then.changes;
            now.durable = then.live;
        }
    }

    fn make_durable(&mut self, overwrite: Overwrite) {
        let inode = self.inode_mut(overwrite.inode);
        let Some(versions) = inode.history.get_mut(&overwrite.sector) else { return };
        let Some(index) = versions.iter().position(|(change, _)| *change == overwrite.change) else { return };
        let at = overwrite.sector as usize * SECTOR;
        let (_, bytes) = &versions[index];
        if let Some(place) = inode.durable.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
        inode.flushed.insert(overwrite.sector, overwrite.change);
        versions.drain(..=index);
        if versions.is_empty() {
            inode.history.remove(&overwrite.sector);
        }
    }

    pub(super) fn after_power_cut<'a>(
        &self,
        in_flight: impl Iterator<Item = (u64, u64, &'a [u8])>,
        rng: &mut SimRng,
    ) -> World {
        let mut flying: BTreeMap<u64, Vec<(u64, &[u8])>> = BTreeMap::new();
        for (inode, at, bytes) in in_flight {
            flying.entry(inode).or_default().push((at, bytes));
        }
        let mut left = World { next_inode: self.next_inode, ..World::default() };
        for (dir, names) in &self.dirs {
            // Each name that changed since the last sync may or may not have made it.
            let mut survived = names.durable.clone();
            let all: BTreeSet<&String> = names.durable.keys().chain(names.live.keys()).collect();
            for name in all {
                let (before, after) = (names.durable.get(name), names.live.get(name));
                if before != after && rng.coin() {
                    match after {
                        Some(inode) => survived.insert(name.clone(), *inode),
                        None => survived.remove(name),
                    };
                }
            }
            left.dirs
                .insert(dir.clone(), Names { live: survived.clone(), durable: survived, ..Names::default() });
        }
        for (id, inode) in &self.inodes {
            let flying = flying.get(id).map_or(&[][..], Vec::as_slice);
            left.inodes.insert(*id, inode.after_power_cut(flying, rng));
        }
        left
    }

    pub fn damage(&mut self, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let inode = self.lookup(path).expect("BUG: a test damages a file that exists");
        let inode = self.inode_mut(inode);
        change(&mut inode.live);
        inode.sync();
    }

    pub fn contents(&self, path: &str) -> Option<Vec<u8>> {
        self.lookup(path).ok().map(|inode| self.inode(inode).live)
    }

    pub fn files(&self) -> BTreeSet<String> {
        let paths = self
            .dirs
            .iter()
            .flat_map(|(dir, names)| names.live.keys().map(move |name| format!("{dir}/{name}")));
        paths.collect()
    }
}
