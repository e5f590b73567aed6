//! The Merkle tree of a running ledger: the writer grows it, everyone else reads roots and proofs of
//! any size so far. What it stores can be made again from the log; it never holds more than the log.
//!
//! Full tiles of 256 hashes lie in a table beside the log, one row each. They are written after the
//! records below them are durable, and without a sync of their own: a tile that a crash takes away
//! is made again. The unfinished tile at the right end of each level is in memory only.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::log::leaf::{NodeHash, leaf_hash};
use crate::log::side_table::SideTable;
use crate::log::store::{Damage, Store, StoreError, records_from};
use crate::log::tile::{TILE_WIDTH, TileId, TileKind};
use crate::log::tile_hashes::{TileHashes, TileReadError, TileReader};
use crate::log::tree::{
    Frontier, TreeError, TreeHead, consistency_proof, inclusion_proof, root_of,
};
use crate::types::digest::LeafHash;
use crate::types::id::Seq;

/// Why a root cannot be told.
pub type RootFault = TileReadError<StoreError>;
/// Why there is no proof.
pub type ProofFault = TreeError<RootFault>;

/// Each level of tiles stands for this many levels of the tree.
const LEVELS_PER_TILE: u8 = 8;

/// The tree; see the module. One thread grows it, any number read.
pub struct Tree {
    store: Arc<dyn Store>,
    tiles: Arc<dyn SideTable>,
    edge: RwLock<Edge>,
    /// Stored tiles that were missing or different, and were made again.
    remade: AtomicU64,
}

/// What is not in the table yet.
#[derive(Default)]
struct Edge {
    frontier: Frontier,
    /// By tile level: the hashes of the tile at the right end, fewer than 256.
    open: Vec<Vec<NodeHash>>,
    /// Tiles that were filled and are on their way to the table. Never seen in neither place.
    full: Vec<(TileId, Arc<TileHashes>)>,
}

impl Edge {
    fn append(&mut self, leaf: LeafHash) {
        let Self { frontier, open, full } = self;
        frontier.append_with(leaf, |at, node| {
            if at.level % LEVELS_PER_TILE != 0 {
                return;
            }
            let level = at.level / LEVELS_PER_TILE;
            if open.len() <= usize::from(level) {
                open.push(Vec::with_capacity(usize::from(TILE_WIDTH)));
            }
            let Some(hashes) = open.get_mut(usize::from(level)) else { return };
            hashes.push(node);
            if hashes.len() == usize::from(TILE_WIDTH) {
                let whole = std::mem::replace(hashes, Vec::with_capacity(usize::from(TILE_WIDTH)));
                let index = at.index / u64::from(TILE_WIDTH);
                let tile = TileId::new(TileKind::Hashes(level), index, TILE_WIDTH);
                full.extend(tile.zip(TileHashes::new(whole).ok().map(Arc::new)));
            }
        });
    }

    fn tile(&self, level: u8, index: u64) -> Option<TileHashes> {
        let kind = TileKind::Hashes(level);
        let full = self.full.iter().find(|(tile, _)| tile.kind() == kind && tile.index() == index);
        if let Some((_, hashes)) = full {
            return Some(TileHashes::clone(hashes));
        }
        let nodes = self.frontier.size() >> (u32::from(level) * u32::from(LEVELS_PER_TILE));
        let open = self.open.get(usize::from(level))?;
        let is_open = index == nodes / u64::from(TILE_WIDTH);
        if is_open { TileHashes::new(open.clone()).ok() } else { None }
    }
}

impl Tree {
    /// The tree without leaves, to be grown over the records of `store` from the first one on.
    pub fn empty(store: Arc<dyn Store>, tiles: Arc<dyn SideTable>) -> Self {
        let (edge, remade) = (RwLock::default(), AtomicU64::new(0));
        Self { store, tiles, edge, remade }
    }

    /// The tree over all records of `store`, which are read once.
    ///
    /// # Errors
    /// When the log or the table cannot be read.
    pub fn over(store: Arc<dyn Store>, tiles: Arc<dyn SideTable>) -> Result<Self, StoreError> {
        let tree = Self::empty(Arc::clone(&store), tiles);
        for block in records_from(store.as_ref(), Seq(0)) {
            tree.regrow(block?.iter().map(|(_, record)| leaf_hash(record)))?;
        }
        Ok(tree)
    }

    /// The tree of `frontier`, to be grown on from there: reads at most 255 records and 255 tiles
    /// of each level, and not what came before.
    ///
    /// # Errors
    /// `None` inside `Ok` is never answered for a frontier of this log: it is of another one.
    /// [`RootFault`] when the log or the table cannot be read.
    pub fn resume(
        store: Arc<dyn Store>,
        tiles: Arc<dyn SideTable>,
        frontier: Frontier,
    ) -> Result<Option<Self>, RootFault> {
        let size = frontier.size();
        let tree = Self::empty(store, tiles);
        let mut open = Vec::new();
        for level in 0..LEVELS_PER_TILE {
            let nodes = size >> (u32::from(level) * u32::from(LEVELS_PER_TILE));
            if nodes == 0 {
                break;
            }
            let index = nodes / u64::from(TILE_WIDTH);
            let width = u16::try_from(nodes % u64::from(TILE_WIDTH)).unwrap_or(0);
            open.push(match TileId::new(TileKind::Hashes(level), index, width) {
                Some(tile) => tree.remake(tile)?.hashes().to_vec(),
                None => Vec::new(),
            });
        }
        *tree.edge.write() = Edge { frontier: frontier.clone(), open, full: Vec::new() };
        let rebuilt = Frontier::rebuild(size, |at| tree.reader(size).read(at))?;
        Ok((rebuilt == frontier).then_some(tree))
    }

    /// Adds leaves whose records are durable. One thread at a time.
    ///
    /// # Errors
    /// When the table cannot be written: as for a log, the caller stops.
    pub fn grow(&self, leaves: impl Iterator<Item = LeafHash>) -> Result<(), StoreError> {
        let full = self.append(leaves);
        if full.is_empty() {
            return Ok(());
        }
        for (tile, hashes) in full {
            self.tiles.put_later(&[(&key(tile), &hashes.encode())])?;
        }
        self.edge.write().full.clear();
        Ok(())
    }

    /// Adds the leaves of records that were read back, and makes again what the table lacks.
    ///
    /// # Errors
    /// When the table cannot be read or written.
    pub fn regrow(&self, leaves: impl Iterator<Item = LeafHash>) -> Result<(), StoreError> {
        let full = self.append(leaves);
        for (tile, hashes) in &full {
            let (key, bytes) = (key(*tile), hashes.encode());
            if self.tiles.row(&key)?.as_ref() != Some(&bytes) {
                self.remade.fetch_add(1, Ordering::Relaxed);
                self.tiles.put_later(&[(&key, &bytes)])?;
            }
        }
        if !full.is_empty() {
            self.edge.write().full.clear();
        }
        Ok(())
    }

    fn append(&self, leaves: impl Iterator<Item = LeafHash>) -> Vec<(TileId, Arc<TileHashes>)> {
        let mut edge = self.edge.write();
        leaves.for_each(|leaf| edge.append(leaf));
        edge.full.clone()
    }

    /// How many stored tiles were missing or different when the log was read back, and made again.
    pub fn tiles_remade(&self) -> u64 {
        self.remade.load(Ordering::Relaxed)
    }

    /// How many leaves the tree has: never fewer than the projection has folded in.
    pub fn size(&self) -> u64 {
        self.edge.read().frontier.size()
    }

    /// Size and root as they are now.
    pub fn head(&self) -> TreeHead {
        self.edge.read().frontier.head()
    }

    /// The frontier of the first `size` leaves: all that [`Tree::resume`] needs.
    ///
    /// # Errors
    /// [`RootFault::NoSuchNode`] for a size still to come, or when a tile cannot be read.
    pub fn frontier(&self, size: u64) -> Result<Frontier, RootFault> {
        let now = self.edge.read().frontier.clone();
        if now.size() == size {
            return Ok(now);
        }
        let mut reader = self.reader(now.size());
        Frontier::rebuild(size, |at| reader.read(at))
    }

    /// The root over the first `size` leaves.
    ///
    /// # Errors
    /// [`RootFault::NoSuchNode`] for a size still to come, or when a tile cannot be read.
    pub fn root(&self, size: u64) -> Result<NodeHash, RootFault> {
        let now = self.head();
        if now.size == size {
            return Ok(now.root);
        }
        let mut reader = self.reader(now.size);
        root_of(size, |at| reader.read(at))
    }

    /// The proof that record `index` is in the tree of `size` (RFC 9162 section 2.1.3.1).
    ///
    /// # Errors
    /// [`ProofFault`].
    pub fn inclusion(&self, index: Seq, size: u64) -> Result<Vec<NodeHash>, ProofFault> {
        let mut reader = self.reader(self.size());
        inclusion_proof(index, size, |at| reader.read(at))
    }

    /// The proof that the tree of `new` extends that of `old` (RFC 9162 section 2.1.4.1).
    ///
    /// # Errors
    /// [`ProofFault`].
    pub fn consistency(&self, old: u64, new: u64) -> Result<Vec<NodeHash>, ProofFault> {
        let mut reader = self.reader(self.size());
        consistency_proof(old, new, |at| reader.read(at))
    }

    /// The hashes of a tile that a tree of [`Tree::size`] has, exactly as many as it names; `None`
    /// for a bundle of entries, or a tile still to come.
    ///
    /// # Errors
    /// When the table and the log cannot be read.
    pub fn tile(&self, tile: TileId) -> Result<Option<TileHashes>, RootFault> {
        if tile.kind() == TileKind::Entries || !tile.exists_in(self.size()) {
            return Ok(None);
        }
        let hashes = self.fetch(tile).map_err(|source| RootFault::Fetch { tile, source })?;
        let wanted = hashes.hashes().get(..usize::from(tile.width()));
        let wanted = wanted.ok_or(RootFault::Narrow { tile })?;
        Ok(TileHashes::new(wanted.to_vec()).ok())
    }

    fn reader(
        &self,
        size: u64,
    ) -> TileReader<impl FnMut(TileId) -> Result<TileHashes, StoreError> + '_> {
        TileReader::new(size, |tile| self.fetch(tile))
    }

    /// The hashes of `tile`, or of a wider one in its place.
    fn fetch(&self, tile: TileId) -> Result<TileHashes, StoreError> {
        let TileKind::Hashes(level) = tile.kind() else { return self.remade(tile) };
        if let Some(hashes) = self.edge.read().tile(level, tile.index()) {
            return Ok(hashes);
        }
        let row = self.tiles.row(&key(tile))?;
        match row.and_then(|bytes| TileHashes::decode(&bytes).ok()) {
            Some(hashes) => Ok(hashes),
            None => self.remade(tile),
        }
    }

    /// As [`Tree::remake`], with the error of the tile below that could not be read. A whole tile is
    /// written again, for the table may have lost it in a crash.
    fn remade(&self, tile: TileId) -> Result<TileHashes, StoreError> {
        let hashes = self.remake(tile).map_err(|fault| match fault {
            RootFault::Fetch { source, .. } => source,
            RootFault::NoSuchNode { .. } | RootFault::Narrow { .. } => {
                StoreError::Damaged { seq: Seq(tile.start()), what: Damage::Missing }
            }
        })?;
        if tile.width() == TILE_WIDTH && matches!(tile.kind(), TileKind::Hashes(_)) {
            self.remade.fetch_add(1, Ordering::Relaxed);
            // Who only reads must not fail because nothing is written any more.
            let _ = self.tiles.put_later(&[(&key(tile), &hashes.encode())]);
        }
        Ok(hashes)
    }

    /// The hashes of a tile, from the tiles of the level below, or from the records.
    fn remake(&self, tile: TileId) -> Result<TileHashes, RootFault> {
        let failed = |source| RootFault::Fetch { tile, source };
        let width = usize::from(tile.width());
        let mut hashes = Vec::with_capacity(width);
        match tile.kind() {
            TileKind::Entries | TileKind::Hashes(0) => {
                let first = Seq(tile.start());
                for block in records_from(self.store.as_ref(), first) {
                    let block = block.map_err(failed)?;
                    let wanted = block.iter().filter(|(seq, _)| first <= *seq);
                    hashes.extend(wanted.map(|(_, record)| leaf_hash(record)));
                    if width <= hashes.len() {
                        break;
                    }
                }
                hashes.truncate(width);
            }
            TileKind::Hashes(level) => {
                for index in tile.start()..tile.start() + u64::from(tile.width()) {
                    let below = TileId::new(TileKind::Hashes(level - 1), index, TILE_WIDTH);
                    let below = below.ok_or(RootFault::Narrow { tile })?;
                    let whole = self.fetch(below).map_err(failed)?.node(0, LEVELS_PER_TILE);
                    hashes.push(whole.ok_or(RootFault::Narrow { tile: below })?);
                }
            }
        }
        TileHashes::new(hashes).map_err(|_| RootFault::Narrow { tile })
    }
}

/// Level and index, big-endian, so that a level lies together.
fn key(tile: TileId) -> [u8; 9] {
    let level = match tile.kind() {
        TileKind::Entries => u8::MAX,
        TileKind::Hashes(level) => level,
    };
    let mut key = [level; 9];
    key.split_at_mut(1).1.copy_from_slice(&tile.index().to_be_bytes());
    key
}
