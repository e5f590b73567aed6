//! Checking proofs of the Merkle tree (RFC 9162 sections 2.1.3.2 and 2.1.4.2), as any auditor
//! would: from the heads and the proof alone, in at most 64 steps.

use crate::types::digest::LeafHash;
use crate::types::id::Seq;

use super::leaf::{NodeHash, empty_root, node_hash};
use super::tree::TreeHead;

/// What a proof fails to prove. None of them is worth a retry with the same proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The leaf is beyond the tree.
    #[error("leaf {index} is not in a tree of {size}")]
    NoSuchLeaf {
        /// The leaf that was to be in the tree.
        index: u64,
        /// The size of the tree.
        size: u64,
    },
    /// The new tree is smaller than the old one.
    #[error("a tree of {new} does not extend one of {old}")]
    Shrunk {
        /// The size of the old tree.
        old: u64,
        /// The size of the new tree.
        new: u64,
    },
    /// Everything extends the empty tree, so there is nothing to prove.
    #[error("a proof from the empty tree proves nothing")]
    FromEmpty,
    /// A tree without leaves whose root is not the hash of nothing.
    #[error("the root of an empty tree is the hash of nothing")]
    EmptyRoot,
    /// The path does not reach the root.
    #[error("the proof has too few hashes")]
    TooShort,
    /// Hashes are left when the root is reached.
    #[error("the proof has too many hashes")]
    TooLong,
    /// The proof leads to another root than the (new) tree has.
    #[error("the proof leads to another root")]
    Root,
    /// The proof starts from another old tree: the log was forked, or the proof is wrong.
    #[error("the proof starts from another old root")]
    OldRoot,
}

/// Checks that the leaf with hash `leaf` stands at `index` in the tree of `head`
/// (RFC 9162 section 2.1.3.2).
///
/// # Errors
/// [`ProofError`]: it is not shown that the leaf is there.
pub fn verify_inclusion(
    head: &TreeHead,
    index: Seq,
    leaf: &LeafHash,
    proof: &[NodeHash],
) -> Result<(), ProofError> {
    if head.size <= index.0 {
        return Err(ProofError::NoSuchLeaf { index: index.0, size: head.size });
    }
    let mut path = Path { node: index.0, last: head.size - 1 };
    let mut root = *leaf;
    for sibling in proof {
        root = match path.climb()? {
            Side::Left => node_hash(sibling, &root),
            Side::Right => node_hash(&root, sibling),
        };
    }
    path.arrived()?;
    if root == head.root { Ok(()) } else { Err(ProofError::Root) }
}

/// Checks that the tree of `new` extends the tree of `old` (RFC 9162 section 2.1.4.2). Equal sizes
/// need equal roots and no proof; from an empty `old` only the empty tree follows, since a
/// proof of more would prove nothing.
///
/// # Errors
/// [`ProofError`]: it is not shown that `new` extends `old`. With equal sizes
/// [`ProofError::Root`] is a fork.
pub fn verify_consistency(
    old: &TreeHead,
    new: &TreeHead,
    proof: &[NodeHash],
) -> Result<(), ProofError> {
    if new.size < old.size {
        return Err(ProofError::Shrunk { old: old.size, new: new.size });
    }
    if old.size == 0 {
        return verify_from_empty(old, new, proof);
    }
    if old.size == new.size {
        return match proof {
            [] if old.root == new.root => Ok(()),
            [] => Err(ProofError::Root),
            [_, ..] => Err(ProofError::TooLong),
        };
    }
    // A complete old tree is a node of the new one, and its hash is left out of the proof.
    let (seed, rest) = match proof.split_first() {
        None => return Err(ProofError::TooShort),
        Some(_) if old.size.is_power_of_two() => (&old.root, proof),
        Some((first, rest)) => (first, rest),
    };
    let mut path = Path { node: old.size - 1, last: new.size - 1 };
    path.skip(path.node.trailing_ones());
    let (mut old_root, mut new_root) = (*seed, *seed);
    for sibling in rest {
        match path.climb()? {
            Side::Left => {
                old_root = node_hash(sibling, &old_root);
                new_root = node_hash(sibling, &new_root);
            }
            Side::Right => new_root = node_hash(&new_root, sibling),
        }
    }
    path.arrived()?;
    if old_root != old.root {
        return Err(ProofError::OldRoot);
    }
    if new_root == new.root { Ok(()) } else { Err(ProofError::Root) }
}

fn verify_from_empty(old: &TreeHead, new: &TreeHead, proof: &[NodeHash]) -> Result<(), ProofError> {
    if !proof.is_empty() {
        return Err(ProofError::TooLong);
    }
    if old.root != empty_root() {
        return Err(ProofError::EmptyRoot);
    }
    if 0 < new.size {
        return Err(ProofError::FromEmpty);
    }
    if new.root == old.root { Ok(()) } else { Err(ProofError::EmptyRoot) }
}

/// On which side of the path the next hash of a proof stands.
enum Side {
    Left,
    Right,
}

/// The way from a node to the root, beside the last node of each level (`fn` and `sn` in RFC 9162).
struct Path {
    node: u64,
    last: u64,
}

impl Path {
    /// Goes up by one sibling.
    fn climb(&mut self) -> Result<Side, ProofError> {
        if self.last == 0 {
            return Err(ProofError::TooLong);
        }
        let side = if self.node & 1 == 1 || self.node == self.last {
            // The last node of a level without a right sibling is the node of the next level.
            if self.node & 1 == 0 {
                self.skip(self.node.trailing_zeros());
            }
            Side::Left
        } else {
            Side::Right
        };
        self.skip(1);
        Ok(side)
    }

    /// Goes up by `levels` levels that have no hash in the proof.
    fn skip(&mut self, levels: u32) {
        self.node = self.node.checked_shr(levels).unwrap_or(0);
        self.last = self.last.checked_shr(levels).unwrap_or(0);
    }

    fn arrived(&self) -> Result<(), ProofError> {
        if self.last == 0 { Ok(()) } else { Err(ProofError::TooShort) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::leaf::leaf_hash;

    fn head(size: u64, root: NodeHash) -> TreeHead {
        TreeHead { size, root }
    }

    #[test]
    fn a_proof_says_what_is_wrong_with_it() {
        let (a, b, c) = (leaf_hash(b"a"), leaf_hash(b"b"), leaf_hash(b"c"));
        let ab = node_hash(&a, &b);
        let (two, three) = (head(2, ab), head(3, node_hash(&ab, &c)));
        let inclusion = |head, index, proof: &[_]| verify_inclusion(head, Seq(index), &c, proof);
        assert_eq!(inclusion(&three, 2, &[ab]), Ok(()));
        assert_eq!(inclusion(&three, 3, &[ab]), Err(ProofError::NoSuchLeaf { index: 3, size: 3 }));
        assert_eq!(inclusion(&three, 2, &[]), Err(ProofError::TooShort));
        assert_eq!(inclusion(&three, 2, &[ab, ab]), Err(ProofError::TooLong));
        assert_eq!(inclusion(&three, 2, &[a]), Err(ProofError::Root));

        assert_eq!(verify_consistency(&two, &three, &[c]), Ok(()));
        let shrunk = ProofError::Shrunk { old: 3, new: 2 };
        assert_eq!(verify_consistency(&three, &two, &[c]), Err(shrunk));
        assert_eq!(verify_consistency(&two, &three, &[]), Err(ProofError::TooShort));
        assert_eq!(verify_consistency(&two, &three, &[c, c]), Err(ProofError::TooLong));
        assert_eq!(verify_consistency(&two, &three, &[b]), Err(ProofError::Root));
        assert_eq!(verify_consistency(&two, &two, &[]), Ok(()));
        assert_eq!(verify_consistency(&two, &two, &[c]), Err(ProofError::TooLong));
        assert_eq!(verify_consistency(&two, &head(2, a), &[]), Err(ProofError::Root));
        // Old size 3 of 4 is no node of the new tree, so its root is computed from the proof.
        let four = head(4, node_hash(&ab, &node_hash(&c, &a)));
        assert_eq!(verify_consistency(&three, &four, &[c, a, ab]), Ok(()));
        let forked = head(3, ab);
        assert_eq!(verify_consistency(&forked, &four, &[c, a, ab]), Err(ProofError::OldRoot));
    }

    #[test]
    fn the_empty_tree_proves_nothing_and_has_one_root() {
        let (empty, one) = (head(0, empty_root()), head(1, leaf_hash(b"a")));
        assert_eq!(verify_consistency(&empty, &empty, &[]), Ok(()));
        assert_eq!(verify_consistency(&empty, &one, &[]), Err(ProofError::FromEmpty));
        assert_eq!(verify_consistency(&empty, &one, &[one.root]), Err(ProofError::TooLong));
        let wrong = head(0, one.root);
        assert_eq!(verify_consistency(&wrong, &wrong, &[]), Err(ProofError::EmptyRoot));
        assert_eq!(verify_consistency(&empty, &wrong, &[]), Err(ProofError::EmptyRoot));
    }

    #[test]
    fn a_proof_of_any_length_ends_after_64_steps() {
        let endless = vec![leaf_hash(b"x"); 1000];
        for size in [u64::MAX, 1 << 63, 3] {
            let head = head(size, leaf_hash(b"r"));
            for index in [0, 1, size / 2, size - 1] {
                let found = verify_inclusion(&head, Seq(index), &endless[0], &endless);
                assert_eq!(found, Err(ProofError::TooLong));
                if 0 < index {
                    let old = TreeHead { size: index, root: endless[0] };
                    let found = verify_consistency(&old, &head, &endless);
                    assert_eq!(found, Err(ProofError::TooLong));
                }
            }
        }
    }
}
