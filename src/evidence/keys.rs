//! Whose word counts: the verifier keys that an auditor brought along, and what they make of a
//! checkpoint. A key that came with the evidence proves nothing about it.

use crate::crypto::note::Note;
use crate::crypto::note_key::{NoteKeyKind, NoteVerifier, Verified};
use crate::log::checkpoint::{Checkpoint, CheckpointError, OpenedCheckpoint, Origin};

/// The keys of one log, over all its rotations, and of the witnesses that must have cosigned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys {
    log: Vec<NoteVerifier>,
    witnesses: Vec<NoteVerifier>,
}

/// Why keys are of no use, or do not vouch for a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// The key of a log is one that cosigns, or the other way round.
    #[error("{key} is a key of another kind: {expected} is needed")]
    Kind {
        /// The key's name.
        key: String,
        /// What was needed.
        expected: &'static str,
    },
    /// The keys of the log have different names.
    #[error("the verifier keys are of two logs: {0} and {1}")]
    TwoLogs(String, String),
    /// The name of the key is no origin.
    #[error("the name of the verifier key {0} is no origin")]
    Name(String),
    /// There is a key of a witness, and none of the log that it watches.
    #[error(
        "the key of the witness {witness} is given, and none of the log: a witness says that it saw \
         what the log signed, so name the key of the log (--vkey), too"
    )]
    WitnessAlone {
        /// The witness's name.
        witness: String,
    },
    /// The checkpoint is not believed.
    #[error("{place}: {source}")]
    Checkpoint {
        /// Where it lies.
        place: String,
        /// Why not.
        source: CheckpointError,
    },
    /// A witness that was named has not seen it.
    #[error("{place} is not cosigned by {witness}")]
    NotWitnessed {
        /// Where it lies.
        place: String,
        /// The witness's name.
        witness: String,
    },
}

impl Keys {
    /// The keys of a log and of its witnesses. Without any key nothing can be said about who signed.
    ///
    /// # Errors
    /// [`Untrusted`], when they do not belong together.
    pub fn new(log: Vec<NoteVerifier>, witnesses: Vec<NoteVerifier>) -> Result<Self, Untrusted> {
        let all = [
            (&log, NoteKeyKind::Note, "one that signs notes (type 0x01)"),
            (&witnesses, NoteKeyKind::Cosignature, "one that cosigns (type 0x04)"),
        ];
        for (keys, kind, expected) in all {
            if let Some(key) = keys.iter().find(|key| key.kind() != kind) {
                return Err(Untrusted::Kind { key: key.name().to_string(), expected });
            }
        }
        if let [first, rest @ ..] = log.as_slice()
            && let Some(other) = rest.iter().find(|key| key.name() != first.name())
        {
            return Err(Untrusted::TwoLogs(first.name().to_string(), other.name().to_string()));
        }
        if let (true, Some(witness)) = (log.is_empty(), witnesses.first()) {
            return Err(Untrusted::WitnessAlone { witness: witness.name().to_string() });
        }
        Ok(Self { log, witnesses })
    }

    /// Whether there is a key of the log: else nobody vouches for anything.
    pub fn vouch(&self) -> bool {
        !self.log.is_empty()
    }

    /// The keys of the log.
    pub fn log(&self) -> &[NoteVerifier] {
        &self.log
    }

    /// The witnesses that must have cosigned.
    pub fn witnesses(&self) -> &[NoteVerifier] {
        &self.witnesses
    }

    /// The checkpoint of `note`, which a key of the log has signed, and each of the witnesses has
    /// cosigned. Without keys of the log it is only read.
    ///
    /// # Errors
    /// [`Untrusted`]: nothing that it says may be used.
    pub fn open(&self, note: &Note, place: &str) -> Result<OpenedCheckpoint, Untrusted> {
        let opened = self.open_any(note, place)?;
        let has_cosigned = |witness: &&NoteVerifier| {
            let mut by = opened.cosignatures.iter();
            by.any(|by| by.name == *witness.name() && by.id == witness.id())
        };
        match self.witnesses.iter().find(|witness| !has_cosigned(witness)) {
            None => Ok(opened),
            Some(witness) => Err(Untrusted::NotWitnessed {
                place: place.to_owned(),
                witness: witness.name().to_string(),
            }),
        }
    }

    /// As [`Keys::open`], for an older checkpoint: the witnesses may not have seen it.
    ///
    /// # Errors
    /// As [`Keys::open`].
    pub fn open_any(&self, note: &Note, place: &str) -> Result<OpenedCheckpoint, Untrusted> {
        let refused = |source| Untrusted::Checkpoint { place: place.to_owned(), source };
        let Some(first) = self.log.first() else {
            let checkpoint = Checkpoint::parse(note.text()).map_err(refused)?;
            return Ok(OpenedCheckpoint { checkpoint, at: None, cosignatures: Vec::new() });
        };
        let name = first.name().as_str();
        let origin: Origin = name.parse().map_err(|_| Untrusted::Name(name.to_owned()))?;
        self.open_as(note, &origin).map_err(refused)
    }

    /// With all keys at once: in which order they were given decides nothing, and a wrong signature
    /// of one of them is refused beside a good one of another.
    fn open_as(&self, note: &Note, origin: &Origin) -> Result<OpenedCheckpoint, CheckpointError> {
        let dating: Vec<NoteVerifier> = self.log.iter().map(NoteVerifier::dating).collect();
        let all = [self.log.as_slice(), &dating, &self.witnesses].concat();
        let verified = note.open(&all)?;
        let is_of = |by: &Verified, keys: &[NoteVerifier]| {
            keys.iter().any(|key| by.name == *key.name() && by.id == key.id())
        };
        if !verified.iter().any(|by| is_of(by, &self.log)) {
            return Err(CheckpointError::NotSignedByLog);
        }
        let checkpoint = Checkpoint::parse(note.text())?;
        if checkpoint.origin != *origin {
            return Err(CheckpointError::OtherLog { found: checkpoint.origin });
        }
        // No log is its own witness, by whichever of its keys.
        let (own, others): (Vec<_>, Vec<_>) =
            verified.into_iter().partition(|by| is_of(by, &self.log) || is_of(by, &dating));
        let at = own.iter().filter_map(|by| by.at).max();
        let cosignatures = others.into_iter().filter(|by| by.at.is_some()).collect();
        Ok(OpenedCheckpoint { checkpoint, at, cosignatures })
    }
}
