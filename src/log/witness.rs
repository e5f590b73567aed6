//! What a log and a witness say to each other (C2SP tlog-witness v1.0.0): the body of
//! `add-checkpoint`, and the judgement over it. Keeping the last head is the witness's own duty.

use crate::crypto::note::{NOTE_BYTES_MAX, Note, NoteError};

use super::leaf::{NodeHash, empty_root};
use super::lines::{decode_hashes, encode_hash, parse_decimal, split_note};
use super::proof::{ProofError, verify_consistency};
use super::tree::TreeHead;

/// How many hashes a consistency proof may have.
pub const CONSISTENCY_HASHES_MAX: usize = 63;
/// How many bytes the body of `add-checkpoint` may take: the note, the proof, and the first line.
pub const ADD_CHECKPOINT_BYTES_MAX: usize = NOTE_BYTES_MAX + CONSISTENCY_HASHES_MAX * 45 + 32;

/// The request that a witness cosigns a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size that the witness is thought to have cosigned last; 0 for none.
    pub old_size: u64,
    /// The proof that the new tree extends that one.
    pub proof: Vec<NodeHash>,
    /// The new checkpoint, signed by the log.
    pub checkpoint: Note,
}

/// Why bytes are not the body of `add-checkpoint`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddCheckpointError {
    /// More than [`ADD_CHECKPOINT_BYTES_MAX`].
    #[error("the body of add-checkpoint is too long")]
    TooLong,
    /// Not UTF-8, or no empty line before the checkpoint.
    #[error("the body of add-checkpoint has no checkpoint")]
    NoCheckpoint,
    /// The first line is not `old` and a decimal without leading zeros.
    #[error("the first line of add-checkpoint is: old <size>")]
    OldSize,
    /// A line of the proof is not a hash in base64, or there are more than 63.
    #[error("the proof of add-checkpoint is at most 63 lines of 32 bytes in base64")]
    Hash,
    /// The checkpoint is no note.
    #[error("the checkpoint of add-checkpoint: {0}")]
    Note(#[from] NoteError),
}

impl AddCheckpoint {
    /// The body of the request.
    pub fn encode(&self) -> String {
        let mut body = format!("old {}\n", self.old_size);
        for hash in &self.proof {
            body.push_str(&encode_hash(hash));
            body.push('\n');
        }
        body.push('\n');
        body.push_str(&self.checkpoint.encode());
        body
    }

    /// Reads the body of a request. Signatures and proof are not checked yet.
    ///
    /// # Errors
    /// [`AddCheckpointError`], when these bytes are not what [`AddCheckpoint::encode`] would write.
    pub fn parse(bytes: &[u8]) -> Result<Self, AddCheckpointError> {
        if ADD_CHECKPOINT_BYTES_MAX < bytes.len() {
            return Err(AddCheckpointError::TooLong);
        }
        let (mut lines, note) = split_note(bytes).ok_or(AddCheckpointError::NoCheckpoint)?;
        let old_size = lines.next().and_then(|line| line.strip_prefix("old "));
        let old_size = old_size.and_then(parse_decimal).ok_or(AddCheckpointError::OldSize)?;
        let proof = decode_hashes(lines, CONSISTENCY_HASHES_MAX).ok_or(AddCheckpointError::Hash)?;
        Ok(Self { old_size, proof, checkpoint: Note::parse(note)? })
    }
}

/// The body of the answer to a request that starts from another size than the witness cosigned
/// last: that size (tlog-witness, "add-checkpoint", 409 with `text/x.tlog.size`).
pub fn encode_size(cosigned: u64) -> String {
    format!("{cosigned}\n")
}

/// The size in such a body, if it is one.
pub fn parse_size(body: &[u8]) -> Option<u64> {
    std::str::from_utf8(body).ok()?.strip_suffix('\n').and_then(parse_decimal)
}

/// The content type of such a body.
pub const SIZE_TYPE: &str = "text/x.tlog.size";

/// Judges whether a witness may go from `seen`, the last head it cosigned (`None` before the
/// first), to `new`. The first head is taken on trust, and then needs no proof.
///
/// # Errors
/// [`ProofError`]: the witness must not cosign. [`ProofError::Root`] for equal sizes is a fork, and
/// so is [`ProofError::OldRoot`] or [`ProofError::Root`] when the log insists: raise the alarm.
pub fn verify_growth(
    seen: Option<&TreeHead>,
    new: &TreeHead,
    proof: &[NodeHash],
) -> Result<(), ProofError> {
    let empty = TreeHead { size: 0, root: empty_root() };
    match verify_consistency(seen.unwrap_or(&empty), new, proof) {
        // Every tree extends the empty one: there is nothing to prove, and nothing was offered.
        Err(ProofError::FromEmpty) => Ok(()),
        judged => judged,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::note_signer::NoteSigner;
    use crate::log::leaf::{leaf_hash, node_hash};

    fn body() -> AddCheckpoint {
        let log = NoteSigner::new("log.example".parse().expect("a name"), &[1; 32]);
        let checkpoint = Note::new("a\n".into(), log.sign("a\n")).expect("a note");
        AddCheckpoint { old_size: 1, proof: vec![leaf_hash(b"two")], checkpoint }
    }

    #[test]
    fn a_request_round_trips() {
        let body = body();
        assert_eq!(AddCheckpoint::parse(body.encode().as_bytes()), Ok(body.clone()));
        let first = AddCheckpoint { old_size: 0, proof: Vec::new(), ..body };
        assert!(first.encode().starts_with("old 0\n\na\n\n\u{2014} log.example "));
        assert_eq!(AddCheckpoint::parse(first.encode().as_bytes()), Ok(first));
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let good = body().encode();
        let hash = encode_hash(&leaf_hash(b"two"));
        let with = |from: &str, to: &str| good.replacen(from, to, 1);
        let cases = [
            (String::new(), AddCheckpointError::NoCheckpoint),
            ("old 1\n".into(), AddCheckpointError::NoCheckpoint),
            (with("old 1", "old 01"), AddCheckpointError::OldSize),
            (with("old 1", "old"), AddCheckpointError::OldSize),
            (with("old 1", "new 1"), AddCheckpointError::OldSize),
            (with(&hash, "x"), AddCheckpointError::Hash),
            (with(&hash, &vec![hash.as_str(); 64].join("\n")), AddCheckpointError::Hash),
            (with("\u{2014}", "-"), AddCheckpointError::Note(NoteError::SignatureLine)),
            (good.repeat(1000), AddCheckpointError::TooLong),
        ];
        for (text, error) in cases {
            assert_eq!(AddCheckpoint::parse(text.as_bytes()), Err(error), "{text:.200}");
        }
    }

    #[test]
    fn a_witness_takes_the_first_head_on_trust_and_every_other_by_proof() {
        let (one, two) = (leaf_hash(b"one"), leaf_hash(b"two"));
        let head = |size, root| TreeHead { size, root };
        let (first, second) = (head(1, one), head(2, node_hash(&one, &two)));
        assert_eq!(verify_growth(None, &second, &[]), Ok(()));
        assert_eq!(verify_growth(None, &second, &[one]), Err(ProofError::TooLong));
        assert_eq!(verify_growth(None, &head(0, one), &[]), Err(ProofError::EmptyRoot));
        assert_eq!(verify_growth(None, &head(0, empty_root()), &[]), Ok(()));
        assert_eq!(verify_growth(Some(&first), &second, &[two]), Ok(()));
        assert_eq!(verify_growth(Some(&first), &second, &[one]), Err(ProofError::Root));
        assert_eq!(verify_growth(Some(&first), &head(1, two), &[]), Err(ProofError::Root));
        let shrunk = ProofError::Shrunk { old: 2, new: 1 };
        assert_eq!(verify_growth(Some(&second), &first, &[]), Err(shrunk));
    }
}
