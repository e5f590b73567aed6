//! Grows the tiles of a log record by record, with no more in memory than its right edge.

use super::source::{LogSource, SourceError, entries, hashes};
use crate::log::leaf::{NodeHash, leaf_hash};
use crate::log::tile::{TILE_WIDTH, TileId, TileKind};
use crate::log::tile_hashes::{TileHashes, TileReadError, TileReader};
use crate::log::tree::{Frontier, NodeAt, TreeHead};
use crate::types::digest::LeafHash;

/// How many levels of the tree one level of tiles stands for.
const LEVELS_PER_TILE: u8 = 8;

/// A tile with its bytes, ready to be written.
pub type Tile = (TileId, Vec<u8>);

/// The right edge of a log: the frontier of its tree, and what its last tiles hold so far.
#[derive(Debug, Default)]
pub struct TileBuilder {
    frontier: Frontier,
    /// The unfinished tile of each level of tiles.
    levels: Vec<Vec<NodeHash>>,
    /// The unfinished bundle, encoded.
    bundle: Vec<u8>,
}

impl TileBuilder {
    /// The right edge of the first `size` records of `source`, read from its last tiles.
    ///
    /// # Errors
    /// [`SourceError`] naming the tile that is missing or no tile.
    pub fn resume(source: &dyn LogSource, size: u64) -> Result<Self, SourceError> {
        let mut reader = TileReader::new(size, |tile| hashes(source, tile));
        let frontier =
            Frontier::rebuild(size, |at| reader.read(at)).map_err(|error| match error {
                TileReadError::Fetch { source, .. } => source,
                TileReadError::NoSuchNode { .. } | TileReadError::Narrow { .. } => {
                    SourceError::Missing { name: source.place(&error.to_string()) }
                }
            })?;
        let mut built = Self { frontier, ..Self::default() };
        let mut nodes = size;
        for level in 0..LEVELS_PER_TILE {
            let last = TileId::at(TileKind::Hashes(level), nodes / u64::from(TILE_WIDTH), size);
            built.levels.push(match last {
                Some(tile) => hashes(source, tile)?.hashes().to_vec(),
                None => Vec::new(),
            });
            nodes >>= LEVELS_PER_TILE;
        }
        if let Some(tile) = TileId::at(TileKind::Entries, size / u64::from(TILE_WIDTH), size) {
            for record in entries(source, tile)? {
                built.bundle.extend_from_slice(&framed(&record));
            }
        }
        Ok(built)
    }

    /// How many records there are, and the root over them.
    pub fn head(&self) -> TreeHead {
        self.frontier.head()
    }

    /// Adds a record; answers the tiles that are full by it, the bundle first.
    pub fn push(&mut self, record: &[u8]) -> Vec<Tile> {
        self.push_hashed(record, leaf_hash(record))
    }

    /// As [`TileBuilder::push`], where the leaf hash of the record is known.
    pub fn push_hashed(&mut self, record: &[u8], leaf: LeafHash) -> Vec<Tile> {
        let mut full = Vec::new();
        self.bundle.extend_from_slice(&framed(record));
        let levels = &mut self.levels;
        self.frontier.append_with(leaf, |NodeAt { level, index }, node| {
            if !level.is_multiple_of(LEVELS_PER_TILE) {
                return;
            }
            let level = level / LEVELS_PER_TILE;
            while levels.len() <= usize::from(level) {
                levels.push(Vec::new());
            }
            let Some(hashes) = levels.get_mut(usize::from(level)) else { return };
            hashes.push(node);
            if hashes.len() == usize::from(TILE_WIDTH) {
                let index = index / u64::from(TILE_WIDTH);
                let tile = TileId::new(TileKind::Hashes(level), index, TILE_WIDTH);
                let bytes = TileHashes::new(std::mem::take(hashes)).map(|tile| tile.encode());
                full.extend(tile.zip(bytes.ok()));
            }
        });
        let size = self.frontier.size();
        if size.is_multiple_of(u64::from(TILE_WIDTH)) {
            let index = size / u64::from(TILE_WIDTH) - 1;
            let tile = TileId::new(TileKind::Entries, index, TILE_WIDTH);
            full.splice(0..0, tile.map(|tile| (tile, std::mem::take(&mut self.bundle))));
        }
        full
    }

    /// The tiles at the right edge that are not full, the bundle first: what a reader of a
    /// checkpoint of this size needs beside the full ones.
    pub fn partial(&self) -> Vec<Tile> {
        let size = self.frontier.size();
        let last = |kind, nodes: u64| TileId::at(kind, nodes / u64::from(TILE_WIDTH), size);
        let mut partial = Vec::new();
        if let Some(tile) = last(TileKind::Entries, size) {
            partial.push((tile, self.bundle.clone()));
        }
        for (level, hashes) in (0_u8..).zip(&self.levels) {
            let nodes = size.checked_shr(u32::from(level) * u32::from(LEVELS_PER_TILE));
            let tile = last(TileKind::Hashes(level), nodes.unwrap_or(0));
            let bytes = TileHashes::new(hashes.clone()).map(|tile| tile.encode());
            partial.extend(tile.zip(bytes.ok()));
        }
        partial
    }
}

/// A record as it stands in a bundle. No record of this ledger is longer than its two bytes of
/// length can say; one that is makes a bundle that no reader takes for one.
fn framed(record: &[u8]) -> Vec<u8> {
    let length = u16::try_from(record.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes(), record].concat()
}
