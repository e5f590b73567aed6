//! Whether the disk has room for more: asked before each write, so that none fails half way.
//! Never writes anything.

use std::path::{Path, PathBuf};

/// The file system of a ledger, and how many bytes of it stay free.
#[derive(Debug, Clone)]
pub struct Room {
    path: PathBuf,
    free_bytes_min: u64,
}

impl Room {
    /// Holds back `free_bytes_min` bytes of the file system that holds `path`; 0 holds back nothing.
    pub fn new(path: &Path, free_bytes_min: u64) -> Self {
        Self { path: path.to_owned(), free_bytes_min }
    }

    /// Whether more may be written. Where the system does not say, the write itself will tell.
    pub fn is_left(&self) -> bool {
        if self.free_bytes_min == 0 {
            return true;
        }
        rustix::fs::statvfs(&self.path).map_or(true, |about| {
            self.free_bytes_min <= about.f_bavail.saturating_mul(about.f_frsize)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_until_less_is_free_than_must_stay_free() {
        let here = std::env::temp_dir();
        for (free_bytes_min, is_left) in [(0, true), (1, true), (u64::MAX, false)] {
            assert_eq!(Room::new(&here, free_bytes_min).is_left(), is_left, "{free_bytes_min}");
        }
        assert!(Room::new(Path::new("/does/not/exist"), u64::MAX).is_left());
    }
}
