//! The copy of the log from before a recovery, which overwrites what it cannot read: the evidence.
//! Never changes the log, nor a copy that is still needed. Files that nobody writes to any more get
//! a second name in place of a copy.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::file::{self, FileError};
use super::sled::SEGMENT_NAME;
use super::vaults::remove_tree_durably;

/// In a copy: the recovery that it was made for went well, so a later one may replace it.
pub const CONFIRMED: &str = "recovery-confirmed";

/// What became of the copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogCopy {
    /// There is no log to copy.
    NoLog,
    /// A copy that shares its blocks with the log.
    Reflinked {
        /// Where it is.
        path: PathBuf,
    },
    /// A copy of all bytes.
    Copied {
        /// Where it is.
        path: PathBuf,
        /// How long the files are together that were copied.
        bytes: u64,
    },
    /// A copy from before an earlier recovery that was never confirmed: it is closer to the crash
    /// than the log is now, so it stays and no other one is made.
    EarlierKept {
        /// Where it is.
        path: PathBuf,
    },
    /// The file system cannot share blocks, and what had to be copied is longer than allowed: there
    /// is no copy of the log. Say so.
    Skipped {
        /// How long those files are together.
        bytes: u64,
        /// What was allowed.
        bytes_max: u64,
    },
}

/// A file or directory inside the log, by its path from there.
struct Entry {
    path: PathBuf,
    /// The length of a file; `None` for a directory.
    bytes: Option<u64>,
    /// Nothing is written to the file any more.
    is_finished: bool,
}

/// Copies the directory `log` to `copy` in place of a confirmed copy there; durable when done.
pub(super) fn keep_copy(log: &Path, copy: &Path, bytes_max: u64) -> Result<LogCopy, FileError> {
    if !log.is_dir() {
        return Ok(LogCopy::NoLog);
    }
    if copy.is_dir() && !copy.join(CONFIRMED).exists() {
        return Ok(LogCopy::EarlierKept { path: copy.to_owned() });
    }
    let entries = entries_of(log)?;
    let copied = entries.iter().filter(|entry| !entry.is_finished);
    let bytes = copied.filter_map(|entry| entry.bytes).sum();
    let partial = file::beside(copy, ".tmp");
    let path = copy.to_owned();

    remove_tree_durably(&partial)?;
    if copy_entries(&entries, log, &partial, &mut reflink)? {
        publish(&entries, &partial, copy)?;
        return Ok(LogCopy::Reflinked { path });
    }
    remove_tree_durably(&partial)?;
    if bytes_max < bytes {
        return Ok(LogCopy::Skipped { bytes, bytes_max });
    }
    // A file that cannot be linked is copied too, and counts then.
    let mut left = bytes_max;
    let mut within_bound = |from: &Path, to: &Path| match left.checked_sub(length(from)?) {
        Some(less) => {
            left = less;
            copy_bytes(from, to)
        }
        None => Ok(false),
    };
    match copy_entries(&entries, log, &partial, &mut within_bound) {
        Ok(true) => {}
        Ok(false) => {
            remove_tree_durably(&partial)?;
            let bytes = entries.iter().filter_map(|entry| entry.bytes).sum();
            return Ok(LogCopy::Skipped { bytes, bytes_max });
        }
        Err(error) => {
            // A disk that is full is not to stay full for our sake; the error tells what happened.
            let _ = remove_tree_durably(&partial);
            return Err(error);
        }
    }
    publish(&entries, &partial, copy).inspect_err(|_| {
        let _ = remove_tree_durably(&partial);
    })?;
    Ok(LogCopy::Copied { path, bytes: bytes_max - left })
}

/// Allows the copy to be replaced by the next one.
pub(super) fn confirm(copy: &Path) -> Result<(), FileError> {
    if !copy.is_dir() {
        return Ok(());
    }
    file::write_durably(&copy.join(CONFIRMED), b"", file::FILE_MODE)
}

/// Whether `copy_file` did it for all of them; stops at the first that it did not.
fn copy_entries(
    entries: &[Entry],
    from: &Path,
    to: &Path,
    copy_file: &mut dyn FnMut(&Path, &Path) -> Result<bool, FileError>,
) -> Result<bool, FileError> {
    file::create_directory(to)?;
    for entry in entries {
        let (from, to) = (from.join(&entry.path), to.join(&entry.path));
        if entry.bytes.is_none() {
            file::create_directory(&to)?;
        } else if entry.is_finished && std::fs::hard_link(&from, &to).is_ok() {
            continue;
        } else if !copy_file(&from, &to)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn reflink(from: &Path, to: &Path) -> Result<bool, FileError> {
    let from = File::open(from).map_err(FileError::on("open", from))?;
    let to = create(to)?;
    Ok(shares_blocks(&from, &to))
}

/// Any failure counts as "cannot": a true one comes back when the bytes are copied.
#[cfg(target_os = "linux")]
fn shares_blocks(from: &File, to: &File) -> bool {
    rustix::fs::ioctl_ficlone(to, from).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn shares_blocks(_from: &File, _to: &File) -> bool {
    false
}

fn length(of: &Path) -> Result<u64, FileError> {
    std::fs::metadata(of).map(|about| about.len()).map_err(FileError::on("look at", of))
}

fn copy_bytes(from: &Path, to: &Path) -> Result<bool, FileError> {
    let mut source = File::open(from).map_err(FileError::on("open", from))?;
    let mut copy = create(to)?;
    std::io::copy(&mut source, &mut copy).map_err(FileError::on("copy to", to))?;
    Ok(true)
}

fn create(path: &Path) -> Result<File, FileError> {
    let mut options = OpenOptions::new();
    let options = options.write(true).create_new(true).mode(file::FILE_MODE);
    options.open(path).map_err(FileError::on("create", path))
}

/// Makes the copy durable, and then puts it in its place. A kill in between loses only copies: the
/// log is untouched, and the next start makes another.
fn publish(entries: &[Entry], partial: &Path, copy: &Path) -> Result<(), FileError> {
    for entry in entries {
        file::sync_directory(&partial.join(&entry.path))?;
    }
    file::sync_directory(partial)?;
    remove_tree_durably(copy)?;
    std::fs::rename(partial, copy).map_err(FileError::on("rename to", copy))?;
    file::sync_directory(file::parent(copy))
}

/// All that is in `root`, each directory before what is in it.
fn entries_of(root: &Path) -> Result<Vec<Entry>, FileError> {
    let mut entries = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(dir) = open.pop() {
        for entry in file::list(&root.join(&dir))? {
            let path = dir.join(entry.file_name());
            let about = entry.metadata().map_err(FileError::on("look at", &root.join(&path)))?;
            if about.is_dir() {
                open.push(path.clone());
            }
            let bytes = about.is_file().then_some(about.len());
            entries.push(Entry { path, bytes, is_finished: false });
        }
    }
    entries.retain(|entry| entry.bytes.is_some() || root.join(&entry.path).is_dir());
    let is_segment =
        |entry: &&mut Entry| entry.path.to_str().is_some_and(|path| path.starts_with(SEGMENT_NAME));
    let mut segments = entries.iter_mut().filter(is_segment).collect::<Vec<_>>();
    segments.sort_by(|one, other| one.path.cmp(&other.path));
    // The newest one may go on.
    segments.pop();
    segments.into_iter().for_each(|entry| entry.is_finished = true);
    Ok(entries)
}
