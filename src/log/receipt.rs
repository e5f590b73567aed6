//! Receipts (C2SP tlog-proof v1): the proof that one record is in the log, for a reader who has the
//! record, the keys and no network. A receipt does not hold the record itself.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::crypto::note::{Note, NoteError};
use crate::crypto::note_key::NoteVerifier;
use crate::types::id::Seq;

use super::checkpoint::{Checkpoint, CheckpointError, OpenedCheckpoint, Origin};
use super::leaf::{NodeHash, leaf_hash};
use super::lines::{decode_hashes, encode_hash, parse_decimal, split_note};
use super::proof::{ProofError, verify_inclusion};
use super::tree::TreeHead;

/// How many bytes a receipt may take.
pub const RECEIPT_BYTES_MAX: usize = 128 * 1024;
/// How many hashes an inclusion proof may have.
pub const INCLUSION_HASHES_MAX: usize = 64;

const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// A proof of inclusion together with the checkpoint it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Whatever the issuer attached; empty for nothing. **Not authenticated**: never trust it.
    pub extra: Vec<u8>,
    /// Which record.
    pub index: Seq,
    /// The siblings from the leaf to the root.
    pub proof: Vec<NodeHash>,
    /// The checkpoint as it was signed, with all its signatures.
    pub checkpoint: Note,
}

/// Why bytes are not a receipt, or a receipt does not prove what it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// More than [`RECEIPT_BYTES_MAX`].
    #[error("a receipt has at most 131072 bytes")]
    TooLong,
    /// Not UTF-8, another first line, or no empty line before the checkpoint.
    #[error("not a receipt: its first line is c2sp.org/tlog-proof@v1")]
    Header,
    /// The line of extra data is not base64, or is there without data.
    #[error("the extra line of a receipt is base64")]
    Extra,
    /// The index line is missing, or not a decimal without leading zeros.
    #[error("a receipt names the index of its record")]
    Index,
    /// A line of the proof is not a hash in base64, or there are more than 64.
    #[error("the proof of a receipt is at most 64 lines of 32 bytes in base64")]
    Hash,
    /// The checkpoint is no note.
    #[error("the checkpoint of the receipt: {0}")]
    Note(#[from] NoteError),
    /// The checkpoint is not believed.
    #[error("the checkpoint of the receipt: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The record is not shown to be in the checkpoint's tree.
    #[error("the proof of the receipt: {0}")]
    Proof(#[from] ProofError),
}

impl Receipt {
    /// The bytes of the receipt, for a `.tlog-proof` file.
    pub fn encode(&self) -> String {
        let mut receipt = format!("{HEADER}\n");
        if !self.extra.is_empty() {
            receipt.push_str(&format!("extra {}\n", STANDARD.encode(&self.extra)));
        }
        receipt.push_str(&format!("index {}\n", self.index));
        for hash in &self.proof {
            receipt.push_str(&encode_hash(hash));
            receipt.push('\n');
        }
        receipt.push('\n');
        receipt.push_str(&self.checkpoint.encode());
        receipt
    }

    /// Reads a receipt. It proves nothing yet.
    ///
    /// # Errors
    /// [`ReceiptError`], when these bytes are not what [`Receipt::encode`] would write.
    pub fn parse(bytes: &[u8]) -> Result<Self, ReceiptError> {
        if RECEIPT_BYTES_MAX < bytes.len() {
            return Err(ReceiptError::TooLong);
        }
        let (mut lines, note) = split_note(bytes).ok_or(ReceiptError::Header)?;
        if lines.next() != Some(HEADER) {
            return Err(ReceiptError::Header);
        }
        let mut line = lines.next().ok_or(ReceiptError::Index)?;
        let mut extra = Vec::new();
        if let Some(data) = line.strip_prefix("extra ") {
            extra = STANDARD.decode(data).map_err(|_| ReceiptError::Extra)?;
            if extra.is_empty() {
                return Err(ReceiptError::Extra);
            }
            line = lines.next().ok_or(ReceiptError::Index)?;
        }
        let index = line.strip_prefix("index ").and_then(parse_decimal);
        let index = index.map(Seq).ok_or(ReceiptError::Index)?;
        let proof = decode_hashes(lines, INCLUSION_HASHES_MAX).ok_or(ReceiptError::Hash)?;
        Ok(Self { extra, index, proof, checkpoint: Note::parse(note)? })
    }

    /// Checks that the log `origin`, whose key is `log`, holds exactly these bytes of `record` at
    /// the index of the receipt; and which of `witnesses` have seen that.
    ///
    /// # Errors
    /// [`ReceiptError`]: it is not shown that the record is in the log.
    pub fn verify(
        &self,
        record: &[u8],
        origin: &Origin,
        log: &NoteVerifier,
        witnesses: &[NoteVerifier],
    ) -> Result<OpenedCheckpoint, ReceiptError> {
        let opened = Checkpoint::open(&self.checkpoint, origin, log, witnesses)?;
        self.prove(record, &opened.checkpoint.head)?;
        Ok(opened)
    }

    /// Checks that exactly these bytes of `record` stand at the index of the receipt in the tree of
    /// `head`, which the caller has from the checkpoint and believes.
    ///
    /// # Errors
    /// [`ReceiptError::Proof`]: it is not shown that the record is in the log.
    pub fn prove(&self, record: &[u8], head: &TreeHead) -> Result<(), ReceiptError> {
        Ok(verify_inclusion(head, self.index, &leaf_hash(record), &self.proof)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::note_signer::NoteSigner;

    fn log() -> NoteSigner {
        NoteSigner::new("log.example".parse().expect("a name"), &[1; 32])
    }

    fn receipt() -> Receipt {
        let (one, two) = (leaf_hash(b"one"), leaf_hash(b"two"));
        let head = TreeHead { size: 2, root: crate::log::leaf::node_hash(&one, &two) };
        let checkpoint = Checkpoint { origin: "log.example".parse().expect("an origin"), head };
        let checkpoint = checkpoint.sign(&log());
        Receipt { extra: Vec::new(), index: Seq(1), proof: vec![one], checkpoint }
    }

    fn parse(text: &str) -> Result<Receipt, ReceiptError> {
        Receipt::parse(text.as_bytes())
    }

    #[test]
    fn a_receipt_proves_its_record_and_no_other() {
        let (receipt, log) = (receipt(), log());
        let origin = "log.example".parse().expect("an origin");
        let verify = |receipt: &Receipt, record: &[u8]| {
            receipt
                .verify(record, &origin, log.verifier(), &[])
                .map(|opened| opened.checkpoint.head.size)
        };
        assert_eq!(verify(&receipt, b"two"), Ok(2));
        assert_eq!(verify(&receipt, b"one"), Err(ReceiptError::Proof(ProofError::Root)));
        let moved = Receipt { index: Seq(0), ..receipt.clone() };
        assert_eq!(verify(&moved, b"two"), Err(ReceiptError::Proof(ProofError::Root)));
        let stranger = NoteSigner::new("log.example".parse().expect("a name"), &[2; 32]);
        let found = receipt.verify(b"two", &origin, stranger.verifier(), &[]);
        let expected = CheckpointError::Note(NoteError::NoKnownSignature);
        assert_eq!(found.err(), Some(ReceiptError::Checkpoint(expected)));
    }

    #[test]
    fn a_receipt_round_trips_with_and_without_extra_data() {
        let plain = receipt();
        assert_eq!(parse(&plain.encode()), Ok(plain.clone()));
        let extra = Receipt { extra: b"about".to_vec(), proof: Vec::new(), ..plain };
        assert!(
            extra.encode().starts_with("c2sp.org/tlog-proof@v1\nextra YWJvdXQ=\nindex 1\n\nlog")
        );
        assert_eq!(parse(&extra.encode()), Ok(extra));
    }

    #[test]
    fn what_is_no_receipt_is_refused() {
        let good = receipt().encode();
        let hash = encode_hash(&leaf_hash(b"one"));
        let with = |from: &str, to: &str| good.replacen(from, to, 1);
        let cases = [
            (String::new(), ReceiptError::Header),
            (with("@v1", "@v2"), ReceiptError::Header),
            (with("@v1\n", "@v1\r\n"), ReceiptError::Header),
            (with("index 1\n", ""), ReceiptError::Index),
            (with("index 1", "index 01"), ReceiptError::Index),
            (with("index 1", "index -1"), ReceiptError::Index),
            (with("index 1", "extra \nindex 1"), ReceiptError::Extra),
            (with("index 1", "extra !\nindex 1"), ReceiptError::Extra),
            (with("index 1", "index 1\nextra YWJvdXQ="), ReceiptError::Hash),
            (with(&hash, &hash[1..]), ReceiptError::Hash),
            (with(&hash, &vec![hash.as_str(); 65].join("\n")), ReceiptError::Hash),
            (with("\u{2014}", "-"), ReceiptError::Note(NoteError::SignatureLine)),
            (good.repeat(1000), ReceiptError::TooLong),
        ];
        for (text, error) in cases {
            assert_eq!(parse(&text), Err(error), "{text:.200}");
        }
        assert!(parse(&with(&hash, &vec![hash.as_str(); 64].join("\n"))).is_ok());
    }
}
