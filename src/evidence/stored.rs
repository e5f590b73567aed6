//! A log as an open data directory holds it. Bundles and tiles are made from the records
//! themselves, so that what is written out does not rest on what was kept beside them.

use super::source::{LogSource, SourceError};
use crate::log::bundle::encode_bundle;
use crate::log::leaf::{NodeHash, leaf_hash};
use crate::log::store::{Store, records_from};
use crate::log::tile::{TILE_WIDTH, TileId, TileKind};
use crate::log::tile_hashes::TileHashes;
use crate::types::id::Seq;

/// The records of a store, and a checkpoint over them.
pub struct StoredSource<'a> {
    store: &'a dyn Store,
    checkpoint: Option<Vec<u8>>,
}

impl<'a> StoredSource<'a> {
    /// The log in `store`, whose newest checkpoint is `checkpoint`.
    pub fn new(store: &'a dyn Store, checkpoint: Option<Vec<u8>>) -> Self {
        Self { store, checkpoint }
    }

    /// Hands `take` the records `from..to`; answers whether all of them are there.
    fn each(&self, from: u64, to: u64, mut take: impl FnMut(&[u8])) -> Result<bool, SourceError> {
        for block in records_from(self.store, Seq(from)) {
            for (seq, bytes) in block?.iter() {
                if to <= seq.0 {
                    return Ok(true);
                }
                if from <= seq.0 {
                    take(bytes);
                }
            }
        }
        Ok(to <= self.store.end()?.0)
    }

    /// The hash over the `2^(8 * level)` records of one node, and of each level below in turn.
    fn hashes(&self, level: u8, tile: TileId) -> Result<Option<Vec<NodeHash>>, SourceError> {
        let mut hashes = Vec::with_capacity(usize::from(tile.width()));
        if level == 0 {
            let (from, to) = (tile.start(), tile.start() + u64::from(tile.width()));
            let whole = self.each(from, to, |record| hashes.push(leaf_hash(record)))?;
            return Ok(whole.then_some(hashes));
        }
        for node in tile.start()..tile.start() + u64::from(tile.width()) {
            let Some(below) = TileId::new(TileKind::Hashes(level - 1), node, TILE_WIDTH) else {
                return Ok(None);
            };
            let Some(below) = self.hashes(level - 1, below)? else { return Ok(None) };
            let tile = TileHashes::new(below).ok().and_then(|tile| tile.node(0, 8));
            let Some(hash) = tile else { return Ok(None) };
            hashes.push(hash);
        }
        Ok(Some(hashes))
    }
}

impl LogSource for StoredSource<'_> {
    fn place(&self, name: &str) -> String {
        format!("{name} of the data directory")
    }

    fn checkpoint(&self) -> Result<Option<Vec<u8>>, SourceError> {
        Ok(self.checkpoint.clone())
    }

    fn tile(&self, tile: TileId) -> Result<Option<Vec<u8>>, SourceError> {
        if !tile.exists_in(self.store.end()?.0) {
            return Ok(None);
        }
        match tile.kind() {
            TileKind::Entries => {
                let mut records = Vec::with_capacity(usize::from(tile.width()));
                let (from, to) = (tile.start(), tile.start() + u64::from(tile.width()));
                let whole = self.each(from, to, |record| records.push(record.to_vec()))?;
                let bundle = encode_bundle(records.iter().map(Vec::as_slice));
                let name = || self.place(&tile.to_string());
                let bundle =
                    bundle.map_err(|source| SourceError::Bundle { name: name(), source })?;
                Ok(whole.then_some(bundle))
            }
            TileKind::Hashes(level) => {
                let hashes = self.hashes(level, tile)?;
                Ok(hashes.and_then(|hashes| TileHashes::new(hashes).ok()).map(|t| t.encode()))
            }
        }
    }
}
