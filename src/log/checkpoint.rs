//! Checkpoints (C2SP tlog-checkpoint v1.0.0): the head of a log as a signed note. What a checkpoint
//! says counts only once [`Checkpoint::open`] found the log's own signature.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::crypto::note::{Note, NoteError};
use crate::crypto::note_key::{NoteVerifier, Verified};
use crate::crypto::note_signer::NoteSigner;
use crate::types::time::Timestamp;

use super::lines::{decode_hash, encode_hash, parse_decimal};
use super::tree::TreeHead;

/// How many bytes an origin may take; cosignatures of type 0x06 write that length in one byte.
pub const ORIGIN_BYTES_MAX: usize = 255;

/// The identity of a log: one line of 1 to 255 bytes without control characters. It should look
/// like a URL without scheme, but nobody may rely on that (tlog-checkpoint, "Note text").
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(Arc<str>);

/// Why a note is not a checkpoint, or a checkpoint is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The first line: empty, too long, or with control characters.
    #[error("an origin is one line of 1 to 255 bytes")]
    Origin,
    /// The second line: not a decimal, with leading zeros, or beyond 2^64.
    #[error("the size of a checkpoint is a decimal without leading zeros")]
    Size,
    /// The third line: not the base64 of 32 bytes.
    #[error("the root of a checkpoint is 32 bytes in base64")]
    Root,
    /// Lines after the third, where none is accepted, or an empty one among them.
    #[error("the checkpoint has extension lines")]
    Extension,
    /// The checkpoint of another log.
    #[error("the checkpoint is of the log {found}")]
    OtherLog {
        /// The origin that it names.
        found: Origin,
    },
    /// Others signed it, the log did not.
    #[error("the log itself has not signed this checkpoint")]
    NotSignedByLog,
    /// It is no note, or a signature is wrong.
    #[error(transparent)]
    Note(#[from] NoteError),
}

impl Origin {
    /// The origin as text, without the newline.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl FromStr for Origin {
    type Err = CheckpointError;

    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        if text.is_empty() || ORIGIN_BYTES_MAX < text.len() || text.contains(|c| c < ' ') {
            return Err(CheckpointError::Origin);
        }
        Ok(Self(text.into()))
    }
}

/// The head of a log, not yet signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: Origin,
    /// How many records, and the root over them.
    pub head: TreeHead,
}

/// A checkpoint that its log has signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedCheckpoint {
    /// What was signed.
    pub checkpoint: Checkpoint,
    /// When the log says that it signed, to the second; none where it says nothing. Its own word,
    /// by its own clock: others' times are in the cosignatures.
    pub at: Option<Timestamp>,
    /// The known witnesses that cosigned it, each once, with their times. May be empty: how many
    /// are enough is the reader's policy.
    pub cosignatures: Vec<Verified>,
}

impl Checkpoint {
    /// The text of the note: three lines, each with its newline.
    pub fn encode(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.head.size, encode_hash(&self.head.root))
    }

    /// The checkpoint of such a text, without extension lines.
    ///
    /// # Errors
    /// [`CheckpointError`], when the text is not what [`Checkpoint::encode`] would write.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        match Self::parse_extended(text)? {
            (checkpoint, "") => Ok(checkpoint),
            (_, _) => Err(CheckpointError::Extension),
        }
    }

    /// The checkpoint of a text that may have extension lines, and those lines with their
    /// newlines. For the logs of others: this ledger writes none.
    ///
    /// # Errors
    /// [`CheckpointError`], when the text is no checkpoint.
    pub fn parse_extended(text: &str) -> Result<(Self, &str), CheckpointError> {
        let (origin, rest) = text.split_once('\n').ok_or(CheckpointError::Origin)?;
        let (size, rest) = rest.split_once('\n').ok_or(CheckpointError::Size)?;
        let (root, extension) = rest.split_once('\n').ok_or(CheckpointError::Root)?;
        let origin = origin.parse()?;
        let size = parse_decimal(size).ok_or(CheckpointError::Size)?;
        let root = decode_hash(root).ok_or(CheckpointError::Root)?;
        let unfinished = !extension.is_empty() && !extension.ends_with('\n');
        if unfinished || extension.starts_with('\n') || extension.contains("\n\n") {
            return Err(CheckpointError::Extension);
        }
        Ok((Self { origin, head: TreeHead { size, root } }, extension))
    }

    /// The checkpoint as a note with the log's signature. Never to be called for a head that does
    /// not extend every head signed before: that is the caller's fence.
    pub fn sign(&self, log: &NoteSigner) -> Note {
        let text = self.encode();
        let signature = log.sign(&text);
        Note::new(text, signature).expect("three short lines and a signature are a note")
    }

    /// Checks a note as a checkpoint of the log `origin`: signed by its key `log`, perhaps dated by
    /// it, and perhaps cosigned by some of `witnesses`. A key of theirs that tells no time is not
    /// counted, and no log is its own witness.
    ///
    /// # Errors
    /// [`CheckpointError`]: nothing that the note says may be used.
    pub fn open(
        note: &Note,
        origin: &Origin,
        log: &NoteVerifier,
        witnesses: &[NoteVerifier],
    ) -> Result<OpenedCheckpoint, CheckpointError> {
        let dating = log.dating();
        let known: Vec<NoteVerifier> =
            [log, &dating].into_iter().chain(witnesses).cloned().collect();
        let verified = note.open(&known)?;
        let by_log = |by: &Verified| by.name == *log.name() && by.id == log.id();
        if !verified.iter().any(by_log) {
            return Err(CheckpointError::NotSignedByLog);
        }
        let checkpoint = Self::parse(note.text())?;
        if checkpoint.origin != *origin {
            return Err(CheckpointError::OtherLog { found: checkpoint.origin });
        }
        let dates = |by: &Verified| by.name == *dating.name() && by.id == dating.id();
        let at = verified.iter().find(|by| dates(by)).and_then(|by| by.at);
        let cosignatures =
            verified.into_iter().filter(|by| by.at.is_some() && !by_log(by) && !dates(by));
        Ok(OpenedCheckpoint { checkpoint, at, cosignatures: cosignatures.collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::note::NoteSignature;
    use crate::crypto::note_signer::Cosigner;
    use crate::log::leaf::empty_root;

    const EMPTY: &str = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

    fn log() -> NoteSigner {
        NoteSigner::new("log.example".parse().expect("a name"), &[1; 32])
    }

    fn checkpoint() -> Checkpoint {
        let origin = "log.example".parse().expect("an origin");
        Checkpoint { origin, head: TreeHead { size: 0, root: empty_root() } }
    }

    #[test]
    fn a_checkpoint_is_three_lines() {
        assert_eq!(checkpoint().encode(), format!("log.example\n0\n{EMPTY}\n"));
        assert_eq!(Checkpoint::parse(&checkpoint().encode()), Ok(checkpoint()));
        let spaced = format!("go.sum database tree\n18446744073709551615\n{EMPTY}\n");
        assert_eq!(Checkpoint::parse(&spaced).map(|read| read.encode()), Ok(spaced));
    }

    #[test]
    fn what_is_no_checkpoint_is_refused() {
        let cases = [
            (String::new(), CheckpointError::Origin),
            (format!("\n0\n{EMPTY}\n"), CheckpointError::Origin),
            (format!("a\tb\n0\n{EMPTY}\n"), CheckpointError::Origin),
            (format!("{}\n0\n{EMPTY}\n", "a".repeat(256)), CheckpointError::Origin),
            (format!("a\n00\n{EMPTY}\n"), CheckpointError::Size),
            (format!("a\n+1\n{EMPTY}\n"), CheckpointError::Size),
            (format!("a\n01\n{EMPTY}\n"), CheckpointError::Size),
            (format!("a\n\n{EMPTY}\n"), CheckpointError::Size),
            (format!("a\n18446744073709551616\n{EMPTY}\n"), CheckpointError::Size),
            (format!("a\n0\n{EMPTY}"), CheckpointError::Root),
            (format!("a\n0\n{EMPTY} \n"), CheckpointError::Root),
            ("a\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFV=\n".into(), CheckpointError::Root),
            ("a\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU\n".into(), CheckpointError::Root),
            (format!("a\n0\n{EMPTY}\nextension\n"), CheckpointError::Extension),
        ];
        for (text, error) in cases {
            assert_eq!(Checkpoint::parse(&text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn extension_lines_are_read_where_they_are_asked_for() {
        let text = format!("{}one\ntwo\n", checkpoint().encode());
        assert_eq!(Checkpoint::parse_extended(&text), Ok((checkpoint(), "one\ntwo\n")));
        for bad in ["one", "\n", "one\n\n", "one\n\ntwo\n"] {
            let text = format!("{}{bad}", checkpoint().encode());
            assert_eq!(Checkpoint::parse_extended(&text), Err(CheckpointError::Extension));
        }
    }

    #[test]
    fn only_the_logs_own_signature_opens_a_checkpoint() {
        let (log, checkpoint) = (log(), checkpoint());
        let witness = Cosigner::new("witness.example".parse().expect("a name"), &[2; 32]);
        let (key, witnesses) = (log.verifier(), [witness.verifier().clone()]);
        let mut note = checkpoint.sign(&log);
        note.add(witness.cosign(note.text(), Timestamp::from_seconds(7))).expect("room");
        let origin = &checkpoint.origin;
        let opened = Checkpoint::open(&note, origin, key, &witnesses).expect("a checkpoint");
        assert_eq!(opened.checkpoint, checkpoint);
        assert_eq!(opened.cosignatures.len(), 1);
        assert_eq!(opened.cosignatures[0].at, Some(Timestamp::from_seconds(7)));
        let alone = Checkpoint::open(&note, origin, key, &[]).expect("a checkpoint");
        assert_eq!(alone.cosignatures, []);

        let text = checkpoint.encode();
        let cosigned = witness.cosign(&text, Timestamp::from_seconds(7));
        let by_witness = Note::new(text, cosigned).expect("a note");
        let refused = Checkpoint::open(&by_witness, origin, key, &witnesses);
        assert_eq!(refused, Err(CheckpointError::NotSignedByLog));
        let other: Origin = "other.example".parse().expect("an origin");
        let refused = Checkpoint::open(&note, &other, key, &witnesses);
        assert_eq!(refused, Err(CheckpointError::OtherLog { found: checkpoint.origin.clone() }));
    }

    #[test]
    fn a_log_dates_its_checkpoint_and_is_not_its_own_witness() {
        let (log, checkpoint) = (log(), checkpoint());
        let (origin, key) = (&checkpoint.origin, log.verifier());
        let undated = checkpoint.sign(&log);
        let dated = |at: u64| {
            let mut note = undated.clone();
            note.add(log.date(note.text(), Timestamp::from_seconds(at))).expect("room");
            note
        };
        let open = |note: &Note, witnesses: &[NoteVerifier]| {
            Checkpoint::open(note, origin, key, witnesses)
        };
        let opened = open(&dated(7), &[key.dating()]).expect("a checkpoint");
        assert_eq!((opened.at, opened.cosignatures), (Some(Timestamp::from_seconds(7)), vec![]));
        assert_eq!(open(&undated, &[]).expect("a checkpoint").at, None);
        // The date is signed: moved by a second, the whole note is refused.
        let line = dated(7).signatures()[1].clone();
        let later = [&8u64.to_be_bytes(), line.payload().split_at(8).1].concat();
        let mut moved = undated.clone();
        moved.add(NoteSignature::new(line.name().clone(), line.id(), later)).expect("room");
        let refused = open(&moved, &[]);
        assert!(matches!(refused, Err(CheckpointError::Note(NoteError::BadSignature { .. }))));
        // And it is no signature of the log: alone it vouches for nothing.
        let alone = Note::new(undated.text().to_owned(), line).expect("a note");
        assert_eq!(open(&alone, &[]), Err(CheckpointError::NotSignedByLog));
    }
}
