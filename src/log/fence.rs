//! The fence: what was signed last, remembered apart from the log, so that a log that was put back
//! to an older state is recognised. Never moved back by this program.

use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use super::checkpoint::{Checkpoint, CheckpointError};
use super::file::{FILE_MODE, FileError, read_if_there, write_durably};
use super::leaf::NodeHash;
use super::lines::encode_hash;

/// How large a fence may be, in bytes: four short lines.
const FENCE_BYTES_MAX: usize = 1024;

/// Why the fence cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FenceError {
    /// The file system refused.
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

/// Where the fence is kept.
pub trait Fence: Send + Sync {
    /// What was signed last; `None` where nothing is remembered.
    ///
    /// # Errors
    /// [`FenceError`]: nothing may be signed.
    fn newest(&self) -> Result<Option<Checkpoint>, FenceError>;

    /// Remembers `checkpoint`, durably. The caller has made sure that it extends the one before.
    ///
    /// # Errors
    /// [`FenceError`]: it is not known which one is remembered; `checkpoint` may not be published.
    fn advance(&self, checkpoint: &Checkpoint) -> Result<(), FenceError>;

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
}

impl Fence for FenceFile {
    fn newest(&self) -> Result<Option<Checkpoint>, FenceError> {
        let Some(bytes) = read_if_there(&self.0)? else { return Ok(None) };
        let damaged = |source| FenceError::Damaged { path: self.0.clone(), source };
        let text = bytes.get(..FENCE_BYTES_MAX.min(bytes.len())).unwrap_or_default();
        let text =
            std::str::from_utf8(text).map_err(|_| damaged(CheckpointError::Origin.into()))?;
        decode(text).map(Some).map_err(damaged)
    }

    fn advance(&self, checkpoint: &Checkpoint) -> Result<(), FenceError> {
        Ok(write_durably(&self.0, encode(checkpoint).as_bytes(), FILE_MODE)?)
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

    fn advance(&self, checkpoint: &Checkpoint) -> Result<(), FenceError> {
        let mut remembered = self.0.lock();
        if remembered.fails {
            let source = std::io::Error::other("a fault was injected");
            return Err(FileError { what: "write", path: PathBuf::from("memory"), source }.into());
        }
        remembered.newest = Some(checkpoint.clone());
        Ok(())
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
        fence.advance(&checkpoint).expect("writable");
        assert_eq!(fence.newest().expect("readable"), Some(checkpoint.clone()));
        for bytes in [&b""[..], b"log.example\n7\n", &[0xff; 40], &[b'a'; 5000]] {
            std::fs::write(&path, bytes).expect("writable");
            assert!(matches!(fence.newest(), Err(FenceError::Damaged { .. })), "{bytes:?}");
        }
        std::fs::write(&path, encode(&checkpoint) + "more\n").expect("writable");
        assert!(fence.newest().is_err());
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
