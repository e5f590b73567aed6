//! Evidence for strangers: checkpoints, tiles, proofs and receipts. Hashes hold no personal data and
//! need no token; the records themselves do.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Map;

use crate::domain::record::{About, Actor};
use crate::edge::fault::Fault;
use crate::edge::{Caller, Edge};
use crate::ledger::checkpoints::Published;
use crate::ledger::handle::SubmitError;
use crate::ledger::replay::LogError;
use crate::ledger::tree::ProofFault;
use crate::ledger::unsigned::Unsigned;
use crate::log::bundle::encode_bundle;
use crate::log::leaf::{NodeHash, leaf_hash};
use crate::log::receipt::Receipt;
use crate::log::store::{Store, records_from};
use crate::log::tile::TileId;
use crate::log::tree::{TreeError, TreeHead};
use crate::oauth::error::ErrorCode;
use crate::types::id::Seq;
use crate::types::time::Timestamp;

/// For how many seconds one record of a reading stands for all bundles that one auditor fetches.
/// A record for each would make a mirror that follows the log read its own readings for ever.
const READING_S: u64 = 3600;

/// A proof that a record is in the tree of a size.
pub struct Inclusion {
    /// The tree.
    pub head: TreeHead,
    /// The hash of the record.
    pub leaf: NodeHash,
    /// The siblings from the leaf to the root.
    pub hashes: Vec<NodeHash>,
}

/// A proof that one tree extends another.
pub struct Consistency {
    /// The smaller tree.
    pub old: TreeHead,
    /// The larger one.
    pub new: TreeHead,
    /// The hashes between them.
    pub hashes: Vec<NodeHash>,
}

impl Edge {
    /// How far strangers may look: what the newest checkpoint covers.
    fn published_size(&self) -> u64 {
        self.notary.newest().map_or(0, |newest| newest.head.size)
    }

    /// The bytes of a tile of hashes; none where the newest checkpoint has no such tile.
    ///
    /// # Errors
    /// When the tree cannot be read.
    pub fn hash_tile(&self, tile: TileId) -> Result<Option<Vec<u8>>, Fault> {
        if !tile.exists_in(self.published_size()) {
            return Ok(None);
        }
        Ok(self.ledger.tree().tile(tile)?.map(|hashes| hashes.encode()))
    }

    /// The bundle of the records of a tile; none where the newest checkpoint has no such tile.
    ///
    /// # Errors
    /// When the log cannot be read, or too many read it at once.
    pub async fn entries(&self, tile: TileId) -> Result<Option<Vec<u8>>, Fault> {
        if !tile.exists_in(self.published_size()) {
            return Ok(None);
        }
        self.with_log(move |store, _| bundle(store, tile)).await?.map(Some)
    }

    /// Records that `actor` reads bundles: once in a while, for all that it fetches then.
    ///
    /// # Errors
    /// Unavailable when the record is not known to be durable: nothing is to be read.
    pub async fn note_reading_of_entries(
        &self,
        actor: Actor,
        caller: &Caller,
    ) -> Result<(), Fault> {
        let (name, now) = (actor.to_string(), self.ledger.now());
        let is_noted = |at: &Timestamp| now < at.plus_seconds(READING_S);
        if self.readers.lock().get(&name).is_some_and(is_noted) {
            return Ok(());
        }
        self.note_reading(actor, caller, "entries", Map::new(), About::default()).await?;
        let mut readers = self.readers.lock();
        readers.retain(|_, at| is_noted(at));
        readers.insert(name, now);
        Ok(())
    }

    /// The proof that `seq` is in the tree of `size`, or of the newest checkpoint.
    ///
    /// # Errors
    /// `not_found` beyond the newest checkpoint; when the log or the tree cannot be read.
    pub fn inclusion(&self, seq: Seq, size: Option<u64>) -> Result<Inclusion, Fault> {
        let published = self.published_size();
        let size = size.unwrap_or(published);
        check_size(size, published)?;
        let hashes = self.ledger.tree().inclusion(seq, size).map_err(proof_fault)?;
        let block = self.ledger.store().block(seq).map_err(LogError::from)?;
        let record = block.as_ref().and_then(|block| block.record(seq));
        let leaf = record.map(leaf_hash).ok_or(Fault::Broken("a record is not there"))?;
        Ok(Inclusion { head: self.head_at(size)?, leaf, hashes })
    }

    /// The proof that the tree of `new`, or of the newest checkpoint, extends that of `old`.
    ///
    /// # Errors
    /// As [`Edge::inclusion`], and `invalid_request` for sizes that are out of order.
    pub fn consistency(&self, old: u64, new: Option<u64>) -> Result<Consistency, Fault> {
        let published = self.published_size();
        let new = new.unwrap_or(published);
        check_size(new, published)?;
        let hashes = self.ledger.tree().consistency(old, new).map_err(proof_fault)?;
        Ok(Consistency { old: self.head_at(old)?, new: self.head_at(new)?, hashes })
    }

    fn head_at(&self, size: u64) -> Result<TreeHead, Fault> {
        Ok(TreeHead { size, root: self.ledger.tree().root(size)? })
    }

    /// The receipt of a record, under a checkpoint that covers it.
    ///
    /// # Errors
    /// `not_found` for a record that is not there; unavailable when no checkpoint comes in time.
    pub async fn receipt(&self, seq: Seq) -> Result<Receipt, Fault> {
        if self.ledger.state().next_seq() <= seq {
            return Err(Fault::refused(ErrorCode::NotFound, "there is no such record yet"));
        }
        let published = self.covered(seq).await?;
        let proof = self.ledger.tree().inclusion(seq, published.head.size).map_err(proof_fault)?;
        let checkpoint = published.note.clone();
        Ok(Receipt { extra: Vec::new(), index: seq, proof, checkpoint })
    }

    /// A checkpoint that covers all that is durable now.
    ///
    /// # Errors
    /// As [`Edge::receipt`].
    pub async fn fresh_checkpoint(&self) -> Result<Arc<Published>, Fault> {
        let head = self.ledger.state().head();
        match head {
            Some(head) => self.covered(head.seq).await,
            None => Err(Fault::refused(ErrorCode::NotFound, "there is no record yet")),
        }
    }

    /// Waits for the checkpoint that covers `seq`; the notary is asked to hurry.
    pub(super) async fn covered(&self, seq: Seq) -> Result<Arc<Published>, Fault> {
        let covers = |newest: &Arc<Published>| seq.0 < newest.head.size;
        let mut watch = self.notary.watch();
        if let Some(newest) = self.notary.newest().filter(covers) {
            return Ok(newest);
        }
        self.notary.ask();
        let is_over = |newest: &Option<Arc<Published>>| {
            newest.as_ref().is_some_and(covers) || self.notary.failure().is_some()
        };
        let patience = Duration::from_millis(self.limits.scan_wait_ms);
        let waited = tokio::time::timeout(patience, watch.wait_for(is_over)).await;
        let newest = match waited {
            Ok(Ok(newest)) => newest.clone().filter(covers),
            Ok(Err(_)) => None,
            Err(_) => return Err(SubmitError::TimedOut.into()),
        };
        let failure = || self.notary.failure().unwrap_or_default();
        newest.ok_or_else(|| Fault::Unsigned(Unsigned::Stopped(failure())))
    }
}

fn check_size(size: u64, published: u64) -> Result<(), Fault> {
    if size <= published {
        return Ok(());
    }
    let what = format!("the newest checkpoint has {published} records: ask for no more, or wait");
    Err(Fault::refused(ErrorCode::NotFound, what))
}

fn proof_fault(fault: ProofFault) -> Fault {
    match fault {
        TreeError::NoSuchLeaf { .. } => Fault::refused(
            ErrorCode::NotFound,
            "the record is not in a tree of that size: ask for a larger size, or wait",
        ),
        TreeError::NoSuchExtension { .. } => {
            let what = "the new size is smaller than the old one: exchange them";
            Fault::refused(ErrorCode::InvalidRequest, what)
        }
        TreeError::Read(fault) => Fault::Tree(fault),
    }
}

fn bundle(store: &dyn Store, tile: TileId) -> Result<Vec<u8>, Fault> {
    let (from, to) = (Seq(tile.start()), Seq(tile.start() + u64::from(tile.width())));
    let mut records: Vec<Vec<u8>> = Vec::with_capacity(usize::from(tile.width()));
    for block in records_from(store, from) {
        let block = block.map_err(LogError::from)?;
        let wanted = block.iter().filter(|(seq, _)| from <= *seq && *seq < to);
        records.extend(wanted.map(|(_, record)| record.to_vec()));
        if to <= block.end() {
            break;
        }
    }
    encode_bundle(records.iter().map(Vec::as_slice))
        .map_err(|_| Fault::Broken("the records of a tile are no bundle"))
}
