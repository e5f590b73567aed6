//! The only file that names sled: durable, fail-stop, and never opened over what it cannot read.
//! Never deletes or repairs anything but a snapshot that sled itself left half-written.
//!
//! Three habits of sled 0.34 shape this file. Its `flush` does not fsync on Linux, so `durable` does,
//! on a handle of our own. A node longer than a quarter of a segment goes to a file that is never
//! synced; a leaf of a directory of format 1 holds up to 17 values of 64 KiB, so segments are large.
//! A kill during open leaves a `snap.*.generating` that the next open takes for a snapshot, so those
//! are deleted first. And it writes a leaf anew with each change to it, so blocks lie in files beside
//! it (`segments`), which are only appended to, and sled holds their places.

mod engine;
mod segments;
mod side_table;

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ::sled::{Batch, Db, IVec, Tree};
use parking_lot::Mutex;
use rustix::fs::{FlockOperation, flock};

use self::engine::{Engine, engine_error, open_engine, read_first, remove_torn_snapshots};
pub(super) use self::segments::{NAME as SEGMENT_NAME, files as segment_files};
use self::segments::{Place, Segments};
pub use self::side_table::{ROW_BYTES_MAX, SledRows};
use super::block::{Block, framed};
use super::file::{self, FileError};
use super::store::{Damage, Store, StoreError, end_after};
use crate::types::id::Seq;

/// How often a closed database asks whether sled's threads have let go of its lock.
const CLOSE_TRIES_MAX: u32 = 100_000;

/// A key, and its new value or `None` to remove it.
type Entry = (IVec, Option<IVec>);

/// One sled database, with the durability that sled itself lacks.
pub struct SledDatabase {
    // Dropped before `data`, which waits for its end.
    db: Engine,
    data: DataFile,
    dir: PathBuf,
    cache_bytes_max: u64,
    poisoned: AtomicBool,
    /// One sync at a time: an error is reported to one of two that overlap, the other proves nothing.
    syncing: Mutex<()>,
    syncs: AtomicU64,
}

impl Drop for SledDatabase {
    /// sled syncs once more when it is closed, and panics where that fails: a disk that is found
    /// dead only now is left alone, too.
    fn drop(&mut self) {
        if !self.poisoned.load(Ordering::Acquire) && self.data.0.sync_all().is_err() {
            self.poison();
        }
    }
}

/// Our own handle on sled's data file. fsync acts on the file, whoever wrote; each handle is told
/// of an error once, so this one misses none.
struct DataFile(File, AtomicBool);

impl Drop for DataFile {
    /// A dropped database is closed: sled's threads keep its lock for a moment after its last handle,
    /// and one that is never closed keeps it for as long as the process lives.
    fn drop(&mut self) {
        if self.1.load(Ordering::Acquire) {
            return;
        }
        for _ in 0..CLOSE_TRIES_MAX {
            if flock(&self.0, FlockOperation::NonBlockingLockExclusive).is_ok() {
                return;
            }
            std::thread::yield_now();
        }
    }
}

impl SledDatabase {
    /// Makes an empty database in `dir`, whose parent must exist, and opens it. `cache_bytes_max`
    /// is a target: blocks in sled itself, of format 1, pass it by several hundred MiB when scanned.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when there is one; else the disk or sled failed, and what is there
    /// may be removed and created anew.
    pub fn create(dir: &Path, cache_bytes_max: u64) -> Result<Self, StoreError> {
        if dir.join("db").exists() || dir.join("conf").exists() {
            return Err(StoreError::Exists { path: dir.to_owned() });
        }
        file::create_directory(dir)?;
        let mut options = OpenOptions::new();
        options.create_new(true).mode(file::FILE_MODE);
        let database = Self::over(dir, &options, cache_bytes_max)?;
        database.durable()?;
        // sled syncs none of these, ever.
        for synced in [dir.join("conf"), dir.join("blobs"), dir.to_owned()] {
            file::sync_directory(&synced)?;
        }
        file::sync_directory(file::parent(dir))?;
        Ok(database)
    }

    /// Opens the database in `dir`. The caller holds a lock that keeps every other process out.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when there is none: nothing is created. [`StoreError::Engine`] when
    /// sled cannot read it; sled may have changed its files by then, so keep a copy first.
    pub fn open(dir: &Path, cache_bytes_max: u64) -> Result<Self, StoreError> {
        for path in [dir.join("db"), dir.join("conf")] {
            if !path.is_file() {
                return Err(StoreError::Missing { path });
            }
        }
        remove_torn_snapshots(dir)?;
        read_first(dir)?;
        let database = Self::over(dir, &OpenOptions::new(), cache_bytes_max)?;
        // Opening may have replaced the snapshot.
        file::sync_directory(dir)?;
        Ok(database)
    }

    fn over(dir: &Path, options: &OpenOptions, cache_bytes_max: u64) -> Result<Self, StoreError> {
        let path = dir.join("db");
        // Before sled's first write, so that no write error is reported to sled's handle only.
        let data = options.clone().read(true).write(true).open(&path);
        let data = DataFile(data.map_err(FileError::on("open", &path))?, AtomicBool::new(false));
        Ok(Self {
            db: open_engine(dir, cache_bytes_max)?,
            data,
            dir: dir.to_owned(),
            cache_bytes_max,
            poisoned: AtomicBool::new(false),
            syncing: Mutex::new(()),
            syncs: AtomicU64::new(0),
        })
    }

    /// Makes all that was written so far survive a power cut.
    ///
    /// # Errors
    /// Final: how much was made durable is unknown, and each later call fails with
    /// [`StoreError::Poisoned`]. The caller stops; only opening anew tells what is there.
    pub fn durable(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.syncing.lock();
        if self.poisoned.load(Ordering::Acquire) {
            return Err(StoreError::Poisoned);
        }
        let flushed = self.db.flush().map_err(|error| self.failed("flush", error));
        let synced = flushed.and_then(|_| {
            let synced = self.data.0.sync_data();
            synced.map_err(FileError::on("fsync", &self.dir.join("db"))).map_err(StoreError::from)
        });
        // The kernel may have dropped the pages that it could not write: a second fsync would
        // succeed and prove nothing.
        if synced.is_err() {
            self.poison();
        } else {
            self.syncs.fetch_add(1, Ordering::Relaxed);
        }
        synced
    }

    /// Nothing is written any more. Nor is the database ever closed, for sled would sync once more,
    /// and panic where that fails: its lock stays until the process ends.
    pub(super) fn poison(&self) {
        self.poisoned.store(true, Ordering::Release);
        self.data.1.store(true, Ordering::Release);
        std::mem::forget(Db::clone(&self.db));
    }

    /// Whether nothing is written any more.
    pub(super) fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Acquire)
    }

    /// Where its files are.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// How often data was made durable since the database was opened.
    pub fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    /// Writes all of `entries` or nothing, and makes them durable; no value removes the key.
    fn write(&self, tree: &Tree, entries: Vec<Entry>) -> Result<(), StoreError> {
        self.write_later(tree, entries)?;
        self.durable()
    }

    /// Writes all of `entries` or nothing; the next sync, whoever asks for it, makes them durable.
    fn write_later(&self, tree: &Tree, entries: Vec<Entry>) -> Result<(), StoreError> {
        if self.poisoned.load(Ordering::Acquire) {
            return Err(StoreError::Poisoned);
        }
        let written = match entries.as_slice() {
            // Atomic by itself; for a batch sled waits for the disk twice.
            [(key, Some(value))] => tree.insert(key, value).map(drop),
            _ => tree.apply_batch(batch_of(entries)),
        };
        written.map_err(|error| {
            self.poison();
            self.failed("write", error)
        })
    }

    fn tree(&self, name: &'static str) -> Result<Tree, StoreError> {
        self.db.open_tree(name).map_err(|error| self.failed("open a tree of", error))
    }

    fn failed(&self, what: &'static str, error: ::sled::Error) -> StoreError {
        StoreError::Engine { what, path: self.dir.clone(), source: engine_error(error) }
    }
}

/// How many bytes of blocks are appended before sled is made durable, too. That many are read again
/// after a crash.
const SYNC_BYTES: u64 = 16 * 1024 * 1024;

/// The log: blocks in files, and in the tree `records` where they lie, key = first seq of a block
/// (u64 big-endian). A batch is durable once its blocks are: their places can be found again.
pub struct SledStore {
    records: Tree,
    /// Held while a batch is made durable; readers never take it. The bytes since sled was durable.
    append: Mutex<u64>,
    /// Moved only after the records before it are durable.
    end: AtomicU64,
    segments: Segments,
    database: Arc<SledDatabase>,
    syncs: AtomicU64,
    found: u64,
}

impl SledStore {
    /// The log in `database`; empty in a new one. Blocks that a crash left without a place get one.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when the last block is not intact, or a file is missing before later
    /// ones, [`StoreError::Engine`] when sled cannot be read; no record was changed.
    pub fn open(database: Arc<SledDatabase>) -> Result<Self, StoreError> {
        let records = database.tree("records")?;
        let last = records.last().map_err(|error| database.failed("read", error))?;
        let segments = Segments::new(&database.dir);
        let known = last.as_ref().map(|entry| decode(entry, &segments)).transpose()?;
        let known = known.map_or(Seq(0), |block| block.end());
        let place = last.and_then(|(_, row)| Place::decode(&row));
        let found = segments.find_behind(place, known)?;
        let end = found.last().map_or(known, |newest| newest.end);
        let rows = found.iter().map(|found| row(found.first, found.place)).collect();
        if !found.is_empty() {
            database.write(&records, rows)?;
        }
        Ok(Self {
            records,
            append: Mutex::new(0),
            end: AtomicU64::new(end.0),
            segments,
            database,
            syncs: AtomicU64::new(0),
            found: end.0 - known.0,
        })
    }

    /// The database that it is in.
    pub(super) fn database(&self) -> &SledDatabase {
        &self.database
    }

    /// How many records had no place in sled when the log was opened.
    pub(super) fn found(&self) -> u64 {
        self.found
    }

    /// As [`Store::append`], of records that lie anywhere.
    pub(super) fn append_all<R: AsRef<[u8]>>(
        &self,
        first: Seq,
        records: &[R],
    ) -> Result<(), StoreError> {
        let mut unsynced_bytes = self.append.lock();
        if self.database.is_poisoned() {
            return Err(StoreError::Poisoned);
        }
        let end = end_after(first, self.end()?, records)?;
        let blocks = framed(first, records)?;
        let places =
            self.segments.append(first, &blocks).inspect_err(|_| self.database.poison())?;
        self.syncs.fetch_add(1, Ordering::Relaxed);
        let rows = blocks.iter().zip(places).map(|(block, place)| row(block.first(), place));
        self.database.write_later(&self.records, rows.collect())?;
        self.end.store(end.0, Ordering::Release);
        *unsynced_bytes += blocks.iter().map(|block| block.bytes().len() as u64).sum::<u64>();
        if SYNC_BYTES <= *unsynced_bytes {
            self.database.durable()?;
            *unsynced_bytes = 0;
        }
        Ok(())
    }
}

impl Store for SledStore {
    fn append(&self, first: Seq, records: &[Vec<u8>]) -> Result<(), StoreError> {
        self.append_all(first, records)
    }

    fn block(&self, seq: Seq) -> Result<Option<Block>, StoreError> {
        if self.end()? <= seq {
            return Ok(None);
        }
        let failed = |error| self.database.failed("read", error);
        let key = seq.0.to_be_bytes();
        // A scan always asks for the first record of a block; a look-up alone is cheaper.
        let entry = match self.records.get(key).map_err(failed)? {
            Some(value) => Some((IVec::from(&key), value)),
            None => self.records.get_lt(key).map_err(failed)?,
        };
        let block = entry.map(|entry| decode(&entry, &self.segments)).transpose()?;
        let block = block.filter(|block| seq < block.end());
        block.map(Some).ok_or(StoreError::Damaged { seq, what: Damage::Missing })
    }

    fn end(&self) -> Result<Seq, StoreError> {
        Ok(Seq(self.end.load(Ordering::Acquire)))
    }

    fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    fn settle(&self) -> Result<(), StoreError> {
        let mut unsynced_bytes = self.append.lock();
        self.database.durable()?;
        *unsynced_bytes = 0;
        Ok(())
    }
}

fn row(first: Seq, place: Place) -> Entry {
    (IVec::from(&first.0.to_be_bytes()), Some(IVec::from(&place.encode())))
}

fn decode((key, value): &(IVec, IVec), segments: &Segments) -> Result<Block, StoreError> {
    let key: &[u8; 8] = key
        .as_ref()
        .try_into()
        .map_err(|_| StoreError::Damaged { seq: Seq(0), what: Damage::Key { bytes: key.len() } })?;
    let seq = Seq(u64::from_be_bytes(*key));
    let block = match Place::decode(value) {
        Some(place) => Block::decode_behind_room(seq, segments.read(seq, place)?),
        None => Block::decode(seq, value.as_ref()),
    };
    block.map_err(|error| StoreError::Damaged { seq, what: error.into() })
}

fn batch_of(entries: Vec<Entry>) -> Batch {
    let mut batch = Batch::default();
    entries.into_iter().for_each(|(key, value)| match value {
        Some(value) => batch.insert(key, value),
        None => batch.remove(key),
    });
    batch
}

#[cfg(test)]
pub(super) mod tests;
