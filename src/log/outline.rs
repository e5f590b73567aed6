//! How far the files of a log go, told from the heads of their blocks alone: a fraction of their bytes
//! is read, and no checksum is looked at; and how much further the journal goes. Opens no database, and
//! changes nothing.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::log::block::{HEAD_BYTES, LENGTH_BYTES, front_length};
use crate::log::file::FileError;
use crate::log::journal;
use crate::log::journaled::JOURNAL;
use crate::log::sled::segment_files;
use crate::log::store::StoreError;
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

/// Looks at the files of records in the directory `log`. What was written in format 1 is in none of
/// them, but in the database: then they begin later, or there is none.
///
/// # Errors
/// [`OutlineError`]: what it names is missing, or cannot be read.
pub fn outline(log: &Path) -> Result<Outline, OutlineError> {
    let mut files = segment_files(log)?;
    files.sort_unstable();
    let begin = files.first().map_or(Seq(0), |(first, _)| *first);
    let mut found = Outline { files: 0, bytes: 0, end: begin };
    for (first, path) in files {
        // A file may end with a block that a power cut tore: its records are in the next one again.
        if found.end < first {
            return Err(OutlineError::Gap { missing: found.end, next: path });
        }
        let (records, bytes) = contents(&path).map_err(FileError::on("read", &path))?;
        let (files, bytes) = (found.files + 1, found.bytes + bytes);
        found = Outline { files, bytes, end: Seq(first.0 + records) };
    }
    Ok(found)
}

/// The first record that is neither in the files, which end before `end`, nor in the journal of the
/// directory `log`. Only frames that are intact and follow on each other count.
///
/// # Errors
/// [`StoreError`] when the journal is there and cannot be read.
pub fn end_with_journal(log: &Path, end: Seq) -> Result<Seq, StoreError> {
    let frames = journal::read(&log.join(JOURNAL))?;
    Ok(frames
        .iter()
        .fold(end, |end, frame| if frame.first() <= end { end.max(frame.end()) } else { end }))
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
        file.by_ref().take(HEAD_BYTES as u64).read_to_end(&mut head)?;
        let [_, high, low] = *head.as_slice() else { break };
        let count = u64::from(u16::from_be_bytes([high, low]));
        file.by_ref().take(count * LENGTH_BYTES as u64).read_to_end(&mut head)?;
        let Some(block) = front_length(&head) else { break };
        at += block as u64;
        if length < at {
            break;
        }
        records += count;
        let behind = block.saturating_sub(head.len());
        file.seek_relative(i64::try_from(behind).unwrap_or(i64::MAX))?;
    }
    Ok((records, length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::sled::SEGMENT_NAME;

    /// A block of `count` records of one byte each; what stands for its checksum is not looked at.
    fn block(count: u8) -> Vec<u8> {
        let lengths = [0, 1].repeat(usize::from(count));
        [&[1, 0, count][..], &lengths, &vec![b'x'; usize::from(count)], &[0; 32]].concat()
    }

    fn write(folder: &Path, first: u64, bytes: &[u8]) {
        std::fs::write(folder.join(format!("{SEGMENT_NAME}{first:020}")), bytes).expect("written");
    }

    #[test]
    fn files_go_as_far_as_their_whole_blocks_and_none_may_be_missing() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path();
        let end = || outline(path).map(|found| (found.files, found.end));
        assert!(matches!(end(), Ok((0, Seq(0)))));
        write(path, 0, &[block(3), block(200)].concat());
        assert!(matches!(end(), Ok((1, Seq(203)))));
        let (whole, torn) = ([block(3), block(200)].concat(), block(9));
        write(path, 0, &[whole.clone(), torn[..20].to_vec()].concat());
        assert!(matches!(end(), Ok((1, Seq(203)))), "cut short");
        write(path, 0, &[whole.clone(), vec![0; 5000]].concat());
        assert!(matches!(end(), Ok((1, Seq(203)))), "zeros behind it");
        write(path, 0, &[whole, torn].concat());
        write(path, 203, &block(1));
        assert!(matches!(end(), Ok((2, Seq(204)))), "as long as it should be, and made again");
        write(path, 205, &block(1));
        assert!(matches!(end(), Err(OutlineError::Gap { missing: Seq(204), .. })));
    }

    #[test]
    fn files_that_begin_behind_what_was_written_in_format_1_are_whole() {
        let folder = tempfile::tempdir().expect("a directory");
        write(folder.path(), 70, &block(2));
        assert!(matches!(outline(folder.path()), Ok(Outline { files: 1, end: Seq(72), .. })));
    }
}
