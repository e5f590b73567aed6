//! Tables of rows beside the log: what is made from the records, or signed over them. Never holds
//! what the log does not know.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::path::PathBuf;

use parking_lot::Mutex;

use super::file::FileError;
use super::store::StoreError;

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// A table of rows, ordered by their keys.
pub trait SideTable: Send + Sync {
    /// The value of a row, if there is one.
    ///
    /// # Errors
    /// When it cannot be read; another row may be.
    fn row(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Adds or replaces rows, all of them or none; `Ok` means durable.
    ///
    /// # Errors
    /// [`StoreError::RowTooLong`]: nothing was done. Every other one is final, as for a log.
    fn put(&self, rows: &[(&[u8], &[u8])]) -> Result<(), StoreError>;

    /// As [`SideTable::put`], but without waiting for the disk: the next append to the log makes
    /// the rows durable. For what can be made again.
    ///
    /// # Errors
    /// As [`SideTable::put`].
    fn put_later(&self, rows: &[(&[u8], &[u8])]) -> Result<(), StoreError>;

    /// The first rows whose keys are not below `from`, `rows_max` at most.
    ///
    /// # Errors
    /// When they cannot be read.
    fn rows_from(&self, from: &[u8], rows_max: usize) -> Result<Vec<Row>, StoreError>;

    /// The row with the greatest key.
    ///
    /// # Errors
    /// When it cannot be read.
    fn last(&self) -> Result<Option<Row>, StoreError>;
}

/// Rows in memory, for tests and simulations. Fails when told to.
#[derive(Debug, Default)]
pub struct MemoryTable(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    fails: bool,
}

impl MemoryTable {
    /// From now on nothing is written, and each who tries is told so.
    pub fn fail(&self, fails: bool) {
        self.0.lock().fails = fails;
    }

    /// Forgets every row, as a crash may forget what was not made durable.
    pub fn clear(&self) {
        self.0.lock().rows.clear();
    }
}

impl SideTable for MemoryTable {
    fn row(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0.lock().rows.get(key).cloned())
    }

    fn put(&self, rows: &[(&[u8], &[u8])]) -> Result<(), StoreError> {
        let mut kept = self.0.lock();
        if kept.fails {
            let source = io::Error::other("a fault was injected");
            return Err(FileError { what: "write", path: PathBuf::from("memory"), source }.into());
        }
        kept.rows.extend(rows.iter().map(|(key, value)| (key.to_vec(), value.to_vec())));
        Ok(())
    }

    fn put_later(&self, rows: &[(&[u8], &[u8])]) -> Result<(), StoreError> {
        self.put(rows)
    }

    fn rows_from(&self, from: &[u8], rows_max: usize) -> Result<Vec<Row>, StoreError> {
        let kept = self.0.lock();
        let from = kept.rows.range::<[u8], _>((Bound::Included(from), Bound::Unbounded));
        Ok(from.take(rows_max).map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn last(&self) -> Result<Option<Row>, StoreError> {
        let kept = self.0.lock();
        Ok(kept.rows.last_key_value().map(|(key, value)| (key.clone(), value.clone())))
    }
}
