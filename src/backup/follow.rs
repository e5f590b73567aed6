//! Brings a directory of tiles up to the newest checkpoint of a log, once. Backups and mirrors are
//! this, done once or for ever. What its own key did not sign is not copied.

use crate::crypto::note::{Note, NoteSignature};
use crate::crypto::note_key::{NoteKeyKind, NoteVerifier, Verified};
use crate::evidence::directory::DirectorySource;
use crate::evidence::source::{CHECKPOINT, LogSource, SourceError, newest_note};
use crate::evidence::writer::{TileDirectory, WriteError, Written};
use crate::log::checkpoint::CheckpointError;
use crate::log::tree::TreeHead;

/// What a step brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Followed {
    /// How far the log had come, which is how far the directory has come now.
    pub head: TreeHead,
    /// What was written.
    pub written: Written,
}

/// Why a directory does not follow. It is left with the checkpoint that it had.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The log cannot be read now; ask again.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The checkpoint is not by a key that was named: an impostor, or a rotation of the key.
    #[error("{name} is not signed by a key that was named: {source}")]
    NotSigned {
        /// Where the checkpoint lies.
        name: String,
        /// What is wrong with it.
        source: CheckpointError,
    },
    /// The directory cannot be extended.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl FollowError {
    /// Whether the evidence itself is wrong, or the place for it. Everything else may pass: a server
    /// that is down, a disk that is full.
    pub const fn is_contradiction(&self) -> bool {
        match self {
            Self::NotSigned { .. } => true,
            Self::Source(_)
            | Self::Write(WriteError::File(_) | WriteError::Source(_) | WriteError::InUse { .. }) => {
                false
            }
            Self::Write(
                WriteError::Checkpoint { .. }
                | WriteError::Differs { .. }
                | WriteError::Damaged { .. }
                | WriteError::Ledger { .. }
                | WriteError::OtherLog { .. }
                | WriteError::Shorter { .. }
                | WriteError::Root { .. },
            ) => true,
        }
    }
}

/// Copies what `source` has and `directory`, which lies at `path`, has not: tiles first, and last
/// its newest checkpoint, signed by one of `keys`.
///
/// # Errors
/// [`FollowError`]; what is complete is not copied again next time.
pub fn follow(
    directory: &mut TileDirectory,
    path: &std::path::Path,
    source: &dyn LogSource,
    keys: &[NoteVerifier],
) -> Result<Followed, FollowError> {
    let note = newest_note(source)?;
    check_signed(&note, &source.place(CHECKPOINT), keys)?;
    let Some(note) = beside_held(note, path, keys) else {
        return Ok(Followed { head: directory.head(), written: Written::default() });
    };
    let written = directory.extend(source, &note)?;
    Ok(Followed { head: directory.head(), written })
}

/// Checks that a log's own key signed `note`, which lies at `name`.
///
/// # Errors
/// [`FollowError::NotSigned`].
pub fn check_signed(note: &Note, name: &str, keys: &[NoteVerifier]) -> Result<(), FollowError> {
    let known = keys_of_log(keys);
    let source = match note.open(&known) {
        Ok(verified) if verified.iter().any(|by| by.at.is_none()) => return Ok(()),
        Ok(_) => CheckpointError::NotSignedByLog,
        Err(error) => error.into(),
    };
    Err(FollowError::NotSigned { name: name.to_owned(), source })
}

/// The keys by which a log signs, and those by which it dates: with a date that is not the log's
/// nobody could open the copy any more.
fn keys_of_log(keys: &[NoteVerifier]) -> Vec<NoteVerifier> {
    let of_log = || keys.iter().filter(|key| key.kind() == NoteKeyKind::Note);
    of_log().cloned().chain(of_log().map(NoteVerifier::dating)).collect()
}

/// `note` as the directory should have it, whose checkpoint may be of the same tree: then what was
/// signed there stays beside what is new. None where nothing is new, or where the log dates it
/// earlier than before. How many lines there are says nothing: anybody can write one.
fn beside_held(note: Note, path: &std::path::Path, keys: &[NoteVerifier]) -> Option<Note> {
    let held = newest_note(&DirectorySource::new(path)).ok();
    let Some(held) = held.filter(|held| held.text() == note.text()) else { return Some(note) };
    let known = keys_of_log(keys);
    // What no key opens is worth nothing, whatever else stands in it.
    let (Ok(dates), Ok(held_dates)) = (note.open(&known), held.open(&known)) else {
        return Some(note);
    };
    let is_earlier_now = |was: &Verified| {
        dates.iter().any(|now| now.id == was.id && now.name == was.name && now.at < was.at)
    };
    if held_dates.iter().any(is_earlier_now) {
        return None;
    }
    let mut joined = note;
    for line in held.signatures() {
        let is_of_its_key =
            |new: &NoteSignature| new.id() == line.id() && new.name() == line.name();
        if !joined.signatures().iter().any(is_of_its_key) {
            joined.add(line.clone()).ok()?;
        }
    }
    (joined != held).then_some(joined)
}
