//! The only file that names sled: durable, fail-stop, and never opened over what it cannot read.
//! Never deletes or repairs anything but a snapshot that sled itself left half-written.
//!
//! Three habits of sled 0.34 shape this file. Its `flush` does not fsync on Linux, so `durable` does,
//! on a handle of our own. A node longer than a quarter of a segment goes to a file that is never
//! synced; a leaf holds up to 17 values of 64 KiB, so segments are large. A kill during open leaves
//! a `snap.*.generating` that the next open takes for a snapshot, so those are deleted first.

mod engine;
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
use super::block::{Block, split};
use super::file::{self, FileError};
use super::store::{Damage, Store, StoreError, end_after};
use crate::types::id::Seq;

/// The longest row of a table, key and value together, in bytes.
pub const ROW_BYTES_MAX: usize = 64 * 1024 - 1;

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
struct DataFile(File);

impl Drop for DataFile {
    /// A dropped database is closed: sled's threads keep its lock for a moment after its last handle.
    fn drop(&mut self) {
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
    /// is a target: scans have been measured to pass it by several hundred MiB.
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
        let data = DataFile(data.map_err(FileError::on("open", &path))?);
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
    fn poison(&self) {
        self.poisoned.store(true, Ordering::Release);
        std::mem::forget(Db::clone(&self.db));
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

/// The log on sled: tree `records`, key = first seq of a block (u64 big-endian), value = the block.
pub struct SledStore {
    records: Tree,
    /// Held while a batch is made durable; readers never take it.
    append: Mutex<()>,
    /// Moved only after the records before it are durable.
    end: AtomicU64,
    database: Arc<SledDatabase>,
}

impl SledStore {
    /// The log in `database`; empty in a new one.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when the last block is not intact, [`StoreError::Engine`] when it
    /// cannot be read; nothing is changed.
    pub fn open(database: Arc<SledDatabase>) -> Result<Self, StoreError> {
        let records = database.tree("records")?;
        let last = records.last().map_err(|error| database.failed("read", error))?;
        let last = last.map(|entry| decode(&entry)).transpose()?;
        let end = last.map_or(Seq(0), |block| block.end());
        Ok(Self { records, append: Mutex::new(()), end: AtomicU64::new(end.0), database })
    }
}

impl Store for SledStore {
    fn append(&self, first: Seq, records: &[Vec<u8>]) -> Result<(), StoreError> {
        let _one_at_a_time = self.append.lock();
        if self.database.poisoned.load(Ordering::Acquire) {
            return Err(StoreError::Poisoned);
        }
        let end = end_after(first, self.end()?, records)?;
        let mut blocks = Vec::new();
        let mut at = first;
        for part in split(records) {
            let block = Block::encode(at, part)?;
            blocks.push((IVec::from(&at.0.to_be_bytes()), Some(block.into())));
            at = end_after(at, at, part)?;
        }
        self.database.write(&self.records, blocks)?;
        self.end.store(end.0, Ordering::Release);
        Ok(())
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
        let block = entry.map(|entry| decode(&entry)).transpose()?;
        let block = block.filter(|block| seq < block.end());
        block.map(Some).ok_or(StoreError::Damaged { seq, what: Damage::Missing })
    }

    fn end(&self) -> Result<Seq, StoreError> {
        Ok(Seq(self.end.load(Ordering::Acquire)))
    }
}

/// A small table of rows that may change and go, each change durable. For what the log must not
/// hold; a removed row's bytes stay in the file until [`SledRows::rewrite_into`] leaves it behind.
pub struct SledRows {
    rows: Tree,
    /// Held by each change, and while the table is rewritten.
    changing: Mutex<()>,
    database: Arc<SledDatabase>,
}

impl SledRows {
    /// Makes an empty table in a database of its own; as [`SledDatabase::create`].
    ///
    /// # Errors
    /// As [`SledDatabase::create`].
    pub fn create(dir: &Path, cache_bytes_max: u64) -> Result<Self, StoreError> {
        Self::within(Arc::new(SledDatabase::create(dir, cache_bytes_max)?), "rows")
    }

    /// Opens a table that stands in a database of its own; as [`SledDatabase::open`].
    ///
    /// # Errors
    /// As [`SledDatabase::open`].
    pub fn open(dir: &Path, cache_bytes_max: u64) -> Result<Self, StoreError> {
        Self::within(Arc::new(SledDatabase::open(dir, cache_bytes_max)?), "rows")
    }

    /// The table `name` in `database`, beside the log; empty if it was never written.
    ///
    /// # Errors
    /// [`StoreError::Engine`] when it cannot be opened.
    pub fn within(database: Arc<SledDatabase>, name: &'static str) -> Result<Self, StoreError> {
        Ok(Self { rows: database.tree(name)?, changing: Mutex::new(()), database })
    }

    /// The value of a row, if there is one.
    ///
    /// # Errors
    /// [`StoreError::Engine`] when it cannot be read.
    pub fn row(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.rows.get(key).map_err(|error| self.database.failed("read", error))?;
        Ok(value.map(|value| value.to_vec()))
    }

    /// Adds or replaces rows, all of them or none; `Ok` means durable.
    ///
    /// # Errors
    /// [`StoreError::RowTooLong`]: nothing was done. Every other one is final, as for a log.
    pub fn put(&self, rows: &[(&[u8], &[u8])]) -> Result<(), StoreError> {
        let entries = entries(rows)?;
        let _one_at_a_time = self.changing.lock();
        self.database.write(&self.rows, entries)
    }

    /// Removes rows, all of them or none; `Ok` means that they stay removed.
    ///
    /// # Errors
    /// Final, as for a log.
    pub fn remove(&self, keys: &[&[u8]]) -> Result<(), StoreError> {
        let keys = keys.iter().map(|key| ((*key).into(), None));
        let _one_at_a_time = self.changing.lock();
        self.database.write(&self.rows, keys.collect())
    }

    /// All rows, in the order of their keys. What changes meanwhile may be seen or not.
    pub fn rows(&self) -> impl Iterator<Item = Result<(Vec<u8>, Vec<u8>), StoreError>> + '_ {
        self.rows.iter().map(|row| {
            let (key, value) = row.map_err(|error| self.database.failed("read", error))?;
            Ok((key.to_vec(), value.to_vec()))
        })
    }

    /// Copies all rows to a new table in `fresh_dir`, a database of its own, and opens it; `Ok`
    /// means durable. Changes wait meanwhile, and must then go to the new table.
    ///
    /// # Errors
    /// The new table is incomplete and is to be removed; this one is as before.
    pub fn rewrite_into(&self, fresh_dir: &Path) -> Result<Self, StoreError> {
        let _no_change_meanwhile = self.changing.lock();
        let fresh = Self::create(fresh_dir, self.database.cache_bytes_max)?;
        for row in self.rows() {
            let (key, value) = row?;
            let copied = fresh.rows.insert(key, value);
            copied.map_err(|error| fresh.database.failed("write", error))?;
        }
        fresh.database.durable()?;
        Ok(fresh)
    }
}

fn entries(rows: &[(&[u8], &[u8])]) -> Result<Vec<Entry>, StoreError> {
    let longest = rows.iter().map(|(key, value)| key.len() + value.len()).max().unwrap_or(0);
    if ROW_BYTES_MAX < longest {
        return Err(StoreError::RowTooLong { bytes: longest, bytes_max: ROW_BYTES_MAX });
    }
    Ok(rows.iter().map(|(key, value)| ((*key).into(), Some((*value).into()))).collect())
}

fn decode((key, value): &(IVec, IVec)) -> Result<Block, StoreError> {
    let key: &[u8; 8] = key
        .as_ref()
        .try_into()
        .map_err(|_| StoreError::Damaged { seq: Seq(0), what: Damage::Key { bytes: key.len() } })?;
    let seq = Seq(u64::from_be_bytes(*key));
    Block::decode(seq, value.as_ref())
        .map_err(|error| StoreError::Damaged { seq, what: error.into() })
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
mod tests;
