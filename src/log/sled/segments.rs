//! Files of blocks beside sled's own: written once, from front to back. sled holds where each block
//! lies, a few bytes each, because it writes again and again what its leaves hold. Never changes
//! what a row of sled points to.
//!
//! Blocks lie end to end, and each says where it ends and which records it holds; so what sled has
//! forgotten in a crash is found again by reading on from the last block that it knows of, and made
//! durable before it counts: a killed process may have written it and not synced. A file is named
//! after its first record. One whose end a crash tore is left as it is; the next block begins
//! another one.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::super::block::{BLOCK_BYTES_MAX, Block, ROOM_BYTES};
use super::super::file::{self, FileError};
use super::super::journal::JOURNAL_BYTES;
use super::super::store::{Damage, StoreError};
use crate::types::id::Seq;

/// No more is added to a file that has become this long, in bytes.
const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;
/// How much is read at once while blocks are looked for; the longest one fits.
const SCAN_BYTES: usize = 16 * BLOCK_BYTES_MAX;
/// Files that are kept open for readers.
const OPEN_MAX: usize = 16;
/// The first byte of a row that points to a block; a row that is a block begins with its version.
const POINTER: u8 = 0xF0;

/// Where a block lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The first record of the file, which is its name.
    segment: Seq,
    at: u64,
    bytes: u32,
}

impl Place {
    pub(super) fn encode(self) -> [u8; 21] {
        let mut row = [POINTER; 21];
        let (_, rest) = row.split_at_mut(1);
        let (segment, rest) = rest.split_at_mut(8);
        let (at, bytes) = rest.split_at_mut(8);
        segment.copy_from_slice(&self.segment.0.to_be_bytes());
        at.copy_from_slice(&self.at.to_be_bytes());
        bytes.copy_from_slice(&self.bytes.to_be_bytes());
        row
    }

    /// The place that a row names; `None` for a row that is a block itself.
    pub(super) fn decode(row: &[u8]) -> Option<Self> {
        let rest = row.strip_prefix(&[POINTER])?;
        let (segment, rest) = rest.split_first_chunk::<8>()?;
        let (at, rest) = rest.split_first_chunk::<8>()?;
        let (segment, at) = (Seq(u64::from_be_bytes(*segment)), u64::from_be_bytes(*at));
        Some(Self { segment, at, bytes: u32::from_be_bytes(*rest.first_chunk::<4>()?) })
    }

    /// Where the block behind it lies, if its file has one.
    fn behind(self) -> Self {
        Self { at: self.at + u64::from(self.bytes), ..self }
    }
}

/// The start of the names of all files; the first record of each follows, with leading zeros.
pub(in crate::log) const NAME: &str = "records-";

/// A block that sled does not know of.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) first: Seq,
    pub(super) end: Seq,
    pub(super) place: Place,
}

/// The files in the directory of one database.
#[derive(Debug)]
pub(super) struct Segments {
    dir: PathBuf,
    /// No more is added to a file that has become this long.
    bytes_max: u64,
    open: Mutex<BTreeMap<Seq, Arc<File>>>,
    writing: Mutex<Option<Writing>>,
}

#[derive(Debug)]
struct Writing {
    segment: Seq,
    file: Arc<File>,
    bytes: u64,
}

impl Segments {
    pub(super) fn new(dir: &Path) -> Self {
        let (open, writing) = (Mutex::default(), Mutex::default());
        Self { dir: dir.to_owned(), bytes_max: SEGMENT_BYTES, open, writing }
    }

    /// The same, with files that are full so early.
    #[cfg(test)]
    pub(super) fn bounded(mut self, bytes_max: u64) -> Self {
        self.bytes_max = bytes_max;
        self
    }

    /// Writes to `file` from now on.
    #[cfg(test)]
    pub(super) fn replace_file(&self, file: File) {
        if let Some(writing) = self.writing.lock().as_mut() {
            writing.file = Arc::new(file);
        }
    }

    /// Writes blocks, the first of which begins with the record `first`, where the log ends; `Ok`
    /// means durable.
    pub(super) fn append(&self, first: Seq, blocks: &[Block]) -> Result<Vec<Place>, FileError> {
        let mut writing = self.writing.lock();
        if writing.as_ref().is_none_or(|writing| self.bytes_max <= writing.bytes) {
            *writing = Some(self.begin(first)?);
        }
        let mut places = Vec::with_capacity(blocks.len());
        let Some(Writing { segment, file, bytes }) = writing.as_mut() else { return Ok(places) };
        let start = *bytes;
        for block in blocks {
            let length = u32::try_from(block.bytes().len()).expect("a block is below 64 KiB");
            places.push(Place { segment: *segment, at: *bytes, bytes: length });
            *bytes += u64::from(length);
        }
        let path = self.path(*segment);
        let blocks: Vec<_> = blocks.iter().map(Block::bytes).collect();
        file.write_all_at(&blocks.concat(), start).map_err(FileError::on("write", &path))?;
        file.sync_data().map_err(FileError::on("fsync", &path))?;
        Ok(places)
    }

    /// What else stands under this name was torn by a crash: the records before `first` are durable,
    /// and the block of `first` was looked for there.
    fn begin(&self, first: Seq) -> Result<Writing, FileError> {
        let path = self.path(first);
        // Removed and not cut: it may be kept under another name, too.
        file::remove_durably(&path)?;
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create_new(true).mode(file::FILE_MODE);
        let file = Arc::new(options.open(&path).map_err(FileError::on("create", &path))?);
        file::sync_directory(&self.dir)?;
        self.keep(first, &file);
        Ok(Writing { segment: first, file, bytes: 0 })
    }

    /// The blocks that sled does not know of, behind the one at `last`, which ends at `end`; they are
    /// durable when this returns, and what is appended later goes behind them.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when there are records after those that were found, but not the next
    /// one; else when a file cannot be read or synced.
    pub(super) fn find_behind(
        &self,
        last: Option<Place>,
        mut end: Seq,
    ) -> Result<Vec<Found>, StoreError> {
        let mut found = Vec::new();
        let mut next = last.map(Place::behind);
        loop {
            if let Some(place) = next {
                let here = self.scan(place, end)?;
                if let Some(newest) = here.last() {
                    (end, next) = (newest.end, Some(newest.place.behind()));
                }
                found.extend(here);
            }
            let was_tried = next.is_some_and(|place| place.segment == end);
            if was_tried || !self.path(end).exists() {
                break;
            }
            next = Some(Place { segment: end, at: 0, bytes: 0 });
        }
        // A file is begun only after all before it is durable.
        if files(&self.dir)?.into_iter().any(|(first, _)| end < first) {
            return Err(StoreError::Damaged { seq: end, what: self.what_lacks(end, next)? });
        }
        self.make_durable(&found)?;
        if let Some(place) = next {
            self.go_on_at(place)?;
        }
        Ok(found)
    }

    /// Why the block of `end` was not found, where `next` is the place behind the one before it: either
    /// something else lies there, or nothing, and then it was to begin a file.
    fn what_lacks(&self, end: Seq, next: Option<Place>) -> Result<Damage, FileError> {
        if let Some(Place { segment, at, .. }) = next {
            let path = self.path(segment);
            let about = std::fs::metadata(&path).map_err(FileError::on("look at", &path))?;
            if at < about.len() {
                return Ok(Damage::Garbled { path, at });
            }
        }
        Ok(Damage::NoFile { path: self.path(end) })
    }

    /// Makes durable what was found. Whoever wrote it may have been killed before its own sync, and the
    /// journal, which has the same records, lets go of them once they count as found. As much as that may
    /// have is written once more: after a sync that failed the system takes what it could not write for
    /// written, and the next sync would have nothing to do.
    fn make_durable(&self, found: &[Found]) -> Result<(), StoreError> {
        let mut bytes = 0;
        let is_newest = |found: &&Found| {
            bytes += u64::from(found.place.bytes);
            bytes <= JOURNAL_BYTES
        };
        let mut before = found.len() - found.iter().rev().take_while(is_newest).count();
        for here in found.chunk_by(|one, next| one.place.segment == next.place.segment) {
            let Some(path) = here.first().map(|found| self.path(found.place.segment)) else {
                continue;
            };
            let file = OpenOptions::new().write(true).open(&path);
            let file = file.map_err(FileError::on("open", &path))?;
            for found in here.iter().skip(before) {
                let block = self.read(found.first, found.place)?;
                let block = block.get(ROOM_BYTES..).unwrap_or_default();
                file.write_all_at(block, found.place.at).map_err(FileError::on("write", &path))?;
            }
            file.sync_data().map_err(FileError::on("fsync", &path))?;
            before = before.saturating_sub(here.len());
        }
        Ok(())
    }

    /// The intact blocks from `place` on, the first of which begins with `first`.
    fn scan(&self, place: Place, first: Seq) -> Result<Vec<Found>, FileError> {
        let (path, mut found) = (self.path(place.segment), Vec::new());
        let file = self.file(place.segment)?;
        let mut bytes = vec![0; SCAN_BYTES];
        let (mut place, mut first) = (place, first);
        loop {
            let read = read_up_to(&file, &mut bytes, place.at);
            let read = read.map_err(FileError::on("read", &path))?;
            let mut rest = bytes.get(..read).unwrap_or_default();
            let before = found.len();
            while let Some(block) = Block::decode_front(first, rest) {
                let length = block.bytes().len();
                place.bytes = u32::try_from(length).expect("a block is below 64 KiB");
                found.push(Found { first, end: block.end(), place });
                first = block.end();
                place = place.behind();
                rest = rest.get(length..).unwrap_or_default();
            }
            if found.len() == before {
                return Ok(found);
            }
        }
    }

    /// Appends to the file of `place` from there on, if it ends there and is not full.
    fn go_on_at(&self, place: Place) -> Result<(), FileError> {
        let path = self.path(place.segment);
        let about = std::fs::metadata(&path).map_err(FileError::on("look at", &path))?;
        if about.len() == place.at && place.at < self.bytes_max {
            let mut options = OpenOptions::new();
            let file = options.read(true).write(true).open(&path);
            let file = Arc::new(file.map_err(FileError::on("open", &path))?);
            let Place { segment, at: bytes, .. } = place;
            *self.writing.lock() = Some(Writing { segment, file, bytes });
        }
        Ok(())
    }

    /// The block of `first` at a place, as it lies there, behind [`ROOM_BYTES`] of room.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when the file, or that part of it, is not there.
    pub(super) fn read(&self, first: Seq, place: Place) -> Result<Vec<u8>, StoreError> {
        let path = self.path(place.segment);
        let damaged = |what| StoreError::Damaged { seq: first, what };
        let file = match self.file(place.segment) {
            Ok(file) => file,
            Err(error) if error.source.kind() == ErrorKind::NotFound => {
                return Err(damaged(Damage::NoFile { path }));
            }
            Err(error) => return Err(error.into()),
        };
        let mut bytes = vec![0; ROOM_BYTES + (place.bytes as usize).min(BLOCK_BYTES_MAX)];
        match file.read_exact_at(bytes.split_at_mut(ROOM_BYTES).1, place.at) {
            Ok(()) => Ok(bytes),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                Err(damaged(Damage::Cut { path }))
            }
            Err(error) => Err(FileError::on("read", &path)(error).into()),
        }
    }

    fn file(&self, segment: Seq) -> Result<Arc<File>, FileError> {
        if let Some(file) = self.open.lock().get(&segment) {
            return Ok(Arc::clone(file));
        }
        let path = self.path(segment);
        let file = Arc::new(File::open(&path).map_err(FileError::on("open", &path))?);
        self.keep(segment, &file);
        Ok(file)
    }

    fn keep(&self, segment: Seq, file: &Arc<File>) {
        let mut open = self.open.lock();
        if OPEN_MAX <= open.len() {
            open.pop_first();
        }
        open.insert(segment, Arc::clone(file));
    }

    fn path(&self, segment: Seq) -> PathBuf {
        self.dir.join(format!("{NAME}{:020}", segment.0))
    }
}

/// All files in `dir`, each with its first record, in no order.
pub(in crate::log) fn files(dir: &Path) -> Result<Vec<(Seq, PathBuf)>, FileError> {
    let files = file::list(dir)?.into_iter().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        Some((Seq(name.strip_prefix(NAME)?.parse().ok()?), entry.path()))
    });
    Ok(files.collect())
}

/// Fills `bytes` as far as the file goes; answers how far.
fn read_up_to(file: &File, bytes: &mut [u8], at: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, at + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
