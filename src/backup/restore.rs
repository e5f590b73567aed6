//! A data directory made anew from copies: the log from its tiles, checked to the last record, the
//! keys, and the vault. It appears under its name complete, or not at all.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::crypto::keys::{KeyFile, KeyFileRefused};
use crate::crypto::note::Note;
use crate::crypto::note_key::{KeyName, NoteVerifier};
use crate::crypto::note_signer::NoteSigner;
use crate::crypto::seal::vault_copy_key;
use crate::domain::event::Event;
use crate::domain::record::Record;
use crate::domain::state::{Head, State};
use crate::evidence::feed::{Unverified, from_store};
use crate::evidence::source::{CHECKPOINT, LogSource, SourceError, entries, newest_note};
use crate::evidence::verifier::{End, Signed, Verifier};
use crate::ledger::checkpoints::{CHECKPOINTS, Checkpoints, Published};
use crate::ledger::vault::{Vault, VaultError};
use crate::ledger::vault_files::VaultFiles;
use crate::log::checkpoint::{Checkpoint, CheckpointError};
use crate::log::directory::{DataDirectory, DirectoryError, Marker};
use crate::log::fence::{Advance, Fence, FenceError, FenceFile};
use crate::log::file::{
    FILE_MODE, FileError, beside, create_directory, holds_other_than, lock, sync_parent,
    write_durably,
};
use crate::log::sled::{SledDatabase, SledRows, SledStore};
use crate::log::store::{Store, StoreError};
use crate::log::tile::{TILE_WIDTH, TileId, TileKind};
use crate::log::tree::TreeHead;
use crate::types::id::Seq;
use crate::types::time::Timestamp;

use super::vault_copy::{self, VaultCopyError};

/// How the directory is called while it is not complete.
pub const UNFINISHED: &str = ".restoring";

const CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// What a ledger is made from.
pub struct Copies<'a> {
    /// The log.
    pub log: &'a dyn LogSource,
    /// The bytes of the key file.
    pub keys: &'a [u8],
    /// The copy of the vault; without one, nobody behind a pseudonym is known any more.
    pub vault: Option<&'a Path>,
    /// Verifier keys of the checkpoint beside the one in the key file, after it was rotated.
    pub trusted: &'a [NoteVerifier],
}

/// What was restored.
#[derive(Debug, Clone)]
pub struct Restored {
    /// The issuer.
    pub issuer: String,
    /// The last record.
    pub last: Option<Head>,
    /// What the checkpoint covers: all of it.
    pub head: TreeHead,
    /// The people whose rows came back, without those who were erased again.
    pub people: u64,
    /// The people in the log who were not in the vault's copy: registered after it was made.
    pub unknown_people: u64,
}

/// Why nothing was restored. What was made so far is removed, or is removed by the next attempt.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// There is something already.
    #[error("{} is not empty; choose a new directory", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// It is there, and the restored directory cannot take its place.
    #[error(
        "{} cannot give way to what is restored ({source}): it is where a file system is mounted, or \
         such a one's own; name a directory in it that is not there yet",
        path.display()
    )]
    Stays {
        /// The directory.
        path: PathBuf,
        /// What the system answered.
        source: std::io::Error,
    },
    /// Another process restores there, or something else has that name.
    #[error("{} is in use or not ours; wait for the other process, or remove it", path.display())]
    InTheWay {
        /// The unfinished directory.
        path: PathBuf,
    },
    /// The log's copy cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The checkpoint is not to be believed.
    #[error("{name}: {source}")]
    Checkpoint {
        /// Where it lies.
        name: String,
        /// What is wrong.
        source: CheckpointError,
    },
    /// The first record is not that of a ledger.
    #[error("the copy does not begin with the record that made the ledger of its checkpoint")]
    NoLedger,
    /// The records are not those that the checkpoint covers, or could not have happened.
    #[error(transparent)]
    Unverified(#[from] Unverified),
    /// The key file cannot be used.
    #[error("the copy of the keys cannot be used: {0}")]
    Keys(#[from] KeyFileRefused),
    /// The copy of the vault cannot be used.
    #[error(transparent)]
    VaultCopy(#[from] VaultCopyError),
    /// The log cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The vault cannot be written.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The directory cannot be made.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The file system refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// The fence cannot be written.
    #[error(transparent)]
    Fence(#[from] FenceError),
}

impl RestoreError {
    /// Whether the copies contradict themselves, and not only the disk or the network.
    pub fn is_contradiction(&self) -> bool {
        match self {
            Self::Checkpoint { .. }
            | Self::NoLedger
            | Self::VaultCopy(VaultCopyError::Damaged { .. }) => true,
            Self::Unverified(error) => error.is_fault(),
            Self::NotEmpty { .. }
            | Self::Stays { .. }
            | Self::InTheWay { .. }
            | Self::Source(_)
            | Self::Keys(_)
            | Self::VaultCopy(VaultCopyError::File(_) | VaultCopyError::Vault(_))
            | Self::Store(_)
            | Self::Vault(_)
            | Self::Directory(_)
            | Self::File(_)
            | Self::Fence(_) => false,
        }
    }
}

/// Makes the data directory `to`, which is missing or empty, from `copies`.
///
/// # Errors
/// [`RestoreError`]: `to` is as before.
pub fn restore(
    to: &Path,
    copies: &Copies<'_>,
    progress: impl FnMut(Seq),
) -> Result<Restored, RestoreError> {
    if to.exists() && holds_other_than(&[], to)? {
        return Err(RestoreError::NotEmpty { path: to.to_owned() });
    }
    let keys = KeyFile::decode(copies.keys)?;
    let note = newest_note(copies.log)?;
    let checkpoint = signed_checkpoint(copies, &note, &keys)?;
    let (issuer, first) = beginning(copies.log, &checkpoint)?;
    let plan = Plan { copies, checkpoint, note, issuer, created_at: first.at, keys };
    let unfinished = beside(to, UNFINISHED);
    clear(&unfinished)?;
    if to.exists() {
        give_way(to, &unfinished)?;
    }
    let made = fill(&unfinished, &plan, progress);
    if made.is_err() {
        let _ = std::fs::remove_dir_all(&unfinished);
    }
    let restored = made?;
    // An empty directory gives way to it.
    std::fs::rename(&unfinished, to).map_err(FileError::on("rename to", to))?;
    sync_parent(to)?;
    Ok(restored)
}

/// Whether a directory can take the place of `to`, which is empty: found out by one that is empty, too,
/// and not by the restored one after all that it took.
fn give_way(to: &Path, unfinished: &Path) -> Result<(), RestoreError> {
    create_directory(unfinished)?;
    std::fs::rename(unfinished, to).map_err(|source| {
        let _ = std::fs::remove_dir(unfinished);
        RestoreError::Stays { path: to.to_owned(), source }
    })
}

/// Removes what an interrupted restore left.
fn clear(unfinished: &Path) -> Result<(), RestoreError> {
    if !unfinished.exists() {
        return Ok(());
    }
    let in_the_way = || RestoreError::InTheWay { path: unfinished.to_owned() };
    let lock_path = unfinished.join("lock");
    if holds_other_than(&[], unfinished)? && !lock_path.is_file() {
        return Err(in_the_way());
    }
    // Held by whoever restores there now.
    let _held = lock(&lock_path)?.ok_or_else(in_the_way)?;
    let removed = std::fs::remove_dir_all(unfinished);
    Ok(removed.map_err(FileError::on("remove", unfinished))?)
}

/// The checkpoint that `note` holds, if the ledger's own key signed it.
fn signed_checkpoint(
    copies: &Copies<'_>,
    note: &Note,
    keys: &KeyFile,
) -> Result<Checkpoint, RestoreError> {
    let wrong = |source| RestoreError::Checkpoint { name: copies.log.place(CHECKPOINT), source };
    let claimed = Checkpoint::parse(note.text()).map_err(wrong)?;
    let own: Vec<NoteVerifier> = match claimed.origin.as_str().parse::<KeyName>() {
        Ok(name) => keys
            .checkpoint_seeds()
            .map(|seed| NoteSigner::new(name.clone(), seed).verifier().clone())
            .collect(),
        Err(_) => Vec::new(),
    };
    let mut refused = None;
    for key in own.iter().chain(copies.trusted) {
        match Checkpoint::open(note, &claimed.origin, key, &[]) {
            Ok(opened) => return Ok(opened.checkpoint),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    Err(wrong(refused.unwrap_or(CheckpointError::NotSignedByLog)))
}

/// The issuer and the first record, which has to name the log of the checkpoint.
fn beginning(
    log: &dyn LogSource,
    checkpoint: &Checkpoint,
) -> Result<(String, Record), RestoreError> {
    let tile = TileId::at(TileKind::Entries, 0, checkpoint.head.size);
    let tile = tile.ok_or(RestoreError::NoLedger)?;
    let first = entries(log, tile)?.into_iter().next().ok_or(RestoreError::NoLedger)?;
    let record = Record::decode(&first).map_err(|_| RestoreError::NoLedger)?;
    let Event::LedgerCreated(created) = &record.event else { return Err(RestoreError::NoLedger) };
    if created.origin != checkpoint.origin.as_str() {
        return Err(RestoreError::NoLedger);
    }
    Ok((created.issuer.clone(), record.clone()))
}

/// What was found good before anything is written.
struct Plan<'a> {
    copies: &'a Copies<'a>,
    checkpoint: Checkpoint,
    note: Note,
    issuer: String,
    created_at: Timestamp,
    keys: KeyFile,
}

fn fill(path: &Path, plan: &Plan<'_>, progress: impl FnMut(Seq)) -> Result<Restored, RestoreError> {
    let Plan { copies, checkpoint, issuer, keys, .. } = plan;
    let marker = Marker::new(issuer.clone(), plan.created_at);
    let directory = Arc::new(DataDirectory::create(path, &marker)?);
    write_durably(&directory.keys_file(), copies.keys, FILE_MODE)?;
    let rows = VaultFiles::create(Arc::clone(&directory), CACHE_BYTES)?;
    let vault = Vault::new(Box::new(rows), Zeroizing::new(*keys.vault_key()));
    let database = Arc::new(SledDatabase::create(&directory.log_dir(), CACHE_BYTES)?);
    let store = SledStore::open(Arc::clone(&database))?;
    let head = checkpoint.head;
    append_all(copies.log, &store, head)?;
    // Judged as it lies there now: every record, every link, every rule, and the root.
    let place = copies.log.place(CHECKPOINT);
    let mut verifier = Verifier::new(vec![Signed { head, place }]);
    from_store(&store, &mut verifier, progress)?;
    let (_, state) = verifier.finish(End::Whole).map_err(Unverified::from)?;
    let put_back = match copies.vault {
        Some(file) => {
            let key = vault_copy_key(keys.vault_key());
            vault_copy::read(file, &key, |people| vault.put_back(people))?
        }
        None => 0,
    };
    let Settled { erased_again, unknown_people } = settle(&vault, &state)?;
    let people = put_back.saturating_sub(erased_again);
    let at = state.head().map_or(plan.created_at, |head| head.at);
    keep_checkpoint(&directory, &database, plan, at)?;
    database.durable()?;
    directory.complete()?;
    Ok(Restored { issuer: issuer.clone(), last: state.head(), head, people, unknown_people })
}

/// Appends the records of the copy, bundle by bundle.
fn append_all(log: &dyn LogSource, store: &dyn Store, head: TreeHead) -> Result<(), RestoreError> {
    for index in 0..head.size.div_ceil(u64::from(TILE_WIDTH)) {
        let Some(tile) = TileId::at(TileKind::Entries, index, head.size) else { break };
        store.append(Seq(tile.start()), &entries(log, tile)?)?;
    }
    Ok(())
}

/// What became of the people in the vault's copy, and of those who were not.
struct Settled {
    erased_again: u64,
    /// The people of the log whom the vault does not know.
    unknown_people: u64,
}

/// Erases again who was erased after the vault was copied.
fn settle(vault: &Vault, state: &State) -> Result<Settled, RestoreError> {
    let mut settled = Settled { erased_again: 0, unknown_people: 0 };
    for subject in state.erased_subjects() {
        settled.erased_again += u64::from(vault.erase(&subject)?);
    }
    if vault.needs_rewrite()? {
        vault.rewrite()?;
    }
    for subject in state.remembered_subjects() {
        settled.unknown_people += u64::from(vault.person(&subject)?.is_none());
    }
    Ok(settled)
}

/// The restored ledger knows what was signed last, so that it never signs less. A fence that the
/// configuration keeps elsewhere may know of more, and then the ledger does not start.
fn keep_checkpoint(
    directory: &DataDirectory,
    database: &Arc<SledDatabase>,
    plan: &Plan<'_>,
    at: Timestamp,
) -> Result<(), RestoreError> {
    let table = SledRows::within(Arc::clone(database), CHECKPOINTS)?;
    let published = Published { head: plan.checkpoint.head, at, note: plan.note.clone() };
    Checkpoints::new(Arc::new(table)).keep(&published)?;
    let fence = FenceFile::new(&directory.fence_file());
    match fence.advance(None, &plan.checkpoint)? {
        Advance::Done => Ok(()),
        Advance::Moved => Err(RestoreError::InTheWay { path: directory.fence_file() }),
    }
}
