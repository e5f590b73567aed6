//! From a data directory to a running ledger, and back to a closed one. A ledger is never created
//! by accident, and never served when it is not whole.

use std::path::Path;
use std::sync::Arc;

use parking_lot::RwLock;
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::crypto::keys::{KeyFile, KeyFileRefused};
use crate::crypto::note_key::KeyError;
use crate::crypto::note_signer::NoteSigner;
use crate::domain::checkpoint_keys::checkpoint_key_record;
use crate::domain::client::ClientMetadata;
use crate::domain::command::{Asked, Command};
use crate::domain::record::Actor;
use crate::domain::refusal::Refusal;
use crate::domain::state::State;
use crate::entropy::{Entropy, bytes};
use crate::ledger::administrator::{Administrator, new_administrator};
use crate::ledger::fold::{Folded, open_and_fold};
use crate::ledger::handle::{Ledger, Limits};
use crate::ledger::replay::LogError;
use crate::ledger::snapshot::Snapshotter;
use crate::ledger::tree::Tree;
use crate::ledger::unsigned::Unsigned;
use crate::ledger::vault::{Vault, VaultError};
use crate::ledger::vault_files::VaultFiles;
use crate::ledger::writer::Writer;
use crate::log::directory::{CleanMark, DataDirectory, DirectoryError, Marker};
use crate::log::file::{FILE_MODE, FileError, read_if_there, write_durably};
use crate::log::reached::Reached;
use crate::log::rescue::LogCopy;
use crate::log::sled::{SledDatabase, SledRows, SledStore};
use crate::log::snapshots::Snapshots;
use crate::log::store::{Store, StoreError};
use crate::types::id::{RequestId, Seq};

/// The vault's share of the page cache, in bytes: its rows are small and read one by one.
pub const VAULT_CACHE_BYTES: u64 = 16 * 1024 * 1024;

/// How many records [`create`] writes; whoever has more was served.
pub const FIRST_RECORDS: u64 = 4;

/// Why a ledger cannot be made or served. Nothing was changed but what a message names.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The log's or vault's store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log does not replay.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The vault.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// A file beside them.
    #[error(transparent)]
    File(#[from] FileError),
    /// The key file is not there.
    #[error(
        "{path} is missing: put it back from the backup of the keys; without it no token can \
             be recognised"
    )]
    KeysMissing {
        /// Where it should be.
        path: String,
    },
    /// The key file is damaged.
    #[error("{path} cannot be used: {source}; put it back from the backup of the keys")]
    Keys {
        /// Which file.
        path: String,
        /// What is wrong with it.
        source: KeyFileRefused,
    },
    /// The log ends elsewhere than the last clean stop left it.
    #[error(
        "the log ends at {found:?}, but the last clean stop left it at record {left}: records are \
         missing or were added. Leave the directory as it is and restore a backup"
    )]
    Tail {
        /// The last record at the stop.
        left: Seq,
        /// The last record now.
        found: Option<Seq>,
    },
    /// After a crash the log ends before a record that had been written.
    #[error(
        "the log ends at {found:?}, but record {reached} was on the disk before the crash: it is \
         missing or altered. Leave the directory as it is ({copy} is as before) and restore a backup"
    )]
    Shortened {
        /// The newest record that was noted.
        reached: Seq,
        /// The last record now.
        found: Option<Seq>,
        /// The log from before it was opened.
        copy: String,
    },
    /// The log is of another issuer than the directory's marker says.
    #[error(
        "the log is of {found}, but {marker} says {marked}: files were mixed up, or that one is damaged; put it back from a backup"
    )]
    Issuer {
        /// The marker.
        marker: String,
        /// What the marker says.
        marked: String,
        /// What the first record says.
        found: String,
    },
    /// Fence, checkpoints and log do not agree.
    #[error(transparent)]
    Notary(#[from] Unsigned),
    /// The origin is no name of a key.
    #[error("the issuer gives no name for the checkpoint key: {0}; choose another issuer")]
    Origin(#[source] KeyError),
    /// A record of the ledger's own was refused: a bug.
    #[error("a record of the ledger's own was refused: {0}")]
    Refused(#[from] Refusal),
    /// No thread for the writer.
    #[error("the system gave no thread for the writer: {0}")]
    Thread(#[source] std::io::Error),
}

/// What a new ledger begins with.
pub struct Beginning<'a> {
    /// The issuer identifier.
    pub issuer: &'a str,
    /// The log's name in checkpoints: the issuer without its scheme.
    pub origin: &'a str,
    /// The first administrator's client.
    pub administrator: ClientMetadata,
}

/// Makes a ledger in a missing or empty directory.
///
/// # Errors
/// [`OpenError`]: look at the message, remove what was left in the directory, and try again.
pub fn create(
    path: &Path,
    beginning: Beginning<'_>,
    cache_bytes_max: u64,
    clock: Arc<dyn Clock>,
    entropy: &dyn Entropy,
) -> Result<Administrator, OpenError> {
    let name = beginning.origin.parse().map_err(OpenError::Origin)?;
    let marker = Marker::new(beginning.issuer.to_owned(), clock.now());
    let directory = Arc::new(DataDirectory::create(path, &marker)?);
    let keys_path = directory.keys_file();
    let keys = KeyFile::generate(entropy).map_err(|source| keys_fault(&keys_path, source))?;
    let signer = NoteSigner::new(name, keys.checkpoint_seed());
    write_durably(&keys_path, &keys.encode(), FILE_MODE)?;
    drop(VaultFiles::create(Arc::clone(&directory), VAULT_CACHE_BYTES)?);
    let database = Arc::new(SledDatabase::create(&directory.log_dir(), cache_bytes_max)?);
    let store: Arc<dyn Store> = Arc::new(SledStore::open(Arc::clone(&database))?);
    let state = Arc::new(RwLock::new(State::default()));
    let tiles = Arc::new(SledRows::tiles(Arc::clone(&database))?);
    let tree = Arc::new(Tree::empty(Arc::clone(&store), tiles));
    let mut writer = Writer::new(Arc::clone(&store), tree, Arc::clone(&state), clock, 1);
    let (administrator, register) = new_administrator(beginning.administrator.clone(), entropy);
    let checkpoint_key = checkpoint_key_record(signer.verifier(), false);
    let first = first_commands(&beginning, &keys, register);
    for command in first.into_iter().chain([checkpoint_key]) {
        let request = RequestId::from_bytes(bytes(entropy));
        let asked = Asked { request, actor: Actor::Ledger, origin: None, command };
        for answer in writer.commit(std::iter::once(&asked))? {
            answer.outcome?;
        }
    }
    drop(writer);
    store.settle()?;
    leave_clean_mark(&directory, &state.read())?;
    // All is closed and durable before the directory says that it is a ledger's.
    drop((store, database));
    directory.complete()?;
    Ok(administrator)
}

fn first_commands(beginning: &Beginning<'_>, keys: &KeyFile, register: Command) -> Vec<Command> {
    let signer = keys.current_signing_key();
    vec![
        Command::CreateLedger {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            issuer: beginning.issuer.to_owned(),
            origin: beginning.origin.to_owned(),
        },
        Command::AddKey {
            kid: signer.kid().clone(),
            purpose: "access_token".to_owned(),
            alg: signer.algorithm().as_str().to_owned(),
            public: serde_json::to_value(signer.public_jwk()).unwrap_or_default(),
        },
        register,
    ]
}

fn keys_fault(path: &Path, source: KeyFileRefused) -> OpenError {
    OpenError::Keys { path: path.display().to_string(), source }
}

/// A ledger that runs.
pub struct Opened {
    /// The directory, locked as long as this lives.
    pub directory: Arc<DataDirectory>,
    /// The running writer.
    pub ledger: Ledger,
    /// The log's database, whose syncs can be counted.
    pub database: Arc<SledDatabase>,
    /// Who is behind the pseudonyms.
    pub vault: Arc<Vault>,
    /// The private keys.
    pub keys: KeyFile,
    /// Makes snapshots of the projection, if any are wanted.
    pub snapshotter: Option<Snapshotter>,
    /// Whether the last stop was clean.
    pub clean: bool,
}

/// The log of a directory, verified and folded, with nothing running.
pub struct Replayed {
    /// The directory, locked as long as this lives.
    pub directory: Arc<DataDirectory>,
    /// The log's database.
    pub database: Arc<SledDatabase>,
    /// The log.
    pub store: Arc<dyn Store>,
    /// Its Merkle tree.
    pub tree: Arc<Tree>,
    /// Its fold.
    pub state: State,
    /// The last record of the snapshot that the fold began with.
    pub newest_snapshot: Option<Seq>,
    /// Whether the last stop was clean.
    pub clean: bool,
}

/// Opens the log of a directory to read it, and folds it, telling `progress` each record's position. The
/// mark of a clean stop stays where it is: who only reads may be killed at any moment, and the log
/// still ends where the mark says.
///
/// # Errors
/// [`OpenError`]: the ledger must not be served; the message says what to do.
pub fn open_log(
    path: &Path,
    cache_bytes_max: u64,
    recovery_copy_bytes_max: u64,
    progress: impl FnMut(Seq),
) -> Result<Replayed, OpenError> {
    let directory = Arc::new(DataDirectory::open(path)?);
    let mark = directory.clean_mark()?;
    open_in(directory, mark.as_ref(), cache_bytes_max, recovery_copy_bytes_max, None, progress)
}

fn open_in(
    directory: Arc<DataDirectory>,
    mark: Option<&CleanMark>,
    cache_bytes_max: u64,
    recovery_copy_bytes_max: u64,
    snapshots: Option<&Snapshots>,
    progress: impl FnMut(Seq),
) -> Result<Replayed, OpenError> {
    if mark.is_none() {
        // What recovery overwrites may be evidence.
        match directory.keep_copy_of_log(recovery_copy_bytes_max)? {
            LogCopy::NoLog => {}
            LogCopy::Reflinked { path } | LogCopy::Copied { path, .. } => {
                tracing::warn!(copy = %path.display(), "the last stop was not clean: kept a copy");
            }
            LogCopy::EarlierKept { path } => {
                tracing::warn!(copy = %path.display(), "an earlier recovery was not confirmed");
            }
            LogCopy::Skipped { bytes, bytes_max } => {
                tracing::warn!(bytes, bytes_max, "the log is too large to keep a copy of it");
            }
        }
    }
    let opened = open_and_fold(&directory, cache_bytes_max, mark, snapshots, progress)?;
    let Folded { database, store, tree, state, newest_snapshot } = opened;
    let clean = mark.is_some();
    Ok(Replayed { directory, database, store, tree, state, newest_snapshot, clean })
}

/// Opens a ledger and starts its writer. Whether the log is as long as what was signed is for the
/// caller to find out; then a recovery is confirmed.
///
/// # Errors
/// [`OpenError`]: the ledger is not served; the message says what to do.
pub fn open(
    path: &Path,
    limits: Limits,
    cache_bytes_max: u64,
    recovery_copy_bytes_max: u64,
    clock: Arc<dyn Clock>,
    progress: impl FnMut(Seq),
) -> Result<Opened, OpenError> {
    let directory = Arc::new(DataDirectory::open(path)?);
    let every_records = limits.snapshot_every_records;
    let snapshots = (0 < every_records).then(|| Snapshots::new(directory.snapshots_dir()));
    let (copy, kept) = (recovery_copy_bytes_max, snapshots.as_ref());
    let (here, mark) = (Arc::clone(&directory), directory.take_clean_mark()?);
    let replayed = match open_in(here, mark.as_ref(), cache_bytes_max, copy, kept, progress) {
        Ok(replayed) => replayed,
        Err(error) => {
            // Nothing was changed: the next attempt must still know how the log was left.
            if let Some(mark) = &mark {
                directory.leave_clean_mark(mark)?;
            }
            return Err(error);
        }
    };
    let Replayed { directory, database, store, tree, state, newest_snapshot, clean } = replayed;
    let (keys, vault) = match open_beside(&directory, &state) {
        Ok(opened) => opened,
        Err(error) => {
            // Nothing was written to the log: the next attempt must still know how it was left.
            if clean {
                leave_clean_mark(&directory, &state)?;
            }
            return Err(error);
        }
    };
    directory.raise_format()?;
    let issuer = state.issuer().to_owned();
    let kept = Arc::clone(&store);
    let reached = Reached::open(&directory.reached_file())?;
    let ledger = Ledger::start(store, tree, state, clock, limits).map_err(OpenError::Thread)?;
    ledger.note_in(reached);
    let start =
        |snapshots| Snapshotter::start(snapshots, issuer, kept, every_records, newest_snapshot);
    let snapshotter = snapshots.map(start).transpose().map_err(OpenError::Thread)?;
    let vault = Arc::new(vault);
    Ok(Opened { directory, ledger, database, vault, keys, snapshotter, clean })
}

/// What stands beside the log: the keys and the vault.
fn open_beside(
    directory: &Arc<DataDirectory>,
    state: &State,
) -> Result<(KeyFile, Vault), OpenError> {
    let keys = read_keys(directory)?;
    let rows = VaultFiles::open(Arc::clone(directory), VAULT_CACHE_BYTES)?;
    let vault = Vault::new(Box::new(rows), Zeroizing::new(*keys.vault_key()));
    // An erasure whose record is durable, but whose row a crash left behind.
    for subject in state.erased_subjects() {
        vault.erase(&subject)?;
    }
    Ok((keys, vault))
}

/// The private keys of a ledger.
///
/// # Errors
/// [`OpenError::KeysMissing`] or [`OpenError::Keys`].
pub fn read_keys(directory: &DataDirectory) -> Result<KeyFile, OpenError> {
    let path = directory.keys_file();
    let Some(file) = read_if_there(&path)? else {
        return Err(OpenError::KeysMissing { path: path.display().to_string() });
    };
    KeyFile::decode(&Zeroizing::new(file)).map_err(|source| keys_fault(&path, source))
}

/// Writes down that the log was closed, and where it ends: the last act of a clean stop.
///
/// # Errors
/// The next start takes the stop for a crash, which is safe.
pub fn leave_clean_mark(directory: &DataDirectory, state: &State) -> Result<(), DirectoryError> {
    match state.head() {
        Some(head) => directory.leave_clean_mark(&CleanMark { seq: head.seq, leaf: head.leaf }),
        None => Ok(()),
    }
}
