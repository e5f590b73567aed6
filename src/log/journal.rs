//! The journal: the file in which a batch becomes durable first. It has its full length from the
//! beginning, so a sync waits for the bytes of the batch and for nothing of the file system's own.
//! Never decides which records count: it gives what is intact in it.
//!
//! ```text
//! magic 8 B | first seq u64 | leaf hash of the record before 32 B | count u16 | count x length u32
//! | BLAKE3 of all before and of the blocks' own checksums 32 B | the blocks
//! ```
//! That is a frame: the records of one batch. Whole numbers are big-endian; the leaf hash before
//! record 0 is zeros. A frame begins at a multiple of 4096 bytes and is filled up with zeros to the
//! next: no write touches a sector in which an earlier frame stands. Frames lie in a ring; what an
//! earlier round left between them has lower seqs, and is in the log.

mod missing;

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

pub(super) use self::missing::{missing, record_before};
use super::block::Block;
use super::file::{self, FileError, PartialFile};
use super::store::{JournalDamage, StoreError};
use crate::types::digest::LeafHash;
use crate::types::id::Seq;

/// How long the file is, in bytes. What it holds is in memory, too.
pub(super) const JOURNAL_BYTES: u64 = 8 * 1024 * 1024;

/// A frame of a length up to this one finds its place, however the ring lies.
pub(super) const FRAME_BYTES_MAX: u64 = JOURNAL_BYTES / 2;

/// What a disk writes at once or not at all, at the most.
const ALIGNMENT: usize = 4096;
/// No JSON text holds these bytes: the first one never occurs in UTF-8.
const MAGIC: &[u8; 8] = b"\xF5TLjrnl\x01";
const HEAD_BYTES: usize = MAGIC.len() + 8 + 32 + 2;
const LENGTH_BYTES: usize = 4;
const CHECKSUM_BYTES: usize = 32;
const CHECKSUM_CONTEXT: &str = "token-ledger 2026 log journal v1";

/// One batch, intact.
#[derive(Debug)]
pub(super) struct Frame {
    /// The leaf hash of the record before.
    pub(super) after: LeafHash,
    /// The records: at least one block, each where the one before ends.
    pub(super) blocks: Vec<Block>,
}

impl Frame {
    pub(super) fn first(&self) -> Seq {
        self.blocks.first().map_or(Seq(0), Block::first)
    }

    /// The first record after it.
    pub(super) fn end(&self) -> Seq {
        self.blocks.last().map_or(Seq(0), Block::end)
    }
}

/// The hash that stands for the record before record 0.
pub(super) fn no_record() -> LeafHash {
    LeafHash::from_bytes([0; 32])
}

/// How many bytes of the file the frame of `blocks` takes.
pub(super) fn frame_bytes(blocks: &[Block]) -> u64 {
    let blocks_bytes: usize = blocks.iter().map(|block| block.bytes().len()).sum();
    let bytes = HEAD_BYTES + blocks.len() * LENGTH_BYTES + CHECKSUM_BYTES + blocks_bytes;
    bytes.next_multiple_of(ALIGNMENT) as u64
}

/// Makes `frame` the frame of `blocks`, which come after a record with the hash `after`.
pub(super) fn encode(after: &LeafHash, blocks: &[Block], frame: &mut Vec<u8>) {
    frame.clear();
    frame.extend_from_slice(MAGIC);
    frame.extend_from_slice(&blocks.first().map_or(0, |block| block.first().0).to_be_bytes());
    frame.extend_from_slice(after.as_bytes());
    let count = u16::try_from(blocks.len());
    let count = count.expect("two blocks in a row take 16 KiB, and a frame at most 4 MiB");
    frame.extend_from_slice(&count.to_be_bytes());
    for block in blocks {
        let length = u32::try_from(block.bytes().len()).expect("a block is below 64 KiB");
        frame.extend_from_slice(&length.to_be_bytes());
    }
    let checksum = checksum(frame, blocks);
    frame.extend_from_slice(checksum.as_bytes());
    for block in blocks {
        frame.extend_from_slice(block.bytes());
    }
    frame.resize(frame.len().next_multiple_of(ALIGNMENT), 0);
}

/// The frame that `bytes` begin with, if one does and it is intact.
fn decode(bytes: &[u8]) -> Option<Frame> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (first, rest) = rest.split_first_chunk::<8>()?;
    let (after, rest) = rest.split_first_chunk::<32>()?;
    let (count, rest) = rest.split_first_chunk::<2>()?;
    let count = usize::from(u16::from_be_bytes(*count));
    let (lengths, rest) = rest.split_at_checked(count * LENGTH_BYTES)?;
    let (sum, mut rest) = rest.split_first_chunk::<CHECKSUM_BYTES>()?;
    let mut at = Seq(u64::from_be_bytes(*first));
    let mut blocks = Vec::with_capacity(count);
    for length in lengths.as_chunks::<LENGTH_BYTES>().0 {
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (block, after) = rest.split_at_checked(length)?;
        let block = Block::decode(at, block).ok()?;
        at = block.end();
        rest = after;
        blocks.push(block);
    }
    let head = bytes.get(..HEAD_BYTES + count * LENGTH_BYTES)?;
    let is_intact = !blocks.is_empty() && checksum(head, &blocks).as_bytes() == sum;
    is_intact.then_some(Frame { after: LeafHash::from_bytes(*after), blocks })
}

/// Over the head and what each block says of itself: so the records are hashed once.
fn checksum(head: &[u8], blocks: &[Block]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new_derive_key(CHECKSUM_CONTEXT);
    hasher.update(head);
    for block in blocks {
        hasher.update(block.bytes().last_chunk::<CHECKSUM_BYTES>().map_or(&[], |sum| sum));
    }
    hasher.finalize()
}

/// All frames that are intact in `bytes`, the content of a journal, by their seqs.
pub(super) fn frames(bytes: &[u8]) -> Vec<Frame> {
    let places = (0..bytes.len()).step_by(ALIGNMENT);
    let mut frames: Vec<Frame> = places.filter_map(|place| decode(bytes.get(place..)?)).collect();
    frames.sort_by_key(Frame::first);
    frames
}

/// All frames that are intact in the file `path`; none where there is no file.
pub(super) fn read(path: &Path) -> Result<Vec<Frame>, StoreError> {
    let bytes = match std::fs::metadata(path) {
        Ok(about) => about.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(FileError::on("look at", path)(error).into()),
    };
    if JOURNAL_BYTES < bytes {
        let what = JournalDamage::Length { bytes, bytes_max: JOURNAL_BYTES };
        return Err(StoreError::Journal { path: path.to_owned(), what });
    }
    Ok(frames(&file::read_if_there(path)?.unwrap_or_default()))
}

/// The file, open for writing.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    path: PathBuf,
}

impl Journal {
    /// Opens the file `path`. One that is missing, or was cut, is made anew: the caller has moved
    /// all that it held into the log.
    pub(super) fn open(path: PathBuf) -> Result<Self, FileError> {
        if !std::fs::metadata(&path).is_ok_and(|about| about.len() == JOURNAL_BYTES) {
            let mut whole = PartialFile::create(&path, file::FILE_MODE)?;
            // Written and not only allocated: a sync would have to note the first use of each block.
            let zeros = [0; 64 * 1024];
            for _ in 0..JOURNAL_BYTES / zeros.len() as u64 {
                whole.write(&zeros)?;
            }
            whole.finish()?;
        }
        let file = OpenOptions::new().write(true).open(&path);
        let file = file.map_err(FileError::on("open", &path))?;
        Ok(Self { file, path })
    }

    /// Writes to `file` from now on.
    #[cfg(test)]
    pub(super) fn replace_file(&mut self, file: File) {
        self.file = file;
    }

    /// Writes a frame; `Ok` means durable. An error is final: what the file holds is not known.
    pub(super) fn write(&self, at: u64, frame: &[u8]) -> Result<(), FileError> {
        self.file.write_all_at(frame, at).map_err(FileError::on("write", &self.path))?;
        self.file.sync_data().map_err(FileError::on("fsync", &self.path))
    }
}

/// Which parts of the file hold frames that are not in the log yet.
#[derive(Debug)]
pub(super) struct Ring {
    bytes: u64,
    /// Where the next frame goes, if it fits there.
    next: u64,
    held: VecDeque<Held>,
    held_bytes: u64,
}

#[derive(Debug)]
struct Held {
    at: u64,
    bytes: u64,
    end: Seq,
}

impl Ring {
    /// Of a file of this length, nothing of which is needed.
    pub(super) fn new(bytes: u64) -> Self {
        Self { bytes, next: 0, held: VecDeque::new(), held_bytes: 0 }
    }

    /// Where a frame of this length may be written now.
    pub(super) fn place(&self, bytes: u64) -> Option<u64> {
        let Some(oldest) = self.held.front() else {
            return [self.next, 0].into_iter().find(|at| at + bytes <= self.bytes);
        };
        // The free part is in one piece up to the oldest frame, or in two around those held.
        match oldest.at < self.next {
            true if self.next + bytes <= self.bytes => Some(self.next),
            true => (bytes <= oldest.at).then_some(0),
            false => (self.next + bytes <= oldest.at).then_some(self.next),
        }
    }

    /// Keeps what was written at a place that [`Ring::place`] gave, with records before `end`.
    pub(super) fn hold(&mut self, at: u64, bytes: u64, end: Seq) {
        self.held.push_back(Held { at, bytes, end });
        self.held_bytes += bytes;
        self.next = at + bytes;
    }

    /// Lets go of all frames whose records lie before `end`.
    pub(super) fn release(&mut self, end: Seq) {
        while let Some(&Held { bytes, .. }) = self.held.front().filter(|held| held.end <= end) {
            self.held.pop_front();
            self.held_bytes -= bytes;
        }
    }

    /// How many bytes hold what is still needed.
    pub(super) fn held_bytes(&self) -> u64 {
        self.held_bytes
    }
}

#[cfg(test)]
mod tests;
