//! Where a log is read from: a checkpoint, tiles and bundles (C2SP tlog-tiles v0.1.0), as bytes that
//! nobody has vouched for yet.

use crate::crypto::note::{NOTE_BYTES_MAX, Note, NoteError};
use crate::domain::record::RECORD_BYTES_MAX;
use crate::ledger::replay::LogError;
use crate::log::bundle::{BundleError, decode_bundle};
use crate::log::file::FileError;
use crate::log::store::{EngineError, JournalDamage, StoreError};
use crate::log::tile::{TILE_WIDTH, TileId, TileKind};
use crate::log::tile_hashes::{NotTileHashes, TileHashes};

/// How many bytes a tile of hashes may take.
pub const HASHES_BYTES_MAX: usize = TILE_WIDTH as usize * 32;
/// How many bytes a bundle of this ledger's records may take.
pub const BUNDLE_BYTES_MAX: usize = TILE_WIDTH as usize * (2 + RECORD_BYTES_MAX);
/// The name of the newest checkpoint below the prefix of a log.
pub const CHECKPOINT: &str = "checkpoint";

/// Why a log cannot be read where it should be.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It has no such file. A log that was pruned or cut has none, nor one that never grew so far.
    #[error("{name} is missing")]
    Missing {
        /// The path or address.
        name: String,
    },
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The server gave no answer.
    #[error("{name} cannot be fetched: {why}")]
    Unreachable {
        /// The address.
        name: String,
        /// What the network said.
        why: String,
    },
    /// The server answered something else.
    #[error("{name} is answered {status}{}", hint(*status))]
    Refused {
        /// The address.
        name: String,
        /// The status code (RFC 9110 section 15).
        status: u16,
    },
    /// More bytes than the thing can have.
    #[error("{name} has more than {bytes_max} bytes")]
    TooLong {
        /// The path or address.
        name: String,
        /// The bound.
        bytes_max: usize,
    },
    /// The bytes are no tile of hashes.
    #[error("{name}: {source}")]
    Hashes {
        /// The path or address.
        name: String,
        /// What is wrong.
        source: NotTileHashes,
    },
    /// The tile has fewer hashes than its name says.
    #[error("{name} has {found} hashes, and should have {width}")]
    Narrow {
        /// The path or address.
        name: String,
        /// How many there are.
        found: usize,
        /// How many there should be.
        width: u16,
    },
    /// The bytes are no bundle.
    #[error("{name}: {source}")]
    Bundle {
        /// The path or address.
        name: String,
        /// What is wrong.
        source: BundleError,
    },
    /// The checkpoint is no note.
    #[error("{name}: {source}")]
    Note {
        /// The path or address.
        name: String,
        /// What is wrong.
        source: NoteError,
    },
    /// The store of a data directory cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl From<StoreError> for SourceError {
    fn from(error: StoreError) -> Self {
        Self::Log(error.into())
    }
}

/// Whether a stored log was read and is not what it must be, and is not only out of reach: a disk
/// that cannot be read is no forgery.
pub fn is_damage(error: &LogError) -> bool {
    match error {
        LogError::Broken { .. } => true,
        LogError::Store(error) => is_damage_of_store(error),
    }
}

/// As [`is_damage`], of what the store itself says.
pub fn is_damage_of_store(error: &StoreError) -> bool {
    match error {
        StoreError::Damaged { .. } => true,
        // One of another length may be of a newer version.
        StoreError::Journal { what, .. } => !matches!(what, JournalDamage::Length { .. }),
        StoreError::Engine { source, .. } => match source {
            EngineError::Damaged(_) | EngineError::Panicked => true,
            EngineError::Io(_) | EngineError::Refused(_) => false,
        },
        StoreError::Io(_)
        | StoreError::Poisoned
        | StoreError::NotAtEnd { .. }
        | StoreError::Unframed(_)
        | StoreError::RowTooLong { .. }
        | StoreError::Exists { .. }
        | StoreError::Missing { .. } => false,
    }
}

fn hint(status: u16) -> &'static str {
    match status {
        401 | 403 => ": the records are behind the scope ledger:audit",
        _ => "",
    }
}

/// A log that can be read, tile by tile.
pub trait LogSource: Sync {
    /// Where `name` lies, for messages: a path or an address.
    fn place(&self, name: &str) -> String;

    /// The bytes of the newest checkpoint; `None` where there is none.
    ///
    /// # Errors
    /// [`SourceError`] when it cannot be told; a retry may read it.
    fn checkpoint(&self) -> Result<Option<Vec<u8>>, SourceError>;

    /// The bytes of `tile`, exactly as wide; `None` where there is none. Bounded by
    /// [`HASHES_BYTES_MAX`] or [`BUNDLE_BYTES_MAX`].
    ///
    /// # Errors
    /// [`SourceError`] when it cannot be told; a retry may read it.
    fn tile(&self, tile: TileId) -> Result<Option<Vec<u8>>, SourceError>;
}

/// The newest checkpoint as a note whose signatures nobody has checked yet.
///
/// # Errors
/// [`SourceError`], when there is none or it is no note.
pub fn newest_note(source: &dyn LogSource) -> Result<Note, SourceError> {
    let name = || source.place(CHECKPOINT);
    let bytes = source.checkpoint()?.ok_or_else(|| SourceError::Missing { name: name() })?;
    Note::parse(&bytes).map_err(|source| SourceError::Note { name: name(), source })
}

/// The hashes of `tile`. A narrow tile may be gone once the full one is there: then they are cut
/// from that (tlog-tiles, "Partial Tiles").
///
/// # Errors
/// [`SourceError`] naming the tile.
pub fn hashes(source: &dyn LogSource, tile: TileId) -> Result<TileHashes, SourceError> {
    let (bytes, from) = fetch(source, tile)?;
    let name = || source.place(&from.to_string());
    let decoded = TileHashes::decode(&bytes)
        .map_err(|error| SourceError::Hashes { name: name(), source: error })?;
    let found = decoded.hashes().len();
    if found != usize::from(from.width()) {
        return Err(SourceError::Narrow { name: name(), found, width: from.width() });
    }
    let cut = decoded.hashes().iter().take(usize::from(tile.width())).copied().collect();
    TileHashes::new(cut).map_err(|error| SourceError::Hashes { name: name(), source: error })
}

/// The records of the bundle `tile`, cut from the full one where that took its place.
///
/// # Errors
/// [`SourceError`] naming the bundle.
pub fn entries(source: &dyn LogSource, tile: TileId) -> Result<Vec<Vec<u8>>, SourceError> {
    let (bytes, from) = fetch(source, tile)?;
    let decoded = decode_bundle(&bytes, from.width()).map_err(|error| SourceError::Bundle {
        name: source.place(&from.to_string()),
        source: error,
    })?;
    Ok(decoded.into_iter().take(usize::from(tile.width())).map(<[u8]>::to_vec).collect())
}

/// The bytes of `tile`, or of the full tile at its place, and which of them.
fn fetch(source: &dyn LogSource, tile: TileId) -> Result<(Vec<u8>, TileId), SourceError> {
    if let Some(bytes) = source.tile(tile)? {
        return Ok((bytes, tile));
    }
    let full = TileId::new(tile.kind(), tile.index(), TILE_WIDTH).filter(|full| *full != tile);
    if let Some(full) = full
        && let Some(bytes) = source.tile(full)?
    {
        return Ok((bytes, full));
    }
    Err(SourceError::Missing { name: source.place(&tile.to_string()) })
}

/// How many bytes a file of a log may take, by its kind; a checkpoint where there is none.
pub(super) const fn bytes_max(kind: Option<TileKind>) -> usize {
    match kind {
        None => NOTE_BYTES_MAX,
        Some(TileKind::Hashes(_)) => HASHES_BYTES_MAX,
        Some(TileKind::Entries) => BUNDLE_BYTES_MAX,
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::PathBuf;

    use super::*;
    use crate::log::store::Damage;
    use crate::types::id::Seq;

    #[test]
    fn a_disk_that_cannot_be_read_is_no_damage_and_what_was_read_and_is_wrong_is() {
        let (path, seq) = (PathBuf::from("log"), Seq(3));
        let file =
            FileError { what: "read", path: path.clone(), source: io::ErrorKind::Other.into() };
        let engine = |source| StoreError::Engine { what: "read", path: path.clone(), source };
        let journal = |what| StoreError::Journal { path: path.clone(), what };
        for (error, is_wrong) in [
            (StoreError::Damaged { seq, what: Damage::Missing }, true),
            (journal(JournalDamage::Differs { seq }), true),
            (engine(EngineError::Damaged("a page".into())), true),
            (journal(JournalDamage::Length { bytes: 2, bytes_max: 1 }), false),
            (engine(EngineError::Io(io::ErrorKind::Other.into())), false),
            (StoreError::Io(file), false),
        ] {
            let said = error.to_string();
            assert_eq!(is_damage(&error.into()), is_wrong, "{said}");
        }
    }
}
