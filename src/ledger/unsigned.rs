//! Why no checkpoint is signed, in words that say what to do.

use crate::crypto::note::NoteError;
use crate::ledger::checkpoints::CheckpointRowError;
use crate::ledger::tree::RootFault;
use crate::log::checkpoint::Origin;
use crate::log::fence::FenceError;
use crate::log::store::StoreError;

/// Why nothing is signed; each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Unsigned {
    /// The fence cannot be read or written.
    #[error("no checkpoint is signed: {0}")]
    Fence(#[from] FenceError),
    /// The fence cannot be used for the moment, as when too many files are open, or another process
    /// has its lock. Nothing was published.
    #[error("no checkpoint is signed until the fence can be used again: {0}")]
    Unread(#[source] FenceError),
    /// The table of checkpoints cannot be written.
    #[error("no checkpoint is signed: {0}")]
    Store(#[from] StoreError),
    /// A stored checkpoint cannot be read.
    #[error("{0}. Leave the directory as it is and restore a backup")]
    Row(#[from] CheckpointRowError),
    /// The tree cannot be read.
    #[error("no checkpoint is signed: {0}")]
    Tree(#[from] RootFault),
    /// Checkpoints were signed, and what was signed last is not remembered.
    #[error(
        "the fence {place} is missing, though a checkpoint of {size} records was signed: put the \
         file back or correct fence_file. If it is lost, an old backup would not be recognised: \
         `token-ledger fence --help` says how to make sure that this log is the newest"
    )]
    FenceMissing {
        /// Where it should be.
        place: String,
        /// The size of the newest stored checkpoint.
        size: u64,
    },
    /// The fence is older than the log's own checkpoints.
    #[error(
        "the fence {place} remembers a checkpoint of {fenced} records, but one of {stored} was \
         signed: an old fence was put back, or fence_file names another one. Put the newest one \
         back, or see `token-ledger fence --help`"
    )]
    FenceBehind {
        /// Where it is.
        place: String,
        /// What it remembers.
        fenced: u64,
        /// The size of the newest stored checkpoint.
        stored: u64,
    },
    /// The fence of another log.
    #[error("the fence {place} is that of {found}, not of {own}: correct fence_file")]
    ForeignFence {
        /// Where it is.
        place: String,
        /// Whose it is.
        found: Origin,
        /// Whose it should be.
        own: Origin,
    },
    /// Less is there than was signed.
    #[error(
        "the log has {found} records, but a checkpoint of {signed} was signed and perhaps given \
         away: an old backup was restored, or records are lost. Restore the newest backup; signing \
         goes on at {signed} records or later, never before"
    )]
    Shorter {
        /// What was signed.
        signed: u64,
        /// What is there.
        found: u64,
    },
    /// Something else is there than was signed.
    #[error(
        "the first {size} records are not those that the fence or a checkpoint says were signed: \
         this log is a fork, as of a backup that was written on while the original went on. Leave \
         the directory as it is and restore the log that was signed"
    )]
    Forked {
        /// The size that was signed.
        size: u64,
    },
    /// Another process signs for the same log.
    #[error(
        "the fence {place} was moved by somebody else: another process signs for this log. Stop \
         one of them, then restart the other"
    )]
    Moved {
        /// Where it is.
        place: String,
    },
    /// An earlier failure.
    #[error(
        "no checkpoint is signed since an earlier failure: {0}. Look at the disk, then restart"
    )]
    Stopped(String),
    /// The cosignatures do not fit.
    #[error("the cosignatures cannot be added: {0}")]
    Note(#[from] NoteError),
    /// The fence that is there is beyond what it would be replaced by.
    #[error(
        "the fence {place} remembers a checkpoint of {fenced} records, more than the {newest} that \
         are vouched for: it is not moved back"
    )]
    FenceAhead {
        /// Where it is.
        place: String,
        /// What it remembers.
        fenced: u64,
        /// What it would remember.
        newest: u64,
    },
    /// There is nothing to be cosigned.
    #[error("no checkpoint of {0} records was published since the start")]
    Unknown(u64),
}
