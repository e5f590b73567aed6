//! What an interrupted `init` or `restore` leaves: a directory without the marker, in which nothing was
//! ever served. Only looks, and never takes a ledger that has lost its marker for one.

use std::path::Path;

use super::directory::{CLEAN, FENCE, KEYS, LOCK, LOG, MARKER};
use super::file::{FileError, list};
use super::vaults::{POINTER, number};

/// The lock of a fence, which a restore writes before the marker.
const FENCE_LOCK: &str = "fence.lock";
/// The end of a file that is being written.
const PARTIAL: &str = ".tmp";

/// Whether the directory `path` holds nothing but what the making of a ledger leaves before its last
/// step. One that was served notes how far the log came, and is none of these.
///
/// # Errors
/// When it cannot be read to its end.
pub fn is_unfinished(path: &Path) -> Result<bool, FileError> {
    let mut is_locked = false;
    for entry in list(path)? {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { return Ok(false) };
        is_locked |= name == LOCK;
        let whole = name.strip_suffix(PARTIAL).unwrap_or(name);
        let is_of_making = [LOCK, KEYS, LOG, CLEAN, FENCE, FENCE_LOCK, POINTER, "lost+found"]
            .contains(&whole)
            || number(whole).is_some()
            || whole == MARKER && name != MARKER;
        if !is_of_making {
            return Ok(false);
        }
    }
    Ok(is_locked)
}
