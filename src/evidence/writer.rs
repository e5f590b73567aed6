//! Writes a log as a directory of tiles: each file complete, synced and renamed into place, the
//! checkpoint last. So whoever sees a checkpoint finds all that it covers, whatever happens midway.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use super::builder::TileBuilder;
use super::directory::{DirectorySource, read_bounded};
use super::source::{CHECKPOINT, LogSource, SourceError, bytes_max, entries, newest_note};
use crate::crypto::note::Note;
use crate::log::checkpoint::{Checkpoint, CheckpointError};
use crate::log::directory::MARKER;
use crate::log::file::{self, FILE_MODE, FileError};
use crate::log::tile::{TILE_WIDTH, TileId, TileKind};
use crate::log::tree::TreeHead;

/// Why a directory of tiles is not what it should be. It is left with the checkpoint that it had.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A file or directory cannot be written: a full disk, for one.
    #[error(transparent)]
    File(#[from] FileError),
    /// The log cannot be read where it comes from, or the directory is missing a tile of its own.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A checkpoint is none.
    #[error("{name}: {source}")]
    Checkpoint {
        /// Where it lies.
        name: String,
        /// What is wrong with it.
        source: CheckpointError,
    },
    /// The directory is a ledger's own, or lies in one.
    #[error(
        "{} is in a ledger's data directory, which a copy would break, or be lost with: name another \
         directory",
        path.display()
    )]
    Ledger {
        /// The directory.
        path: PathBuf,
    },
    /// Another process writes to the directory.
    #[error(
        "another process writes to {}, a mirror or a backup: wait for its end, or name another directory",
        path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A file that the directory's checkpoint covers has other bytes than it covers.
    #[error(
        "{} is there already and differs: it is of another log, or was changed. Nothing was \
         replaced; write to another directory, and keep this one to compare", path.display()
    )]
    Differs {
        /// The file.
        path: PathBuf,
    },
    /// The tiles in the directory are not those of its checkpoint.
    #[error(
        "the tiles in {} do not have the root that its checkpoint of {size} names: it was \
         changed. Write to another directory", path.display()
    )]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// The size of its checkpoint.
        size: u64,
    },
    /// The log is of another origin than the directory.
    #[error("{} holds the log {held}, not {offered}", path.display())]
    OtherLog {
        /// The directory.
        path: PathBuf,
        /// Its origin.
        held: String,
        /// That of the log.
        offered: String,
    },
    /// The log has become shorter.
    #[error(
        "{} holds {held} records, and the log has only {offered}: it was rolled back, or this is an \
         old copy", path.display()
    )]
    Shorter {
        /// The directory.
        path: PathBuf,
        /// How many records it holds.
        held: u64,
        /// How many the checkpoint covers.
        offered: u64,
    },
    /// The records do not have the root that the checkpoint names.
    #[error(
        "the {size} records do not have the root that the checkpoint names: it is of a fork, or a \
         record was changed on its way. The directory stays at the checkpoint that it has"
    )]
    Root {
        /// The size of the checkpoint.
        size: u64,
    },
}

/// What an extension wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// Records that the directory did not hold before.
    pub records: u64,
    /// Files, the checkpoint included.
    pub files: u64,
}

/// A directory of tiles that can be extended.
pub struct TileDirectory {
    path: PathBuf,
    held: Option<Checkpoint>,
    built: TileBuilder,
    /// Directories whose names are not durable yet.
    unsynced: BTreeSet<PathBuf>,
    /// Files of the extension under way.
    fresh: Vec<PathBuf>,
    /// Held for as long as anything may be written: what one process has not vouched for yet, another may
    /// have by now.
    _lock: File,
}

/// The file in the directory that whoever writes to it locks.
const LOCK: &str = ".lock";

/// Whether `path` is a ledger's directory, or would lie in one.
fn is_of_a_ledger(path: &Path) -> bool {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    // As far as it is there: what is made below it lies in the same place.
    let there = path.ancestors().find_map(|there| there.canonicalize().ok());
    there.is_some_and(|there| there.ancestors().any(|around| around.join(MARKER).exists()))
}

impl TileDirectory {
    /// The directory `path`, made where there is none (its parent must exist), as its checkpoint
    /// says. Files beyond the checkpoint are of an extension that was interrupted.
    ///
    /// # Errors
    /// [`WriteError`]: nothing was changed.
    pub fn open(path: &Path) -> Result<Self, WriteError> {
        if is_of_a_ledger(path) {
            return Err(WriteError::Ledger { path: path.to_owned() });
        }
        file::create_directory(path)?;
        let lock = file::lock(&path.join(LOCK))?;
        let lock = lock.ok_or_else(|| WriteError::InUse { path: path.to_owned() })?;
        let (held, built) = Self::read(path)?;
        let (path, unsynced, fresh) = (path.to_owned(), BTreeSet::new(), Vec::new());
        Ok(Self { path, held, built, unsynced, fresh, _lock: lock })
    }

    /// What the directory holds, by its checkpoint.
    fn read(path: &Path) -> Result<(Option<Checkpoint>, TileBuilder), WriteError> {
        let source = DirectorySource::new(path);
        let mut held = None;
        let mut built = TileBuilder::default();
        if source.checkpoint()?.is_some() {
            let checkpoint = read_checkpoint(&newest_note(&source)?, &source.place(CHECKPOINT))?;
            let size = checkpoint.head.size;
            built = TileBuilder::resume(&source, size)?;
            if built.head() != checkpoint.head {
                return Err(WriteError::Damaged { path: path.to_owned(), size });
            }
            held = Some(checkpoint);
        }
        Ok((held, built))
    }

    /// How many records it holds, and the root over them.
    pub fn head(&self) -> TreeHead {
        self.built.head()
    }

    /// Adds the records of `source` up to `note`, a checkpoint whose signatures are the caller's
    /// business, and then the checkpoint. A checkpoint of the same size replaces the one held, as
    /// when it gained cosignatures.
    ///
    /// # Errors
    /// [`WriteError`]: the old checkpoint stands, and what was written beyond it is removed. After
    /// [`WriteError::File`] make room and extend again.
    pub fn extend(&mut self, source: &dyn LogSource, note: &Note) -> Result<Written, WriteError> {
        self.fresh.clear();
        let before = self.built.head().size;
        let extended = match self.add_tiles(source, note) {
            Ok(checkpoint) => self.commit(checkpoint, note),
            Err(error) => {
                // No checkpoint covers them. What cannot be removed is written over some day.
                for path in self.fresh.drain(..) {
                    let _ = std::fs::remove_file(path);
                }
                Err(error)
            }
        };
        if extended.is_err() {
            // Its right edge has moved on, and perhaps the checkpoint.
            if let Ok((held, built)) = Self::read(&self.path) {
                (self.held, self.built) = (held, built);
            }
        }
        let files = extended?;
        Ok(Written { records: self.built.head().size - before, files })
    }

    /// Writes the tiles up to `note`, and makes them durable; answers what it says.
    fn add_tiles(&mut self, source: &dyn LogSource, note: &Note) -> Result<Checkpoint, WriteError> {
        let checkpoint = read_checkpoint(note, &source.place(CHECKPOINT))?;
        self.check_follows(&checkpoint)?;
        let (before, head) = (self.built.head().size, checkpoint.head);
        let mut size = before;
        while size < head.size {
            let index = size / u64::from(TILE_WIDTH);
            let Some(tile) = TileId::at(TileKind::Entries, index, head.size) else { break };
            let known = usize::try_from(size - tile.start()).unwrap_or(usize::MAX);
            for record in entries(source, tile)?.iter().skip(known) {
                for (tile, bytes) in self.built.push(record) {
                    self.place(tile, &bytes, before)?;
                }
            }
            size = self.built.head().size;
        }
        if self.built.head() != head {
            return Err(WriteError::Root { size: head.size });
        }
        for (tile, bytes) in self.built.partial() {
            self.place(tile, &bytes, before)?;
        }
        self.sync()?;
        Ok(checkpoint)
    }

    /// Writes the checkpoint `note` over what is there now; answers how many files were written.
    fn commit(&mut self, checkpoint: Checkpoint, note: &Note) -> Result<u64, WriteError> {
        let path = self.path.join(CHECKPOINT);
        file::write_durably(&path, note.encode().as_bytes(), FILE_MODE)?;
        self.drop_outgrown()?;
        self.held = Some(checkpoint);
        Ok(self.fresh.len() as u64 + 1)
    }

    fn check_follows(&self, checkpoint: &Checkpoint) -> Result<(), WriteError> {
        let path = || self.path.clone();
        let (held, offered) = (self.built.head(), checkpoint.head);
        if let Some(known) = &self.held
            && known.origin != checkpoint.origin
        {
            let (held, offered) = (known.origin.to_string(), checkpoint.origin.to_string());
            return Err(WriteError::OtherLog { path: path(), held, offered });
        }
        if offered.size < held.size {
            return Err(WriteError::Shorter {
                path: path(),
                held: held.size,
                offered: offered.size,
            });
        }
        Ok(())
    }

    /// A file of the first `covered` records is complete, and must be the same. One beyond them is of
    /// an extension that never came to its end: nobody has vouched for it, and other bytes replace it.
    fn place(&mut self, tile: TileId, bytes: &[u8], covered: u64) -> Result<(), WriteError> {
        let path = self.path.join(tile.to_string());
        if !tile.exists_in(covered) {
            // Whoever made a file or a directory before may have been killed before it was synced.
            let above = path.ancestors().skip(1).take_while(|above| above.starts_with(&self.path));
            self.unsynced.extend(above.map(Path::to_owned));
        }
        match read_bounded(&path, bytes_max(Some(tile.kind()))) {
            Ok(Some(there)) if there == bytes => return Ok(()),
            Ok(Some(_)) if tile.exists_in(covered) => return Err(WriteError::Differs { path }),
            Ok(_) | Err(SourceError::TooLong { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        self.make_directories(file::parent(&path))?;
        file::write_complete(&path, bytes, FILE_MODE)?;
        self.unsynced.insert(file::parent(&path).to_owned());
        self.fresh.push(path);
        Ok(())
    }

    fn make_directories(&mut self, path: &Path) -> Result<(), WriteError> {
        if path.is_dir() {
            return Ok(());
        }
        let parent = file::parent(path).to_owned();
        self.make_directories(&parent)?;
        file::create_directory(path)?;
        self.unsynced.insert(parent);
        Ok(())
    }

    /// Makes the names of all files durable, one sync a directory.
    fn sync(&mut self) -> Result<(), WriteError> {
        for directory in &self.unsynced {
            file::sync_directory(directory)?;
        }
        self.unsynced.clear();
        Ok(())
    }

    /// Removes the narrow tiles whose full one is there now (tlog-tiles, "Partial Tiles").
    fn drop_outgrown(&self) -> Result<(), WriteError> {
        for full in &self.fresh {
            let narrow = file::beside(full, ".p");
            if narrow.is_dir() {
                let removed = std::fs::remove_dir_all(&narrow);
                removed.map_err(|source| FileError { what: "remove", path: narrow, source })?;
            }
        }
        Ok(())
    }
}

fn read_checkpoint(note: &Note, name: &str) -> Result<Checkpoint, WriteError> {
    Checkpoint::parse(note.text())
        .map_err(|source| WriteError::Checkpoint { name: name.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_an_interrupted_extension_left_are_made_durable_with_the_others() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("tiles");
        let mut directory = TileDirectory::open(&path).expect("empty");
        let tile = TileId::at(TileKind::Entries, 0, 3).expect("a tile");
        directory.place(tile, b"records", 0).expect("written");
        // The process that wrote it was killed here.
        drop(directory);
        let mut directory = TileDirectory::open(&path).expect("no checkpoint");
        directory.place(tile, b"records", 0).expect("as it is");
        assert!(directory.fresh.is_empty());
        let below = ["", "tile", "tile/entries", "tile/entries/000.p"];
        assert_eq!(directory.unsynced, below.map(|name| path.join(name)).into());
        directory.sync().expect("durable");
        // What a checkpoint covers was made durable before it.
        directory.place(tile, b"records", 3).expect("as it is");
        assert!(directory.unsynced.is_empty());
    }
}
