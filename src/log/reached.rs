//! How far the log had come: the newest record that was durable, in a small file beside the log,
//! outside of the engine that a recovery may shorten. Written after each batch and not synced: a
//! killed process leaves it exact, a power cut leaves an older one, and both are a bound from below.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use super::file::{self, FileError};
use super::leaf::leaf_hash;
use super::store::{Store, StoreError};
use crate::types::digest::LeafHash;
use crate::types::id::Seq;

/// Domain separation of the check.
const CONTEXT: &str = "token-ledger 2026 reached v1";

/// The file, open for as long as the log is written.
#[derive(Debug)]
pub struct Reached(File);

impl Reached {
    /// Opens the file at `path`, or makes it; what it says stays until something is noted.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(file::FILE_MODE);
        Ok(Self(options.open(path).map_err(FileError::on("open", path))?))
    }

    /// Notes a record that is durable. One that cannot be noted leaves an older bound, which holds.
    pub fn note(&self, seq: Seq, leaf: LeafHash) {
        let _ = self.0.write_all_at(encode(seq, leaf).as_bytes(), 0);
    }
}

/// The record that the file at `path` says was durable, if `store` does not hold it as it was.
///
/// # Errors
/// When file or store cannot be read.
pub fn missing(path: &Path, store: &dyn Store) -> Result<Option<Seq>, StoreError> {
    let Some((seq, leaf)) = read(path)? else { return Ok(None) };
    let block = store.block(seq)?;
    let record = block.as_ref().and_then(|block| block.record(seq));
    Ok(Some(seq).filter(|_| record.is_none_or(|bytes| leaf_hash(bytes) != leaf)))
}

/// What the file at `path` says; `None` where there is none, or a crash tore it.
///
/// # Errors
/// When it is there and cannot be read.
pub fn read(path: &Path) -> Result<Option<(Seq, LeafHash)>, FileError> {
    let Some(bytes) = file::read_if_there(path)? else { return Ok(None) };
    Ok(decode(&bytes))
}

/// One line of one length, so that each overwrites the one before.
fn encode(seq: Seq, leaf: LeafHash) -> String {
    let said = format!("{:020} {leaf}", seq.0);
    let check = check(&said);
    format!("{said} {check}\n")
}

fn decode(bytes: &[u8]) -> Option<(Seq, LeafHash)> {
    let line = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?;
    let (said, checked) = line.rsplit_once(' ')?;
    if check(said) != checked {
        return None;
    }
    let (seq, leaf) = said.split_once(' ')?;
    Some((Seq(seq.parse().ok()?), leaf.parse().ok()?))
}

fn check(said: &str) -> String {
    let digest = blake3::Hash::from_bytes(blake3::derive_key(CONTEXT, said.as_bytes()));
    digest.to_hex().chars().take(32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_note_is_read_and_a_torn_or_altered_one_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("reached");
        assert_eq!(read(&path).expect("no file"), None);
        let reached = Reached::open(&path).expect("a file");
        assert_eq!(read(&path).expect("an empty file"), None);
        let (first, second) = (LeafHash::from_bytes([1; 32]), LeafHash::from_bytes([2; 32]));
        reached.note(Seq(u64::MAX), first);
        reached.note(Seq(7), second);
        assert_eq!(read(&path).expect("a note"), Some((Seq(7), second)));
        drop(Reached::open(&path).expect("the same file"));
        assert_eq!(read(&path).expect("it stays"), Some((Seq(7), second)));
        let bytes = encode(Seq(7), second).into_bytes();
        for i in 0..bytes.len() {
            assert_eq!(decode(&bytes[..i]), None, "cut at {i}");
            let mut altered = bytes.clone();
            altered[i] ^= 1;
            assert_eq!(decode(&altered), None, "byte {i}");
        }
    }
}
