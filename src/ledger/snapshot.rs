//! Snapshots of the projection beside the log, so that a start folds only what came after the newest
//! one. Made by a thread that folds the log apart from the writer, and at a clean stop; never
//! trusted past what the log says: the record that it ends at must be there, with its hash.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::domain::snapshot::{FORMAT, NotAProjection, Restoring, SECTION_BYTES_MAX};
use crate::domain::state::{Head, State};
use crate::ledger::replay::{LogError, replay_onto};
use crate::log::file::FileError;
use crate::log::leaf::leaf_hash;
use crate::log::snapshots::{SnapshotError, SnapshotFile, SnapshotHead, Snapshots};
use crate::log::store::{Store, StoreError};
use crate::log::tree::Frontier;
use crate::types::id::Seq;

/// A stop makes no snapshot for fewer records than these: to fold them takes no time.
const RECORDS_WORTH_ONE: u64 = 10_000;
/// How often the thread looks at how far the log has come.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How much the thread stands back behind those who serve.
const NICENESS: i32 = 10;

/// Why a snapshot is not gone by.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The file.
    #[error(transparent)]
    File(#[from] SnapshotError),
    /// What is in it.
    #[error(transparent)]
    Projection(#[from] NotAProjection),
    /// It is of another ledger.
    #[error("it is of {found}")]
    Issuer {
        /// Of whose ledger it is.
        found: String,
    },
    /// The log ends before it.
    #[error(
        "it ends at record {seq}, and the log has only {end} records: was an older log put back? \
         If not, records are missing"
    )]
    Ahead {
        /// Its last record.
        seq: Seq,
        /// Where the log ends.
        end: Seq,
    },
    /// The log has another record in the place of its last one.
    #[error("record {seq} of the log is not the one that it ends at: it is of another log")]
    OtherLog {
        /// Its last record.
        seq: Seq,
    },
    /// Head and content do not belong together.
    #[error("its content does not end where its head says")]
    Torn,
    /// The record that it ends at cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why no snapshot was made. The log is as it was.
#[derive(Debug, thiserror::Error)]
pub enum NotMade {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// A projection with the edge of the tree over the same records.
#[derive(Debug, Default)]
pub struct Fold {
    /// The projection.
    pub state: State,
    /// The tree's frontier.
    pub frontier: Frontier,
}

/// What the newest usable snapshot holds, or nothing: then all of the log is to be folded. Says in
/// the log file why another one was passed over.
pub fn restore(snapshots: &Snapshots, issuer: &str, store: &dyn Store) -> Fold {
    read_newest(snapshots, issuer).judged_by(store)
}

/// The newest snapshot that is whole, before the log had its say: it can be read while the log is
/// still being opened. Not to be gone by until [`Unjudged::judged_by`].
pub struct Unjudged<'a> {
    issuer: &'a str,
    read: Option<(PathBuf, Fold)>,
    /// Older ones, the newest first.
    older: std::vec::IntoIter<PathBuf>,
}

/// Reads the newest snapshot of the ledger of `issuer`, or an older one where that is of no use.
pub fn read_newest<'a>(snapshots: &Snapshots, issuer: &'a str) -> Unjudged<'a> {
    let paths = snapshots.newest_first().unwrap_or_else(|error| {
        tracing::warn!(%error, "the snapshots cannot be read: the whole log is folded instead");
        Vec::new()
    });
    let mut unjudged = Unjudged { issuer, read: None, older: paths.into_iter() };
    unjudged.read_next();
    unjudged
}

impl Unjudged<'_> {
    /// What it holds, if the log has the record that it ends at; else what the next one holds.
    pub fn judged_by(mut self, store: &dyn Store) -> Fold {
        while let Some((path, fold)) = self.read.take() {
            match judge(&fold, store) {
                Ok(()) => return fold,
                Err(why) => pass_over(&path, &why),
            }
            self.read_next();
        }
        Fold::default()
    }

    fn read_next(&mut self) {
        for path in self.older.by_ref() {
            match read(&path, self.issuer) {
                Ok(fold) => {
                    self.read = Some((path, fold));
                    return;
                }
                Err(why) => pass_over(&path, &why),
            }
        }
    }
}

fn pass_over(path: &Path, why: &Unusable) {
    let path = path.display();
    tracing::warn!(%path, %why, "this snapshot is not used; the log says the same");
}

fn read(path: &Path, issuer: &str) -> Result<Fold, Unusable> {
    let mut file = SnapshotFile::open(path, FORMAT, SECTION_BYTES_MAX)?;
    let SnapshotHead { issuer: found, seq, leaf, .. } = file.head.clone();
    if found != issuer {
        return Err(Unusable::Issuer { found });
    }
    let mut restoring = Restoring::default();
    while let Some((kind, bytes)) = file.section()? {
        restoring.take(kind, &bytes)?;
    }
    let state = restoring.finish()?;
    let frontier = Frontier::from_nodes(seq.next().0, file.head.tree).ok_or(Unusable::Torn)?;
    let is_whole = state.head().is_some_and(|head| head.seq == seq && head.leaf == leaf);
    if !is_whole || state.issuer() != issuer {
        return Err(Unusable::Torn);
    }
    Ok(Fold { state, frontier })
}

/// Whether the log has the record that `fold` ends at.
fn judge(fold: &Fold, store: &dyn Store) -> Result<(), Unusable> {
    let Head { seq, leaf, .. } = fold.state.head().ok_or(Unusable::Torn)?;
    let end = store.end()?;
    let Some(block) = store.block(seq)? else { return Err(Unusable::Ahead { seq, end }) };
    match block.record(seq).map(leaf_hash) == Some(leaf) {
        true => Ok(()),
        false => Err(Unusable::OtherLog { seq }),
    }
}

/// Writes a snapshot of `state`, whose tree has the edge `frontier`; `Ok` means durable.
///
/// # Errors
/// When the file cannot be written; earlier ones are still there.
pub fn write(
    snapshots: &Snapshots,
    state: &State,
    frontier: &Frontier,
) -> Result<Option<Seq>, FileError> {
    let Some(Head { seq, leaf, .. }) = state.head() else { return Ok(None) };
    let (issuer, tree) = (state.issuer().to_owned(), frontier.nodes().to_vec());
    let head = SnapshotHead { format: FORMAT, issuer, seq, leaf, tree };
    snapshots.write(&head, state.sections())?;
    Ok(Some(seq))
}

/// Folds on from the newest snapshot to the end of the log and writes the next one: the same as the
/// writer's projection, but nobody waits for it. Gives up, with `None`, once `stops` says so.
///
/// # Errors
/// [`NotMade`]; the caller may try again later.
pub fn advance(
    snapshots: &Snapshots,
    issuer: &str,
    store: &dyn Store,
    stops: &AtomicBool,
) -> Result<Option<Seq>, NotMade> {
    let Fold { mut state, mut frontier } = restore(snapshots, issuer, store);
    let folded = replay_onto(&mut state, store, |_, leaves| {
        leaves.iter().for_each(|leaf| frontier.append(*leaf));
        match stops.load(Ordering::Relaxed) {
            // Any error ends the fold; nobody sees this one.
            true => Err(StoreError::Poisoned),
            false => Ok(()),
        }
    });
    if stops.load(Ordering::Relaxed) {
        return Ok(None);
    }
    folded?;
    Ok(write(snapshots, &state, &frontier)?)
}

/// The thread that makes a snapshot whenever enough records have come.
pub struct Snapshotter {
    snapshots: Snapshots,
    every_records: u64,
    newest: Option<Seq>,
    stops: Arc<AtomicBool>,
    /// Dropped to end the thread.
    running: Option<(Sender<()>, JoinHandle<Option<Seq>>)>,
}

impl Snapshotter {
    /// Starts it over the log `store`, of which `newest` is the last record in a snapshot.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        snapshots: Snapshots,
        issuer: String,
        store: Arc<dyn Store>,
        every_records: u64,
        newest: Option<Seq>,
    ) -> std::io::Result<Self> {
        let stops = Arc::new(AtomicBool::new(false));
        let (stop, stopped) = bounded(0);
        let (kept, seen) = (snapshots.clone(), Arc::clone(&stops));
        let thread = std::thread::Builder::new().name("snapshots".to_owned()).spawn(move || {
            // Of the thread alone, on Linux; refused nowhere, as it only gives way.
            let _ = rustix::process::nice(NICENESS);
            let look = Look { snapshots: &kept, issuer: &issuer, store: store.as_ref() };
            look.make_in_time(every_records, newest, &stopped, &seen)
        })?;
        Ok(Self { snapshots, every_records, newest, stops, running: Some((stop, thread)) })
    }

    /// Ends the thread, and makes the last snapshot, of what the writer left, where it is worth one.
    ///
    /// # Errors
    /// When it cannot be written: the next start folds more, and nothing else is lost.
    pub fn stop(mut self, state: &State, frontier: &Frontier) -> Result<Option<Seq>, FileError> {
        self.end();
        let since = state.next_seq().0 - self.newest.map_or(0, |newest| newest.next().0);
        if since < RECORDS_WORTH_ONE.min(self.every_records) {
            return Ok(None);
        }
        write(&self.snapshots, state, frontier)
    }

    fn end(&mut self) {
        self.stops.store(true, Ordering::Relaxed);
        let Some((stop, thread)) = self.running.take() else { return };
        drop(stop);
        match thread.join() {
            Ok(newest) => self.newest = newest,
            Err(_) => tracing::error!("the thread that makes snapshots panicked"),
        }
    }
}

impl Drop for Snapshotter {
    /// The thread holds the store, and with it the directory's lock.
    fn drop(&mut self) {
        self.end();
    }
}

struct Look<'a> {
    snapshots: &'a Snapshots,
    issuer: &'a str,
    store: &'a dyn Store,
}

impl Look<'_> {
    fn make_in_time(
        &self,
        every_records: u64,
        mut newest: Option<Seq>,
        stopped: &Receiver<()>,
        stops: &AtomicBool,
    ) -> Option<Seq> {
        let mut tried = newest;
        while stopped.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
            let Ok(end) = self.store.end() else { continue };
            if end.0 - tried.map_or(0, |tried| tried.next().0) < every_records {
                continue;
            }
            // After a failure not again at once: the disk may be full.
            tried = end.0.checked_sub(1).map(Seq);
            match advance(self.snapshots, self.issuer, self.store, stops) {
                Ok(Some(seq)) => {
                    (newest, tried) = (Some(seq), Some(seq));
                    tracing::info!(%seq, "a snapshot was made");
                }
                Ok(None) => {}
                Err(error) => tracing::error!(%error, "no snapshot was made; trying again later"),
            }
        }
        newest
    }
}
