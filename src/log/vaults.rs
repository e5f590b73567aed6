//! The vault's directories: a pointer file names the current one, and moves in one step.
//! Never removes a vault unless the current one is there.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::directory::DirectoryError;
use super::file::{self, FileError};

/// The file that names the current vault.
pub const POINTER: &str = "vault.current";
/// How the names of their directories begin.
pub const PREFIX: &str = "vault-";

/// The vaults of one data directory: `vault-000001`, `vault-000002`, ...
#[derive(Debug)]
pub(super) struct Vaults {
    dir: PathBuf,
    /// What the pointer file says.
    current: Mutex<u32>,
    /// Whether it will say so after a power cut, too: not once it could only be moved half way.
    is_known: AtomicBool,
}

impl Vaults {
    fn at(dir: &Path, number: u32) -> Self {
        let (current, is_known) = (Mutex::new(number), AtomicBool::new(true));
        Self { dir: dir.to_owned(), current, is_known }
    }

    /// Points to the first vault, which the caller makes afterwards.
    pub(super) fn create(dir: &Path) -> Result<Self, DirectoryError> {
        let vaults = Self::at(dir, 1);
        vaults.point_to(1)?;
        Ok(vaults)
    }

    /// Reads the pointer, and removes what an interrupted rewrite or switch left.
    pub(super) fn open(dir: &Path) -> Result<Self, DirectoryError> {
        let pointer = dir.join(POINTER);
        let text = file::read_if_there(&pointer)?.unwrap_or_default();
        let name = std::str::from_utf8(&text).ok().map(str::trim_end);
        let Some(number) = name.and_then(number) else {
            return Err(DirectoryError::VaultPointer { path: pointer });
        };
        let vaults = Self::at(dir, number);
        let current = vaults.current();
        let others = vaults.others(number)?;
        if !current.is_dir() && !others.is_empty() {
            return Err(DirectoryError::VaultMissing { path: current });
        }
        for other in others {
            remove_tree_durably(&other)?;
        }
        Ok(vaults)
    }

    pub(super) fn current(&self) -> PathBuf {
        self.path_of(*self.current.lock())
    }

    /// Where the next vault is to be made; nothing is there.
    pub(super) fn next(&self) -> Result<PathBuf, DirectoryError> {
        let next = self.path_of(self.current.lock().saturating_add(1));
        // A rewrite that failed in this process left it.
        remove_tree_durably(&next)?;
        Ok(next)
    }

    pub(super) fn switch(&self, new: &Path) -> Result<(), DirectoryError> {
        let mut current = self.current.lock();
        let next = current.saturating_add(1);
        if new != self.path_of(next) || !new.is_dir() {
            return Err(DirectoryError::NotTheNextVault { path: new.to_owned() });
        }
        if let Err(error) = self.point_to(next) {
            // The last step syncs the directory, once the file has its name: before it, nothing was moved.
            self.is_known.store(error.path != self.dir, Ordering::Release);
            return Err(error.into());
        }
        *current = next;
        // A kill before this leaves the old one for `open` to remove, and a removal that failed before
        // is made good.
        Ok(self.others(next)?.iter().try_for_each(|old| remove_tree_durably(old))?)
    }

    /// Whether the current vault is the one that the next start finds. Else nothing may be written to
    /// either of the two: each holds all that was written before.
    pub(super) fn is_known(&self) -> bool {
        self.is_known.load(Ordering::Acquire)
    }

    fn point_to(&self, number: u32) -> Result<(), FileError> {
        let name = format!("{PREFIX}{number:06}\n");
        file::write_durably(&self.dir.join(POINTER), name.as_bytes(), file::FILE_MODE)
    }

    fn path_of(&self, number: u32) -> PathBuf {
        self.dir.join(format!("{PREFIX}{number:06}"))
    }

    fn others(&self, current: u32) -> Result<Vec<PathBuf>, FileError> {
        let mut others = Vec::new();
        for entry in file::list(&self.dir)? {
            let found = entry.file_name().to_str().and_then(number);
            if found.is_some_and(|found| found != current) {
                others.push(entry.path());
            }
        }
        Ok(others)
    }
}

/// The number in a vault's name; `None` for every other name.
pub(super) fn number(name: &str) -> Option<u32> {
    let digits = name.strip_prefix(PREFIX)?;
    let number: u32 = digits.parse().ok()?;
    // As it is written, so that no two names stand for one vault.
    (format!("{number:06}") == digits).then_some(number)
}

/// Removes the directory `path` with all that is in it; `Ok` means that it stays removed.
pub(super) fn remove_tree_durably(path: &Path) -> Result<(), FileError> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(FileError { what: "remove", path: path.to_owned(), source: error })
        }
        Ok(()) | Err(_) => file::sync_directory(file::parent(path)),
    }
}
