//! The judgement of a witness over one submission (tlog-witness v1.0.0, "add-checkpoint"), and its
//! memory. Check and update are one step for each log, and durable before there is an answer.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::clock::Clock;
use crate::crypto::note::{Note, NoteSignature};
use crate::crypto::note_key::NoteVerifier;
use crate::crypto::note_signer::Cosigner;
use crate::log::checkpoint::{Checkpoint, CheckpointError};
use crate::log::proof::ProofError;
use crate::log::tree::TreeHead;
use crate::log::witness::{AddCheckpoint, AddCheckpointError, verify_growth};
use crate::witness::directory::{CosignedHead, KnownLog, OriginId, WitnessDirectory, WitnessError};

/// A witness that can be asked. Any number of threads ask it.
pub struct Witness {
    directory: WitnessDirectory,
    key: Cosigner,
    clock: Arc<dyn Clock>,
    /// Held from the look at a log's head until the new one is durable. Only known logs have one.
    turns: Mutex<HashMap<OriginId, Arc<Mutex<()>>>>,
}

/// Why a checkpoint is not cosigned; each has its status in tlog-witness.
#[derive(Debug, thiserror::Error)]
pub enum NotCosigned {
    /// The body is not one of `add-checkpoint`: 400.
    #[error(transparent)]
    Malformed(#[from] AddCheckpointError),
    /// The note in it is not a checkpoint: 400.
    #[error(transparent)]
    NotACheckpoint(#[from] CheckpointError),
    /// The log is not known here: 404.
    #[error("this witness does not know the log")]
    UnknownLog,
    /// No signature is by a key of the log: 403.
    #[error("the checkpoint is not signed by a key that this witness trusts for the log")]
    NotSigned,
    /// The old size is beyond the new one: 400.
    #[error("the old size {old} is larger than the size of the checkpoint, {new}")]
    OldBeyondNew {
        /// The old size in the request.
        old: u64,
        /// The size of the checkpoint.
        new: u64,
    },
    /// The old size is not that of the last cosigned head: 409 with that size. Ask again from it.
    #[error("this witness cosigned size {cosigned} last")]
    Conflict {
        /// The size of the last cosigned head; 0 before the first.
        cosigned: u64,
    },
    /// The log signed two trees of one size: 409 (v1.0.0; later drafts say 422). The proof is kept.
    #[error("the log has forked: this witness cosigned another root for size {size}")]
    Fork {
        /// The size of both.
        size: u64,
    },
    /// The proof does not show that the new tree extends the old one: 422.
    #[error("the checkpoint is not shown to extend the last one: {0}")]
    NotProven(#[from] ProofError),
    /// The witness itself cannot go on: 500.
    #[error(transparent)]
    Failed(#[from] WitnessError),
}

impl Witness {
    /// The witness in `path`, ready to cosign: everything that it cosigned is known and intact.
    ///
    /// # Errors
    /// [`WitnessError`]: it must not cosign; the message says what to do.
    pub fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, WitnessError> {
        let directory = WitnessDirectory::open(path)?;
        let key = directory.key()?;
        for log in directory.logs()? {
            directory.head(OriginId::of(&log.origin), key.verifier())?;
        }
        Ok(Self { directory, key, clock, turns: Mutex::default() })
    }

    /// The key that checks its cosignatures.
    pub fn verifier(&self) -> &NoteVerifier {
        self.key.verifier()
    }

    /// Judges the body of `add-checkpoint`, and answers with the cosignature once it is sure to
    /// remember. Blocks on the disk.
    ///
    /// # Errors
    /// [`NotCosigned`]: nothing was cosigned.
    pub fn add_checkpoint(&self, body: &[u8]) -> Result<NoteSignature, NotCosigned> {
        let AddCheckpoint { old_size, proof, checkpoint: note } = AddCheckpoint::parse(body)?;
        // A log may have extension lines; what is cosigned is the whole text.
        let (checkpoint, _) = Checkpoint::parse_extended(note.text())?;
        let id = OriginId::of(&checkpoint.origin);
        let log = self.directory.known(id)?.ok_or(NotCosigned::UnknownLog)?;
        let signed = signed_by_log(&note, &log)?;
        let new = checkpoint.head;
        if new.size < old_size {
            return Err(NotCosigned::OldBeyondNew { old: old_size, new: new.size });
        }
        let turn = Arc::clone(self.turns.lock().entry(id).or_default());
        let _one_at_a_time = turn.lock();
        let seen = self.directory.head(id, self.key.verifier())?;
        let cosigned = seen.as_ref().map_or(0, |seen| seen.head.size);
        if cosigned != old_size {
            return Err(NotCosigned::Conflict { cosigned });
        }
        if let Some(seen) = &seen
            && is_fork(&seen.head, &new)
        {
            tracing::error!(origin = %log.origin, size = new.size, "THE LOG HAS FORKED");
            self.directory.keep_fork(id, &seen.note, &signed)?;
            return Err(NotCosigned::Fork { size: new.size });
        }
        verify_growth(seen.as_ref().map(|seen| &seen.head), &new, &proof)?;
        self.cosign(id, signed, seen.as_ref())
    }

    /// The last cosigned checkpoint of a log: `None` when the log is not known, or was not yet
    /// cosigned.
    ///
    /// # Errors
    /// [`WitnessError::Head`].
    pub fn checkpoint(&self, id: OriginId) -> Result<Option<Note>, WitnessError> {
        if self.directory.known(id)?.is_none() {
            return Ok(None);
        }
        let head = self.directory.head(id, self.key.verifier())?;
        Ok(head.map(|head| head.note))
    }

    fn cosign(
        &self,
        id: OriginId,
        mut note: Note,
        seen: Option<&CosignedHead>,
    ) -> Result<NoteSignature, NotCosigned> {
        // A clock that steps back must not date a larger head before a smaller one.
        let at = self.clock.now().max(seen.map_or_else(Default::default, |seen| seen.at));
        let cosignature = self.key.cosign(note.text(), at);
        note.add(cosignature.clone()).map_err(CheckpointError::from)?;
        self.directory.keep_head(id, &note)?;
        tracing::info!(log = %id, text = ?note.text(), "cosigned");
        Ok(cosignature)
    }
}

/// The note with the signatures of the log alone: what strangers signed is not kept.
fn signed_by_log(note: &Note, log: &KnownLog) -> Result<Note, NotCosigned> {
    note.open(&log.keys).map_err(|_| NotCosigned::NotSigned)?;
    let by_log = |signature: &&NoteSignature| log.keys.iter().any(|key| key.is_named_by(signature));
    let mut signatures = note.signatures().iter().filter(by_log).cloned();
    let first = signatures.next().ok_or(NotCosigned::NotSigned)?;
    let mut signed = Note::new(note.text().to_owned(), first).map_err(CheckpointError::from)?;
    for signature in signatures.take(log.keys.len()) {
        signed.add(signature).map_err(CheckpointError::from)?;
    }
    Ok(signed)
}

/// Two trees of one size: the log's signatures over both prove by themselves that it forked.
fn is_fork(seen: &TreeHead, new: &TreeHead) -> bool {
    seen.size == new.size && seen.root != new.root
}
