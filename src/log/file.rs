//! Small files that are whole and durable, or not there at all.
//! Never leaves a half-written file under its final name.

use std::ffi::OsString;
use std::fs::{DirBuilder, DirEntry, File, OpenOptions, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

/// The mode of every file that holds anything of a ledger.
pub const FILE_MODE: u32 = 0o600;

/// The mode of every directory of a ledger.
pub const DIRECTORY_MODE: u32 = 0o700;

/// What the file system refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {}: {source}; {}", path.display(), remedy(source))]
pub struct FileError {
    /// What was tried, as a verb: "write", "fsync".
    pub what: &'static str,
    /// On which file or directory.
    pub path: PathBuf,
    /// What the system answered.
    pub source: io::Error,
}

fn remedy(source: &io::Error) -> &'static str {
    let is_one = |kinds: &[io::ErrorKind]| kinds.contains(&source.kind());
    if is_short_of_files(source) {
        "too many files are open: raise the limit of open files (`ulimit -n`, or `LimitNOFILE` of its \
         service)"
    } else if is_one(&[io::ErrorKind::ReadOnlyFilesystem]) {
        "it is mounted read-only, and a ledger is written to even to be read: work on a copy, on a \
         file system that can be written to"
    } else if is_one(&[io::ErrorKind::PermissionDenied]) {
        "run it as the user who owns the path"
    } else if is_one(&[io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded]) {
        "make room on the disk"
    } else {
        "check the disk, its free space, and who owns the path"
    }
}

impl FileError {
    /// For `map_err`: names what was tried on which path.
    pub fn on(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { what, path: path.to_owned(), source }
    }

    /// Whether nothing is wrong but that this process, or the machine, has too many files open.
    pub fn is_short_of_files(&self) -> bool {
        is_short_of_files(&self.source)
    }
}

fn is_short_of_files(source: &io::Error) -> bool {
    let short = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE];
    source.raw_os_error().is_some_and(|code| short.iter().any(|e| e.raw_os_error() == code))
}

/// Replaces the file `path` by `bytes`, with the permissions `mode`; `Ok` means that it survives
/// a power cut. Readers see the old file or the new one, never a mixture.
///
/// # Errors
/// When the file system refuses a step. The old file, if any, is still whole, unless only the last
/// step failed (fsync of the directory): then it is the old one or the new one.
pub fn write_durably(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    fill_durably(path, mode, |file| file.write_all(bytes))
}

/// As [`write_durably`], for a file that `fill` writes piece by piece.
///
/// # Errors
/// As [`write_durably`].
pub(super) fn fill_durably(
    path: &Path,
    mode: u32,
    fill: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<(), FileError> {
    fill_complete(path, mode, fill)?;
    sync_directory(parent(path))
}

/// As [`write_durably`], but for the name: the bytes survive a power cut once the caller has synced
/// the directory, which costs one sync for many files.
///
/// # Errors
/// When the file system refuses a step: nothing new stands under the name.
pub fn write_complete(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    fill_complete(path, mode, |file| file.write_all(bytes))
}

fn fill_complete(
    path: &Path,
    mode: u32,
    fill: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<(), FileError> {
    let mut file = PartialFile::create(path, mode)?;
    fill(file.file.get_mut()).map_err(FileError::on("write", &file.partial))?;
    file.complete()
}

/// A file on its way to its name: nothing stands there before [`PartialFile::finish`], and what was
/// written is removed when it never comes to that.
#[derive(Debug)]
pub struct PartialFile {
    path: PathBuf,
    partial: PathBuf,
    file: BufWriter<File>,
    completed: bool,
}

impl PartialFile {
    /// Begins what will be the file `path`, with the permissions `mode`.
    ///
    /// # Errors
    /// When the file system refuses; nothing was changed.
    pub fn create(path: &Path, mode: u32) -> Result<Self, FileError> {
        let partial = beside(path, ".tmp");
        // A leftover of an interrupted write may have other permissions, or be a link elsewhere.
        remove_if_there(&partial)?;
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(mode).open(&partial);
        let file = file.map_err(FileError::on("create", &partial))?;
        let file = BufWriter::new(file);
        let begun = Self { path: path.to_owned(), partial, file, completed: false };
        // The umask narrows the mode given at creation.
        let narrowed = begun.file.get_ref().set_permissions(Permissions::from_mode(mode));
        narrowed.map_err(FileError::on("restrict the permissions of", &begun.partial))?;
        Ok(begun)
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// When the disk is full, say: drop it.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.file.write_all(bytes).map_err(FileError::on("write", &self.partial))
    }

    /// Gives the file its name; `Ok` means that both survive a power cut.
    ///
    /// # Errors
    /// As [`write_durably`].
    pub fn finish(self) -> Result<(), FileError> {
        let path = self.path.clone();
        self.complete()?;
        sync_parent(&path)
    }

    /// Gives the file its name, which is not durable yet.
    fn complete(mut self) -> Result<(), FileError> {
        self.file.flush().map_err(FileError::on("write", &self.partial))?;
        self.file.get_ref().sync_all().map_err(FileError::on("fsync", &self.partial))?;
        let renamed = std::fs::rename(&self.partial, &self.path);
        renamed.map_err(FileError::on("rename to", &self.path))?;
        self.completed = true;
        Ok(())
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        if !self.completed {
            // A full disk has better uses for its last blocks than half a file.
            let _ = remove_if_there(&self.partial);
        }
    }
}

/// Removes the file `path`; `Ok` means that it stays removed after a power cut.
///
/// # Errors
/// When the file system refuses; the file may then still be there.
pub fn remove_durably(path: &Path) -> Result<(), FileError> {
    remove_if_there(path)?;
    sync_directory(parent(path))
}

/// Makes the names in a directory durable: what was created, renamed or removed there.
///
/// # Errors
/// When the directory cannot be opened or synced; its last changes may be lost in a power cut.
pub fn sync_directory(path: &Path) -> Result<(), FileError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(FileError::on("fsync", path))
}

/// Makes the name of `path` itself durable, in the directory that holds it.
///
/// # Errors
/// As [`sync_directory`].
pub fn sync_parent(path: &Path) -> Result<(), FileError> {
    sync_directory(parent(path))
}

/// The bytes of a file, or `None` if there is no such file.
///
/// # Errors
/// When the file is there and cannot be read.
pub fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FileError { what: "read", path: path.to_owned(), source }),
    }
}

/// Makes the directory `path`, private to its owner; one that is there already is left as it is.
///
/// # Errors
/// When the file system refuses, or `path` is something else than a directory.
pub fn create_directory(path: &Path) -> Result<(), FileError> {
    match DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made.map_err(FileError::on("create the directory", path)),
    }
}

/// What is in a directory, in no order.
///
/// # Errors
/// When it cannot be read to its end.
pub fn list(path: &Path) -> Result<Vec<DirEntry>, FileError> {
    std::fs::read_dir(path)
        .and_then(|entries| entries.collect())
        .map_err(FileError::on("list", path))
}

/// How often a lock is asked for before it counts as held by somebody else, a millisecond apart. Between
/// its fork and its exec a child has every lock of the process that it comes from.
const LOCK_TRIES_MAX: u32 = 500;

/// Takes the lock file `path`, made if it is not there; `None` when another process holds it. The
/// operating system lets go of it when the file is closed, or the process ends, however it ends.
///
/// # Errors
/// When the file system refuses; the lock is not held.
pub fn lock(path: &Path) -> Result<Option<File>, FileError> {
    let mut options = OpenOptions::new();
    let file = options
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE)
        .open(path)
        .map_err(FileError::on("open", path))?;
    for _ in 0..LOCK_TRIES_MAX {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Some(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                std::thread::park_timeout(Duration::from_millis(1));
            }
            Err(error) => return Err(FileError::on("lock", path)(error.into())),
        }
    }
    Ok(None)
}

/// Whether a directory holds anything but what is `allowed`. A fresh ext4 has a `lost+found`, which
/// makes no directory less empty.
///
/// # Errors
/// When it cannot be read to its end.
pub fn holds_other_than(allowed: &[&str], path: &Path) -> Result<bool, FileError> {
    Ok(list(path)?
        .into_iter()
        .map(|entry| entry.file_name())
        .any(|name| name != "lost+found" && !allowed.iter().any(|allowed| name == *allowed)))
}

/// The directory that holds `path`.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => path,
    }
}

/// `path` with `suffix` added to its name.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

fn remove_if_there(path: &Path) -> Result<(), FileError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(FileError { what: "remove", path: path.to_owned(), source: error })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_refuses_is_told_with_what_to_do() {
        for (kind, told) in [
            (io::ErrorKind::ReadOnlyFilesystem, "work on a copy"),
            (io::ErrorKind::PermissionDenied, "the user who owns"),
            (io::ErrorKind::StorageFull, "make room"),
            (io::ErrorKind::Other, "check the disk"),
        ] {
            let error = FileError::on("open", Path::new("/ledger/lock"))(kind.into());
            assert!(error.to_string().starts_with("cannot open /ledger/lock: "), "{error}");
            assert!(error.to_string().contains(told), "{error}");
        }
    }
}
