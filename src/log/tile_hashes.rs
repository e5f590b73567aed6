//! The hashes in a tile, and the nodes of the tree that can be told from them: so proofs for any
//! size are made without reading a record. Tiles are fetched by the caller.

use std::collections::BTreeMap;

use crate::types::digest::LeafHash;

use super::leaf::{NodeHash, node_hash};
use super::tile::{TILE_WIDTH, TileId};
use super::tree::NodeAt;

const HASH_BYTES: usize = 32;

/// The hashes of one tile: 1 to 256.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TileHashes(Vec<NodeHash>);

/// Why bytes, or hashes, are not those of a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a tile is 1 to 256 hashes of 32 bytes")]
pub struct NotTileHashes;

impl TileHashes {
    /// The tile of these hashes.
    ///
    /// # Errors
    /// [`NotTileHashes`], for none or more than 256.
    pub fn new(hashes: Vec<NodeHash>) -> Result<Self, NotTileHashes> {
        let fits = !hashes.is_empty() && hashes.len() <= usize::from(TILE_WIDTH);
        if fits { Ok(Self(hashes)) } else { Err(NotTileHashes) }
    }

    /// The hashes, in order.
    pub fn hashes(&self) -> &[NodeHash] {
        &self.0
    }

    /// The bytes of the tile: the hashes, one after the other.
    pub fn encode(&self) -> Vec<u8> {
        self.0.iter().flat_map(|hash| hash.as_bytes()).copied().collect()
    }

    /// The tile of these bytes.
    ///
    /// # Errors
    /// [`NotTileHashes`]: fetch it again, the bytes are no tile.
    pub fn decode(bytes: &[u8]) -> Result<Self, NotTileHashes> {
        if usize::from(TILE_WIDTH) * HASH_BYTES < bytes.len() {
            return Err(NotTileHashes);
        }
        let (hashes, rest) = bytes.as_chunks::<HASH_BYTES>();
        if !rest.is_empty() {
            return Err(NotTileHashes);
        }
        Self::new(hashes.iter().copied().map(LeafHash::from_bytes).collect())
    }

    /// The node over the `2^height` hashes from `offset` on; `None` when they are not all here. For
    /// a full tile, height 8 and offset 0 give its hash in the tile of the next level.
    pub fn node(&self, offset: u16, height: u8) -> Option<NodeHash> {
        let offset = usize::from(offset);
        let end = offset.checked_add(1_usize.checked_shl(u32::from(height))?)?;
        let mut level = self.0.get(offset..end)?.to_vec();
        while 1 < level.len() {
            let (pairs, _) = level.as_chunks::<2>();
            level = pairs.iter().map(|[left, right]| node_hash(left, right)).collect();
        }
        level.first().copied()
    }
}

/// Why a node cannot be read from tiles.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TileReadError<E> {
    /// A tree of that size has no such node: the caller asked for a larger tree than there is.
    #[error("a tree of {size} has no node {index} of level {level}")]
    NoSuchNode {
        /// The size of the tree.
        size: u64,
        /// The level of the node.
        level: u8,
        /// The position of the node in its level.
        index: u64,
    },
    /// The tile that was fetched has fewer hashes than the tree.
    #[error("{tile} has too few hashes")]
    Narrow {
        /// The tile.
        tile: TileId,
    },
    /// The tile could not be fetched.
    #[error("{tile} cannot be read")]
    Fetch {
        /// The tile.
        tile: TileId,
        /// Why.
        source: E,
    },
}

/// Reads nodes of a tree of a given size from its tiles. It keeps each tile that it fetched: make
/// one for each proof, and drop it.
pub struct TileReader<F> {
    size: u64,
    fetch: F,
    fetched: BTreeMap<TileId, TileHashes>,
}

impl<F> TileReader<F> {
    /// A reader of the tree of `size`. `fetch` is asked for the widest tile that this tree has, and
    /// may give a wider one of the same level and index. A proof for any smaller size can be read
    /// from it, so partial tiles of smaller sizes need not be kept.
    pub fn new(size: u64, fetch: F) -> Self {
        Self { size, fetch, fetched: BTreeMap::new() }
    }

    /// The hash of the node at `at`.
    ///
    /// # Errors
    /// [`TileReadError`]: the node is not in the tree, or its tile is not in the store.
    pub fn read<E>(&mut self, at: NodeAt) -> Result<NodeHash, TileReadError<E>>
    where
        F: FnMut(TileId) -> Result<TileHashes, E>,
    {
        let (size, NodeAt { level, index }) = (self.size, at);
        let (tile, offset) =
            TileId::of_node(at, size).ok_or(TileReadError::NoSuchNode { size, level, index })?;
        if !self.fetched.contains_key(&tile) {
            let hashes =
                (self.fetch)(tile).map_err(|source| TileReadError::Fetch { tile, source })?;
            self.fetched.insert(tile, hashes);
        }
        let node = self.fetched.get(&tile).and_then(|hashes| hashes.node(offset, level % 8));
        node.ok_or(TileReadError::Narrow { tile })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::leaf::leaf_hash;
    use crate::log::tree::{Frontier, root_of};

    fn hashes(count: u64) -> Vec<NodeHash> {
        (0..count).map(|i| leaf_hash(&i.to_be_bytes())).collect()
    }

    #[test]
    fn a_tile_round_trips_and_has_1_to_256_hashes() {
        let tile = TileHashes::new(hashes(256)).expect("a tile");
        assert_eq!(TileHashes::decode(&tile.encode()), Ok(tile));
        for bytes in [0, 31, 33, 257 * 32] {
            assert_eq!(TileHashes::decode(&vec![0; bytes]), Err(NotTileHashes), "{bytes}");
        }
        assert_eq!(TileHashes::new(hashes(257)), Err(NotTileHashes));
    }

    #[test]
    fn a_node_inside_a_tile_is_the_root_of_its_hashes() {
        let (all, mut frontier) = (hashes(256), Frontier::default());
        all.iter().for_each(|hash| frontier.append(*hash));
        let tile = TileHashes::new(all.clone()).expect("a tile");
        assert_eq!(tile.node(0, 8), Some(frontier.root()));
        assert_eq!(tile.node(2, 1), Some(node_hash(&all[2], &all[3])));
        assert_eq!(tile.node(255, 0), Some(all[255]));
        assert_eq!((tile.node(256, 0), tile.node(255, 1), tile.node(0, 200)), (None, None, None));
    }

    #[test]
    fn a_reader_fetches_each_tile_once_and_says_what_is_missing() {
        let mut fetched = Vec::new();
        let mut reader = TileReader::new(7, |tile: TileId| {
            fetched.push(tile.to_string());
            TileHashes::new(hashes(u64::from(tile.width())))
        });
        assert!(root_of(7, |at| reader.read(at)).is_ok());
        let absent = NodeAt { level: 0, index: 7 };
        let expected = TileReadError::NoSuchNode { size: 7, level: 0, index: 7 };
        assert_eq!(reader.read(absent), Err(expected));
        assert_eq!(fetched, ["tile/0/000.p/7"]);

        let mut narrow = TileReader::new(7, |_| TileHashes::new(hashes(6)));
        let last = narrow.read(NodeAt { level: 0, index: 6 });
        assert!(matches!(last, Err(TileReadError::Narrow { .. })));
        let mut empty = TileReader::new(7, |_| TileHashes::new(Vec::new()));
        let last = empty.read(NodeAt { level: 0, index: 6 });
        assert!(matches!(last, Err(TileReadError::Fetch { source: NotTileHashes, .. })));
    }
}
