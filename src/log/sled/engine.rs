//! Opening sled, and what it reports in our own words.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use ::sled::{Config, Db};

use super::super::file;
use super::super::store::{EngineError, StoreError};

/// Part of the format: sled refuses to open a database with another segment size than it was
/// created with. A quarter, 2 MiB, is the longest node that stays in the file that we sync.
const SEGMENT_BYTES: usize = 8 * 1024 * 1024;

pub(super) fn open_engine(dir: &Path, cache_bytes_max: u64) -> Result<Db, StoreError> {
    let config = Config::new()
        .path(dir)
        .segment_size(SEGMENT_BYTES)
        .cache_capacity(cache_bytes_max)
        // The periodic flush adds fsyncs whose errors go nowhere; every write here syncs itself.
        .flush_every_ms(None);
    // sled asserts on some damage.
    let opened = catch_unwind(AssertUnwindSafe(|| config.open()));
    let opened = opened.map_err(|_| EngineError::Panicked);
    opened.and_then(|opened| opened.map_err(engine_error)).map_err(|source| StoreError::Engine {
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
