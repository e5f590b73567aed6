//! What a witness keeps: its key, the logs that it knows, and the last head that it cosigned of
//! each. A head that is lost or damaged is an error, never a fresh start: that would hide a fork.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::crypto::note::Note;
use crate::crypto::note_key::{KeyError, NoteKeyKind, NoteVerifier};
use crate::crypto::note_signer::Cosigner;
use crate::log::checkpoint::{Checkpoint, CheckpointError, Origin};
use crate::log::file::{
    self, FILE_MODE, FileError, create_directory, holds_other_than, read_if_there, write_durably,
};
use crate::log::tree::TreeHead;
use crate::types::secret::Secret;
use crate::types::time::Timestamp;

/// How many verifier keys one log may have: the old one and the new one, while it rotates.
pub const LOG_KEYS_MAX: usize = 16;

/// The private key's file, by which a witness's directory is known.
pub const KEY: &str = "witness.key";
const LOCK: &str = "lock";
const LOGS: &str = "logs";
const HEADS: &str = "heads";
const FORKS: &str = "forks";
/// What stands in the place of a head before the first one.
const NO_HEAD: &[u8] = b"nothing cosigned yet\n";

/// The name of a log in paths and URLs: the SHA-256 of its origin, in lower-case hexadecimal
/// digits (tlog-witness, "Monitoring retrieval").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OriginId([u8; 32]);

/// Why a text is not an [`OriginId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a log is named by 64 hexadecimal digits")]
pub struct NotAnOriginId;

impl OriginId {
    /// The name of the log `origin`.
    pub fn of(origin: &Origin) -> Self {
        Self(Sha256::digest(origin.as_str().as_bytes()).into())
    }
}

impl fmt::Display for OriginId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for OriginId {
    type Err = NotAnOriginId;

    fn from_str(text: &str) -> Result<Self, NotAnOriginId> {
        let lower = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 64 || !text.bytes().all(lower) {
            return Err(NotAnOriginId);
        }
        let mut id = [0; 32];
        for (byte, pair) in id.iter_mut().zip(text.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| NotAnOriginId)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| NotAnOriginId)?;
        }
        Ok(Self(id))
    }
}

/// A log whose checkpoints are cosigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownLog {
    /// Its identity, the first line of its checkpoints.
    pub origin: Origin,
    /// The keys that may sign for it: any one is enough.
    pub keys: Vec<NoteVerifier>,
}

/// The last head that was cosigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CosignedHead {
    /// Size and root.
    pub head: TreeHead,
    /// When it was cosigned, to the second.
    pub at: Timestamp,
    /// The checkpoint, with the log's signature and the witness's own.
    pub note: Note,
}

/// Why a witness cannot work. It cosigns nothing then.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// `create`, where something is already.
    #[error("{} is not empty; choose a new or empty directory", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// There is no witness.
    #[error("{} is not a witness's directory: it holds no {KEY}; make one with `token-ledger witness init`", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// Another process runs it.
    #[error("{} is in use by another process; stop that one first", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The private key is not one.
    #[error("{} does not hold a witness's key ({source}); make a new witness, and give its verifier key to the logs", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyError,
    },
    /// A verifier key is not one that signs checkpoints, or there are none, or too many.
    #[error("a log has 1 to {LOG_KEYS_MAX} verifier keys of type 0x01, as `keys vkey` prints them")]
    LogKeys,
    /// The file of a known log is not what `witness add` wrote.
    #[error("{} is damaged; write it anew with `token-ledger witness add`", path.display())]
    Log {
        /// The file.
        path: PathBuf,
    },
    /// What was cosigned last is not known, so nothing can be cosigned.
    #[error(
        "{} is missing or damaged: what this witness cosigned last is not known, and nothing \
         restores it, since a copy may be older. Make a new witness with a key of its own",
        path.display()
    )]
    Head {
        /// The file.
        path: PathBuf,
        /// What is wrong, where it is there.
        source: Option<CheckpointError>,
    },
    /// The file system refused.
    #[error(transparent)]
    File(#[from] FileError),
}

/// The directory of one witness.
#[derive(Debug)]
pub struct WitnessDirectory {
    path: PathBuf,
    /// Held by the one that cosigns; the operating system lets go of it when the process ends.
    _lock: Option<File>,
}

impl WitnessDirectory {
    /// Makes a witness with this key in `path`, a missing or empty directory.
    ///
    /// # Errors
    /// [`WitnessError::NotEmpty`]: nothing was changed. After a [`WitnessError::File`] what is there
    /// may be removed and made anew.
    pub fn create(path: &Path, key: &Cosigner) -> Result<Self, WitnessError> {
        create_directory(path)?;
        if holds_other_than(&[], path)? {
            return Err(WitnessError::NotEmpty { path: path.to_owned() });
        }
        let lock = lock(path)?;
        if holds_other_than(&[LOCK], path)? {
            return Err(WitnessError::NotEmpty { path: path.to_owned() });
        }
        for folder in [LOGS, HEADS, FORKS] {
            create_directory(&path.join(folder))?;
        }
        // The last step: a directory with a key is complete.
        let text = Zeroizing::new(format!("{}\n", key.encode().expose()));
        write_durably(&path.join(KEY), text.as_bytes(), FILE_MODE)?;
        file::sync_parent(path)?;
        Ok(Self { path: path.to_owned(), _lock: Some(lock) })
    }

    /// Locks the witness's directory `path`, to cosign.
    ///
    /// # Errors
    /// [`WitnessError::Foreign`] and [`WitnessError::InUse`]: nothing was changed.
    pub fn open(path: &Path) -> Result<Self, WitnessError> {
        let found = Self::look(path)?;
        Ok(Self { _lock: Some(lock(path)?), ..found })
    }

    /// The witness's directory `path`, perhaps beside one that cosigns.
    ///
    /// # Errors
    /// [`WitnessError::Foreign`].
    pub fn look(path: &Path) -> Result<Self, WitnessError> {
        if !path.join(KEY).is_file() {
            return Err(WitnessError::Foreign { path: path.to_owned() });
        }
        Ok(Self { path: path.to_owned(), _lock: None })
    }

    /// The private key.
    ///
    /// # Errors
    /// [`WitnessError::Key`].
    pub fn key(&self) -> Result<Cosigner, WitnessError> {
        let path = self.path.join(KEY);
        let bytes = Zeroizing::new(read_if_there(&path)?.unwrap_or_default());
        let text = std::str::from_utf8(&bytes).unwrap_or_default().trim_end();
        let decoded = Cosigner::decode(&Secret::new(text.to_owned()));
        decoded.map_err(|source| WitnessError::Key { path, source })
    }

    /// Knows `log` from now on, also while another process cosigns; its keys replace those before.
    /// Its first head is taken on trust.
    ///
    /// # Errors
    /// [`WitnessError::LogKeys`]: nothing was changed.
    pub fn add_log(&self, log: &KnownLog) -> Result<(), WitnessError> {
        if !(1..=LOG_KEYS_MAX).contains(&log.keys.len())
            || log.keys.iter().any(|key| key.kind() != NoteKeyKind::Note)
        {
            return Err(WitnessError::LogKeys);
        }
        let id = OriginId::of(&log.origin);
        let head = self.head_path(id);
        // Before the log is known, so that a head which is not there later was lost.
        if read_if_there(&head)?.is_none() {
            if self.known(id)?.is_some() {
                return Err(WitnessError::Head { path: head, source: None });
            }
            write_durably(&head, NO_HEAD, FILE_MODE)?;
        }
        Ok(write_durably(&self.log_path(id), log.encode().as_bytes(), FILE_MODE)?)
    }

    /// The log of this name, if it is known.
    ///
    /// # Errors
    /// [`WitnessError::Log`].
    pub fn known(&self, id: OriginId) -> Result<Option<KnownLog>, WitnessError> {
        let path = self.log_path(id);
        let Some(bytes) = read_if_there(&path)? else { return Ok(None) };
        match KnownLog::parse(&bytes).filter(|log| OriginId::of(&log.origin) == id) {
            Some(log) => Ok(Some(log)),
            None => Err(WitnessError::Log { path }),
        }
    }

    /// All known logs, in the order of their names.
    ///
    /// # Errors
    /// [`WitnessError::Log`] for the first that cannot be read.
    pub fn logs(&self) -> Result<Vec<KnownLog>, WitnessError> {
        let names = file::list(&self.path.join(LOGS))?.into_iter().map(|entry| entry.file_name());
        let mut ids: Vec<OriginId> =
            names.filter_map(|name| name.to_str().and_then(|name| name.parse().ok())).collect();
        ids.sort_unstable();
        ids.into_iter().filter_map(|id| self.known(id).transpose()).collect()
    }

    /// What was cosigned last of a known log by `own`, the witness's key; `None` before the first.
    ///
    /// # Errors
    /// [`WitnessError::Head`]: nothing of this log can be cosigned any more.
    pub fn head(
        &self,
        id: OriginId,
        own: &NoteVerifier,
    ) -> Result<Option<CosignedHead>, WitnessError> {
        let path = self.head_path(id);
        let Some(bytes) = read_if_there(&path)? else {
            return Err(WitnessError::Head { path, source: None });
        };
        if bytes == NO_HEAD {
            return Ok(None);
        }
        match CosignedHead::parse(&bytes, id, own) {
            Ok(head) => Ok(Some(head)),
            Err(source) => Err(WitnessError::Head { path, source: Some(source) }),
        }
    }

    /// Remembers what is cosigned; `Ok` means that a power cut does not undo it.
    ///
    /// # Errors
    /// [`WitnessError::File`]: the cosignature must not leave the witness.
    pub fn keep_head(&self, id: OriginId, note: &Note) -> Result<(), WitnessError> {
        Ok(write_durably(&self.head_path(id), note.encode().as_bytes(), FILE_MODE)?)
    }

    /// Keeps the first proof that a log has forked: two checkpoints of one size that it signed.
    ///
    /// # Errors
    /// [`WitnessError::File`]; what was there is left as it is.
    pub fn keep_fork(
        &self,
        id: OriginId,
        cosigned: &Note,
        offered: &Note,
    ) -> Result<(), WitnessError> {
        let forks = self.path.join(FORKS);
        let offered_path = forks.join(format!("{id}.offered"));
        if read_if_there(&offered_path)?.is_none() {
            let cosigned_path = forks.join(format!("{id}.cosigned"));
            write_durably(&cosigned_path, cosigned.encode().as_bytes(), FILE_MODE)?;
            write_durably(&offered_path, offered.encode().as_bytes(), FILE_MODE)?;
        }
        Ok(())
    }

    /// Whether a proof of a fork of this log is kept.
    pub fn has_fork(&self, id: OriginId) -> bool {
        self.path.join(FORKS).join(format!("{id}.offered")).exists()
    }

    fn log_path(&self, id: OriginId) -> PathBuf {
        self.path.join(LOGS).join(id.to_string())
    }

    fn head_path(&self, id: OriginId) -> PathBuf {
        self.path.join(HEADS).join(id.to_string())
    }
}

fn lock(path: &Path) -> Result<File, WitnessError> {
    let lock = file::lock(&path.join(LOCK))?;
    lock.ok_or_else(|| WitnessError::InUse { path: path.to_owned() })
}

impl KnownLog {
    /// The origin, then the verifier keys, a line each.
    fn encode(&self) -> String {
        let mut text = format!("{}\n", self.origin);
        self.keys.iter().for_each(|key| text.push_str(&format!("{key}\n")));
        text
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let origin = lines.next()?.parse().ok()?;
        let keys: Vec<NoteVerifier> = lines.map(|line| line.parse().ok()).collect::<Option<_>>()?;
        (!keys.is_empty()).then_some(Self { origin, keys })
    }
}

impl CosignedHead {
    /// What the witness wrote is believed only by its own cosignature over it.
    fn parse(bytes: &[u8], id: OriginId, own: &NoteVerifier) -> Result<Self, CheckpointError> {
        let note = Note::parse(bytes)?;
        let verified = note.open(std::slice::from_ref(own))?;
        let at = verified.iter().find_map(|by| by.at).ok_or(CheckpointError::NotSignedByLog)?;
        let (checkpoint, _) = Checkpoint::parse_extended(note.text())?;
        if OriginId::of(&checkpoint.origin) != id {
            return Err(CheckpointError::OtherLog { found: checkpoint.origin });
        }
        Ok(Self { head: checkpoint.head, at, note })
    }
}
