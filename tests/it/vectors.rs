//! Public test vectors of the formats, when they are at hand: `PUBLIC_VECTORS` names a
//! directory with `merkle/` (proof cases), `golden-log/` (a small log) and two worked files.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Once;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use token_ledger::crypto::note::Note;
use token_ledger::crypto::note_key::NoteVerifier;
use token_ledger::crypto::note_signer::{Cosigner, NoteSigner};
use token_ledger::log::bundle::{decode_bundle, encode_bundle};
use token_ledger::log::checkpoint::{Checkpoint, Origin};
use token_ledger::log::leaf::leaf_hash;
use token_ledger::log::proof::{verify_consistency, verify_inclusion};
use token_ledger::log::receipt::Receipt;
use token_ledger::log::tile::{TileId, TileKind, tiles_between};
use token_ledger::log::tile_hashes::TileHashes;
use token_ledger::log::tree::{Frontier, TreeHead};
use token_ledger::log::witness::AddCheckpoint;
use token_ledger::types::digest::LeafHash;
use token_ledger::types::id::Seq;
use token_ledger::types::secret::Secret;
use token_ledger::types::time::Timestamp;

const LEAVES: [&str; 15] = [
    "one", "two", "three", "four", "five", "six", "seven", "eit", "nain", "ten", "ileven", "twelf",
    "threeten", "fourten", "fivten",
];
const LOG_SKEY: &str =
    "PRIVATE+KEY+example.com/log/testdata+33d7b496+AeymY/SZAX0jZcJ8enZ5FY1Dz+wTML2yWSkK+9DSF3eg";
pub(crate) const LOG_VKEY: &str =
    "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx";
const WITNESS_VKEY: &str = "witness+24b37851+BNYV1Ztajd9BvyjP2HgpwrqYL6TjOwIjGMOq8Bu42xbN";
/// The published test key of that witness, in its older type 0x01; the seed is the same.
pub(crate) const WITNESS_SKEY: &str =
    "PRIVATE+KEY+witness+f13a86db+AaLa/dfyBhyo/m0Z7WCi98ENVZWtrP8pxgRNrx7tIWiA";
pub(crate) const COSIGNED_AT: Timestamp = Timestamp::from_seconds(1_679_315_147);

/// The directory of the vectors; `None`, said aloud, when none is named.
pub(crate) fn vectors() -> Option<PathBuf> {
    let named = std::env::var_os("PUBLIC_VECTORS").filter(|name| !name.is_empty());
    if named.is_none() {
        // Past the capture of the test harness, so that nobody takes a skip for a pass; and once.
        static SAID: Once = Once::new();
        let line = "skipped: PUBLIC_VECTORS names no directory with the public vectors\n";
        SAID.call_once(|| std::io::stderr().write_all(line.as_bytes()).unwrap());
    }
    named.map(PathBuf::from)
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn text(path: &Path) -> String {
    String::from_utf8(read(path)).unwrap()
}

fn json_files(directory: &Path, found: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(directory);
    for entry in entries.unwrap_or_else(|error| panic!("{}: {error}", directory.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            json_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "json") {
            found.push(path);
        }
    }
}

/// A base64 field that should be a hash, but in some negative cases is not.
#[derive(Deserialize)]
#[serde(transparent)]
struct Field(String);

impl Field {
    /// The hash. For bytes of another length, which our types cannot hold, a stand-in that equals
    /// the stand-in of the same bytes in the same `role` only, so that the verifier has to judge.
    fn hash(&self, role: u8) -> LeafHash {
        let bytes = STANDARD.decode(&self.0).unwrap();
        LeafHash::from_bytes(bytes.try_into().unwrap_or_else(|short: Vec<u8>| {
            assert!(short.len() < 31, "a stand-in must keep all bytes");
            let mut hash = [role; 32];
            hash[0] = short.len() as u8;
            hash[1..=short.len()].copy_from_slice(&short);
            hash
        }))
    }
}

fn hashes(proof: Option<Vec<Field>>) -> Vec<LeafHash> {
    proof.unwrap_or_default().iter().map(|field| field.hash(b'p')).collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct InclusionCase {
    leaf_idx: u64,
    tree_size: u64,
    root: Field,
    leaf_hash: Field,
    proof: Option<Vec<Field>>,
    #[serde(rename = "desc")]
    _description: String,
    want_err: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ConsistencyCase {
    size1: u64,
    size2: u64,
    root1: Field,
    root2: Field,
    proof: Option<Vec<Field>>,
    #[serde(rename = "desc")]
    _description: String,
    want_err: bool,
}

#[test]
fn all_98_inclusion_cases_are_judged_as_published() {
    let Some(vectors) = vectors() else { return };
    let mut files = Vec::new();
    json_files(&vectors.join("merkle/inclusion"), &mut files);
    assert_eq!(files.len(), 98);
    for file in files {
        let case: InclusionCase = serde_json::from_slice(&read(&file)).unwrap();
        let head = TreeHead { size: case.tree_size, root: case.root.hash(b'r') };
        let (leaf, proof) = (case.leaf_hash.hash(b'l'), hashes(case.proof));
        let found = verify_inclusion(&head, Seq(case.leaf_idx), &leaf, &proof);
        assert_eq!(found.is_err(), case.want_err, "{}: {found:?}", file.display());
    }
}

#[test]
fn all_98_consistency_cases_are_judged_as_published() {
    let Some(vectors) = vectors() else { return };
    let mut files = Vec::new();
    json_files(&vectors.join("merkle/consistency"), &mut files);
    assert_eq!(files.len(), 98);
    for file in files {
        let case: ConsistencyCase = serde_json::from_slice(&read(&file)).unwrap();
        let old = TreeHead { size: case.size1, root: case.root1.hash(b'r') };
        let new = TreeHead { size: case.size2, root: case.root2.hash(b'r') };
        let found = verify_consistency(&old, &new, &hashes(case.proof));
        assert_eq!(found.is_err(), case.want_err, "{}: {found:?}", file.display());
    }
}

fn origin() -> Origin {
    "example.com/log/testdata".parse().unwrap()
}

fn log() -> NoteSigner {
    NoteSigner::decode(&Secret::new(LOG_SKEY.into())).unwrap()
}

fn head(size: usize) -> TreeHead {
    let mut frontier = Frontier::default();
    LEAVES[..size].iter().for_each(|leaf| frontier.append(leaf_hash(leaf.as_bytes())));
    frontier.head()
}

#[test]
fn the_golden_checkpoints_are_reproduced_byte_for_byte() {
    let Some(vectors) = vectors() else { return };
    let (golden, log) = (vectors.join("golden-log"), log());
    assert_eq!(log.verifier().to_string(), LOG_VKEY);
    let vkey: NoteVerifier = LOG_VKEY.parse().unwrap();
    for size in 0..=LEAVES.len() {
        let published = text(&golden.join(format!("checkpoint.{size}")));
        let checkpoint = Checkpoint { origin: origin(), head: head(size) };
        assert_eq!(checkpoint.sign(&log).encode(), published, "size {size}");
        let note = Note::parse(published.as_bytes()).unwrap();
        let opened = Checkpoint::open(&note, &origin(), &vkey, &[]).unwrap();
        assert_eq!(opened.checkpoint, checkpoint);
    }
    assert_eq!(read(&golden.join("checkpoint")), read(&golden.join("checkpoint.15")));
}

#[test]
fn the_golden_tiles_and_bundles_are_reproduced_byte_for_byte() {
    let Some(vectors) = vectors() else { return };
    let golden = vectors.join("golden-log");
    let mut seen = BTreeSet::new();
    for size in 1..=LEAVES.len() {
        for tile in tiles_between(size as u64 - 1, size as u64) {
            let bytes = read(&golden.join(tile.to_string()));
            let leaves = &LEAVES[..size];
            match tile.kind() {
                TileKind::Entries => {
                    let records: Vec<&[u8]> = leaves.iter().map(|leaf| leaf.as_bytes()).collect();
                    assert_eq!(decode_bundle(&bytes, tile.width()), Ok(records.clone()));
                    assert_eq!(encode_bundle(records), Ok(bytes));
                }
                TileKind::Hashes(_) => {
                    let expected: Vec<_> =
                        leaves.iter().map(|leaf| leaf_hash(leaf.as_bytes())).collect();
                    let hashes = TileHashes::decode(&bytes).unwrap();
                    assert_eq!(hashes.hashes(), expected);
                    assert_eq!(hashes.encode(), bytes);
                }
            }
            seen.insert(tile);
        }
    }
    // Nothing is published that was not expected: one bundle and one tile a size.
    assert_eq!(seen.len(), 30);
    for directory in ["tile/entries/000.p", "tile/0/000.p"] {
        for entry in std::fs::read_dir(golden.join(directory)).unwrap() {
            let path = entry.unwrap().path();
            let path = path.strip_prefix(&golden).unwrap().to_str().unwrap();
            assert!(seen.contains(&path.parse::<TileId>().unwrap()), "{path}");
        }
    }
}

#[test]
fn the_worked_receipt_is_read_verified_and_written_again() {
    let Some(vectors) = vectors() else { return };
    let bytes = read(&vectors.join("worked.tlog-proof"));
    let receipt = Receipt::parse(&bytes).unwrap();
    assert_eq!(receipt.encode().as_bytes(), bytes);
    assert_eq!((receipt.index, receipt.proof.len()), (Seq(2), 3));
    let (log, witness) = (log(), WITNESS_VKEY.parse::<NoteVerifier>().unwrap());
    let keys = std::slice::from_ref(&witness);
    let opened = receipt.verify(b"three", &origin(), log.verifier(), keys).unwrap();
    assert_eq!(opened.checkpoint.head, head(5));
    assert_eq!(opened.cosignatures.len(), 1);
    assert_eq!(opened.cosignatures[0].at, Some(COSIGNED_AT));
    for other in ["two", "four", "Three", ""] {
        assert!(receipt.verify(other.as_bytes(), &origin(), log.verifier(), keys).is_err());
    }
}

#[test]
fn the_worked_cosignature_is_reproduced_byte_for_byte() {
    let Some(vectors) = vectors() else { return };
    let receipt = Receipt::parse(&read(&vectors.join("worked.tlog-proof"))).unwrap();
    let published = receipt.checkpoint.signatures().last().unwrap();
    let seed = STANDARD.decode(WITNESS_SKEY.rsplit_once('+').unwrap().1).unwrap();
    let witness = Cosigner::new("witness".parse().unwrap(), seed[1..].try_into().unwrap());
    assert_eq!(witness.verifier().to_string(), WITNESS_VKEY);
    assert_eq!(witness.cosign(receipt.checkpoint.text(), COSIGNED_AT), *published);
}

#[test]
fn the_worked_witness_request_is_read_verified_and_written_again() {
    let Some(vectors) = vectors() else { return };
    let bytes = read(&vectors.join("worked.add-checkpoint"));
    let request = AddCheckpoint::parse(&bytes).unwrap();
    assert_eq!(request.encode().as_bytes(), bytes);
    assert_eq!(request.old_size, 5);
    let log = log();
    let opened = Checkpoint::open(&request.checkpoint, &origin(), log.verifier(), &[]).unwrap();
    let new = opened.checkpoint.head;
    assert_eq!(new, head(15));
    assert_eq!(verify_consistency(&head(5), &new, &request.proof), Ok(()));
    assert!(verify_consistency(&head(4), &new, &request.proof).is_err());
}
