//! The framing of records: one block holds the records of one batch, or of a part of it.
//! Knows lengths and a checksum; never looks into a record.
//!
//! ```text
//! version 1 B | count u16 | count x length u16 | the records | BLAKE3 of first seq and all before
//! ```
//! Whole numbers are big-endian. The first seq stands in the key of the block, not in its bytes;
//! the checksum covers it, so that a block cannot be moved to another place.

use std::fmt;
use std::sync::Arc;

use crate::types::id::Seq;

/// The longest record, in bytes.
pub const RECORD_BYTES_MAX: usize = 16 * 1024;

/// The longest encoded block that is read, in bytes: below 64 KiB.
pub const BLOCK_BYTES_MAX: usize = 64 * 1024 - 1;

/// How long an encoded block is made at most, in bytes, unless one record alone takes more: a store
/// keeps whole blocks in memory, and many at a time.
pub const BLOCK_BYTES_AIM: usize = 16 * 1024;

const VERSION: u8 = 1;
/// What stands before an encoded block in memory: room for its first seq.
pub(super) const ROOM_BYTES: usize = 8;
pub(super) const HEAD_BYTES: usize = 3;
pub(super) const LENGTH_BYTES: usize = 2;
const CHECKSUM_BYTES: usize = 32;
const CHECKSUM_CONTEXT: &str = "token-ledger 2026 log block v1";

/// Some records in a row, whole and checked. A clone shares the bytes.
#[derive(Clone)]
pub struct Block {
    frames: Arc<Frames>,
    /// Records before this one are not looked at.
    from: Seq,
}

struct Frames {
    first: Seq,
    end: Seq,
    /// The first seq, and behind it the block: so the checksum is over one piece of memory, which
    /// BLAKE3 hashes many chunks of at once.
    bytes: Box<[u8]>,
    /// Where the first record starts in `bytes`.
    start: usize,
    /// Where each record ends in `bytes`; the next one starts there.
    ends: Box<[usize]>,
}

/// Why records cannot be framed as one block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// There is nothing to frame.
    #[error("a block holds at least one record")]
    Empty,
    /// A record is longer than [`RECORD_BYTES_MAX`].
    #[error("record {seq} has {bytes} bytes, more than {RECORD_BYTES_MAX}")]
    RecordTooLong {
        /// The record.
        seq: Seq,
        /// Its length.
        bytes: usize,
    },
    /// The block would be longer than [`BLOCK_BYTES_MAX`]; [`split`] the batch first.
    #[error("the block would have {bytes} bytes, more than {BLOCK_BYTES_MAX}")]
    BlockTooLong {
        /// The length it would have.
        bytes: usize,
    },
    /// No seq is left for so many records.
    #[error("the seqs after {first} do not suffice")]
    SeqsExhausted {
        /// The first record of the block.
        first: Seq,
    },
}

/// Why bytes are not the block that starts at a given seq.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// Another layout than the one that this version reads.
    #[error("block version {found}, where only {VERSION} is known")]
    Version {
        /// The version byte.
        found: u8,
    },
    /// Cut short, or grown.
    #[error("the block has {found} bytes, where its head tells of {expected}")]
    Length {
        /// By the count and the lengths in the head.
        expected: usize,
        /// As it is.
        found: usize,
    },
    /// The checksum is that of other bytes, or of another place in the log.
    #[error("the checksum of the block does not match")]
    Checksum,
    /// Intact, but not as [`Block::encode`] would have made it.
    #[error("the block was framed against the rules: {0}")]
    Framed(#[from] FrameError),
}

impl Block {
    /// The bytes of the block that holds `records` as `first`, `first + 1`, ...
    ///
    /// # Errors
    /// When the records do not fit into one block; nothing is made then.
    pub fn encode<R: AsRef<[u8]>>(first: Seq, records: &[R]) -> Result<Vec<u8>, FrameError> {
        Ok(Self::framed(first, records)?.bytes().to_vec())
    }

    /// The block that holds `records` as `first`, `first + 1`, ...
    ///
    /// # Errors
    /// As [`Block::encode`].
    pub fn framed<R: AsRef<[u8]>>(first: Seq, records: &[R]) -> Result<Self, FrameError> {
        let lengths: Vec<usize> = records.iter().map(|record| record.as_ref().len()).collect();
        let end = check(first, &lengths)?;
        let mut bytes = Vec::with_capacity(ROOM_BYTES + encoded_bytes(&lengths));
        bytes.extend(first.0.to_be_bytes());
        bytes.push(VERSION);
        bytes.extend(framed_u16(lengths.len()));
        for length in &lengths {
            bytes.extend(framed_u16(*length));
        }
        let start = bytes.len();
        for record in records {
            bytes.extend_from_slice(record.as_ref());
        }
        let checksum = checksum(&bytes);
        bytes.extend(checksum.as_bytes());
        let (bytes, ends) = (bytes.into_boxed_slice(), ends(start, lengths.into_iter()));
        Ok(Self::over(Frames { first, end, bytes, start, ends }))
    }

    fn over(frames: Frames) -> Self {
        let from = frames.first;
        Self { frames: Arc::new(frames), from }
    }

    /// What [`Block::encode`] made, whether or not this is a part of it only.
    pub(super) fn bytes(&self) -> &[u8] {
        self.frames.bytes.get(ROOM_BYTES..).unwrap_or_default()
    }

    /// The same block without the records before `from`.
    pub(super) fn since(self, from: Seq) -> Self {
        Self { from: self.from.max(from), ..self }
    }

    /// The block that starts at `first`, after every check that its bytes allow.
    ///
    /// # Errors
    /// When the bytes are not what [`Block::encode`] made for `first`: the log is damaged there.
    pub fn decode(first: Seq, bytes: impl AsRef<[u8]>) -> Result<Self, BlockError> {
        Self::decode_behind_room(first, [&[0; ROOM_BYTES], bytes.as_ref()].concat())
    }

    /// As [`Block::decode`], for bytes with [`ROOM_BYTES`] before them that say nothing: none is copied.
    pub(super) fn decode_behind_room(first: Seq, mut bytes: Vec<u8>) -> Result<Self, BlockError> {
        let found = bytes.len().saturating_sub(ROOM_BYTES);
        if let Some(room) = bytes.first_chunk_mut() {
            *room = first.0.to_be_bytes();
        }
        let bytes = bytes.into_boxed_slice();
        let encoded = bytes.get(ROOM_BYTES..).unwrap_or_default();
        let short = |expected| BlockError::Length { expected, found };

        let (&[version, high, low], rest) =
            encoded.split_first_chunk().ok_or(short(HEAD_BYTES + CHECKSUM_BYTES))?;
        if version != VERSION {
            return Err(BlockError::Version { found: version });
        }
        let count = usize::from(u16::from_be_bytes([high, low]));
        let table = rest
            .get(..count * LENGTH_BYTES)
            .ok_or(short(HEAD_BYTES + count * LENGTH_BYTES + CHECKSUM_BYTES))?;
        let lengths: Vec<usize> = table
            .as_chunks::<LENGTH_BYTES>()
            .0
            .iter()
            .map(|length| usize::from(u16::from_be_bytes(*length)))
            .collect();
        let expected = encoded_bytes(&lengths);
        if expected != found {
            return Err(short(expected));
        }
        let (framed, sum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(short(expected))?;
        // `blake3::Hash` compares in constant time, which does no harm here.
        if checksum(framed) != blake3::Hash::from_bytes(*sum) {
            return Err(BlockError::Checksum);
        }
        let end = check(first, &lengths)?;

        let start = ROOM_BYTES + HEAD_BYTES + table.len();
        let ends = ends(start, lengths.into_iter());
        Ok(Self::over(Frames { first, end, bytes, start, ends }))
    }

    /// The block that starts at `first` and that `bytes` begin with, if one does and is intact;
    /// other bytes may follow it.
    pub(super) fn decode_front(first: Seq, bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..front_length(bytes)?)?;
        Self::decode(first, bytes).ok()
    }

    /// The seq of the first record.
    pub fn first(&self) -> Seq {
        self.from
    }

    /// The seq after the last record.
    pub fn end(&self) -> Seq {
        self.frames.end
    }

    /// The record at `seq`, if it is in this block.
    pub fn record(&self, seq: Seq) -> Option<&[u8]> {
        let Frames { first, bytes, start, ends, .. } = self.frames.as_ref();
        if seq < self.from {
            return None;
        }
        let index = usize::try_from(seq.0.checked_sub(first.0)?).ok()?;
        let end = *ends.get(index)?;
        let start = match index.checked_sub(1) {
            Some(before) => *ends.get(before)?,
            None => *start,
        };
        bytes.get(start..end)
    }

    /// The records in order, each with its seq.
    pub fn iter(&self) -> impl Iterator<Item = (Seq, &[u8])> {
        (self.from.0..self.frames.end.0).map(Seq).filter_map(|seq| Some((seq, self.record(seq)?)))
    }
}

/// How long the block is that `bytes` begin with, if they hold its whole head.
pub(super) fn front_length(bytes: &[u8]) -> Option<usize> {
    let (&[version, high, low], rest) = bytes.split_first_chunk()?;
    if version != VERSION {
        return None;
    }
    let count = usize::from(u16::from_be_bytes([high, low]));
    let table = rest.get(..count * LENGTH_BYTES)?.as_chunks::<LENGTH_BYTES>().0;
    let lengths = table.iter().map(|length| usize::from(u16::from_be_bytes(*length)));
    Some(encoded_bytes(&lengths.collect::<Vec<_>>()))
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Block({}..{})", self.from, self.frames.end)
    }
}

/// Cuts a batch into parts that each fit into one block of [`BLOCK_BYTES_AIM`], as few as the order
/// allows. A longer record makes a part of its own, which [`Block::encode`] takes or refuses.
pub fn split<R: AsRef<[u8]>>(batch: &[R]) -> impl Iterator<Item = &[R]> {
    let mut rest = batch;
    std::iter::from_fn(move || {
        let mut bytes = HEAD_BYTES + CHECKSUM_BYTES;
        let fits = |record: &&R| {
            bytes += LENGTH_BYTES + record.as_ref().len();
            bytes <= BLOCK_BYTES_AIM
        };
        let count = rest.iter().take_while(fits).count().max(1);
        let (part, after) = rest.split_at_checked(count)?;
        rest = after;
        Some(part)
    })
}

/// The records as blocks, as few as [`split`] makes, none of which is stored yet.
///
/// # Errors
/// As [`Block::framed`].
pub(super) fn framed<R: AsRef<[u8]>>(first: Seq, records: &[R]) -> Result<Vec<Block>, FrameError> {
    let (mut at, mut blocks) = (first, Vec::new());
    for part in split(records) {
        let block = Block::framed(at, part)?;
        at = block.end();
        blocks.push(block);
    }
    Ok(blocks)
}

/// The seq `count` after `first`, if there is one.
pub(super) fn seq_after(first: Seq, count: usize) -> Option<Seq> {
    first.0.checked_add(u64::try_from(count).ok()?).map(Seq)
}

/// The end of the block, if records of these lengths may be framed as one.
fn check(first: Seq, lengths: &[usize]) -> Result<Seq, FrameError> {
    if lengths.is_empty() {
        return Err(FrameError::Empty);
    }
    let end = seq_after(first, lengths.len()).ok_or(FrameError::SeqsExhausted { first })?;
    for (seq, &bytes) in (first.0..end.0).map(Seq).zip(lengths) {
        if RECORD_BYTES_MAX < bytes {
            return Err(FrameError::RecordTooLong { seq, bytes });
        }
    }
    let bytes = encoded_bytes(lengths);
    if BLOCK_BYTES_MAX < bytes {
        return Err(FrameError::BlockTooLong { bytes });
    }
    Ok(end)
}

fn encoded_bytes(lengths: &[usize]) -> usize {
    let records: usize = lengths.iter().sum();
    HEAD_BYTES + lengths.len() * LENGTH_BYTES + records + CHECKSUM_BYTES
}

/// Where each record ends, if the first one starts at `start`.
fn ends(start: usize, lengths: impl Iterator<Item = usize>) -> Box<[usize]> {
    let ends = lengths.scan(start, |at, length| {
        *at += length;
        Some(*at)
    });
    ends.collect()
}

fn framed_u16(number: usize) -> [u8; 2] {
    u16::try_from(number).expect("a block below 64 KiB counts below 2^16").to_be_bytes()
}

/// Of the first seq and what is framed behind it.
fn checksum(framed: &[u8]) -> blake3::Hash {
    blake3::Hasher::new_derive_key(CHECKSUM_CONTEXT).update(framed).finalize()
}

#[cfg(test)]
mod tests;
