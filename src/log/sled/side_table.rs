//! A table of sled as a table beside the log.

use ::sled::IVec;

use super::super::side_table::{Row, SideTable};
use super::super::store::StoreError;
use super::{SledRows, entries};

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
