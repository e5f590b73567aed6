//! A table of sled: rows of its own, or a table beside the log.

use std::path::Path;
use std::sync::Arc;

use ::sled::{IVec, Tree};
use parking_lot::Mutex;

use super::super::side_table::{Row, SideTable};
use super::super::store::StoreError;
use super::{Entry, SledDatabase};

/// The longest row of a table, key and value together, in bytes.
pub const ROW_BYTES_MAX: usize = 64 * 1024 - 1;

/// A small table of rows that may change and go, each change durable. For what the log must not
/// hold; a removed row's bytes stay in the file until [`SledRows::rewrite_into`] leaves it behind.
pub struct SledRows {
    rows: Tree,
    /// Held by each change, and while the table is rewritten.
    changing: Mutex<()>,
    database: Arc<SledDatabase>,
}

impl SledRows {
    /// Makes an empty table in a database of its own; as [`SledDatabase::create`].
    ///
    /// # Errors
    /// As [`SledDatabase::create`].
    pub fn create(dir: &Path, cache_bytes_max: u64) -> Result<Self, StoreError> {
        Self::within(Arc::new(SledDatabase::create(dir, cache_bytes_max)?), "rows")
    }

    /// Opens a table that stands in a database of its own; as [`SledDatabase::open`].
    ///
    /// # Errors
    /// As [`SledDatabase::open`].
    pub fn open(dir: &Path, cache_bytes_max: u64) -> Result<Self, StoreError> {
        Self::within(Arc::new(SledDatabase::open(dir, cache_bytes_max)?), "rows")
    }

    /// The table `name` in `database`, beside the log; empty if it was never written.
    ///
    /// # Errors
    /// [`StoreError::Engine`] when it cannot be opened.
    pub fn within(database: Arc<SledDatabase>, name: &'static str) -> Result<Self, StoreError> {
        Ok(Self { rows: database.tree(name)?, changing: Mutex::new(()), database })
    }

    /// The table of what is made from the records in `database`; as [`SledRows::within`].
    ///
    /// # Errors
    /// As [`SledRows::within`].
    pub fn tiles(database: Arc<SledDatabase>) -> Result<Self, StoreError> {
        Self::within(database, "tiles")
    }

    /// Whether a write failed, after which nothing is written any more.
    pub fn is_poisoned(&self) -> bool {
        self.database.is_poisoned()
    }

    /// The value of a row, if there is one.
    ///
    /// # Errors
    /// [`StoreError::Engine`] when it cannot be read.
    pub fn row(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.rows.get(key).map_err(|error| self.database.failed("read", error))?;
        Ok(value.map(|value| value.to_vec()))
    }

    /// Adds or replaces rows, all of them or none; `Ok` means durable.
    ///
    /// # Errors
    /// [`StoreError::RowTooLong`]: nothing was done. Every other one is final, as for a log.
    pub fn put(&self, rows: &[(&[u8], &[u8])]) -> Result<(), StoreError> {
        let entries = entries(rows)?;
        let _one_at_a_time = self.changing.lock();
        self.database.write(&self.rows, entries)
    }

    /// Removes rows, all of them or none; `Ok` means that they stay removed.
    ///
    /// # Errors
    /// Final, as for a log.
    pub fn remove(&self, keys: &[&[u8]]) -> Result<(), StoreError> {
        let keys = keys.iter().map(|key| ((*key).into(), None));
        let _one_at_a_time = self.changing.lock();
        self.database.write(&self.rows, keys.collect())
    }

    /// All rows, in the order of their keys. What changes meanwhile may be seen or not.
    pub fn rows(&self) -> impl Iterator<Item = Result<(Vec<u8>, Vec<u8>), StoreError>> + '_ {
        self.rows.iter().map(|row| {
            let (key, value) = row.map_err(|error| self.database.failed("read", error))?;
            Ok((key.to_vec(), value.to_vec()))
        })
    }

    /// Copies all rows to a new table in `fresh_dir`, a database of its own, and opens it; `Ok`
    /// means durable. Changes wait meanwhile, and must then go to the new table.
    ///
    /// # Errors
    /// The new table is incomplete and is to be removed; this one is as before.
    pub fn rewrite_into(&self, fresh_dir: &Path) -> Result<Self, StoreError> {
        let _no_change_meanwhile = self.changing.lock();
        let fresh = Self::create(fresh_dir, self.database.cache_bytes_max)?;
        for row in self.rows() {
            let (key, value) = row?;
            let copied = fresh.rows.insert(key, value);
            copied.map_err(|error| fresh.database.failed("write", error))?;
        }
        fresh.database.durable()?;
        Ok(fresh)
    }
}

fn entries(rows: &[(&[u8], &[u8])]) -> Result<Vec<Entry>, StoreError> {
    let longest = rows.iter().map(|(key, value)| key.len() + value.len()).max().unwrap_or(0);
    if ROW_BYTES_MAX < longest {
        return Err(StoreError::RowTooLong { bytes: longest, bytes_max: ROW_BYTES_MAX });
    }
    Ok(rows.iter().map(|(key, value)| ((*key).into(), Some((*value).into()))).collect())
}

impl SideTable for SledRows {
    fn row(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        SledRows::row(self, key)
    }

    fn put(&self, rows: &[(&[u8], &[u8])]) -> Result<(), StoreError> {
        SledRows::put(self, rows)
    }

    fn put_later(&self, rows: &[(&[u8], &[u8])]) -> Result<(), StoreError> {
        let entries = entries(rows)?;
        let _one_at_a_time = self.changing.lock();
        self.database.write_later(&self.rows, entries)
    }

    fn rows_from(&self, from: &[u8], rows_max: usize) -> Result<Vec<Row>, StoreError> {
        let rows = self.rows.range(from.to_vec()..).take(rows_max);
        rows.map(|row| row.map(owned).map_err(|error| self.database.failed("read", error)))
            .collect()
    }

    fn last(&self) -> Result<Option<Row>, StoreError> {
        let last = self.rows.last().map_err(|error| self.database.failed("read", error))?;
        Ok(last.map(owned))
    }
}

fn owned((key, value): (IVec, IVec)) -> Row {
    (key.to_vec(), value.to_vec())
}
