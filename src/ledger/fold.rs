//! From the files of a log to its fold: projection and tree as they were when the last record was
//! written. Reads, and makes again what can be made from the log; never repairs the log.

use std::panic::resume_unwind;
use std::sync::Arc;

use crate::domain::state::State;
use crate::ledger::open::OpenError;
use crate::ledger::replay::replay_onto;
use crate::ledger::snapshot::{Fold, read_newest};
use crate::ledger::tree::Tree;
use crate::log::directory::{CleanMark, DataDirectory, MARKER};
use crate::log::journaled::JournaledStore;
use crate::log::reached;
use crate::log::side_table::SideTable;
use crate::log::sled::SledDatabase;
use crate::log::snapshots::Snapshots;
use crate::log::store::{Store, StoreError};
use crate::types::id::Seq;

/// An open log and its fold.
pub(super) struct Folded {
    pub(super) database: Arc<SledDatabase>,
    pub(super) store: Arc<dyn Store>,
    pub(super) tree: Arc<Tree>,
    pub(super) state: State,
    /// The last record of the snapshot that the fold began with.
    pub(super) newest_snapshot: Option<Seq>,
}

/// An open log, and the table of what follows from its records.
struct Log {
    database: Arc<SledDatabase>,
    store: Arc<dyn Store>,
    tiles: Arc<dyn SideTable>,
}

fn open_store(directory: &DataDirectory, cache_bytes_max: u64) -> Result<Log, StoreError> {
    let database = Arc::new(SledDatabase::open(&directory.log_dir(), cache_bytes_max)?);
    let journaled = JournaledStore::open(Arc::clone(&database))?;
    if 0 < journaled.recovered() {
        let records = journaled.recovered();
        tracing::info!(records, "the storage engine was told anew of the newest records");
    }
    let tiles = journaled.table();
    Ok(Log { database, store: Arc::new(journaled), tiles })
}

/// Opens the log in `directory` and folds it, from a snapshot on where there is one to go by.
///
/// # Errors
/// [`OpenError`]: nothing was changed but by the storage engine.
pub(super) fn open_and_fold(
    directory: &DataDirectory,
    cache_bytes_max: u64,
    mark: Option<&CleanMark>,
    snapshots: Option<&Snapshots>,
    mut progress: impl FnMut(Seq),
) -> Result<Folded, OpenError> {
    let marked = &directory.marker().issuer;
    // Each takes about as long as the other.
    let (log, unjudged) = std::thread::scope(|scope| {
        let reading = snapshots.map(|kept| scope.spawn(move || read_newest(kept, marked)));
        let log = open_store(directory, cache_bytes_max);
        (log, reading.map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))))
    });
    let Log { database, store, tiles } = log?;
    let fold = unjudged.map_or_else(Fold::default, |read| read.judged_by(store.as_ref()));
    let (tree, mut state) = resume(&tiles, &store, fold);
    let newest_snapshot = state.head().map(|head| head.seq);
    replay_onto(&mut state, store.as_ref(), |first, leaves| {
        (first.0..).zip(leaves).for_each(|(seq, _)| progress(Seq(seq)));
        tree.regrow(leaves.iter().copied())
    })?;
    if 0 < tree.tiles_remade() {
        let tiles = tree.tiles_remade();
        tracing::info!(tiles, "tiles of the Merkle tree were made again from the log");
    }
    let head = state.head();
    if let Some(mark) = mark {
        let is_as_left = head.is_some_and(|head| head.seq == mark.seq && head.leaf == mark.leaf);
        if !is_as_left {
            return Err(OpenError::Tail { left: mark.seq, found: head.map(|head| head.seq) });
        }
    }
    // What recovery cannot read it leaves out: that is told by a note outside of the log.
    if mark.is_none()
        && let Some(reached) = reached::missing(&directory.reached_file(), store.as_ref())?
    {
        let copy = directory.log_copy_dir().display().to_string();
        return Err(OpenError::Shortened { reached, found: head.map(|head| head.seq), copy });
    }
    let found = state.issuer();
    if marked != found {
        let marker = directory.path().join(MARKER).display().to_string();
        return Err(OpenError::Issuer { marker, marked: marked.clone(), found: found.to_owned() });
    }
    Ok(Folded { database, store, tree: Arc::new(tree), state, newest_snapshot })
}

/// The tree and the projection to go on with; from the start, where the tiles beside the log do not
/// lead to the frontier of the snapshot.
fn resume(tiles: &Arc<dyn SideTable>, store: &Arc<dyn Store>, fold: Fold) -> (Tree, State) {
    let Fold { state, frontier } = fold;
    if state.head().is_some() {
        match Tree::resume(Arc::clone(store), Arc::clone(tiles), frontier) {
            Ok(Some(tree)) => return (tree, state),
            Ok(None) => tracing::warn!("the tree does not go on from the snapshot: read anew"),
            Err(error) => {
                tracing::warn!(%error, "the tree cannot go on from the snapshot: read anew")
            }
        }
    }
    (Tree::empty(Arc::clone(store), Arc::clone(tiles)), State::default())
}
