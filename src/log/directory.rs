//! The data directory of one ledger: its marker, its lock, and where everything lies in it.
//! Never creates a ledger by accident, and never opens one that another process has open.

use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::file::{self, FileError};
use super::rescue::{self, LogCopy};
use super::unfinished::is_unfinished;
use super::vaults::Vaults;
use crate::types::digest::LeafHash;
use crate::types::id::Seq;
use crate::types::time::Timestamp;

/// The newest layout of a data directory that this version reads, and the one that it writes.
/// Format 1 had all records in the storage engine.
pub const FORMAT: u32 = 2;

/// The file that makes a directory a ledger's; written last when one is made.
pub const MARKER: &str = "token-ledger.json";
/// The file that the process which has the directory open keeps locked.
pub const LOCK: &str = "lock";
/// The mark of the last clean stop.
pub const CLEAN: &str = "clean";
/// The private keys.
pub const KEYS: &str = "keys.json";
/// What was signed last, unless that is kept elsewhere.
pub const FENCE: &str = "fence";
/// Where the snapshots of the projection are.
pub const SNAPSHOTS: &str = "snapshots";
/// The database of the log.
pub const LOG: &str = "log";
/// The log as it was before the last recovery.
pub const LOG_COPY: &str = "log.before-recovery";
/// The newest record that was durable.
pub const REACHED: &str = "reached";

/// A data directory, locked for as long as this value lives.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    marker: Marker,
    vaults: Vaults,
    /// The operating system lets go of it when the process ends, however it ends.
    _lock: File,
}

/// What makes a directory a ledger's: the file `token-ledger.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    format: u32,
    /// The issuer's URL (RFC 8414 section 2).
    pub issuer: String,
    /// When the ledger was created.
    pub created_at: Timestamp,
}

/// Left behind by a clean stop: where the log ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CleanMark {
    /// The last record.
    pub seq: Seq,
    /// Its leaf hash.
    pub leaf: LeafHash,
}

/// Why a data directory cannot be used; each says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// `create`, where something is already.
    #[error("{} is not empty; choose a new or empty directory, or `token-ledger serve --data` the ledger that is there", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// `open`, where nothing is; nothing was created.
    #[error("there is no data directory {}; check the path, or make a ledger with `token-ledger init --data {0} --issuer URL`", path.display())]
    Missing {
        /// The directory.
        path: PathBuf,
    },
    /// `open` of a directory without a marker; nothing in it was touched.
    #[error("{} is not a ledger's directory: it holds no {MARKER}; check the path, put that file back from a copy if it was lost, or make a ledger in an empty directory with `token-ledger init`", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// What an interrupted `init` or `restore` left; nothing in it was touched.
    #[error("{} is not a whole ledger: a `token-ledger init` (or `restore`) was interrupted there before it wrote {MARKER}, its last step, and nothing was ever served from it; remove it and run init again", path.display())]
    Unfinished {
        /// The directory.
        path: PathBuf,
    },
    /// Another process holds the lock.
    #[error("{} is in use by another process; stop that one first (`fuser {0}/{LOCK}` names it)", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A later version of this program made it.
    #[error("{} has format {found}, and this version reads up to {supported}; run a newer token-ledger", path.display())]
    NewerFormat {
        /// The directory.
        path: PathBuf,
        /// What the marker says.
        found: u32,
        /// What this version reads: [`FORMAT`].
        supported: u32,
    },
    /// The marker is not what `create` wrote.
    #[error("{} is damaged: {source}; put back the file from a backup, nothing else was touched", path.display())]
    Marker {
        /// The marker.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The mark of the clean stop is not what the stop wrote.
    #[error("{} is damaged: {source}; remove it, and the ledger starts as after a crash", path.display())]
    CleanMark {
        /// The mark.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// It is unknown which vault is the current one; none was removed.
    #[error("{} is missing or names no vault; put it back from the vault's backup, no vault was removed", path.display())]
    VaultPointer {
        /// The pointer file.
        path: PathBuf,
    },
    /// The current vault is gone, and others are there; none was removed.
    #[error("the current vault {} is missing, though others are there; restore it from the vault's backup", path.display())]
    VaultMissing {
        /// Where it should be.
        path: PathBuf,
    },
    /// A switch to something else than the vault made in [`DataDirectory::next_vault_dir`].
    #[error("{} is not the next vault; make it in the directory that was named for it", path.display())]
    NotTheNextVault {
        /// The directory offered.
        path: PathBuf,
    },
    /// The file system refused.
    #[error(transparent)]
    Io(#[from] FileError),
}

impl Marker {
    /// The marker of a ledger that is created now.
    pub fn new(issuer: String, created_at: Timestamp) -> Self {
        Self { format: FORMAT, issuer, created_at }
    }

    /// Reads the marker of the directory `dir`.
    ///
    /// # Errors
    /// [`DirectoryError::NewerFormat`] and [`DirectoryError::Marker`].
    pub fn decode(dir: &Path, bytes: &[u8]) -> Result<Self, DirectoryError> {
        /// All that is sure to be in the marker of any format.
        #[derive(Deserialize)]
        struct AnyMarker {
            format: u32,
        }
        let damaged = |source| DirectoryError::Marker { path: dir.join(MARKER), source };
        let AnyMarker { format: found } = serde_json::from_slice(bytes).map_err(damaged)?;
        if FORMAT < found {
            let path = dir.to_owned();
            return Err(DirectoryError::NewerFormat { path, found, supported: FORMAT });
        }
        serde_json::from_slice(bytes).map_err(damaged)
    }
}

impl DataDirectory {
    /// Makes `path`, or takes it if it is empty, and locks it. Its parent must exist. It is a ledger's
    /// directory once all that belongs into it is there and [`DataDirectory::complete`] has said so.
    ///
    /// # Errors
    /// [`DirectoryError::NotEmpty`], [`DirectoryError::Unfinished`], [`DirectoryError::InUse`]: nothing
    /// was changed. After [`DirectoryError::Io`] what is there may be removed and created anew.
    pub fn create(path: &Path, marker: &Marker) -> Result<Self, DirectoryError> {
        let not_empty = || DirectoryError::NotEmpty { path: path.to_owned() };
        file::create_directory(path)?;
        if file::holds_other_than(&[], path)? {
            return Err(unfinished(path)?.unwrap_or_else(not_empty));
        }
        make_private(path)?;
        let lock = lock(path)?;
        // Two may have found it empty; only the one with the lock goes on.
        if file::holds_other_than(&[LOCK], path)? {
            return Err(not_empty());
        }
        let vaults = Vaults::create(path)?;
        file::sync_directory(file::parent(path))?;
        Ok(Self { path: path.to_owned(), marker: marker.clone(), vaults, _lock: lock })
    }

    /// Writes the marker: the last step, once all else is durable. A directory with one is complete.
    ///
    /// # Errors
    /// When the file system refuses: what is there may be removed and created anew.
    pub fn complete(&self) -> Result<(), DirectoryError> {
        write_marker(&self.path, &self.marker)
    }

    /// Locks the ledger's directory `path`, and removes what an interrupted vault rewrite left.
    ///
    /// # Errors
    /// Each but [`DirectoryError::Io`] is found before anything is changed.
    pub fn open(path: &Path) -> Result<Self, DirectoryError> {
        let path_buf = path.to_owned();
        if !path.exists() {
            return Err(DirectoryError::Missing { path: path_buf });
        }
        // The marker comes first, so that no lock file is left in a foreign directory.
        let Some(bytes) = file::read_if_there(&path.join(MARKER))? else {
            let foreign = || DirectoryError::Foreign { path: path_buf };
            return Err(unfinished(path)?.unwrap_or_else(foreign));
        };
        let marker = Marker::decode(path, &bytes)?;
        let lock = lock(path)?;
        file::sync_directory(path)?; // Who made names in it may have been killed before that.
        let vaults = Vaults::open(path)?;
        Ok(Self { path: path_buf, marker, vaults, _lock: lock })
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the directory says of its ledger.
    pub fn marker(&self) -> &Marker {
        &self.marker
    }

    /// Where the database of the log is.
    pub fn log_dir(&self) -> PathBuf {
        self.path.join(LOG)
    }

    /// Where the private keys are.
    pub fn keys_file(&self) -> PathBuf {
        self.path.join(KEYS)
    }

    /// Where it is remembered what was signed last, unless that is configured elsewhere.
    pub fn fence_file(&self) -> PathBuf {
        self.path.join(FENCE)
    }

    /// Where the snapshots of the projection are.
    pub fn snapshots_dir(&self) -> PathBuf {
        self.path.join(SNAPSHOTS)
    }

    /// Where the current vault is; after `create`, where the first one is to be made.
    pub fn vault_dir(&self) -> PathBuf {
        self.vaults.current()
    }

    /// Where a vault that replaces the current one is to be made. Nothing is there: what an
    /// earlier, failed attempt left is removed.
    ///
    /// # Errors
    /// When what was left cannot be removed.
    pub fn next_vault_dir(&self) -> Result<PathBuf, DirectoryError> {
        self.vaults.next()
    }

    /// Makes `new`, complete and durable in [`DataDirectory::next_vault_dir`], the current vault,
    /// and then removes the old one with all its bytes.
    ///
    /// # Errors
    /// [`DirectoryError::NotTheNextVault`]: nothing was changed. After [`DirectoryError::Io`], ask
    /// [`DataDirectory::vault_dir`] which is current; `open` removes the other.
    pub fn switch_vault(&self, new: &Path) -> Result<(), DirectoryError> {
        self.vaults.switch(new)
    }

    /// Whether [`DataDirectory::vault_dir`] is what the next start finds: not after a switch that failed
    /// half way, after which neither vault may be written to.
    pub fn is_vault_known(&self) -> bool {
        self.vaults.is_known()
    }

    /// Where it is noted how far the log has come.
    pub fn reached_file(&self) -> PathBuf {
        self.path.join(REACHED)
    }

    /// Says that the directory is of the newest format, so that no older version opens it: before
    /// anything is written that such a version does not read.
    ///
    /// # Errors
    /// When the file system refuses; the old marker or the new one is there.
    pub fn raise_format(&self) -> Result<(), DirectoryError> {
        if self.marker.format == FORMAT {
            return Ok(());
        }
        write_marker(&self.path, &Marker { format: FORMAT, ..self.marker.clone() })
    }

    /// Writes down that the log was closed cleanly, and where it ends. The last act of a stop.
    ///
    /// # Errors
    /// The next start takes the stop for a crash, which is safe.
    pub fn leave_clean_mark(&self, mark: &CleanMark) -> Result<(), DirectoryError> {
        let path = self.path.join(CLEAN);
        let text = serde_json::to_vec(mark)
            .map_err(|source| DirectoryError::CleanMark { path: path.clone(), source })?;
        Ok(file::write_durably(&path, &text, file::FILE_MODE)?)
    }

    /// The mark of the last stop; `None` after a crash.
    ///
    /// # Errors
    /// [`DirectoryError::CleanMark`]. No error may be taken for `None`.
    pub fn clean_mark(&self) -> Result<Option<CleanMark>, DirectoryError> {
        let path = self.path.join(CLEAN);
        let Some(bytes) = file::read_if_there(&path)? else { return Ok(None) };
        let mark = serde_json::from_slice(&bytes);
        Ok(Some(mark.map_err(|source| DirectoryError::CleanMark { path, source })?))
    }

    /// The mark of the last stop, which is gone for good when this answers: before the log is written to.
    ///
    /// # Errors
    /// As [`DataDirectory::clean_mark`]; the mark stays.
    pub fn take_clean_mark(&self) -> Result<Option<CleanMark>, DirectoryError> {
        let Some(mark) = self.clean_mark()? else { return Ok(None) };
        file::remove_durably(&self.path.join(CLEAN))?;
        Ok(Some(mark))
    }

    /// After a crash, before the log is opened: copies it to `log.before-recovery`, by shared
    /// blocks where the file system can, else in full if it has no more than `bytes_max` bytes.
    /// One copy is kept, and it is only replaced after [`DataDirectory::confirm_recovery`].
    ///
    /// # Errors
    /// When the copy fails; the log is untouched, and the caller does not open it.
    pub fn keep_copy_of_log(&self, bytes_max: u64) -> Result<LogCopy, DirectoryError> {
        Ok(rescue::keep_copy(&self.log_dir(), &self.log_copy_dir(), bytes_max)?)
    }

    /// Says that the recovered log was checked and found whole, so that the next crash may replace
    /// the copy. Without it, restarts in a loop would keep only a copy of what recovery left.
    ///
    /// # Errors
    /// The copy stays until a later start confirms it.
    pub fn confirm_recovery(&self) -> Result<(), DirectoryError> {
        Ok(rescue::confirm(&self.log_copy_dir())?)
    }

    /// Where the copy of the log from before a recovery is, if there is one.
    pub fn log_copy_dir(&self) -> PathBuf {
        self.path.join(LOG_COPY)
    }
}

fn write_marker(path: &Path, marker: &Marker) -> Result<(), DirectoryError> {
    let path = path.join(MARKER);
    let text = serde_json::to_vec(marker)
        .map_err(|source| DirectoryError::Marker { path: path.clone(), source })?;
    Ok(file::write_durably(&path, &text, file::FILE_MODE)?)
}

/// What to say of a directory that is not whole; none of one that is, or is not ours.
fn unfinished(path: &Path) -> Result<Option<DirectoryError>, DirectoryError> {
    if !is_unfinished(path)? {
        return Ok(None);
    }
    // Somebody may be making it at this moment.
    let _lock = lock(path)?;
    let path = path.to_owned();
    // Or just has.
    Ok(Some(match is_unfinished(&path)? {
        true => DirectoryError::Unfinished { path },
        false => DirectoryError::InUse { path },
    }))
}

fn make_private(path: &Path) -> Result<(), FileError> {
    let private = std::fs::Permissions::from_mode(file::DIRECTORY_MODE);
    match std::fs::set_permissions(path, private) {
        // A mounted volume may belong to another user; all that we put into it is private anyway.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        set => set.map_err(FileError::on("restrict the permissions of", path)),
    }
}

fn lock(path: &Path) -> Result<File, DirectoryError> {
    let lock = file::lock(&path.join(LOCK))?;
    lock.ok_or_else(|| DirectoryError::InUse { path: path.to_owned() })
}
