//! Opening sled, and what it reports in our own words.

use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use ::sled::{Config, Db};

use super::super::file;
use super::super::store::{EngineError, StoreError};

/// Part of the format: sled refuses to open a database with another segment size than it was
/// created with. A quarter, 2 MiB, is the longest node that stays in the file that we sync.
const SEGMENT_BYTES: usize = 8 * 1024 * 1024;

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
