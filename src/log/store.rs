//! The narrow door to the disk: append a batch, read a block, know the end.
//! Never interprets a record, and never repairs anything.

use std::io;
use std::path::PathBuf;

use super::block::{Block, BlockError, FrameError, seq_after};
use super::file::FileError;
use crate::types::id::Seq;

/// The longest batch, in bytes of its records, that is stored as a whole or not at all whatever
/// happens. Of a longer one a crash may leave the beginning, so who promises more cuts it himself.
pub const BATCH_BYTES_MAX: usize = 3 * 1024 * 1024;

/// Where the records live. One writer appends; any number of threads read.
///
/// What a failed `append` left behind is not visible through the store that it failed on.
pub trait Store: Send + Sync {
    /// Appends the records as `first`, `first + 1`, ...; all of them or none, if they are no more than
    /// [`BATCH_BYTES_MAX`] together. `Ok` means durable.
    ///
    /// # Errors
    /// [`StoreError::NotAtEnd`], [`StoreError::Unframed`]: nothing was done, and the store is as
    /// before. Every other error is final: whether the records are on the disk is unknown, each
    /// later append fails with [`StoreError::Poisoned`], reads go on, and the caller stops.
    fn append(&self, first: Seq, records: &[Vec<u8>]) -> Result<(), StoreError>;

    /// The block that holds `seq`; `None` at or past the end.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when the block is missing or not intact, [`StoreError::Engine`]
    /// when it cannot be read. The caller may read other blocks.
    fn block(&self, seq: Seq) -> Result<Option<Block>, StoreError>;

    /// The seq that the next append must use: the number of records.
    ///
    /// # Errors
    /// When the store cannot tell; the caller stops.
    fn end(&self) -> Result<Seq, StoreError>;

    /// How often appended records were made durable since the store was opened; 0 for a store that
    /// needs no sync.
    fn syncs(&self) -> u64 {
        0
    }

    /// Brings all records to where a clean stop leaves them. They are durable before already.
    ///
    /// # Errors
    /// Final, as for `append`: a later opening brings them there.
    fn settle(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// What the store could not do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file or directory beside the engine's own reading and writing.
    #[error(transparent)]
    Io(#[from] FileError),
    /// The engine below failed.
    #[error("the storage engine could not {what} {}: {source}", path.display())]
    Engine {
        /// What was tried, as a verb: "open", "write".
        what: &'static str,
        /// The directory of the database.
        path: PathBuf,
        /// What the engine reported.
        source: EngineError,
    },
    /// A record that was acknowledged once is not there as it was.
    #[error(
        "the log is damaged at record {seq}: {what}; leave the directory as it is, and restore a backup"
    )]
    Damaged {
        /// The record, or the first one of the block.
        seq: Seq,
        /// In which way.
        what: Damage,
    },
    /// The journal and the log contradict each other.
    #[error(
        "{} is damaged: {what}; leave the directory as it is, and restore a backup", path.display()
    )]
    Journal {
        /// The journal.
        path: PathBuf,
        /// In which way.
        what: JournalDamage,
    },
    /// An append failed before.
    #[error("an earlier write failed, so nothing more is written; restart to read the disk anew")]
    Poisoned,
    /// The caller does not know the end; nothing was done.
    #[error("the next record is {end}, not {first}; is there a second writer?")]
    NotAtEnd {
        /// Where the caller wanted to append.
        first: Seq,
        /// Where the log ends.
        end: Seq,
    },
    /// The batch is empty, or holds a record that fits into no block; nothing was done.
    #[error("the batch cannot be stored: {0}")]
    Unframed(#[from] FrameError),
    /// A row is longer than a table takes; nothing was done.
    #[error("a row has {bytes} bytes, more than {bytes_max}")]
    RowTooLong {
        /// Key and value together.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// `create`, where a database is already.
    #[error("there is a database in {} already; open it, or choose another directory", path.display())]
    Exists {
        /// The directory.
        path: PathBuf,
    },
    /// `open`, where there is no database; nothing was created.
    #[error("there is no database: {} is missing; restore a backup, or create a new ledger elsewhere", path.display())]
    Missing {
        /// The file that a database has.
        path: PathBuf,
    },
}

/// In which way a stored record is damaged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// There is a hole in the log.
    #[error("it is missing, though later ones are there")]
    Missing,
    /// The block that holds it is not intact.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// Something else stands among the blocks.
    #[error("the block has a key of {bytes} bytes, where a seq has 8")]
    Key {
        /// The length of the key.
        bytes: usize,
    },
    /// The file that holds its block is not there.
    #[error("{} is missing", path.display())]
    NoFile {
        /// Where it should be.
        path: PathBuf,
    },
    /// The file that holds its block ends before it.
    #[error("{} was cut short", path.display())]
    Cut {
        /// Which file.
        path: PathBuf,
    },
    /// The file that holds its block is not intact from there on.
    #[error("{} is not intact from byte {at} on", path.display())]
    Garbled {
        /// Which file.
        path: PathBuf,
        /// Where the block should begin.
        at: u64,
    },
    /// A block leaves a gap after the one before, or holds nothing that comes after it.
    #[error("its block should hold {end}, where the one before ended")]
    Misplaced {
        /// One past the last record of the block before.
        end: Seq,
    },
}

/// In which way a journal is damaged, or is not that of the log beside it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalDamage {
    /// Records are in neither, and later ones are there.
    #[error(
        "records {from} up to {until} are neither in it nor in the log, though later ones are there"
    )]
    Gap {
        /// The first one that is missing.
        from: Seq,
        /// The first one that is there again.
        until: Seq,
    },
    /// Both have the record, and not the same bytes.
    #[error("its record {seq} is not the one that the log has")]
    Differs {
        /// Which record.
        seq: Seq,
    },
    /// The record before is another one than it was when this one was written.
    #[error("its record {seq} was written after another record than the log has before it")]
    Unchained {
        /// Which record.
        seq: Seq,
    },
    /// It is longer than this version makes it.
    #[error(
        "it has {bytes} bytes, and this version makes {bytes_max}; if a newer one made it, run that"
    )]
    Length {
        /// As it is.
        bytes: u64,
        /// As this version makes it.
        bytes_max: u64,
    },
}

/// What the storage engine reported, in our own words.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Its files are not as it wrote them.
    #[error("its files are damaged ({0}); leave them as they are, and restore a backup")]
    Damaged(Box<str>),
    /// The system refused to read or write.
    #[error("{0}; check the disk, its free space, and that no other process has it open")]
    Io(#[source] io::Error),
    /// It was asked for what it does not do.
    #[error("it refused ({0}); was the database made by another version? If not, restore a backup")]
    Refused(Box<str>),
    /// It panicked over what it found; the message went to standard error.
    #[error(
        "it panicked over what it found there; leave the files as they are, and restore a backup"
    )]
    Panicked,
}

/// Whether `records` may be appended as `first` and following to a log that ends at `end`; answers
/// the new end. What all stores refuse alike.
///
/// # Errors
/// [`StoreError::NotAtEnd`] or [`StoreError::Unframed`].
pub(super) fn end_after<R>(first: Seq, end: Seq, records: &[R]) -> Result<Seq, StoreError> {
    if first != end {
        return Err(StoreError::NotAtEnd { first, end });
    }
    if records.is_empty() {
        return Err(FrameError::Empty.into());
    }
    seq_after(first, records.len()).ok_or(FrameError::SeqsExhausted { first }.into())
}

/// The blocks from the one that holds `from` up to the end, in order. The first one may begin
/// before `from`; each other one begins where the one before ended, though the store may have put
/// the records into larger blocks meanwhile. Stops after the first error.
pub fn records_from(store: &dyn Store, from: Seq) -> Blocks<'_> {
    Blocks { store, next: Some(from), last_end: None }
}

/// Walks over the blocks of a store; see [`records_from`].
pub struct Blocks<'a> {
    store: &'a dyn Store,
    /// The seq to read next; `None` once an error was given.
    next: Option<Seq>,
    /// Where the block before ended: there the next one begins.
    last_end: Option<Seq>,
}

impl Blocks<'_> {
    fn block_at(&self, seq: Seq) -> Result<Option<Block>, StoreError> {
        // In this order: the end may move between the two, but only forward.
        let end = self.store.end()?;
        let Some(block) = self.store.block(seq)? else {
            return match seq < end {
                true => Err(StoreError::Damaged { seq, what: Damage::Missing }),
                false => Ok(None),
            };
        };
        // The store answers by seq; that the blocks also lie end to end is our own observation.
        match self.last_end {
            Some(end) if end < block.first() || block.end() <= end => {
                Err(StoreError::Damaged { seq: block.first(), what: Damage::Misplaced { end } })
            }
            Some(end) => Ok(Some(block.since(end))),
            None => Ok(Some(block)),
        }
    }
}

impl Iterator for Blocks<'_> {
    type Item = Result<Block, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.block_at(self.next?) {
            Ok(Some(block)) => {
                self.next = Some(block.end());
                self.last_end = self.next;
                Some(Ok(block))
            }
            Ok(None) => None,
            Err(error) => {
                self.next = None;
                Some(Err(error))
            }
        }
    }
}
