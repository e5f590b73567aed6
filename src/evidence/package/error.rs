//! Why a package proves nothing, or cannot be made. Names the record that is wrong, where one is.

use std::path::PathBuf;

use super::asked::{Asked, Wanted};
use crate::crypto::note::NoteError;
use crate::domain::record::NotARecord;
use crate::evidence::keys::Untrusted;
use crate::evidence::source::SourceError;
use crate::log::file::FileError;
use crate::log::receipt::ReceiptError;
use crate::types::id::Seq;

/// Why a package proves nothing, or cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// A file is not there.
    #[error("{} is missing", path.display())]
    Missing {
        /// Which.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A tile cannot be read, or a file is too long.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Something is there already.
    #[error("{} is there already; name a new directory", path.display())]
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// A line is no record.
    #[error("line {line} of records.jsonl: {what}")]
    NotARecord {
        /// Which line, from 1.
        line: u64,
        /// Why.
        what: NotARecord,
    },
    /// The last line has no end.
    #[error("records.jsonl was cut off in its last line")]
    CutLine,
    /// It does not end with a reading that has a nonce.
    #[error(
        "the package does not end with the record of its own reading (audit.read with a nonce): \
         its end was cut off, or something was added to it"
    )]
    NoReading,
    /// The reading has another nonce than the auditor gave.
    #[error("the package was read with the nonce {found}, not {expected}: it is an older one")]
    Nonce {
        /// In the record.
        found: String,
        /// As the auditor remembers it.
        expected: String,
    },
    /// The reading is about something else than was asked for.
    #[error(
        "the package is of {found}, and {expected} was asked for: it is another reading, or the \
         server answered something else"
    )]
    OtherReading {
        /// What it is about.
        found: Asked,
        /// What it should be about.
        expected: Wanted,
    },
    /// The reading is about more than one party, or about none.
    #[error("the reading is not that of one trail or of a time")]
    Vague,
    /// A record is on another trail.
    #[error("record {seq} is not on the trail that was read")]
    OffTrail {
        /// Which.
        seq: Seq,
    },
    /// A link leads to a record that is not the one before.
    #[error(
        "record {seq} names {} as the one before it, and the package has {} there: a record was \
         left out, moved or put in", shown(*says), shown(*found)
    )]
    Gap {
        /// Which.
        seq: Seq,
        /// What its back link, or its place, says.
        says: Option<Seq>,
        /// What stands before it in the package.
        found: Option<Seq>,
    },
    /// The records of a time do not reach to its ends.
    #[error("the records do not reach {which} of the time that was asked for")]
    Span {
        /// Which end.
        which: &'static str,
    },
    /// A record is not in the tree.
    #[error("record {seq}: {source}")]
    Receipt {
        /// Which.
        seq: Seq,
        /// Why not.
        source: ReceiptError,
    },
    /// A receipt is for another record or another checkpoint.
    #[error("the receipt of record {seq} is for another record or another checkpoint")]
    OtherReceipt {
        /// Which.
        seq: Seq,
    },
    /// The checkpoint is no note.
    #[error("the checkpoint of the package: {0}")]
    Note(#[from] NoteError),
    /// The checkpoint is not believed.
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
    /// The checkpoint does not reach to the reading.
    #[error("the checkpoint covers {size} records, and the reading is record {seq}")]
    TooEarly {
        /// Of the checkpoint.
        size: u64,
        /// The reading.
        seq: Seq,
    },
}

impl PackageError {
    /// Whether the package was read and is wrong, and not only out of reach.
    pub fn is_fault(&self) -> bool {
        !matches!(self, Self::File(_) | Self::Exists { .. } | Self::TooEarly { .. })
    }
}

fn shown(seq: Option<Seq>) -> String {
    seq.map_or_else(|| "none".to_owned(), |seq| format!("record {seq}"))
}
