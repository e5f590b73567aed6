//! The files that hold snapshots of a projection: whole and intact, or not read. Knows sections and
//! checksums; never what a section means, and never more than the newest two.
//!
//! ```text
//! magic 24 B | head length u32 | head (JSON) | BLAKE3 of all before
//! then for each section:    kind u8 | length u32 | bytes | BLAKE3 of the head's, its number and these
//! at the end, as a section: 0        | 0          |       | the same
//! ```
//! Whole numbers are big-endian.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::file::{self, FileError};
use crate::types::digest::LeafHash;
use crate::types::id::Seq;

const MAGIC: &[u8; 24] = b"token-ledger snapshot\n\0\0";
const CONTEXT: &str = "token-ledger 2026 snapshot v1";
const SUFFIX: &str = ".snapshot";
const HEAD_BYTES_MAX: usize = 64 * 1024;
const WRITE_BUFFER_BYTES: usize = 1024 * 1024;
/// The one before the newest is kept for the case that the newest is damaged.
const KEPT: usize = 2;
const END: u8 = 0;

/// What a snapshot is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotHead {
    /// The format of the sections.
    pub format: u32,
    /// Of whose log.
    pub issuer: String,
    /// The last record that was folded in.
    pub seq: Seq,
    /// Its leaf hash.
    pub leaf: LeafHash,
    /// The nodes of the tree's frontier over all records up to it.
    pub tree: Vec<LeafHash>,
}

/// Why a file is no snapshot to go by; it may be removed.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file system refused.
    #[error(transparent)]
    Io(#[from] FileError),
    /// It does not begin as a snapshot does.
    #[error("it is no snapshot")]
    Foreign,
    /// The head says that its sections are written in another way.
    #[error("it has format {found}, and this version reads {supported}")]
    Format {
        /// What it has.
        found: u32,
        /// What is read.
        supported: u32,
    },
    /// A checksum does not match, or the file ends early.
    #[error("it is damaged or cut off in section {section}")]
    Damaged {
        /// Which section, from 1; the head is 0.
        section: u64,
    },
}

/// The snapshots of one ledger, in a directory of their own.
#[derive(Debug, Clone)]
pub struct Snapshots {
    dir: PathBuf,
}

impl Snapshots {
    /// Those in `dir`, which is made when the first one is written.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The files, the newest first.
    ///
    /// # Errors
    /// When the directory is there and cannot be read.
    pub fn newest_first(&self) -> Result<Vec<PathBuf>, FileError> {
        if !self.dir.exists() {
            return Ok(Vec::new());
        }
        let entries = file::list(&self.dir)?.into_iter().map(|entry| entry.path());
        // Names are numbers of one width: their order is that of the records.
        let mut found: Vec<_> = entries.filter(|path| is_snapshot(path)).collect();
        found.sort_unstable_by(|a, b| b.cmp(a));
        Ok(found)
    }

    /// Writes a snapshot, and then removes all but the newest two. `Ok` means durable.
    ///
    /// # Errors
    /// When the file system refuses; earlier snapshots are still there.
    pub fn write(
        &self,
        head: &SnapshotHead,
        sections: impl Iterator<Item = (u8, Vec<u8>)>,
    ) -> Result<PathBuf, FileError> {
        file::create_directory(&self.dir)?;
        let path = self.dir.join(format!("{:020}{SUFFIX}", head.seq.0));
        file::fill_durably(&path, file::FILE_MODE, |file| fill(file, head, sections))?;
        // One that is of more records than there are is of another log, and of use to nobody.
        let (ahead, usable): (Vec<_>, Vec<_>) =
            self.newest_first()?.into_iter().partition(|other| path < *other);
        for old in ahead.into_iter().chain(usable.into_iter().skip(KEPT)) {
            file::remove_durably(&old)?;
        }
        Ok(path)
    }
}

fn is_snapshot(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let seq = name.and_then(|name| name.strip_suffix(SUFFIX));
    seq.is_some_and(|seq| seq.len() == 20 && seq.bytes().all(|digit| digit.is_ascii_digit()))
}

fn fill(
    file: &mut File,
    head: &SnapshotHead,
    sections: impl Iterator<Item = (u8, Vec<u8>)>,
) -> io::Result<()> {
    let mut to = BufWriter::with_capacity(WRITE_BUFFER_BYTES, file);
    let head = serde_json::to_vec(head)?;
    let mut sums = Sums::of(&head);
    to.write_all(MAGIC)?;
    to.write_all(&length(&head)?)?;
    to.write_all(&head)?;
    to.write_all(sums.head.as_bytes())?;
    for (kind, bytes) in sections.chain(std::iter::once((END, Vec::new()))) {
        to.write_all(&[kind])?;
        to.write_all(&length(&bytes)?)?;
        to.write_all(&bytes)?;
        to.write_all(sums.next(kind, &bytes).as_bytes())?;
    }
    to.flush()
}

fn length(bytes: &[u8]) -> io::Result<[u8; 4]> {
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    Ok(length.to_be_bytes())
}

/// The checksums of one file: no section can be moved within it, or to another one.
struct Sums {
    head: blake3::Hash,
    section: u64,
}

impl Sums {
    fn of(head: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(MAGIC).update(head);
        Self { head: hasher.finalize(), section: 0 }
    }

    fn next(&mut self, kind: u8, bytes: &[u8]) -> blake3::Hash {
        self.section += 1;
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(self.head.as_bytes()).update(&self.section.to_be_bytes());
        hasher.update(&[kind]).update(bytes);
        hasher.finalize()
    }
}

/// A snapshot that is read, section by section, each checked before it is given out.
pub struct SnapshotFile {
    from: BufReader<File>,
    sums: Sums,
    section_bytes_max: usize,
    /// What it is of.
    pub head: SnapshotHead,
}

impl SnapshotFile {
    /// Opens a snapshot whose sections are written in `format` and no longer than
    /// `section_bytes_max`, and checks its head.
    ///
    /// # Errors
    /// [`SnapshotError`]: go by another one, or by the log alone.
    pub fn open(path: &Path, format: u32, section_bytes_max: usize) -> Result<Self, SnapshotError> {
        /// All that is sure to be in the head of any format.
        #[derive(Deserialize)]
        struct AnyHead {
            format: u32,
        }
        let file = File::open(path).map_err(FileError::on("open", path))?;
        let mut from = BufReader::with_capacity(WRITE_BUFFER_BYTES, file);
        let damaged = || SnapshotError::Damaged { section: 0 };
        let magic: [u8; 24] = array(&mut from).ok_or(SnapshotError::Foreign)?;
        if magic != *MAGIC {
            return Err(SnapshotError::Foreign);
        }
        let head = bytes(&mut from, HEAD_BYTES_MAX).ok_or_else(damaged)?;
        let sums = Sums::of(&head);
        if array(&mut from) != Some(*sums.head.as_bytes()) {
            return Err(damaged());
        }
        let AnyHead { format: found } = serde_json::from_slice(&head).map_err(|_| damaged())?;
        if found != format {
            return Err(SnapshotError::Format { found, supported: format });
        }
        let head = serde_json::from_slice(&head).map_err(|_| damaged())?;
        Ok(Self { from, sums, section_bytes_max, head })
    }

    /// The next section, or `None` after the last one.
    ///
    /// # Errors
    /// [`SnapshotError::Damaged`]: nothing of this file is to be used.
    pub fn section(&mut self) -> Result<Option<(u8, Vec<u8>)>, SnapshotError> {
        let read = self.read_section();
        let section = self.sums.section;
        match read.ok_or(SnapshotError::Damaged { section })? {
            (END, _) => Ok(None),
            found => Ok(Some(found)),
        }
    }

    fn read_section(&mut self) -> Option<(u8, Vec<u8>)> {
        let [kind] = array(&mut self.from)?;
        let bytes = bytes(&mut self.from, self.section_bytes_max)?;
        let sum = self.sums.next(kind, &bytes);
        (array(&mut self.from)? == *sum.as_bytes()).then_some((kind, bytes))
    }
}

fn array<const N: usize>(from: &mut impl Read) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

/// A length, and as many bytes.
fn bytes(from: &mut impl Read, bytes_max: usize) -> Option<Vec<u8>> {
    let length = u32::from_be_bytes(array(from)?) as usize;
    if bytes_max < length {
        return None;
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_of_another_longer_log_do_not_crowd_out_the_ones_of_this() {
        let folder = tempfile::tempdir().expect("a directory");
        let snapshots = Snapshots::new(folder.path().join("snapshots"));
        let write = |seq| {
            let (leaf, issuer) = (LeafHash::from_bytes([0; 32]), "https://as.example".to_owned());
            let head = SnapshotHead { format: 1, issuer, seq: Seq(seq), leaf, tree: Vec::new() };
            snapshots.write(&head, std::iter::empty()).expect("written")
        };
        write(900);
        write(1000);
        let kept = folder.path().join("snapshots").join("kept.snapshot");
        std::fs::write(&kept, b"an operator's own").expect("written");
        let mine = [write(300), write(310), write(320)];
        assert!(kept.exists());
        let newest_first = snapshots.newest_first().expect("listed");
        assert_eq!(newest_first, [mine[2].clone(), mine[1].clone()]);
    }
}
