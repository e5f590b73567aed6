//! A log as a directory of tiles: what `export --tiles` writes, and any C2SP tool reads.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::source::{CHECKPOINT, LogSource, SourceError, bytes_max};
use crate::log::file::FileError;
use crate::log::tile::{TileId, TileKind};

/// A directory with `checkpoint` and `tile/...` in it.
#[derive(Debug, Clone)]
pub struct DirectorySource {
    path: PathBuf,
}

impl DirectorySource {
    /// The log in `path`. Nothing is read yet.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    fn read(&self, name: &str, kind: Option<TileKind>) -> Result<Option<Vec<u8>>, SourceError> {
        read_bounded(&self.path.join(name), bytes_max(kind))
    }
}

impl LogSource for DirectorySource {
    fn place(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }

    fn checkpoint(&self) -> Result<Option<Vec<u8>>, SourceError> {
        self.read(CHECKPOINT, None)
    }

    fn tile(&self, tile: TileId) -> Result<Option<Vec<u8>>, SourceError> {
        self.read(&tile.to_string(), Some(tile.kind()))
    }
}

/// The bytes of a file, `bytes_max` at most; `None` where there is no such file.
///
/// # Errors
/// [`SourceError::File`] when the system refuses, [`SourceError::TooLong`].
pub(super) fn read_bounded(path: &Path, bytes_max: usize) -> Result<Option<Vec<u8>>, SourceError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(source) => return Err(FileError { what: "open", path: path.into(), source }.into()),
    };
    let mut bytes = Vec::new();
    let read = file.take(bytes_max as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|source| FileError { what: "read", path: path.into(), source })?;
    if bytes_max < bytes.len() {
        return Err(SourceError::TooLong { name: path.display().to_string(), bytes_max });
    }
    Ok(Some(bytes))
}
