//! The tree, its proofs and its tiles against the recursive definition of RFC 6962 section 2.1.

use std::collections::BTreeMap;
use std::convert::Infallible;

use token_ledger::log::leaf::{NodeHash, empty_root, leaf_hash, node_hash};
use token_ledger::log::proof::{ProofError, verify_consistency, verify_inclusion};
use token_ledger::log::tile::{TileId, TileKind, tiles_between};
use token_ledger::log::tile_hashes::{TileHashes, TileReader};
use token_ledger::log::tree::{
    Frontier, NodeAt, TreeHead, consistency_proof, inclusion_proof, root_of,
};
use token_ledger::types::digest::LeafHash;
use token_ledger::types::id::Seq;

fn leaves(count: u64) -> Vec<LeafHash> {
    (0..count).map(|i| leaf_hash(format!("record {i}").as_bytes())).collect()
}

/// MTH of RFC 6962 section 2.1, word for word.
pub(crate) fn mth(leaves: &[LeafHash]) -> NodeHash {
    match leaves {
        [] => empty_root(),
        [leaf] => *leaf,
        [..] => {
            let (left, right) = leaves.split_at(k(leaves.len()));
            node_hash(&mth(left), &mth(right))
        }
    }
}

/// PATH of RFC 6962 section 2.1.1.
fn path(m: usize, leaves: &[LeafHash]) -> Vec<NodeHash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(k(leaves.len()));
    let (mut proof, sibling) =
        if m < left.len() { (path(m, left), right) } else { (path(m - left.len(), right), left) };
    proof.push(mth(sibling));
    proof
}

/// SUBPROOF of RFC 6962 section 2.1.2.
fn subproof(m: usize, leaves: &[LeafHash], known: bool) -> Vec<NodeHash> {
    if m == leaves.len() {
        return if known { Vec::new() } else { vec![mth(leaves)] };
    }
    let (left, right) = leaves.split_at(k(leaves.len()));
    let (mut proof, sibling) = if m <= left.len() {
        (subproof(m, left, known), right)
    } else {
        (subproof(m - left.len(), right, false), left)
    };
    proof.push(mth(sibling));
    proof
}

fn k(n: usize) -> usize {
    n.next_power_of_two() / 2
}

/// Stored nodes, read by the same definition.
fn node(leaves: &[LeafHash]) -> impl Fn(NodeAt) -> Result<NodeHash, Infallible> + Copy {
    move |at| {
        let from = usize::try_from(at.index << at.level).unwrap();
        Ok(mth(&leaves[from..from + (1 << at.level)]))
    }
}

fn head(leaves: &[LeafHash]) -> TreeHead {
    TreeHead { size: leaves.len() as u64, root: mth(leaves) }
}

#[test]
fn every_root_is_the_one_of_the_definition() {
    let all = leaves(300);
    let mut frontier = Frontier::default();
    for size in 0..=all.len() {
        let expected = head(&all[..size]);
        assert_eq!(frontier.head(), expected, "size {size}");
        assert_eq!(root_of(expected.size, node(&all)), Ok(expected.root), "size {size}");
        assert_eq!(Frontier::rebuild(expected.size, node(&all)), Ok(frontier.clone()));
        if let Some(leaf) = all.get(size) {
            frontier.append(*leaf);
        }
    }
}

#[test]
fn every_inclusion_proof_is_the_one_of_the_definition_and_verifies() {
    let all = leaves(70);
    for size in 1..=all.len() {
        let (head, tree) = (head(&all[..size]), &all[..size]);
        for (index, leaf) in tree.iter().enumerate() {
            let seq = Seq(index as u64);
            let proof = inclusion_proof(seq, head.size, node(&all)).unwrap();
            assert_eq!(proof, path(index, tree), "{index} in {size}");
            assert_eq!(verify_inclusion(&head, seq, leaf, &proof), Ok(()), "{index} in {size}");
            for other in 0..=head.size {
                let found = verify_inclusion(&head, Seq(other), leaf, &proof);
                assert_eq!(found.is_ok(), other == seq.0, "{index} as {other} in {size}");
            }
            for shorter in 0..proof.len() {
                let found = verify_inclusion(&head, seq, leaf, &proof[..shorter]);
                assert_eq!(found, Err(ProofError::TooShort));
            }
        }
    }
}

#[test]
fn every_consistency_proof_is_the_one_of_the_definition_and_verifies() {
    let all = leaves(70);
    let heads: Vec<_> = (0..=all.len()).map(|size| head(&all[..size])).collect();
    for new in 1..=all.len() {
        for old in 1..=new {
            let (from, to) = (heads[old], heads[new]);
            let proof = consistency_proof(from.size, to.size, node(&all)).unwrap();
            assert_eq!(proof, subproof(old, &all[..new], true), "{old} to {new}");
            assert_eq!(verify_consistency(&from, &to, &proof), Ok(()), "{old} to {new}");
            let others = [old - 1, old ^ 1, old / 2, old + 1, new];
            for other in others.into_iter().filter(|other| *other != old && *other <= new) {
                let found = verify_consistency(&heads[other], &to, &proof);
                assert!(found.is_err(), "{old} as {other} to {new}");
            }
            let forked = TreeHead { root: leaf_hash(b"fork"), ..from };
            assert!(verify_consistency(&forked, &to, &proof).is_err(), "{old} to {new}");
            let forked = TreeHead { root: leaf_hash(b"fork"), ..to };
            assert!(verify_consistency(&from, &forked, &proof).is_err(), "{old} to {new}");
        }
    }
}

#[test]
fn every_flipped_bit_of_a_proof_is_noticed() {
    let all = leaves(21);
    let flips = |proof: &[NodeHash]| {
        let mutants = |i: usize, bit: usize| {
            let mut bytes = *proof[i].as_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let mut mutant = proof.to_vec();
            mutant[i] = LeafHash::from_bytes(bytes);
            mutant
        };
        let places = (0..proof.len()).flat_map(|i| (0..256).map(move |bit| (i, bit)));
        places.map(|(i, bit)| mutants(i, bit)).collect::<Vec<_>>()
    };
    let new = head(&all);
    for index in [0, 5, 16, 20] {
        let proof = inclusion_proof(Seq(index as u64), new.size, node(&all)).unwrap();
        for mutant in flips(&proof) {
            let found = verify_inclusion(&new, Seq(index as u64), &all[index], &mutant);
            assert_eq!(found, Err(ProofError::Root));
        }
    }
    for size in [1, 6, 8, 17, 20] {
        let old = head(&all[..size]);
        let proof = consistency_proof(old.size, new.size, node(&all)).unwrap();
        for mutant in flips(&proof) {
            assert!(verify_consistency(&old, &new, &mutant).is_err(), "{size}");
        }
    }
}

/// A store of tiles that grows as a log does: every step writes what `tiles_between` names.
#[derive(Default)]
struct Tiles {
    frontier: Frontier,
    nodes: BTreeMap<NodeAt, NodeHash>,
    files: BTreeMap<String, Vec<u8>>,
}

impl Tiles {
    fn append(&mut self, leaves: &[LeafHash]) {
        let old = self.frontier.size();
        for leaf in leaves {
            self.frontier.append_with(*leaf, |at, hash| {
                self.nodes.insert(at, hash);
            });
        }
        for tile in tiles_between(old, self.frontier.size()) {
            let TileKind::Hashes(level) = tile.kind() else { continue };
            let hashes = (0..u64::from(tile.width()))
                .map(|i| self.nodes[&NodeAt { level: level * 8, index: tile.start() + i }]);
            let hashes = TileHashes::new(hashes.collect()).unwrap();
            self.files.insert(tile.to_string(), hashes.encode());
        }
    }

    fn fetch(&self, tile: TileId) -> Result<TileHashes, String> {
        let bytes = self.files.get(&tile.to_string()).ok_or(format!("no {tile}"))?;
        TileHashes::decode(bytes).map_err(|error| error.to_string())
    }
}

#[test]
fn proofs_of_any_size_are_made_from_the_tiles_of_the_latest() {
    let all = leaves(66_000);
    let mut tiles = Tiles::default();
    for batch in all.chunks(701) {
        tiles.append(batch);
    }
    let latest = all.len() as u64;
    assert_eq!(tiles.frontier.root(), mth(&all));
    let full: Vec<_> = tiles.files.keys().filter(|path| !path.contains(".p/")).collect();
    assert_eq!(full.len(), 66_000 / 256 + 1);

    let mut reader = TileReader::new(latest, |tile| tiles.fetch(tile));
    for size in [1, 255, 256, 257, 511, 512, 513, 4_000, 65_535, 65_536, 65_537, latest] {
        let head = head(&all[..size as usize]);
        assert_eq!(root_of(size, |at| reader.read(at)), Ok(head.root), "{size}");
        for index in [0, size / 3, size / 2, size - 1] {
            let proof = inclusion_proof(Seq(index), size, |at| reader.read(at)).unwrap();
            let found = verify_inclusion(&head, Seq(index), &all[index as usize], &proof);
            assert_eq!(found, Ok(()), "{index} in {size}");
            let old = TreeHead { size: index + 1, root: mth(&all[..=index as usize]) };
            let proof = consistency_proof(old.size, size, |at| reader.read(at)).unwrap();
            assert_eq!(verify_consistency(&old, &head, &proof), Ok(()), "{index} to {size}");
        }
    }
}
