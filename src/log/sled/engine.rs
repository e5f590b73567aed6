//! Opening sled, and what it reports in our own words.

use std::fs::File;
use std::io::Read;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use ::sled::{Config, Db};

use super::super::file::{self, FileError};
use super::super::store::{EngineError, StoreError};
use super::segments::NAME;

/// Part of the format: sled refuses to open a database with another segment size than it was
/// created with. A quarter, 2 MiB, is the longest node that stays in the file that we sync.
const SEGMENT_BYTES: usize = 8 * 1024 * 1024;

/// Larger databases are not read before they are opened: it would take longer than a start may.
const READ_FIRST_BYTES_MAX: u64 = 1024 * 1024 * 1024;
const READ_BYTES: usize = 1024 * 1024;

/// An open database that can be closed on a disk that fails just then.
pub(super) struct Engine(Option<Db>);

impl Deref for Engine {
    type Target = Db;

    fn deref(&self) -> &Db {
        self.0.as_ref().expect("taken only when it is dropped")
    }
}

impl Drop for Engine {
    /// sled syncs once more when its last handle goes, and panics where that fails. All that was
    /// promised was synced before, and who closes the database has more to do than that.
    fn drop(&mut self) {
        let db = self.0.take();
        let _ = catch_unwind(AssertUnwindSafe(move || drop(db)));
    }
}

pub(super) fn open_engine(dir: &Path, cache_bytes_max: u64) -> Result<Engine, StoreError> {
    let config = Config::new()
        .path(dir)
        .segment_size(SEGMENT_BYTES)
        .cache_capacity(cache_bytes_max)
        // The periodic flush adds fsyncs whose errors go nowhere; every write here syncs itself.
        .flush_every_ms(None);
    // sled asserts on some damage.
    let opened = catch_unwind(AssertUnwindSafe(|| config.open()));
    let opened = opened.map_err(|_| EngineError::Panicked);
    let opened = opened.and_then(|opened| opened.map_err(engine_error));
    opened.map(|db| Engine(Some(db))).map_err(|source| StoreError::Engine {
        what: "open",
        path: dir.to_owned(),
        source,
    })
}

/// Reads every file of sled's own once, up to [`READ_FIRST_BYTES_MAX`] of them together.
///
/// sled takes what it cannot read for the torn end of a crash and overwrites it, so one error of the
/// disk while it opens would cost all that was there. Here it is only an error; and what was read
/// once, sled finds in the system's memory.
pub(super) fn read_first(dir: &Path) -> Result<(), StoreError> {
    let mut files = Vec::new();
    let mut bytes = 0;
    for entry in file::list(dir)? {
        let about = entry.metadata().map_err(FileError::on("look at", &entry.path()))?;
        let is_ours = entry.file_name().as_encoded_bytes().starts_with(NAME.as_bytes());
        if about.is_file() && !is_ours {
            bytes += about.len();
            files.push(entry.path());
        }
    }
    if READ_FIRST_BYTES_MAX < bytes {
        return Ok(());
    }
    let mut part = vec![0; READ_BYTES];
    for path in files {
        let mut file = File::open(&path).map_err(FileError::on("open", &path))?;
        while 0 < file.read(&mut part).map_err(FileError::on("read", &path))? {}
    }
    Ok(())
}

/// sled takes the last file named `snap.` for the newest snapshot, finished or not.
pub(super) fn remove_torn_snapshots(dir: &Path) -> Result<(), StoreError> {
    for entry in file::list(dir)? {
        let name = entry.file_name().into_encoded_bytes();
        if name.starts_with(b"snap.") && name.ends_with(b".generating") {
            file::remove_durably(&entry.path())?;
        }
    }
    Ok(())
}

pub(super) fn engine_error(error: ::sled::Error) -> EngineError {
    match error {
        ::sled::Error::Io(error) => EngineError::Io(error),
        ::sled::Error::Corruption { at: Some(at), .. } => {
            EngineError::Damaged(format!("at {at:?}").into())
        }
        ::sled::Error::Corruption { at: None, .. } => EngineError::Damaged("in a snapshot".into()),
        other @ (::sled::Error::CollectionNotFound(_)
        | ::sled::Error::Unsupported(_)
        | ::sled::Error::ReportableBug(_)) => EngineError::Refused(other.to_string().into()),
    }
}
