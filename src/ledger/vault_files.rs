//! The vault's rows on disk: a database of its own, exchanged for a fresh one when bytes of the
//! erased must go.

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use zeroize::Zeroizing;

use crate::ledger::vault::{Rows, Visit};
use crate::log::directory::{DataDirectory, DirectoryError};
use crate::log::file::{FILE_MODE, FileError, read_if_there, remove_durably, write_durably};
use crate::log::sled::SledRows;
use crate::log::store::StoreError;

/// Says that the current vault may hold bytes of erased rows.
pub const REWRITE_DUE: &str = "vault.rewrite-due";

/// Rows in the data directory.
pub struct VaultFiles {
    directory: Arc<DataDirectory>,
    cache_bytes_max: u64,
    /// None only while it is being exchanged, or after an exchange that failed half way.
    rows: RwLock<Option<SledRows>>,
    marking: Mutex<()>,
}

impl VaultFiles {
    /// Makes an empty vault.
    ///
    /// # Errors
    /// When it cannot be made; nothing uses it yet.
    pub fn create(directory: Arc<DataDirectory>, cache_bytes_max: u64) -> Result<Self, StoreError> {
        let rows = SledRows::create(&directory.vault_dir(), cache_bytes_max)?;
        let (rows, marking) = (RwLock::new(Some(rows)), Mutex::new(()));
        Ok(Self { directory, cache_bytes_max, rows, marking })
    }

    /// Opens the current vault.
    ///
    /// # Errors
    /// When it is missing or damaged: restore it from its own backup.
    pub fn open(directory: Arc<DataDirectory>, cache_bytes_max: u64) -> Result<Self, StoreError> {
        let rows = SledRows::open(&directory.vault_dir(), cache_bytes_max)?;
        let (rows, marking) = (RwLock::new(Some(rows)), Mutex::new(()));
        Ok(Self { directory, cache_bytes_max, rows, marking })
    }

    fn with<T>(
        &self,
        run: impl FnOnce(&SledRows) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if self.rows.read().is_none() {
            self.reopen()?;
        }
        match self.rows.read().as_ref() {
            Some(rows) => run(rows),
            None => Err(StoreError::Poisoned),
        }
    }

    /// Opens the current vault again where a failed exchange left none open.
    fn reopen(&self) -> Result<(), StoreError> {
        let mut rows = self.rows.write();
        if rows.is_none() && self.directory.is_vault_known() {
            *rows = Some(SledRows::open(&self.directory.vault_dir(), self.cache_bytes_max)?);
        }
        Ok(())
    }

    fn due_path(&self) -> std::path::PathBuf {
        self.directory.path().join(REWRITE_DUE)
    }
}

impl Rows for VaultFiles {
    fn row(&self, key: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        self.with(|rows| Ok(rows.row(key)?.map(Zeroizing::new)))
    }

    fn put(&self, new: &[(&[u8], &[u8])]) -> Result<(), StoreError> {
        self.with(|rows| rows.put(new))
    }

    fn remove(&self, keys: &[&[u8]]) -> Result<(), StoreError> {
        // The mark first: a crash in between costs a rewrite too many, never one too few.
        let _one = self.marking.lock();
        write_durably(
            &self.due_path(),
            b"bytes of erased rows may stand in the vault\n",
            FILE_MODE,
        )?;
        self.with(|rows| rows.remove(keys))
    }

    fn each(&self, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        self.with(|rows| {
            for row in rows.rows() {
                let (key, value) = row?;
                let value = Zeroizing::new(value);
                visit(&key, &value)?;
            }
            Ok(())
        })
    }

    fn needs_rewrite(&self) -> Result<bool, StoreError> {
        Ok(read_if_there(&self.due_path())?.is_some())
    }

    fn rewrite(&self) -> Result<(), StoreError> {
        let _one = self.marking.lock();
        let fresh_dir = self.directory.next_vault_dir().map_err(as_store)?;
        self.reopen()?;
        // Look-ups go on while the rows are copied: the vault changes none meanwhile.
        let fresh = self.with(|current| current.rewrite_into(&fresh_dir))?;
        let mut rows = self.rows.write();
        // Closed before its files are removed, or it would write them anew.
        drop(rows.take());
        match self.directory.switch_vault(&fresh_dir) {
            Ok(()) => *rows = Some(fresh),
            Err(error) => {
                drop(fresh);
                if self.directory.is_vault_known() {
                    *rows = SledRows::open(&self.directory.vault_dir(), self.cache_bytes_max).ok();
                }
                return Err(as_store(error));
            }
        }
        drop(rows);
        if self.needs_rewrite()? {
            remove_durably(&self.due_path())?;
        }
        Ok(())
    }

    fn is_sound(&self) -> bool {
        match self.rows.read().as_ref() {
            Some(rows) => !rows.is_poisoned(),
            // Closed by an exchange that failed; the next who asks opens it.
            None => self.directory.is_vault_known(),
        }
    }
}

fn as_store(error: DirectoryError) -> StoreError {
    match error {
        DirectoryError::Io(source) => StoreError::Io(source),
        DirectoryError::NotEmpty { path }
        | DirectoryError::Missing { path }
        | DirectoryError::Foreign { path }
        | DirectoryError::Unfinished { path }
        | DirectoryError::InUse { path }
        | DirectoryError::NewerFormat { path, .. }
        | DirectoryError::Marker { path, .. }
        | DirectoryError::CleanMark { path, .. }
        | DirectoryError::VaultPointer { path }
        | DirectoryError::VaultMissing { path }
        | DirectoryError::NotTheNextVault { path } => {
            let source = std::io::Error::other("the vault's directory cannot be exchanged");
            StoreError::Io(FileError { what: "exchange", path, source })
        }
    }
}

/// Rows in memory, for tests and simulations.
#[derive(Default)]
pub struct MemoryRows(RwLock<std::collections::BTreeMap<Vec<u8>, Zeroizing<Vec<u8>>>>);

impl Rows for MemoryRows {
    fn row(&self, key: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        Ok(self.0.read().get(key).cloned())
    }

    fn put(&self, new: &[(&[u8], &[u8])]) -> Result<(), StoreError> {
        let mut rows = self.0.write();
        for (key, value) in new {
            rows.insert(key.to_vec(), Zeroizing::new(value.to_vec()));
        }
        Ok(())
    }

    fn remove(&self, keys: &[&[u8]]) -> Result<(), StoreError> {
        let mut rows = self.0.write();
        for key in keys {
            rows.remove(*key);
        }
        Ok(())
    }

    fn each(&self, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        self.0.read().iter().try_for_each(|(key, value)| visit(key, value))
    }

    fn needs_rewrite(&self) -> Result<bool, StoreError> {
        Ok(false)
    }

    fn rewrite(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn is_sound(&self) -> bool {
        true
    }
}
