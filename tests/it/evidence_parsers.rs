//! Parsers of what strangers send: they never panic, and accept only what they would write.

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::prop_assert_eq;
use token_ledger::crypto::note::{Note, NoteSignature};
use token_ledger::crypto::note_key::NoteVerifier;
use token_ledger::crypto::note_signer::{Cosigner, NoteSigner};
use token_ledger::log::bundle::{decode_bundle, encode_bundle};
use token_ledger::log::checkpoint::Checkpoint;
use token_ledger::log::leaf::{NodeHash, leaf_hash};
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

/// One edit of a text: what a careless or a cunning writer would change.
#[derive(Debug, Clone)]
enum Edit {
    Put(usize, u8),
    Insert(usize, &'static str),
    Remove(usize),
    Repeat(usize, usize),
    Cut(usize),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let pieces = prop_oneof![
        Just("\n"),
        Just("\n\n"),
        Just(" "),
        Just("+"),
        Just("0"),
        Just("="),
        Just("/"),
        Just("x"),
        Just("\r"),
        Just("\0"),
        Just("\u{2014} "),
        Just("\u{a0}"),
        Just(".p/"),
        Just("extra "),
    ];
    let at = any::<usize>;
    let edit = prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Edit::Put(at, byte)),
        (at(), pieces).prop_map(|(at, piece)| Edit::Insert(at, piece)),
        at().prop_map(Edit::Remove),
        (at(), at()).prop_map(|(from, to)| Edit::Repeat(from, to)),
        at().prop_map(Edit::Cut),
    ];
    vec(edit, 0..4)
}

fn edited(text: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut bytes = text.to_vec();
    for edit in edits {
        let place = |at: usize| at % (bytes.len() + 1);
        match *edit {
            Edit::Put(at, byte) => {
                let at = place(at);
                if let Some(to) = bytes.get_mut(at) {
                    *to = byte;
                }
            }
            Edit::Insert(at, piece) => {
                let at = place(at);
                bytes.splice(at..at, piece.bytes());
            }
            Edit::Remove(at) => {
                let at = place(at);
                bytes.splice(at..bytes.len().min(at + 1), []);
            }
            Edit::Repeat(from, to) => {
                let (from, to) = (place(from).min(place(to)), place(from).max(place(to)));
                let part = bytes[from..to].to_vec();
                bytes.splice(to..to, part);
            }
            Edit::Cut(at) => bytes.truncate(at % (bytes.len() + 1)),
        }
    }
    bytes
}

fn log() -> NoteSigner {
    NoteSigner::new("log.example/a".parse().unwrap(), &[1; 32])
}

fn hashes(count: u8) -> Vec<NodeHash> {
    (0..count).map(|i| leaf_hash(&[i])).collect()
}

fn signed_checkpoint() -> Note {
    let head = TreeHead { size: 1042, root: leaf_hash(b"root") };
    let mut note = Checkpoint { origin: "log.example/a".parse().unwrap(), head }.sign(&log());
    let witness = Cosigner::new("witness.example".parse().unwrap(), &[2; 32]);
    note.add(witness.cosign(note.text(), Timestamp::from_seconds(1_795_407_153))).unwrap();
    note
}

fn receipt(extra: &[u8]) -> Receipt {
    let checkpoint = signed_checkpoint();
    Receipt { extra: extra.to_vec(), index: Seq(100), proof: hashes(4), checkpoint }
}

proptest! {
    #[test]
    fn a_note_is_accepted_only_as_it_is_written(edits in edits()) {
        let bytes = edited(signed_checkpoint().encode().as_bytes(), &edits);
        if let Ok(note) = Note::parse(&bytes) {
            prop_assert_eq!(note.encode().into_bytes(), bytes);
            let _ = note.open(&[log().verifier().clone()]);
        }
    }

    #[test]
    fn a_signature_line_is_accepted_only_as_it_is_written(edits in edits()) {
        let line = signed_checkpoint().signatures()[1].to_string();
        let line = String::from_utf8_lossy(&edited(line.as_bytes(), &edits)).into_owned();
        if let Ok(signature) = line.parse::<NoteSignature>() {
            prop_assert_eq!(signature.to_string(), line);
        }
    }

    #[test]
    fn a_key_is_accepted_only_as_it_is_written(edits in edits()) {
        let text = edited(log().verifier().to_string().as_bytes(), &edits);
        let text = String::from_utf8_lossy(&text).into_owned();
        if let Ok(key) = text.parse::<NoteVerifier>() {
            prop_assert_eq!(key.to_string(), text);
        }
        let text = edited(log().encode().expose().as_bytes(), &edits);
        let text = String::from_utf8_lossy(&text).into_owned();
        if let Ok(key) = NoteSigner::decode(&Secret::new(text.clone())) {
            prop_assert_eq!(key.encode().expose().to_owned(), text);
        }
    }

    #[test]
    fn a_checkpoint_is_accepted_only_as_it_is_written(edits in edits()) {
        let text = edited(signed_checkpoint().text().as_bytes(), &edits);
        let text = String::from_utf8_lossy(&text).into_owned();
        if let Ok(checkpoint) = Checkpoint::parse(&text) {
            prop_assert_eq!(checkpoint.encode(), text.clone());
        }
        if let Ok((checkpoint, extension)) = Checkpoint::parse_extended(&text) {
            prop_assert_eq!(format!("{}{extension}", checkpoint.encode()), text);
        }
    }

    #[test]
    fn a_receipt_is_accepted_only_as_it_is_written(edits in edits(), extra in vec(any::<u8>(), 0..5)) {
        let bytes = edited(receipt(&extra).encode().as_bytes(), &edits);
        if let Ok(receipt) = Receipt::parse(&bytes) {
            prop_assert_eq!(receipt.encode().into_bytes(), bytes);
            let origin = "log.example/a".parse().unwrap();
            let _ = receipt.verify(b"record", &origin, log().verifier(), &[]);
        }
    }

    #[test]
    fn a_witness_request_is_accepted_only_as_it_is_written(edits in edits()) {
        let checkpoint = signed_checkpoint();
        let request = AddCheckpoint { old_size: 1000, proof: hashes(5), checkpoint };
        let bytes = edited(request.encode().as_bytes(), &edits);
        if let Ok(request) = AddCheckpoint::parse(&bytes) {
            prop_assert_eq!(request.encode().into_bytes(), bytes);
        }
    }

    #[test]
    fn a_tile_path_is_accepted_only_as_it_is_written(edits in edits(), which in 0..4_usize) {
        let paths = ["tile/0/x001/x234/067", "tile/63/000.p/1", "tile/entries/999.p/255",
            "tile/7/x018/x446/x744/x073/x709/x551/615"];
        let path = edited(paths[which].as_bytes(), &edits);
        let path = String::from_utf8_lossy(&path).into_owned();
        if let Ok(tile) = path.parse::<TileId>() {
            prop_assert_eq!(tile.to_string(), path);
        }
    }

    #[test]
    fn bundles_and_tiles_are_accepted_only_as_they_are_written(
        records in vec(vec(any::<u8>(), 0..9), 1..9),
        edits in edits(),
        width in any::<u16>(),
    ) {
        let whole = encode_bundle(records.iter().map(Vec::as_slice)).unwrap();
        prop_assert_eq!(decode_bundle(&whole, records.len() as u16).unwrap(), records.clone());
        let bytes = edited(&whole, &edits);
        for width in [width, width % 10] {
            if let Ok(records) = decode_bundle(&bytes, width) {
                prop_assert_eq!(records.len(), usize::from(width));
                prop_assert_eq!(encode_bundle(records).unwrap(), bytes.clone());
            }
        }
        let tile = TileHashes::new(hashes(records.len() as u8)).unwrap();
        let bytes = edited(&tile.encode(), &edits);
        if let Ok(tile) = TileHashes::decode(&bytes) {
            prop_assert_eq!(tile.encode(), bytes);
        }
    }

    #[test]
    fn any_bytes_are_judged_without_panic(bytes in vec(any::<u8>(), 0..300), width in any::<u16>()) {
        let _ = (Note::parse(&bytes), Receipt::parse(&bytes), AddCheckpoint::parse(&bytes));
        let _ = (decode_bundle(&bytes, width), TileHashes::decode(&bytes));
        let text = String::from_utf8_lossy(&bytes);
        let _ = (Checkpoint::parse(&text), text.parse::<TileId>(), text.parse::<NoteVerifier>());
    }

    #[test]
    fn any_proof_is_judged_without_panic(
        (old, new, index) in any::<(u64, u64, u64)>(),
        proof in vec(any::<[u8; 32]>(), 0..70),
    ) {
        let proof: Vec<_> = proof.into_iter().map(LeafHash::from_bytes).collect();
        let (root, leaf) = (leaf_hash(b"root"), leaf_hash(b"leaf"));
        let (old, new) = (TreeHead { size: old, root }, TreeHead { size: new, root });
        let _ = verify_consistency(&old, &new, &proof);
        let _ = verify_inclusion(&new, Seq(index), &leaf, &proof);
    }
}
