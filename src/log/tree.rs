//! The Merkle tree over the records (RFC 6962 section 2.1): growing it, and making proofs from its
//! stored nodes. It never needs a record again once its leaf hash is known.

use crate::types::digest::LeafHash;
use crate::types::id::Seq;

use super::leaf::{NodeHash, empty_root, node_hash};
use super::lines::encode_hash;

/// The tree at one moment: how many leaves, and the root over them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeHead {
    /// How many leaves the tree has.
    pub size: u64,
    /// The root over them; the hash of nothing for size 0.
    pub root: NodeHash,
}

impl TreeHead {
    /// The root as a checkpoint writes it: base64 with padding (RFC 4648 section 4).
    pub fn root_text(&self) -> String {
        hash_text(&self.root)
    }
}

/// A hash as C2SP writes it: base64 with padding (RFC 4648 section 4).
pub fn hash_text(hash: &NodeHash) -> String {
    encode_hash(hash)
}

/// A node over `2^level` leaves: those from `index * 2^level` on. Only such nodes are ever stored,
/// since they never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeAt {
    /// The height: 0 for a leaf, at most 63.
    pub level: u8,
    /// The position among the nodes of that height, from 0.
    pub index: u64,
}

/// Why there is no proof, or no root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError<E> {
    /// The leaf is not in a tree of that size. Ask for a later size, or an earlier leaf.
    #[error("leaf {index} is not in a tree of {size}")]
    NoSuchLeaf {
        /// The leaf asked for.
        index: u64,
        /// The size asked for.
        size: u64,
    },
    /// A tree cannot extend a larger one. Ask for the sizes in order.
    #[error("a tree of {new} does not extend one of {old}")]
    NoSuchExtension {
        /// The size to start from.
        old: u64,
        /// The size to arrive at.
        new: u64,
    },
    /// The reader had no such node.
    #[error(transparent)]
    Read(#[from] E),
}

/// The right edge of a growing tree: the roots of its complete subtrees, at most 64, largest first.
/// Enough to append and to tell the root.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    nodes: Vec<NodeHash>,
}

impl Frontier {
    /// How many leaves the tree has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the complete subtrees, largest first: one for each bit of the size.
    pub fn nodes(&self) -> &[NodeHash] {
        &self.nodes
    }

    /// The frontier with these `nodes`, as [`Frontier::nodes`] gave them; `None` for another
    /// number of nodes than a tree of `size` has.
    pub fn from_nodes(size: u64, nodes: Vec<NodeHash>) -> Option<Self> {
        let expected = usize::try_from(size.count_ones()).ok()?;
        (nodes.len() == expected).then_some(Self { size, nodes })
    }

    /// The frontier of a tree of `size`, from its stored nodes: at most 64 reads.
    ///
    /// # Errors
    /// What `read` answered; a retry may read again.
    pub fn rebuild<E>(
        size: u64,
        mut read: impl FnMut(NodeAt) -> Result<NodeHash, E>,
    ) -> Result<Self, E> {
        let nodes = complete_subtrees(0, size).map(&mut read).collect::<Result<_, E>>()?;
        Ok(Self { size, nodes })
    }

    /// Adds a leaf: one node hash, amortised.
    pub fn append(&mut self, leaf: LeafHash) {
        self.append_with(leaf, |_, _| {});
    }

    /// Adds a leaf, and tells `completed` of each node that is complete by it: the leaf first, then
    /// upwards. A store of tiles keeps those whose level is a multiple of 8.
    pub fn append_with(&mut self, leaf: LeafHash, mut completed: impl FnMut(NodeAt, NodeHash)) {
        let (mut at, mut node) = (NodeAt { level: 0, index: self.size }, leaf);
        completed(at, node);
        // An odd position is a right child: its left sibling is the last node of the frontier.
        while at.index & 1 == 1
            && let Some(left) = self.nodes.pop()
        {
            node = node_hash(&left, &node);
            at = NodeAt { level: at.level + 1, index: at.index >> 1 };
            completed(at, node);
        }
        self.nodes.push(node);
        self.size += 1;
    }

    /// The root over all leaves.
    pub fn root(&self) -> NodeHash {
        fold(&self.nodes)
    }

    /// Size and root together.
    pub fn head(&self) -> TreeHead {
        TreeHead { size: self.size, root: self.root() }
    }
}

/// The root of the tree of the first `size` leaves, from its stored nodes.
///
/// # Errors
/// What `read` answered; a retry may read again.
pub fn root_of<E>(
    size: u64,
    read: impl FnMut(NodeAt) -> Result<NodeHash, E>,
) -> Result<NodeHash, E> {
    Frontier::rebuild(size, read).map(|frontier| frontier.root())
}

/// The proof that leaf `index` is in the tree of the first `size` leaves: the siblings from the
/// leaf to the root (RFC 9162 section 2.1.3.1), at most 64.
///
/// # Errors
/// [`TreeError::NoSuchLeaf`], or what `read` answered.
pub fn inclusion_proof<E>(
    index: Seq,
    size: u64,
    mut read: impl FnMut(NodeAt) -> Result<NodeHash, E>,
) -> Result<Vec<NodeHash>, TreeError<E>> {
    if size <= index.0 {
        return Err(TreeError::NoSuchLeaf { index: index.0, size });
    }
    let (mut from, mut to) = (0, size);
    let mut proof = Vec::new();
    while 1 < to - from {
        let middle = from + split(to - from);
        if index.0 < middle {
            proof.push(subtree(middle, to, &mut read)?);
            to = middle;
        } else {
            proof.push(subtree(from, middle, &mut read)?);
            from = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// The proof that the tree of the first `new` leaves extends the tree of the first `old`
/// (RFC 9162 section 2.1.4.1), at most 64 hashes. Empty when the sizes are equal or `old` is 0.
///
/// # Errors
/// [`TreeError::NoSuchExtension`] when `new < old`, or what `read` answered.
pub fn consistency_proof<E>(
    old: u64,
    new: u64,
    mut read: impl FnMut(NodeAt) -> Result<NodeHash, E>,
) -> Result<Vec<NodeHash>, TreeError<E>> {
    if new < old {
        return Err(TreeError::NoSuchExtension { old, new });
    }
    if old == 0 {
        return Ok(Vec::new());
    }
    let (mut from, mut to) = (0, new);
    let mut proof = Vec::new();
    while old < to {
        let middle = from + split(to - from);
        if old <= middle {
            proof.push(subtree(middle, to, &mut read)?);
            to = middle;
        } else {
            proof.push(subtree(from, middle, &mut read)?);
            from = middle;
        }
    }
    // From 0 on, what is left is the old tree itself, whose root the verifier has.
    if 0 < from {
        proof.push(subtree(from, to, &mut read)?);
    }
    proof.reverse();
    Ok(proof)
}

/// The largest power of two below `leaves`, where RFC 6962 splits a tree of two or more.
fn split(leaves: u64) -> u64 {
    1 << (leaves - 1).ilog2()
}

/// The hash over the leaves `from..to`, a subtree of some RFC 6962 tree.
fn subtree<E>(
    from: u64,
    to: u64,
    read: &mut impl FnMut(NodeAt) -> Result<NodeHash, E>,
) -> Result<NodeHash, TreeError<E>> {
    let nodes = complete_subtrees(from, to).map(read).collect::<Result<Vec<_>, E>>()?;
    Ok(fold(&nodes))
}

/// The largest complete subtrees that make up the leaves `from..to`, from left to right. Trees are
/// split at powers of two, so `from` is always a multiple of the first and thus of each of them.
fn complete_subtrees(mut from: u64, to: u64) -> impl Iterator<Item = NodeAt> {
    std::iter::from_fn(move || {
        let level = (to - from).checked_ilog2()?;
        let node = NodeAt { level: u8::try_from(level).ok()?, index: from >> level };
        from += 1 << level;
        Some(node)
    })
}

/// The root over complete subtrees that shrink from left to right.
fn fold(nodes: &[NodeHash]) -> NodeHash {
    let folded = nodes.iter().rev().copied().reduce(|right, left| node_hash(&left, &right));
    folded.unwrap_or_else(empty_root)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::leaf::leaf_hash;

    #[test]
    fn a_frontier_has_one_node_for_each_bit_of_its_size() {
        let mut frontier = Frontier::default();
        assert_eq!(frontier.root(), empty_root());
        for size in 1..=300_u64 {
            frontier.append(leaf_hash(&size.to_be_bytes()));
            assert_eq!(frontier.size(), size);
            assert_eq!(frontier.nodes().len() as u32, size.count_ones());
            let again = Frontier::from_nodes(size, frontier.nodes().to_vec());
            assert_eq!(again.as_ref(), Some(&frontier));
            assert_eq!(Frontier::from_nodes(size + 1, frontier.nodes().to_vec()).is_some(), {
                size.count_ones() == (size + 1).count_ones()
            });
        }
    }

    #[test]
    fn the_completed_nodes_are_told_from_the_leaf_upwards() {
        let (mut frontier, mut told) = (Frontier::default(), Vec::new());
        for size in 0..4_u64 {
            frontier.append_with(leaf_hash(&[]), |at, _| told.push((size, at.level, at.index)));
        }
        let expected =
            [(0, 0, 0), (1, 0, 1), (1, 1, 0), (2, 0, 2), (3, 0, 3), (3, 1, 1), (3, 2, 0)];
        assert_eq!(told, expected);
    }

    #[test]
    fn the_largest_sizes_ask_for_few_nodes_and_do_not_overflow() {
        let mut reads = 0;
        let mut read = |at: NodeAt| {
            reads += 1;
            assert!(at.level < 64);
            Ok::<_, std::convert::Infallible>(leaf_hash(&[]))
        };
        for size in [1 << 63, u64::MAX - 1, u64::MAX] {
            assert!(Frontier::rebuild(size, &mut read).is_ok());
            for index in [0, size / 2, size - 1] {
                let proof = inclusion_proof(Seq(index), size, &mut read).expect("a proof");
                assert!(proof.len() <= 64);
                let proof = consistency_proof(index + 1, size, &mut read).expect("a proof");
                assert!(proof.len() <= 64);
            }
        }
        assert!(reads < 3_000, "{reads}");
    }

    #[test]
    fn there_is_no_proof_of_what_is_not_there() {
        let read = |_| Ok::<_, std::convert::Infallible>(leaf_hash(&[]));
        let outside = inclusion_proof(Seq(5), 5, read);
        assert_eq!(outside, Err(TreeError::NoSuchLeaf { index: 5, size: 5 }));
        let shrunk = consistency_proof(6, 5, read);
        assert_eq!(shrunk, Err(TreeError::NoSuchExtension { old: 6, new: 5 }));
        assert_eq!(consistency_proof(0, 5, read), Ok(Vec::new()));
        assert_eq!(consistency_proof(5, 5, read), Ok(Vec::new()));
    }

    #[test]
    fn a_reader_that_fails_fails_the_proof() {
        let read = |at: NodeAt| if at.level == 1 { Err("lost") } else { Ok(leaf_hash(&[])) };
        assert_eq!(inclusion_proof(Seq(0), 4, read), Err(TreeError::Read("lost")));
        assert_eq!(root_of(2, read), Err("lost"));
        assert!(root_of(1, read).is_ok());
    }
}
