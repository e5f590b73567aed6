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

/// The longest encoded block, in bytes: below 64 KiB.
pub const BLOCK_BYTES_MAX: usize = 64 * 1024 - 1;

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 3;
const LENGTH_BYTES: usize = 2;
const CHECKSUM_BYTES: usize = 32;
const CHECKSUM_CONTEXT: &str = "token-ledger 2026 log block v1";

/// Some records in a row, whole and checked. A clone shares the bytes.
#[derive(Clone)]
pub struct Block(Arc<Frames>);

struct Frames {
    first: Seq,
    end: Seq,
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
    pub fn encode(first: Seq, records: &[Vec<u8>]) -> Result<Vec<u8>, FrameError> {
        let lengths: Vec<usize> = records.iter().map(Vec::len).collect();
        check(first, &lengths)?;
        let mut bytes = Vec::with_capacity(encoded_bytes(&lengths));
        bytes.push(VERSION);
        bytes.extend(framed_u16(lengths.len()));
        for length in lengths {
            bytes.extend(framed_u16(length));
        }
        for record in records {
            bytes.extend(record);
        }
        let checksum = checksum(first, &bytes);
        bytes.extend(checksum.as_bytes());
        Ok(bytes)
    }

    /// The block that starts at `first`, after every check that its bytes allow.
    ///
    /// # Errors
    /// When the bytes are not what [`Block::encode`] made for `first`: the log is damaged there.
    pub fn decode(first: Seq, bytes: impl Into<Box<[u8]>>) -> Result<Self, BlockError> {
        let bytes = bytes.into();
        let found = bytes.len();
        let short = |expected| BlockError::Length { expected, found };

        let (&[version, high, low], rest) =
            bytes.split_first_chunk().ok_or(short(HEAD_BYTES + CHECKSUM_BYTES))?;
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
        if checksum(first, framed) != blake3::Hash::from_bytes(*sum) {
            return Err(BlockError::Checksum);
        }
        let end = check(first, &lengths)?;

        let start = HEAD_BYTES + table.len();
        let ends = lengths.iter().scan(start, |at, length| {
            *at += length;
            Some(*at)
        });
        let ends = ends.collect();
        Ok(Self(Arc::new(Frames { first, end, bytes, start, ends })))
    }

    /// The seq of the first record.
    pub fn first(&self) -> Seq {
        self.0.first
    }

    /// The seq after the last record.
    pub fn end(&self) -> Seq {
        self.0.end
    }

    /// The record at `seq`, if it is in this block.
    pub fn record(&self, seq: Seq) -> Option<&[u8]> {
        let index = usize::try_from(seq.0.checked_sub(self.0.first.0)?).ok()?;
        let end = *self.0.ends.get(index)?;
        let start = match index.checked_sub(1) {
            Some(before) => *self.0.ends.get(before)?,
            None => self.0.start,
        };
        self.0.bytes.get(start..end)
    }

    /// The records in order, each with its seq.
    pub fn iter(&self) -> impl Iterator<Item = (Seq, &[u8])> {
        (self.0.first.0..self.0.end.0).map(Seq).filter_map(|seq| Some((seq, self.record(seq)?)))
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Block({}..{})", self.0.first, self.0.end)
    }
}

/// Cuts a batch into parts that each fit into one block, as few as the order allows. A record that
/// fits into none makes a part of its own, which [`Block::encode`] then refuses.
pub fn split(batch: &[Vec<u8>]) -> impl Iterator<Item = &[Vec<u8>]> {
    let mut rest = batch;
    std::iter::from_fn(move || {
        let mut bytes = HEAD_BYTES + CHECKSUM_BYTES;
        let fits = |record: &&Vec<u8>| {
            bytes += LENGTH_BYTES + record.len();
            bytes <= BLOCK_BYTES_MAX
        };
        let count = rest.iter().take_while(fits).count().max(1);
        let (part, after) = rest.split_at_checked(count)?;
        rest = after;
        Some(part)
    })
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

fn framed_u16(number: usize) -> [u8; 2] {
    u16::try_from(number).expect("a block below 64 KiB counts below 2^16").to_be_bytes()
}

fn checksum(first: Seq, framed: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new_derive_key(CHECKSUM_CONTEXT);
    hasher.update(&first.0.to_be_bytes());
    hasher.update(framed);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{any, proptest};
    use proptest::{prop_assert, prop_assert_eq};

    use super::*;

    fn records() -> impl proptest::strategy::Strategy<Value = Vec<Vec<u8>>> {
        vec(vec(any::<u8>(), 0..300), 1..40)
    }

    fn owned(block: &Block) -> Vec<Vec<u8>> {
        block.iter().map(|(_, record)| record.to_vec()).collect()
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(first in 0..u64::MAX - 40, records in records()) {
            let block = Block::decode(Seq(first), Block::encode(Seq(first), &records).unwrap()).unwrap();
            prop_assert_eq!(owned(&block), records.clone());
            prop_assert_eq!(block.first(), Seq(first));
            prop_assert_eq!(block.end(), Seq(first + records.len() as u64));
            prop_assert_eq!(block.record(block.end()), None);
            prop_assert_eq!(block.record(Seq(first.wrapping_sub(1))), None);
        }

        #[test]
        fn no_bytes_make_decode_panic(first in any::<u64>(), bytes in vec(any::<u8>(), 0..200)) {
            prop_assert!(Block::decode(Seq(first), [&[VERSION, 0], &bytes[..]].concat()).is_err());
        }

        #[test]
        fn a_split_batch_keeps_its_records_and_fits(
            lengths in vec(0..=RECORD_BYTES_MAX, 1..60),
        ) {
            let batch: Vec<Vec<u8>> = lengths.into_iter().map(|n| vec![7; n]).collect();
            let parts: Vec<_> = split(&batch).collect();
            prop_assert_eq!(parts.concat(), batch.clone());
            for part in parts {
                prop_assert!(Block::encode(Seq(0), part).unwrap().len() <= BLOCK_BYTES_MAX);
            }
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_detected() {
        let bytes = Block::encode(Seq(9), &[b"{}".to_vec(), vec![], vec![0; 100]]).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Block::decode(Seq(9), flipped).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            let cut = Block::decode(Seq(9), &bytes[..length]).unwrap_err();
            assert!(matches!(cut, BlockError::Length { found, .. } if found == length), "{cut}");
        }
    }

    #[test]
    fn a_block_in_another_place_is_detected() {
        let bytes = Block::encode(Seq(9), &[b"{}".to_vec()]).unwrap();
        for bit in 0..64 {
            let moved = Block::decode(Seq(9 ^ (1 << bit)), &bytes[..]);
            assert_eq!(moved.unwrap_err(), BlockError::Checksum);
        }
    }

    #[test]
    fn decode_names_what_is_wrong() {
        let bytes = Block::encode(Seq(0), &[b"{}".to_vec()]).unwrap();
        let changed = |at: usize, to: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = to;
            Block::decode(Seq(0), bytes).unwrap_err()
        };
        assert_eq!(changed(0, 2), BlockError::Version { found: 2 });
        assert_eq!(changed(4, 3), BlockError::Length { expected: 40, found: 39 });
        assert_eq!(changed(5, b'['), BlockError::Checksum);
        let mut bare = vec![VERSION, 0, 0];
        bare.extend(checksum(Seq(0), &bare).as_bytes());
        assert_eq!(Block::decode(Seq(0), bare).unwrap_err(), FrameError::Empty.into());
    }

    #[test]
    fn a_block_is_filled_to_the_last_byte() {
        let exact = [16_384, 16_384, 16_384, 16_340].map(|n| vec![7; n]);
        assert_eq!(split(&exact).count(), 1);
        assert_eq!(Block::encode(Seq(0), &exact).unwrap().len(), BLOCK_BYTES_MAX);
        let over = [16_384, 16_384, 16_384, 16_341].map(|n| vec![7; n]);
        assert_eq!(split(&over).map(<[_]>::len).collect::<Vec<_>>(), [3, 1]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let long = vec![0; RECORD_BYTES_MAX + 1];
        let bytes = long.len();
        assert_eq!(Block::encode(Seq(0), &[]), Err(FrameError::Empty));
        let refused = Block::encode(Seq(3), &[vec![], long.clone()]);
        assert_eq!(refused, Err(FrameError::RecordTooLong { seq: Seq(4), bytes }));
        let refused = Block::encode(Seq(0), &vec![vec![0; RECORD_BYTES_MAX]; 4]);
        assert!(matches!(refused, Err(FrameError::BlockTooLong { .. })));
        let refused = Block::encode(Seq(u64::MAX), &[vec![]]);
        assert_eq!(refused, Err(FrameError::SeqsExhausted { first: Seq(u64::MAX) }));
    }
}
