//! Reading the log on several threads: one reads blocks, some decode and hash, and the caller folds
//! in order what they made. What is wrong with a record is told when its turn has come.

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::domain::record::{NotARecord, Record};
use crate::ledger::replay::LogError;
use crate::log::block::Block;
use crate::log::leaf::leaf_hash;
use crate::log::store::{Store, StoreError, records_from};
use crate::types::digest::LeafHash;
use crate::types::id::Seq;

/// Fewer records than this are read by the caller alone.
const RECORDS_MIN: u64 = 4096;
/// Blocks that are read before the caller has come to them, of 64 KiB at most.
const BLOCKS_AHEAD_MAX: usize = 256;
/// More threads would wait for the one that folds.
const DECODERS_MAX: usize = 4;

type Decoded = (Result<Record, NotARecord>, LeafHash);
type Part = Result<Vec<Decoded>, StoreError>;

/// Gives all records of `store` from `from` on to `fold`, in order, until it fails.
///
/// # Errors
/// What `fold` answered, or that a block cannot be read.
pub(super) fn read_ahead(
    store: &dyn Store,
    from: Seq,
    mut fold: impl FnMut(Result<Record, NotARecord>, LeafHash) -> Result<(), LogError>,
) -> Result<(), LogError> {
    if store.end()?.0.saturating_sub(from.0) < RECORDS_MIN {
        for block in records_from(store, from) {
            for (decoded, leaf) in decode(&block?, from) {
                fold(decoded, leaf)?;
            }
        }
        return Ok(());
    }
    let decoders = std::thread::available_parallelism().map_or(1, usize::from).min(DECODERS_MAX);
    std::thread::scope(|scope| {
        let (to_decoders, blocks) = bounded::<(Block, Sender<Part>)>(BLOCKS_AHEAD_MAX);
        let (in_order, parts) = bounded::<Receiver<Part>>(BLOCKS_AHEAD_MAX);
        for _ in 0..decoders {
            let blocks = blocks.clone();
            scope.spawn(move || {
                for (block, part) in blocks {
                    // Nobody waits for it any more after a failure.
                    let _ = part.send(Ok(decode(&block, from).collect()));
                }
            });
        }
        scope.spawn(move || read_blocks(store, from, &to_decoders, &in_order));
        for part in parts {
            // A decoder that panicked ends the scope with its panic.
            let Ok(part) = part.recv() else { break };
            for (decoded, leaf) in part? {
                fold(decoded, leaf)?;
            }
        }
        Ok(())
    })
}

fn read_blocks(
    store: &dyn Store,
    from: Seq,
    to_decoders: &Sender<(Block, Sender<Part>)>,
    in_order: &Sender<Receiver<Part>>,
) {
    for block in records_from(store, from) {
        let (sender, part) = bounded(1);
        let sent = match block {
            Ok(block) => to_decoders.send((block, sender)).is_ok(),
            Err(error) => sender.send(Err(error)).is_ok(),
        };
        if !sent || in_order.send(part).is_err() {
            return;
        }
    }
}

/// The records of a block that do not lie before `from`.
fn decode(block: &Block, from: Seq) -> impl Iterator<Item = Decoded> {
    let wanted = block.iter().filter(move |(seq, _)| from <= *seq);
    wanted.map(|(_, bytes)| (Record::decode(bytes), leaf_hash(bytes)))
}
