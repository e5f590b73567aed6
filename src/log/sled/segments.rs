//! Files of blocks beside sled's own: written once, from front to back. sled holds where each block
//! lies, a few bytes each, because it writes again and again what its leaves hold. Never changes
//! what a row of sled points to.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::super::block::BLOCK_BYTES_MAX;
use super::super::file::{self, FileError};
use crate::types::id::Seq;

/// No more is added to a file that has become this long, in bytes.
const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;
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
}

/// The files in the directory of one database.
#[derive(Debug)]
pub(super) struct Segments {
    dir: PathBuf,
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
        Self { dir: dir.to_owned(), open: Mutex::default(), writing: Mutex::default() }
    }

    /// Writes blocks, the first of which begins with the record `first`, where the log ends; `Ok`
    /// means durable.
    pub(super) fn append(&self, first: Seq, blocks: &[Vec<u8>]) -> Result<Vec<Place>, FileError> {
        let mut writing = self.writing.lock();
        if writing.as_ref().is_none_or(|writing| SEGMENT_BYTES <= writing.bytes) {
            *writing = Some(self.begin(first)?);
        }
        let mut places = Vec::with_capacity(blocks.len());
        let Some(Writing { segment, file, bytes }) = writing.as_mut() else { return Ok(places) };
        let start = *bytes;
        for block in blocks {
            let length = u32::try_from(block.len()).expect("a block is below 64 KiB");
            places.push(Place { segment: *segment, at: *bytes, bytes: length });
            *bytes += u64::from(length);
        }
        let path = self.path(*segment);
        file.write_all_at(&blocks.concat(), start).map_err(FileError::on("write", &path))?;
        file.sync_data().map_err(FileError::on("fsync", &path))?;
        Ok(places)
    }

    /// No row points into a file of this name: those that do are of records before `first`.
    fn begin(&self, first: Seq) -> Result<Writing, FileError> {
        let path = self.path(first);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(file::FILE_MODE);
        let file = Arc::new(options.open(&path).map_err(FileError::on("create", &path))?);
        file::sync_directory(&self.dir)?;
        self.keep(first, &file);
        Ok(Writing { segment: first, file, bytes: 0 })
    }

    /// The bytes at a place; the caller checks that they are the block.
    pub(super) fn read(&self, place: Place) -> Result<Vec<u8>, FileError> {
        let path = self.path(place.segment);
        let known = self.open.lock().get(&place.segment).cloned();
        let file = match known {
            Some(file) => file,
            None => {
                let file = Arc::new(File::open(&path).map_err(FileError::on("open", &path))?);
                self.keep(place.segment, &file);
                file
            }
        };
        let mut bytes = vec![0; (place.bytes as usize).min(BLOCK_BYTES_MAX)];
        file.read_exact_at(&mut bytes, place.at).map_err(FileError::on("read", &path))?;
        Ok(bytes)
    }

    fn keep(&self, segment: Seq, file: &Arc<File>) {
        let mut open = self.open.lock();
        if OPEN_MAX <= open.len() {
            open.pop_first();
        }
        open.insert(segment, Arc::clone(file));
    }

    fn path(&self, segment: Seq) -> PathBuf {
        self.dir.join(format!("records-{:020}", segment.0))
    }
}
