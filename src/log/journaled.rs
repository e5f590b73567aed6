//! The log on sled with a journal before it. A batch is durable once it is in the journal, which is
//! one write and one sync on the thread that appends; a thread of its own puts many batches at once
//! into the files of blocks, and their places into sled. Never lets go of a record in the journal
//! before its block is durable; places may lag, for they are found again in the files.
//!
//! What sled does not have yet is in memory, too, and read from there: never more than the journal
//! holds. A journal that is full makes the next append wait for the thread that moves. The table of
//! what is made from the records goes the same way, so that who appends never waits for sled.

mod table;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::block::{Block, framed};
use super::file::FileError;
use super::journal::{
    FRAME_BYTES_MAX, JOURNAL_BYTES, Journal, Ring, encode, frame_bytes, missing, no_record, read,
    record_before,
};
use super::leaf::leaf_hash;
use super::side_table::{Row, SideTable};
use super::sled::{SledDatabase, SledRows, SledStore};
use super::store::{Store, StoreError, end_after};
use crate::types::digest::LeafHash;
use crate::types::id::Seq;

/// The journal's file, in the directory of the log.
pub const JOURNAL: &str = "journal";

/// How much gathers in the journal before it is moved, in its bytes: the more, the fewer syncs of
/// files; but a batch whose sync meets one of them waits for what it writes, so each is to be short.
const MOVE_BYTES: u64 = 512 * 1024;

/// The log; see the module.
pub struct JournaledStore {
    shared: Arc<Shared>,
    path: PathBuf,
    /// Held while a batch is made durable; readers never take it.
    writing: Mutex<Writing>,
    syncs: AtomicU64,
    recovered: u64,
}

/// What the thread that moves needs, too.
struct Shared {
    sled: SledStore,
    table: SledRows,
    /// Moved only after the records before it are durable.
    end: AtomicU64,
    waiting: Mutex<Waiting>,
    /// Told when there may be something to move.
    work: Condvar,
    /// Told when something was moved, or never will be.
    moved: Condvar,
}

/// What is in the journal and was not moved.
struct Waiting {
    blocks: VecDeque<Block>,
    ring: Ring,
    /// Rows that follow from records; not in the journal, for they can be made again.
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    is_running: bool,
    /// Somebody waits for a move, however little there is to move.
    is_wanted: bool,
    is_closing: bool,
    /// Nothing is moved any more.
    has_ended: bool,
    /// Why, until it was told.
    failure: Option<StoreError>,
}

/// What one append at a time needs.
struct Writing {
    /// The leaf hash of the last record.
    last: LeafHash,
    frame: Vec<u8>,
    /// The file, and the thread that moves; made by the first append.
    open: Option<(Journal, JoinHandle<()>)>,
}

impl JournaledStore {
    /// The log in `database` and in the journal beside it. What only the journal holds is put into
    /// `database` first, durably. No journal is made before the first append.
    ///
    /// # Errors
    /// [`StoreError::Journal`] when the journal is damaged where it is needed, or of another log;
    /// else as [`SledStore::open`].
    pub fn open(database: Arc<SledDatabase>) -> Result<Self, StoreError> {
        let path = database.dir().join(JOURNAL);
        let sled = SledStore::open(Arc::clone(&database))?;
        let table = SledRows::tiles(database)?;
        let missing = missing(&read(&path)?, &sled, &path)?;
        if !missing.is_empty() {
            sled.append_all(sled.end()?, &missing)?;
        }
        let recovered = sled.found() + missing.len() as u64;
        let end = sled.end()?;
        let last = record_before(&sled, end)?.map_or_else(no_record, |record| leaf_hash(&record));
        let waiting = Waiting {
            blocks: VecDeque::new(),
            ring: Ring::new(JOURNAL_BYTES),
            rows: BTreeMap::new(),
            is_running: false,
            is_wanted: false,
            is_closing: false,
            has_ended: false,
            failure: None,
        };
        let shared = Shared {
            sled,
            table,
            end: AtomicU64::new(end.0),
            waiting: Mutex::new(waiting),
            work: Condvar::new(),
            moved: Condvar::new(),
        };
        Ok(Self {
            shared: Arc::new(shared),
            path,
            writing: Mutex::new(Writing { last, frame: Vec::new(), open: None }),
            syncs: AtomicU64::new(0),
            recovered,
        })
    }

    /// How many records sled did not know of when the log was opened.
    pub fn recovered(&self) -> u64 {
        self.recovered
    }

    /// The table of the rows that follow from the records.
    pub fn table(&self) -> Arc<dyn SideTable> {
        Arc::new(table::Table::new(Arc::clone(&self.shared)))
    }

    /// Makes the batch durable in the journal, or in sled where it is longer than a frame may be.
    fn write(&self, writing: &mut Writing, blocks: Vec<Block>, end: Seq) -> Result<(), StoreError> {
        let bytes = frame_bytes(&blocks);
        if FRAME_BYTES_MAX < bytes {
            self.shared.settle()?;
            return self.shared.take_over(&blocks, &[]);
        }
        let (journal, _) = match &mut writing.open {
            Some(open) => open,
            closed @ None => closed.insert(self.start()?),
        };
        let at = self.shared.place(bytes)?;
        encode(&writing.last, &blocks, &mut writing.frame);
        journal.write(at, &writing.frame)?;
        self.shared.keep(blocks, at, bytes, end);
        Ok(())
    }

    fn start(&self) -> Result<(Journal, JoinHandle<()>), StoreError> {
        let journal = Journal::open(self.path.clone())?;
        let shared = Arc::clone(&self.shared);
        let mover = std::thread::Builder::new().name("ledger-mover".to_owned());
        let mover = mover.spawn(move || shared.run());
        let mover = mover.map_err(FileError::on("start a thread for", &self.path))?;
        self.shared.waiting.lock().is_running = true;
        Ok((journal, mover))
    }
}

impl Store for JournaledStore {
    fn append(&self, first: Seq, records: &[Vec<u8>]) -> Result<(), StoreError> {
        let mut writing = self.writing.lock();
        self.shared.check()?;
        let end = end_after(first, self.end()?, records)?;
        let blocks = framed(first, records)?;
        if let Err(error) = self.write(&mut writing, blocks, end) {
            // The checkpoints beside the log stop with it.
            self.shared.sled.database().poison();
            return Err(error);
        }
        writing.last = records.last().map_or_else(no_record, |record| leaf_hash(record));
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.shared.end.store(end.0, Ordering::Release);
        Ok(())
    }

    fn block(&self, seq: Seq) -> Result<Option<Block>, StoreError> {
        if self.end()? <= seq {
            return Ok(None);
        }
        // Let go of before the disk is read: who appends takes it, too.
        let waiting = self.shared.waiting.lock().block(seq);
        match waiting {
            Some(block) => Ok(Some(block)),
            // It was moved, and is not let go of here before sled shows it.
            None => self.shared.sled.block(seq),
        }
    }

    fn end(&self) -> Result<Seq, StoreError> {
        Ok(Seq(self.shared.end.load(Ordering::Acquire)))
    }

    fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    fn settle(&self) -> Result<(), StoreError> {
        let _no_append_meanwhile = self.writing.lock();
        self.shared.settle()?;
        self.shared.sled.settle()
    }
}

impl Drop for JournaledStore {
    /// Moves what waits, if it can: else the next opening does.
    fn drop(&mut self) {
        self.shared.waiting.lock().is_closing = true;
        self.shared.work.notify_one();
        if let Some((_, mover)) = self.writing.get_mut().open.take() {
            // A panic has ended it, and been told of by then.
            let _ = mover.join();
        }
    }
}

impl Shared {
    /// Whether anything is written any more.
    fn check(&self) -> Result<(), StoreError> {
        self.waiting.lock().check()?;
        match self.sled.database().is_poisoned() {
            true => Err(StoreError::Poisoned),
            false => Ok(()),
        }
    }

    /// Where a frame may be written, once there is room for it.
    fn place(&self, bytes: u64) -> Result<u64, StoreError> {
        let mut waiting = self.waiting.lock();
        loop {
            waiting.check()?;
            if let Some(at) = waiting.ring.place(bytes) {
                return Ok(at);
            }
            self.wait(&mut waiting);
        }
    }

    /// Waits until all was moved.
    fn settle(&self) -> Result<(), StoreError> {
        let mut waiting = self.waiting.lock();
        loop {
            waiting.check()?;
            if waiting.is_empty() {
                return Ok(());
            }
            self.wait(&mut waiting);
        }
    }

    /// Waits for the next move.
    fn wait(&self, waiting: &mut MutexGuard<'_, Waiting>) {
        waiting.is_wanted = true;
        self.work.notify_one();
        self.moved.wait(waiting);
    }

    /// Keeps what is durable in the journal until it is moved.
    fn keep(&self, blocks: Vec<Block>, at: u64, bytes: u64, end: Seq) {
        let mut waiting = self.waiting.lock();
        waiting.blocks.extend(blocks);
        waiting.ring.hold(at, bytes, end);
        if MOVE_BYTES <= waiting.ring.held_bytes() {
            self.work.notify_one();
        }
    }

    /// The thread that moves.
    fn run(&self) {
        let _ending = Ending(self);
        while let Some((blocks, rows)) = self.next() {
            if let Err(error) = self.take_over(&blocks, &rows) {
                self.waiting.lock().failure = Some(error);
                return;
            }
            let mut waiting = self.waiting.lock();
            waiting.blocks.drain(..blocks.len());
            waiting.forget(&rows);
            if let Some(last) = blocks.last() {
                waiting.ring.release(last.end());
            }
            waiting.is_wanted = false;
            self.moved.notify_all();
        }
    }

    /// What to move next, once there is enough of it; `None` when there will be nothing more.
    fn next(&self) -> Option<(Vec<Block>, Vec<Row>)> {
        let mut waiting = self.waiting.lock();
        loop {
            let is_due = waiting.is_wanted || waiting.is_closing;
            if MOVE_BYTES <= waiting.ring.held_bytes() || is_due && !waiting.is_empty() {
                return Some(waiting.some());
            }
            if waiting.is_closing {
                return None;
            }
            self.work.wait(&mut waiting);
        }
    }

    /// Puts the records into files, in as few blocks as they fit into; `Ok` means that they are durable
    /// there. Rows and places follow when sled is made durable; both can be made again.
    fn take_over(&self, blocks: &[Block], rows: &[Row]) -> Result<(), StoreError> {
        for (key, value) in rows {
            self.table.put_later(&[(key, value)])?;
        }
        let Some(first) = blocks.first().map(Block::first) else { return Ok(()) };
        let records = blocks.iter().flat_map(|block| block.iter().map(|(_, record)| record));
        self.sled.append_all(first, &records.collect::<Vec<_>>())
    }
}

/// Tells who waits that nothing is moved any more, however the thread ended.
struct Ending<'a>(&'a Shared);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.waiting.lock().has_ended = true;
        self.0.moved.notify_all();
    }
}

impl Waiting {
    fn check(&mut self) -> Result<(), StoreError> {
        match self.has_ended {
            true => Err(self.failure.take().unwrap_or(StoreError::Poisoned)),
            false => Ok(()),
        }
    }

    /// The block that holds `seq`, if it has not been moved.
    fn block(&self, seq: Seq) -> Option<Block> {
        let before = self.blocks.partition_point(|block| block.end() <= seq);
        self.blocks.get(before).filter(|block| block.first() <= seq).cloned()
    }

    fn is_empty(&self) -> bool {
        self.blocks.is_empty() && self.rows.is_empty()
    }

    /// Lets go of rows that sled has now, unless there are newer ones.
    fn forget(&mut self, moved: &[Row]) {
        for (key, value) in moved {
            if self.rows.get(key) == Some(value) {
                self.rows.remove(key);
            }
        }
    }

    /// The oldest blocks, as many as are moved at once, and all rows.
    fn some(&self) -> (Vec<Block>, Vec<Row>) {
        let mut bytes = 0;
        let fit = |block: &&Block| {
            let fits = bytes < MOVE_BYTES;
            bytes += block.bytes().len() as u64;
            fits
        };
        let blocks = self.blocks.iter().take_while(fit).cloned().collect();
        (blocks, self.rows.iter().map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

#[cfg(test)]
mod tests;
