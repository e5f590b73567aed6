//! Reading the log on three threads: one reads blocks and checks them, and often waits for the disk;
//! one hashes; and the caller folds in order what is in them. What is wrong with a record is told
//! when its turn has come.
//!
//! Records are decoded by the thread that folds them: they are made of many small allocations and
//! shared values, which cost more to hand over to another core than to make.

use crossbeam_channel::{Sender, bounded};

use crate::ledger::replay::LogError;
use crate::log::block::Block;
use crate::log::leaf::leaf_hash;
use crate::log::store::{Store, records_from};
use crate::types::digest::LeafHash;
use crate::types::id::Seq;

/// Fewer records than this are read by the caller alone.
const RECORDS_MIN: u64 = 4096;
/// Blocks that wait for the next thread, of 64 KiB at most.
const BLOCKS_AHEAD_MAX: usize = 128;

/// A block and the leaf hash of each of its records.
type Hashed = (Block, Vec<LeafHash>);

/// Gives all records of `store` from `from` on to `fold`, a block at a time, in order, until it
/// fails.
///
/// # Errors
/// What `fold` answered, or that a block cannot be read.
pub(super) fn read_ahead(
    store: &dyn Store,
    from: Seq,
    mut fold: impl FnMut(&[(&[u8], LeafHash)]) -> Result<(), LogError>,
) -> Result<(), LogError> {
    let mut fold_block = |(block, leaves): Hashed| {
        let records = block.iter().zip(leaves).filter(|((seq, _), _)| from <= *seq);
        fold(&records.map(|((_, bytes), leaf)| (bytes, leaf)).collect::<Vec<_>>())
    };
    if store.end()?.0.saturating_sub(from.0) < RECORDS_MIN {
        return records_from(store, from).try_for_each(|block| fold_block(hashed(block?)));
    }
    std::thread::scope(|scope| {
        let (read, to_hash) = bounded(BLOCKS_AHEAD_MAX);
        let (hash, blocks) = bounded(BLOCKS_AHEAD_MAX);
        scope.spawn(move || pass_on(records_from(store, from), &read));
        scope.spawn(move || pass_on(to_hash.into_iter().map(|block| block.map(hashed)), &hash));
        // A thread that panicked ends the scope with its panic.
        blocks.into_iter().try_for_each(|block| fold_block(block?))
    })
}

fn pass_on<T>(from: impl Iterator<Item = T>, to: &Sender<T>) {
    for next in from {
        // Nobody waits for it any more after a failure.
        if to.send(next).is_err() {
            return;
        }
    }
}

fn hashed(block: Block) -> Hashed {
    let leaves = block.iter().map(|(_, bytes)| leaf_hash(bytes)).collect();
    (block, leaves)
}
