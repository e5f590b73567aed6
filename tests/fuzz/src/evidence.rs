//! Notes, checkpoints, receipts, requests to witnesses, tiles and proofs: accepted only as they are
//! written.

use std::sync::OnceLock;

use token_ledger::crypto::note::{Note, NoteSignature};
use token_ledger::crypto::note_key::NoteVerifier;
use token_ledger::crypto::note_signer::{Cosigner, NoteSigner};
use token_ledger::log::bundle::{decode_bundle, encode_bundle};
use token_ledger::log::checkpoint::Checkpoint;
use token_ledger::log::leaf::{NodeHash, leaf_hash, node_hash};
use token_ledger::log::proof::{verify_consistency, verify_inclusion};
use token_ledger::log::receipt::Receipt;
use token_ledger::log::tile::TileId;
use token_ledger::log::tile_hashes::TileHashes;
use token_ledger::log::tree::TreeHead;
use token_ledger::log::witness::AddCheckpoint;
use token_ledger::types::digest::LeafHash;
use token_ledger::types::id::Seq;
use token_ledger::types::secret::Secret;
use token_ledger::types::time::Timestamp;

use crate::edits;

fn log() -> &'static NoteSigner {
    static LOG: OnceLock<NoteSigner> = OnceLock::new();
    LOG.get_or_init(|| NoteSigner::new("log.example/a".parse().expect("a name"), &[1; 32]))
}

fn hashes(count: u8) -> Vec<NodeHash> {
    (0..count).map(|i| leaf_hash(&[i])).collect()
}

fn checkpoint() -> Note {
    let head = TreeHead { size: 1042, root: leaf_hash(b"root") };
    let origin = "log.example/a".parse().expect("an origin");
    let mut note = Checkpoint { origin, head }.sign(log());
    let witness = Cosigner::new("witness.example".parse().expect("a name"), &[2; 32]);
    let cosignature = witness.cosign(note.text(), Timestamp::from_seconds(1_795_407_153));
    note.add(cosignature).expect("one more");
    note
}

fn seeds() -> &'static [Vec<u8>] {
    static SEEDS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    SEEDS.get_or_init(|| {
        let note = checkpoint();
        let line = note.signatures()[1].to_string();
        let key = log().encode().expose().to_owned();
        let verifier = log().verifier().to_string();
        let body = note.text().to_owned();
        let texts = [note.encode(), line, key, verifier, body];
        texts.into_iter().map(String::into_bytes).collect()
    })
}

/// Notes, signature lines, keys and checkpoints. A note that opens is the one that was signed.
pub(crate) fn note(data: &[u8]) {
    let bytes = edits::input(data, seeds());
    if let Ok(note) = Note::parse(&bytes) {
        assert_eq!(note.encode().into_bytes(), bytes);
        if note.open(&[log().verifier().clone()]).is_ok() {
            assert_eq!(note.text(), checkpoint().text());
        }
    }
    let Ok(text) = String::from_utf8(bytes) else { return };
    if let Ok(signature) = text.parse::<NoteSignature>() {
        assert_eq!(signature.to_string(), text);
    }
    if let Ok(key) = text.parse::<NoteVerifier>() {
        assert_eq!(key.to_string(), text);
    }
    if let Ok(key) = NoteSigner::decode(&Secret::new(text.clone())) {
        assert_eq!(key.encode().expose(), text);
    }
    if let Ok(checkpoint) = Checkpoint::parse(&text) {
        assert_eq!(checkpoint.encode(), text);
    }
    if let Ok((checkpoint, extension)) = Checkpoint::parse_extended(&text) {
        assert_eq!(format!("{}{extension}", checkpoint.encode()), text);
    }
}

/// Receipts, and the requests that a witness gets.
pub(crate) fn receipt(data: &[u8]) {
    static SEEDS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    let seeds = SEEDS.get_or_init(|| {
        let receipt = |extra: &[u8]| {
            let checkpoint = checkpoint();
            Receipt { extra: extra.to_vec(), index: Seq(100), proof: hashes(4), checkpoint }
                .encode()
        };
        let request = AddCheckpoint { old_size: 1000, proof: hashes(5), checkpoint: checkpoint() };
        [receipt(b""), receipt(b"extra"), request.encode()].map(String::into_bytes).into()
    });
    let bytes = edits::input(data, seeds);
    if let Ok(receipt) = Receipt::parse(&bytes) {
        assert_eq!(receipt.encode().as_bytes(), bytes);
        let origin = "log.example/a".parse().expect("an origin");
        let verified = receipt.verify(b"record", &origin, log().verifier(), &[]);
        assert!(verified.is_err(), "the proof leads nowhere");
    }
    if let Ok(request) = AddCheckpoint::parse(&bytes) {
        assert_eq!(request.encode().into_bytes(), bytes);
    }
}

/// The paths of tiles, and what stands in them.
pub(crate) fn tile(data: &[u8]) {
    static SEEDS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    let seeds = SEEDS.get_or_init(|| {
        let paths = [
            "tile/0/x001/x234/067",
            "tile/63/000.p/1",
            "tile/entries/999.p/255",
            "tile/7/x018/x446/x744/x073/x709/x551/615",
        ];
        let records: [&[u8]; 3] = [b"one", b"", b"three"];
        let mut seeds: Vec<Vec<u8>> = paths.iter().map(|path| path.as_bytes().to_vec()).collect();
        seeds.push(encode_bundle(records.into_iter()).expect("a bundle"));
        seeds.push(TileHashes::new(hashes(3)).expect("a tile").encode());
        seeds
    });
    let bytes = edits::input(data, seeds);
    let width = u16::from(data.last().copied().unwrap_or_default());
    for width in [width, 1, 3, 256] {
        if let Ok(records) = decode_bundle(&bytes, width) {
            assert_eq!(records.len(), usize::from(width));
            assert_eq!(encode_bundle(records.into_iter()).expect("it was one"), bytes);
        }
    }
    if let Ok(tile) = TileHashes::decode(&bytes) {
        assert_eq!(tile.encode(), bytes);
    }
    let Ok(text) = String::from_utf8(bytes) else { return };
    if let Ok(tile) = text.parse::<TileId>() {
        assert_eq!(tile.to_string(), text);
        assert_eq!(TileId::new(tile.kind(), tile.index(), tile.width()), Some(tile));
    }
}

/// The root of the leaves `from..to`, by the definition of RFC 6962 section 2.1.
fn root(from: u64, to: u64) -> NodeHash {
    match to - from {
        1 => leaf_hash(&from.to_be_bytes()),
        size => {
            let left = 1 << (63 - (size - 1).leading_zeros());
            node_hash(&root(from, from + left), &root(from + left, to))
        }
    }
}

/// A proof that verifies over the true roots proves what is true: the leaf that is there, the tree that
/// grew. Numbers and hashes come out of the data, some of them the right ones.
pub(crate) fn proof(data: &[u8]) {
    let Some((head, rest)) = data.split_first_chunk::<4>() else { return };
    let [size, old, index, other] = head.map(u64::from);
    let (size, old) = (1 + size % 64, 1 + old % 64);
    let node = |chunk: &[u8]| match chunk {
        [from, to, ..] if from < to && to - from <= 64 => root(u64::from(*from), u64::from(*to)),
        chunk => {
            let mut bytes = [0; 32];
            bytes.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
            LeafHash::from_bytes(bytes)
        }
    };
    let proof: Vec<NodeHash> = rest.chunks(2).take(70).map(node).collect();
    let new = TreeHead { size, root: root(0, size) };
    let leaf = leaf_hash(&other.to_be_bytes());
    if verify_inclusion(&new, Seq(index), &leaf, &proof).is_ok() {
        assert!(index < size && index == other, "a leaf that is not there");
    }
    let grown = TreeHead { size: old, root: root(0, old) };
    if verify_consistency(&grown, &new, &proof).is_ok() {
        assert!(old <= size, "a tree that shrank");
    }
    let forked = TreeHead { size: old, root: root(other + 1, other + 1 + old) };
    assert!(verify_consistency(&forked, &new, &proof).is_err(), "a fork");
    // Any numbers at all are judged.
    if let Some((numbers, rest)) = data.split_first_chunk::<16>() {
        let wide = |at: usize| u64::from_le_bytes(numbers[at..at + 8].try_into().expect("8"));
        let head = |size| TreeHead { size, root: leaf_hash(rest) };
        let _ = verify_inclusion(&head(wide(0)), Seq(wide(8)), &leaf, &proof);
        let _ = verify_consistency(&head(wide(0)), &head(wide(8)), &proof);
    }
}
