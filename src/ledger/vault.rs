//! The only mutable store: who is behind a pseudonym, and the key that opens what is sealed for
//! them. A row is durable before the first record that needs it; erasing it is forgetting.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use parking_lot::Mutex;
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::crypto::seal::{
    SealBroken, Sealed, SubjectKey, TooLongToSeal, open, seal, subject_lookup, vault_copy_key,
};
use crate::entropy::{Entropy, bytes};
use crate::log::room::Room;
use crate::log::store::StoreError;
use crate::types::id::SubjectId;

/// What a `sub` is sealed for: nothing sealed elsewhere opens in its place.
pub const SUB_PURPOSE: &[u8] = b"sub";

/// Is shown a key and its value.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> Result<(), StoreError> + 'a;

/// A person's row as it is copied: the pseudonym, and what [`Vault::each`] showed.
pub type PersonRow = (SubjectId, Zeroizing<Vec<u8>>);

/// Rows on a disk of their own.
pub trait Rows: Send + Sync {
    /// The value at `key`.
    ///
    /// # Errors
    /// When it cannot be read.
    fn row(&self, key: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError>;
    /// Puts the rows in, all or none; `Ok` means durable.
    ///
    /// # Errors
    /// Whether the rows are there is not known then; the caller refuses.
    fn put(&self, rows: &[(&[u8], &[u8])]) -> Result<(), StoreError>;
    /// Takes the rows out; `Ok` means durable.
    ///
    /// # Errors
    /// Whether the rows are gone is not known then; the caller tries again after a restart.
    fn remove(&self, keys: &[&[u8]]) -> Result<(), StoreError>;
    /// Shows every row to `visit`, in no order, until that fails.
    ///
    /// # Errors
    /// What `visit` says, or when the rows cannot be read to their end.
    fn each(&self, visit: &mut Visit<'_>) -> Result<(), StoreError>;
    /// Whether bytes of removed rows may still stand in a file.
    ///
    /// # Errors
    /// When that cannot be told.
    fn needs_rewrite(&self) -> Result<bool, StoreError>;
    /// Writes all rows into a fresh database and destroys the old one with every byte it kept.
    ///
    /// # Errors
    /// The rows are still there, and so may be bytes of removed ones; the caller tries again.
    fn rewrite(&self) -> Result<(), StoreError>;
    /// Whether it is known what is on the disk: not after a write that failed.
    fn is_sound(&self) -> bool;
}

/// A resource owner as the edge knows it.
pub struct Person {
    /// The pseudonym.
    pub subject: SubjectId,
    /// The key that seals and opens.
    pub key: SubjectKey,
    /// The `sub`, sealed under the key.
    pub sub: Sealed,
}

/// Why the vault could not answer.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The store below failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row is not what it must be.
    #[error("the vault's row of {0} is damaged: restore the vault from its own backup")]
    Damaged(SubjectId),
    /// Somebody whom the log knows has no row any more.
    #[error(
        "the vault has lost {0}, whom the log knows: restore the vault from its own backup; or set \
         vault_incomplete_ok = 1 to go on, and whoever is lost is registered anew"
    )]
    Lost(SubjectId),
    /// The disk is nearly full: nothing was done.
    #[error("the disk of the vault is nearly full: make room on it, and writing goes on")]
    NoRoom,
    /// What was to be sealed is too long.
    #[error(transparent)]
    TooLong(#[from] TooLongToSeal),
    /// What was sealed does not open.
    #[error(transparent)]
    Broken(#[from] SealBroken),
}

/// Pseudonyms and keys. Many read, one at a time registers or erases.
pub struct Vault {
    rows: Box<dyn Rows>,
    key: Zeroizing<[u8; 32]>,
    /// Held by each change, so that nothing is registered in a database that is being replaced.
    registering: Mutex<()>,
    /// The look-up of who is being registered, or was when a write failed: the engine shows the row
    /// before it is durable.
    unsettled: Mutex<Option<[u8; 32]>>,
    /// People whose erasure was asked for, and whose rows are not known to be gone.
    erasing: Mutex<BTreeSet<SubjectId>>,
    /// Told when a write failed, after which nothing is written any more.
    failed: watch::Sender<bool>,
    /// What must stay free on the disk.
    room: OnceLock<Room>,
}

const KEY_BYTES: usize = 32;

impl Vault {
    /// A vault over `rows`, whose look-ups are keyed with `key`.
    pub fn new(rows: Box<dyn Rows>, key: Zeroizing<[u8; 32]>) -> Self {
        Self {
            rows,
            key,
            registering: Mutex::new(()),
            unsettled: Mutex::default(),
            erasing: Mutex::default(),
            failed: watch::Sender::new(false),
            room: OnceLock::new(),
        }
    }

    /// Told when a write failed: nothing is written any more, and the process is to be started anew.
    pub fn failed(&self) -> watch::Receiver<bool> {
        self.failed.subscribe()
    }

    fn told<T>(&self, done: Result<T, StoreError>) -> Result<T, VaultError> {
        if done.is_err() && !self.rows.is_sound() {
            self.failed.send_replace(true);
        }
        Ok(done?)
    }

    /// From now on nobody is registered unless there is room.
    pub fn keep_free(&self, room: Room) {
        // Set once, at the start.
        let _ = self.room.set(room);
    }

    /// The person of this `sub`, if it was seen before and not erased.
    ///
    /// # Errors
    /// [`VaultError`] when the vault cannot be read.
    pub fn find(&self, sub: &str) -> Result<Option<Person>, VaultError> {
        self.found(&subject_lookup(&self.key, sub))
    }

    fn found(&self, lookup: &[u8]) -> Result<Option<Person>, VaultError> {
        let Some(subject) = self.rows.row(lookup)? else { return Ok(None) };
        let subject = <[u8; 16]>::try_from(subject.as_slice()).map(SubjectId::from_bytes);
        match subject {
            Ok(subject) => self.read(&subject),
            Err(_) => Err(VaultError::Damaged(SubjectId::from_bytes([0; 16]))),
        }
    }

    /// The person of this `sub`, registered now if it was not before; durable when it returns.
    ///
    /// # Errors
    /// [`VaultError`] when the vault cannot be read or written: nothing that needs the row may be
    /// recorded.
    pub fn ensure(&self, sub: &str, entropy: &dyn Entropy) -> Result<Person, VaultError> {
        let lookup = subject_lookup(&self.key, sub);
        // Looked for first: a row that shows and that nobody is making durable any more, is.
        if let Some(person) = self.found(&lookup)?
            && *self.unsettled.lock() != Some(lookup)
        {
            return Ok(person);
        }
        let _one = self.registering.lock();
        if self.unsettled.lock().is_some() {
            // The write failed, and what it left is not to be built on.
            return Err(StoreError::Poisoned.into());
        }
        if let Some(person) = self.found(&lookup)? {
            return Ok(person);
        }
        if !self.room.get().is_none_or(Room::is_left) {
            return Err(VaultError::NoRoom);
        }
        let subject = SubjectId::from_bytes(bytes(entropy));
        let key = SubjectKey::generate(entropy);
        let sealed = seal(&key, SUB_PURPOSE, sub.as_bytes(), entropy)?;
        let mut row = Zeroizing::new(Vec::with_capacity(KEY_BYTES * 2 + sealed.as_str().len()));
        row.extend_from_slice(key.as_bytes());
        row.extend_from_slice(&lookup);
        row.extend_from_slice(sealed.as_str().as_bytes());
        *self.unsettled.lock() = Some(lookup);
        self.told(self.rows.put(&[(&lookup, subject.as_bytes()), (subject.as_bytes(), &row)]))?;
        *self.unsettled.lock() = None;
        Ok(Person { subject, key, sub: sealed })
    }

    /// The person behind a pseudonym, unless erased.
    ///
    /// # Errors
    /// [`VaultError`] when the vault cannot be read.
    pub fn person(&self, subject: &SubjectId) -> Result<Option<Person>, VaultError> {
        self.read(subject)
    }

    /// That each of these people is there, by pseudonym and by name.
    ///
    /// # Errors
    /// As [`check`].
    pub fn check(&self, subjects: impl Iterator<Item = SubjectId>) -> Result<(), VaultError> {
        check(self.rows.as_ref(), subjects)
    }

    fn read(&self, subject: &SubjectId) -> Result<Option<Person>, VaultError> {
        let Some(row) = self.rows.row(subject.as_bytes())? else { return Ok(None) };
        let damaged = || VaultError::Damaged(*subject);
        let (key, rest) = row.split_first_chunk::<KEY_BYTES>().ok_or_else(damaged)?;
        let (_, sealed) = rest.split_first_chunk::<KEY_BYTES>().ok_or_else(damaged)?;
        let sealed = std::str::from_utf8(sealed).map_err(|_| damaged())?;
        let sub = sealed.parse().map_err(|_| damaged())?;
        Ok(Some(Person { subject: *subject, key: SubjectKey::from_bytes(key), sub }))
    }

    /// Forgets a person: takes the rows out. The bytes may stand in the database's files until
    /// [`Vault::rewrite`].
    ///
    /// # Errors
    /// [`VaultError`] when it is not known whether the rows are gone.
    pub fn erase(&self, subject: &SubjectId) -> Result<bool, VaultError> {
        let _one = self.registering.lock();
        let row = self.rows.row(subject.as_bytes())?;
        if let Some(row) = &row {
            let lookup = row.get(KEY_BYTES..KEY_BYTES * 2).ok_or(VaultError::Damaged(*subject))?;
            self.told(self.rows.remove(&[lookup, subject.as_bytes()]))?;
        }
        self.erasing.lock().remove(subject);
        Ok(row.is_some())
    }

    /// Remembers that an erasure was asked for: if nobody is there any more to take the rows out once
    /// it is recorded, [`Vault::finish_erasures`] does.
    pub fn begin_erasure(&self, subject: SubjectId) {
        self.erasing.lock().insert(subject);
    }

    /// Takes out the rows of those whose erasure was begun and is recorded by now.
    ///
    /// # Errors
    /// As [`Vault::erase`]; asking again goes on.
    pub fn finish_erasures(
        &self,
        is_erased: impl Fn(&SubjectId) -> bool,
    ) -> Result<(), VaultError> {
        let begun = self.erasing.lock().clone();
        begun.iter().filter(|subject| is_erased(subject)).try_for_each(|subject| {
            self.erase(subject)?;
            Ok(())
        })
    }

    /// The key under which copies of this vault are sealed.
    pub fn copy_key(&self) -> SubjectKey {
        vault_copy_key(&self.key)
    }

    /// Shows the row of each person to `take`: all of one moment, since nobody is registered or
    /// erased meanwhile. Look-ups do not wait.
    ///
    /// # Errors
    /// [`VaultError`]: what `take` says, or the vault cannot be read to its end.
    pub fn each(
        &self,
        mut take: impl FnMut(&SubjectId, &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), VaultError> {
        let _one = self.registering.lock();
        // The other rows, whose keys are longer, follow from these.
        Ok(self.rows.each(&mut |key, row| match <[u8; 16]>::try_from(key) {
            Ok(subject) => take(&SubjectId::from_bytes(subject), row),
            Err(_) => Ok(()),
        })?)
    }

    /// Puts rows back that [`Vault::each`] showed, all or none; durable when it returns.
    ///
    /// # Errors
    /// [`VaultError::Damaged`] for a row that is none; [`VaultError::Store`].
    pub fn put_back(&self, people: &[PersonRow]) -> Result<(), VaultError> {
        let mut rows: Vec<(&[u8], &[u8])> = Vec::with_capacity(2 * people.len());
        for (subject, row) in people {
            let lookup = row.get(KEY_BYTES..KEY_BYTES * 2);
            let lookup = lookup.ok_or(VaultError::Damaged(*subject))?;
            rows.push((lookup, subject.as_bytes()));
            rows.push((subject.as_bytes(), row));
        }
        let _one = self.registering.lock();
        self.told(self.rows.put(&rows))
    }

    /// Whether bytes of the erased may still stand in a file.
    ///
    /// # Errors
    /// When that cannot be told.
    pub fn needs_rewrite(&self) -> Result<bool, VaultError> {
        Ok(self.rows.needs_rewrite()?)
    }

    /// Writes the vault into a fresh database and destroys the old one: what was erased stands in
    /// no file any more. Registrations wait meanwhile, look-ups do not.
    ///
    /// # Errors
    /// [`VaultError`]: the old database is still in use; try again.
    pub fn rewrite(&self) -> Result<(), VaultError> {
        let _one = self.registering.lock();
        self.told(self.rows.rewrite())
    }
}

/// That each of these people is there, by pseudonym and by name.
///
/// # Errors
/// [`VaultError::Lost`] names the first who is not: the engine drops what it cannot read.
pub fn check(
    rows: &dyn Rows,
    mut subjects: impl Iterator<Item = SubjectId>,
) -> Result<(), VaultError> {
    subjects.try_for_each(|subject| {
        let row = rows.row(subject.as_bytes())?.ok_or(VaultError::Lost(subject))?;
        let lookup = row.get(KEY_BYTES..KEY_BYTES * 2).ok_or(VaultError::Damaged(subject))?;
        match rows.row(lookup)? {
            Some(found) if found.as_slice() == subject.as_bytes() => Ok(()),
            Some(_) | None => Err(VaultError::Lost(subject)),
        }
    })
}

impl Person {
    /// The `sub` in clear.
    ///
    /// # Errors
    /// [`SealBroken`] when the row is not intact.
    pub fn sub(&self) -> Result<Zeroizing<String>, SealBroken> {
        let opened = open(&self.key, SUB_PURPOSE, &self.sub)?;
        let text = std::str::from_utf8(&opened).map_err(|_| SealBroken)?;
        Ok(Zeroizing::new(text.to_owned()))
    }
}
