//! A table whose rows go into sled together with the records that they follow from.

use std::sync::Arc;

use super::super::side_table::{Row, SideTable};
use super::super::store::StoreError;
use super::Shared;

/// The table beside a journaled log.
pub(super) struct Table(Arc<Shared>);

impl Table {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }
}

impl SideTable for Table {
    fn row(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let waiting = self.0.waiting.lock().rows.get(key).cloned();
        match waiting {
            Some(value) => Ok(Some(value)),
            None => self.0.table.row(key),
        }
    }

    fn put(&self, rows: &[(&[u8], &[u8])]) -> Result<(), StoreError> {
        self.0.settle()?;
        self.0.table.put(rows)
    }

    /// Kept in memory until the next move: as many rows as follow from what the journal holds.
    fn put_later(&self, rows: &[(&[u8], &[u8])]) -> Result<(), StoreError> {
        let mut waiting = self.0.waiting.lock();
        waiting.check()?;
        if !waiting.is_running {
            drop(waiting);
            return self.0.table.put_later(rows);
        }
        waiting.rows.extend(rows.iter().map(|(key, value)| (key.to_vec(), value.to_vec())));
        Ok(())
    }

    fn rows_from(&self, from: &[u8], rows_max: usize) -> Result<Vec<Row>, StoreError> {
        self.0.settle()?;
        self.0.table.rows_from(from, rows_max)
    }

    fn last(&self) -> Result<Option<Row>, StoreError> {
        self.0.settle()?;
        self.0.table.last()
    }
}
