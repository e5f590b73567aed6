//! Copies of what the log does not hold: the vault, and the keys. They are written on the server,
//! each into a directory of its own, and never sent anywhere.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::backup::vault_copy::{VAULT_COPY, write};
use crate::domain::record::{About, Actor};
use crate::edge::fault::Fault;
use crate::edge::rotate::KeyFault;
use crate::edge::{Caller, Edge};
use crate::log::directory::KEYS;
use crate::log::file::{FILE_MODE, write_durably};
use crate::oauth::error::ErrorCode;

/// Where the copies go; none where the configuration names no place.
#[derive(Debug, Clone, Default)]
pub struct CopyPlaces {
    /// The directory of the vault's copy.
    pub vault: Option<PathBuf>,
    /// The directory of the keys' copy.
    pub keys: Option<PathBuf>,
}

impl CopyPlaces {
    fn both(&self) -> Result<(PathBuf, PathBuf), Fault> {
        let missing = match (&self.vault, &self.keys) {
            (Some(vault), Some(keys)) => return Ok((vault.clone(), keys.clone())),
            (Some(_), None) => "backup_keys_dir",
            (None, Some(_)) => "backup_vault_dir",
            (None, None) => "backup_vault_dir and backup_keys_dir",
        };
        let what = format!(
            "the server was started without {missing}: start it with both places, or back up with \
             --log-only"
        );
        Err(Fault::refused(ErrorCode::InvalidRequest, what))
    }
}

/// What was copied.
#[derive(Debug, Clone)]
pub struct BackedUp {
    /// The file of the vault.
    pub vault: PathBuf,
    /// How many people are in it.
    pub people: u64,
    /// The file of the keys.
    pub keys: PathBuf,
}

impl Edge {
    /// Copies the vault and the keys to the places that the configuration names; each copy replaces
    /// the one before. That it was done is a record.
    ///
    /// # Errors
    /// `invalid_request` where one of the places is not named: neither copy is of use without the
    /// other. [`Fault::Vault`] and [`Fault::Keys`] when a disk refuses: the copy before is still there.
    pub async fn back_up(&self, actor: Actor, caller: &Caller) -> Result<BackedUp, Fault> {
        let (vault, keys) = self.copies.both()?;
        let mut parameters = Map::new();
        parameters.insert("vault".to_owned(), Value::Bool(true));
        parameters.insert("keys".to_owned(), Value::Bool(true));
        self.note_reading(actor, caller, "backup", parameters, About::default()).await?;
        let path = vault.join(VAULT_COPY);
        let to = path.clone();
        let people = self.with_vault(move |vault, entropy| write(vault, &to, entropy)).await??;
        let keys = self.copy_keys(&keys).await?;
        Ok(BackedUp { vault: path, people, keys })
    }

    async fn copy_keys(&self, directory: &Path) -> Result<PathBuf, Fault> {
        let path = directory.join(KEYS);
        let (keyring, to) = (self.keyring.clone(), path.clone());
        let task = tokio::task::spawn_blocking(move || {
            write_durably(&to, &keyring.encoded(), FILE_MODE).map_err(KeyFault::from)
        });
        task.await.map_err(|_| Fault::Broken("the copying of the keys ended early"))??;
        Ok(path)
    }
}
