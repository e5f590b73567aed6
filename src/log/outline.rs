//! How far the files of a log go, told from the heads of their blocks alone: a fraction of their bytes
//! is read, and no checksum is looked at. Opens no database, and changes nothing.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::log::block::front_length;
use crate::log::file::{FileError, list};
use crate::log::sled::SEGMENT_NAME;
use crate::types::id::Seq;

/// What the files hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outline {
    /// How many files there are.
    pub files: u64,
    /// Their length together, in bytes.
    pub bytes: u64,
    /// The first record that is in none of them.
    pub end: Seq,
}

/// Why the files are not those of one log.
#[derive(Debug, thiserror::Error)]
pub enum OutlineError {
    /// The file system refuses.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file, or the end of the one before it, is not there.
    #[error("record {missing} is in none of the files of records, though {} is there", next.display())]
    Gap {
        /// The first record that is missing.
        missing: Seq,
        /// The file after it.
        next: PathBuf,
    },
}

/// Looks at the files of records in the directory `log`.
///
/// # Errors
/// [`OutlineError`]: what it names is missing, or cannot be read.
pub fn outline(log: &Path) -> Result<Outline, OutlineError> {
    let mut firsts: Vec<(Seq, PathBuf)> = list(log)?
        .into_iter()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            Some((Seq(name.strip_prefix(SEGMENT_NAME)?.parse().ok()?), entry.path()))
        })
        .collect();
    firsts.sort_unstable();
    let mut found = Outline { files: 0, bytes: 0, end: Seq(0) };
    for (first, path) in firsts {
        if first != found.end {
            return Err(OutlineError::Gap { missing: found.end, next: path });
        }
        let (records, bytes) = contents(&path).map_err(FileError::on("read", &path))?;
        found = Outline {
            files: found.files + 1,
            bytes: found.bytes + bytes,
            end: Seq(found.end.0 + records),
        };
    }
    Ok(found)
}

/// How many records are in the whole blocks at the front of a file, and how long the file is.
fn contents(path: &Path) -> io::Result<(u64, u64)> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut file = BufReader::new(file);
    let (mut records, mut at) = (0, 0);
    let mut head = Vec::new();
    loop {
        head.clear();
        file.by_ref().take(3).read_to_end(&mut head)?;
        let [_, high, low] = *head.as_slice() else { break };
        let lengths = 2 * u64::from(u16::from_be_bytes([high, low]));
        file.by_ref().take(lengths).read_to_end(&mut head)?;
        let Some(block) = front_length(&head) else { break };
        at += block as u64;
        if length < at {
            break;
        }
        records += lengths / 2;
        let behind = block.saturating_sub(head.len());
        file.seek_relative(i64::try_from(behind).unwrap_or(i64::MAX))?;
    }
    Ok((records, length))
}
