//! The fence: what was signed last, remembered apart from the log, so that a log that was put back
//! to an older state is recognised. Never moved back by this program, and never by two of them at once:
//! reading, comparing and writing are one step, under a lock that all copies of a ledger share.

use std::fs::File;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use super::checkpoint::{Checkpoint, CheckpointError};
use super::file::{FILE_MODE, FileError, beside, lock, read_if_there, write_durably};
use super::leaf::NodeHash;
use super::lines::encode_hash;

/// How large a fence may be, in bytes: four short lines.
const FENCE_BYTES_MAX: usize = 1024;

/// What is added to the name of a fence for that of its lock. The fence itself is replaced at each
/// write, so a lock on it would be one on a file that is gone.
const LOCK_SUFFIX: &str = ".lock";

/// Why the fence cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FenceError {
    /// It cannot be read for the moment, or too many files are open. Nothing was changed, or nothing
    /// that the next attempt does not make good.
    #[error(transparent)]
    Unread(FileError),
    /// Another process has its lock. Nothing was changed.
    #[error("another process holds {}: a second copy of this ledger is running", path.display())]
    Busy {
        /// The lock's file.
        path: PathBuf,
    },
    /// It cannot be locked or written.
    #[error(transparent)]
    Io(#[from] FileError),
    /// The file is not what was written.
    #[error(
        "{} is damaged: {source}. Put it back from a copy, or see `token-ledger fence restore --help`",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: DamagedFence,
    },
}

impl FenceError {
    /// Whether the next attempt may be spared it.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unread(_) | Self::Busy { .. } => true,
            Self::Io(_) | Self::Damaged { .. } => false,
        }
    }

    /// Too many open files are over once some are closed; what else a disk refuses is not.
    fn of_write(error: FileError) -> Self {
        if error.is_short_of_files() { Self::Unread(error) } else { Self::Io(error) }
    }
}

/// In which way a fence is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DamagedFence {
    /// Its first three lines are no checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// They are one, but another than was written.
    #[error("its last line is not the SHA-256 of the three before it")]
    Digest,
}

/// What came of moving the fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Advance {
    /// It remembers the new checkpoint.
    Done,
    /// It remembers another one than expected: somebody else moved it. It is as it was.
    Moved,
}

/// Where the fence is kept.
pub trait Fence: Send + Sync {
    /// What was signed last; `None` where nothing is remembered.
    ///
    /// # Errors
    /// [`FenceError`]: nothing may be signed.
    fn newest(&self) -> Result<Option<Checkpoint>, FenceError>;

    /// Remembers `new`, durably, if what is remembered is `expected`; one step for all who share the
    /// fence, so that of two that start from the same checkpoint only one goes on. The caller has made
    /// sure that `new` extends `expected`.
    ///
    /// # Errors
    /// [`FenceError`]: `new` may not be published. Unless it is a passing one, it is not known which
    /// checkpoint is remembered.
    fn advance(
        &self,
        expected: Option<&Checkpoint>,
        new: &Checkpoint,
    ) -> Result<Advance, FenceError>;

    /// Remembers `new`, durably, in the place of what is damaged; [`Advance::Moved`] where it is not.
    ///
    /// # Errors
    /// As [`Fence::advance`].
    fn mend(&self, new: &Checkpoint) -> Result<Advance, FenceError>;

    /// Where it is, for messages.
    fn place(&self) -> String;
}

/// A fence in a file: the three lines of a checkpoint, unsigned, and the SHA-256 over them in base64,
/// so that a damaged fence is not taken for that of another log:
/// `head -n 3 fence | openssl dgst -sha256 -binary | base64`.
#[derive(Debug, Clone)]
pub struct FenceFile(PathBuf);

impl FenceFile {
    /// The fence in the file `path`, which need not be there yet.
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// The lock that all who would move this fence take, on whichever disk it lies. The operating
    /// system lets go of it when its holder ends.
    fn lock(&self) -> Result<File, FenceError> {
        let path = beside(&self.0, LOCK_SUFFIX);
        let held = lock(&path).map_err(FenceError::of_write)?;
        held.ok_or(FenceError::Busy { path })
    }

    fn write(&self, new: &Checkpoint) -> Result<Advance, FenceError> {
        let written = write_durably(&self.0, encode(new).as_bytes(), FILE_MODE);
        written.map(|()| Advance::Done).map_err(FenceError::of_write)
    }
}

impl Fence for FenceFile {
    fn newest(&self) -> Result<Option<Checkpoint>, FenceError> {
        let bytes = read_if_there(&self.0).map_err(FenceError::Unread)?;
        let Some(bytes) = bytes else { return Ok(None) };
        let damaged = |source| FenceError::Damaged { path: self.0.clone(), source };
        let text = bytes.get(..FENCE_BYTES_MAX.min(bytes.len())).unwrap_or_default();
        let text =
            std::str::from_utf8(text).map_err(|_| damaged(CheckpointError::Origin.into()))?;
        decode(text).map(Some).map_err(damaged)
    }

    fn advance(
        &self,
        expected: Option<&Checkpoint>,
        new: &Checkpoint,
    ) -> Result<Advance, FenceError> {
        let _lock = self.lock()?;
        let found = self.newest()?;
        if found.as_ref() == expected {
            // A heartbeat signs what is remembered already.
            return if expected == Some(new) { Ok(Advance::Done) } else { self.write(new) };
        }
        // An earlier attempt ended between the new name and its sync: it is made durable now.
        if found.as_ref() == Some(new) { self.write(new) } else { Ok(Advance::Moved) }
    }

    fn mend(&self, new: &Checkpoint) -> Result<Advance, FenceError> {
        let _lock = self.lock()?;
        match self.newest() {
            Err(FenceError::Damaged { .. }) => self.write(new),
            Ok(_) => Ok(Advance::Moved),
            Err(error @ (FenceError::Unread(_) | FenceError::Busy { .. } | FenceError::Io(_))) => {
                Err(error)
            }
        }
    }

    fn place(&self) -> String {
        self.0.display().to_string()
    }
}

fn encode(checkpoint: &Checkpoint) -> String {
    let text = checkpoint.encode();
    let digest = digest(&text);
    text + &digest
}

fn decode(text: &str) -> Result<Checkpoint, DamagedFence> {
    let (checkpoint, check) = Checkpoint::parse_extended(text)?;
    match check == digest(&checkpoint.encode()) {
        true => Ok(checkpoint),
        false => Err(DamagedFence::Digest),
    }
}

fn digest(text: &str) -> String {
    encode_hash(&NodeHash::from_bytes(Sha256::digest(text).into())) + "\n"
}

/// A fence in memory, for tests and simulations. Fails when told to.
#[derive(Debug, Default)]
pub struct MemoryFence(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    newest: Option<Checkpoint>,
    fails: bool,
}

impl MemoryFence {
    /// From now on nothing is remembered, and each who tries is told so.
    pub fn fail(&self, fails: bool) {
        self.0.lock().fails = fails;
    }

    /// Remembers something else, or nothing.
    pub fn set(&self, newest: Option<Checkpoint>) {
        self.0.lock().newest = newest;
    }
}

impl Fence for MemoryFence {
    fn newest(&self) -> Result<Option<Checkpoint>, FenceError> {
        Ok(self.0.lock().newest.clone())
    }

    fn advance(
        &self,
        expected: Option<&Checkpoint>,
        new: &Checkpoint,
    ) -> Result<Advance, FenceError> {
        let mut remembered = self.0.lock();
        if remembered.newest.as_ref() != expected {
            return Ok(Advance::Moved);
        }
        if remembered.fails {
            let source = std::io::Error::other("a fault was injected");
            return Err(FileError { what: "write", path: PathBuf::from("memory"), source }.into());
        }
        remembered.newest = Some(new.clone());
        Ok(Advance::Done)
    }

    fn mend(&self, _new: &Checkpoint) -> Result<Advance, FenceError> {
        // What is in memory is never damaged.
        Ok(Advance::Moved)
    }

    fn place(&self) -> String {
        "memory".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::leaf::empty_root;
    use crate::log::tree::TreeHead;

    #[test]
    fn a_fence_remembers_and_says_when_it_is_damaged() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("fence");
        let fence = FenceFile::new(&path);
        assert_eq!(fence.newest().expect("readable"), None);
        let origin = "log.example".parse().expect("an origin");
        let checkpoint = Checkpoint { origin, head: TreeHead { size: 7, root: empty_root() } };
        assert_eq!(fence.advance(None, &checkpoint).expect("writable"), Advance::Done);
        assert_eq!(fence.newest().expect("readable"), Some(checkpoint.clone()));
        assert_eq!(fence.mend(&checkpoint).expect("readable"), Advance::Moved);
        for bytes in [&b""[..], b"log.example\n7\n", &[0xff; 40], &[b'a'; 5000]] {
            std::fs::write(&path, bytes).expect("writable");
            assert!(matches!(fence.newest(), Err(FenceError::Damaged { .. })), "{bytes:?}");
        }
        std::fs::write(&path, encode(&checkpoint) + "more\n").expect("writable");
        assert!(fence.newest().is_err());
        assert!(matches!(fence.advance(None, &checkpoint), Err(FenceError::Damaged { .. })));
        assert_eq!(fence.mend(&checkpoint).expect("writable"), Advance::Done);
        assert_eq!(fence.newest().expect("readable"), Some(checkpoint));
    }

    #[test]
    fn a_fence_moves_only_from_what_is_expected_and_goes_on_where_an_attempt_ended() {
        let root = tempfile::tempdir().expect("a directory");
        let fence = FenceFile::new(&root.path().join("fence"));
        let checkpoint = |size| {
            let origin = "log.example".parse().expect("an origin");
            Checkpoint { origin, head: TreeHead { size, root: empty_root() } }
        };
        let advance = |expected: Option<u64>, new| {
            let expected = expected.map(checkpoint);
            fence.advance(expected.as_ref(), &checkpoint(new)).expect("writable")
        };
        assert_eq!(advance(Some(3), 4), Advance::Moved, "it was taken away");
        assert_eq!(advance(None, 4), Advance::Done);
        assert_eq!(advance(Some(4), 4), Advance::Done, "as at a heartbeat");
        assert_eq!(advance(None, 5), Advance::Moved);
        assert_eq!(advance(Some(3), 5), Advance::Moved);
        assert_eq!(fence.newest().expect("readable"), Some(checkpoint(4)));
        // The first attempt gave the new file its name, and could not sync the directory.
        assert_eq!(advance(Some(3), 4), Advance::Done);
    }

    #[test]
    fn too_many_open_files_pass_and_a_disk_that_refuses_does_not() {
        let refused = |source: std::io::Error| {
            let error = FileError::on("open", Path::new("/other/fence.lock"))(source);
            FenceError::of_write(error)
        };
        for errno in [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE] {
            let error = refused(errno.into());
            assert!(error.is_passing(), "{error}");
            assert!(error.to_string().contains("limit of open files"), "{error}");
        }
        assert!(!refused(rustix::io::Errno::NOENT.into()).is_passing());
        assert!(!refused(rustix::io::Errno::IO.into()).is_passing());
    }

    #[test]
    fn every_flipped_bit_and_every_cut_of_a_fence_is_found_and_named() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("fence");
        let fence = FenceFile::new(&path);
        let origin = "log.example".parse().expect("an origin");
        let checkpoint = Checkpoint { origin, head: TreeHead { size: 7, root: empty_root() } };
        let whole = encode(&checkpoint).into_bytes();
        for i in 0..whole.len() {
            let flipped = (0..8).map(|bit| {
                let mut bytes = whole.clone();
                bytes[i] ^= 1 << bit;
                bytes
            });
            for bytes in flipped.chain([whole[..i].to_vec()]) {
                std::fs::write(&path, &bytes).expect("writable");
                let error = fence.newest().expect_err("another fence").to_string();
                assert!(error.contains(&path.display().to_string()), "{error}");
                assert!(error.contains("Put it back"), "{error}");
            }
        }
    }
}
