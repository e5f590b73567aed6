//! The checkpoints that were signed: all are kept, by size and then by time, each with the
//! cosignatures that came in. Never signs, and never judges.

use std::sync::Arc;

use crate::crypto::note::{Note, NoteError};
use crate::log::checkpoint::{Checkpoint, CheckpointError};
use crate::log::side_table::{Row, SideTable};
use crate::log::store::StoreError;
use crate::log::tree::TreeHead;
use crate::types::time::Timestamp;

/// The table of a database where they stand.
pub const CHECKPOINTS: &str = "checkpoints";

/// A checkpoint as it was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// What was signed.
    pub head: TreeHead,
    /// When it was signed, by the ledger's clock. Not signed itself: what proves a time are the
    /// cosignatures.
    pub at: Timestamp,
    /// The note, with all its signatures.
    pub note: Note,
}

/// Why a stored checkpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointRowError {
    /// The table cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The row's key is not a size and a time.
    #[error("a stored checkpoint has a key of {0} bytes, where 16 are right")]
    Key(usize),
    /// The row is no note.
    #[error("the stored checkpoint of size {size} is no note: {source}")]
    Note {
        /// By its key.
        size: u64,
        /// What is wrong.
        source: NoteError,
    },
    /// The note is no checkpoint, or one of another size.
    #[error("the stored checkpoint of size {size} is damaged: {source}")]
    Checkpoint {
        /// By its key.
        size: u64,
        /// What is wrong.
        source: CheckpointError,
    },
}

/// The table of them.
#[derive(Clone)]
pub struct Checkpoints(Arc<dyn SideTable>);

impl Checkpoints {
    /// The checkpoints in `table`.
    pub fn new(table: Arc<dyn SideTable>) -> Self {
        Self(table)
    }

    /// Keeps a checkpoint, or its newer form with more signatures; `Ok` means durable.
    ///
    /// # Errors
    /// As [`SideTable::put`].
    pub fn keep(&self, published: &Published) -> Result<(), StoreError> {
        let key = key(published.head.size, published.at);
        self.0.put(&[(&key, published.note.encode().as_bytes())])
    }

    /// The one of the greatest size, and of those the last.
    ///
    /// # Errors
    /// [`CheckpointRowError`].
    pub fn newest(&self) -> Result<Option<Published>, CheckpointRowError> {
        self.0.last()?.map(decode).transpose()
    }

    /// Those of `size` or more, smallest first, `rows_max` at most.
    ///
    /// # Errors
    /// [`CheckpointRowError`].
    pub fn from_size(
        &self,
        size: u64,
        rows_max: usize,
    ) -> Result<Vec<Published>, CheckpointRowError> {
        let rows = self.0.rows_from(&key(size, Timestamp::from_seconds(0)), rows_max)?;
        rows.into_iter().map(decode).collect()
    }
}

fn key(size: u64, at: Timestamp) -> [u8; 16] {
    let mut key = [0; 16];
    let (by_size, by_time) = key.split_at_mut(8);
    by_size.copy_from_slice(&size.to_be_bytes());
    by_time.copy_from_slice(&at.micros().to_be_bytes());
    key
}

fn decode((key, value): Row) -> Result<Published, CheckpointRowError> {
    let (sizes, rest) = key.as_chunks::<8>();
    let ([size, at], []) = (sizes, rest) else { return Err(CheckpointRowError::Key(key.len())) };
    let (size, at) = (u64::from_be_bytes(*size), u64::from_be_bytes(*at));
    let note = Note::parse(&value).map_err(|source| CheckpointRowError::Note { size, source })?;
    let damaged = |source| CheckpointRowError::Checkpoint { size, source };
    let head = Checkpoint::parse(note.text()).map_err(damaged)?.head;
    if head.size != size {
        return Err(damaged(CheckpointError::Size));
    }
    Ok(Published { head, at: Timestamp::from_micros(at), note })
}
