//! Reading the log on all cores: each takes a piece of it in hand, reads and checks its blocks, hashes
//! and decodes its records, while the caller folds in order what is in them, and lends a hand where
//! nothing is there to fold. What is wrong with a record is told when its turn has come.
//!
//! Each piece has a decoder of its own: what its records share then changes hands once, with the
//! piece, and no two cores count references to the same value at the same time.

use std::collections::BTreeMap;
use std::thread::available_parallelism;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::domain::record::{Decoder, NotARecord, Record};
use crate::ledger::replay::LogError;
use crate::log::leaf::leaf_hash;
use crate::log::store::{Store, StoreError, records_from};
use crate::types::digest::LeafHash;
use crate::types::id::Seq;

/// How many records a thread takes in hand at once: few hand-overs, and with all pieces below less than
/// 50 MiB even of records that are as long as they may be.
const PIECE_RECORDS: u64 = 512;
/// Pieces that were taken in hand and are not being folded.
const PIECES_AHEAD_MAX: u64 = 4;
/// Threads beside the caller: more would wait for the one that folds.
const THREADS_MAX: usize = 3;

/// Records in a row, as [`Decoder::for_fold`] gives them, with their leaf hashes, and what ended them
/// early.
pub(super) struct Piece {
    pub(super) records: Vec<Record>,
    pub(super) leaves: Vec<LeafHash>,
    pub(super) failure: Option<Failure>,
}

/// Why a record cannot be folded; whether it is another one than it should be is not asked here.
pub(super) enum Failure {
    Store(StoreError),
    Unreadable(NotARecord),
}

struct Ahead<'a> {
    store: &'a dyn Store,
    from: Seq,
    end: Seq,
    hands: Mutex<Hands>,
    /// Told when anything changed.
    changed: Condvar,
}

/// Who has which piece; pieces are counted from 0.
#[derive(Default)]
struct Hands {
    /// The first piece that nobody took in hand.
    next: u64,
    ready: BTreeMap<u64, Piece>,
    /// As many are or were folded.
    folded: u64,
    is_over: bool,
}

/// Gives all records that `store` has by now, from `from` on, to `fold`, a piece at a time, in order,
/// until it fails. After a piece with a failure there is none.
///
/// # Errors
/// What `fold` answered, or that the store cannot tell its end.
pub(super) fn read_ahead(
    store: &dyn Store,
    from: Seq,
    mut fold: impl FnMut(Piece) -> Result<(), LogError>,
) -> Result<(), LogError> {
    let end = store.end()?;
    let (hands, changed) = (Mutex::default(), Condvar::new());
    let ahead = Ahead { store, from, end, hands, changed };
    let pieces = ahead.pieces();
    let beside = available_parallelism().map_or(1, usize::from).saturating_sub(1).min(THREADS_MAX);
    let beside = usize::try_from(pieces / PIECES_AHEAD_MAX).unwrap_or(beside).min(beside);
    std::thread::scope(|scope| {
        let _over = Over(&ahead);
        for _ in 0..beside {
            scope.spawn(|| ahead.work());
        }
        // Where a thread panicked there are no more pieces, and the scope ends with that panic.
        (0..pieces).map_while(|number| ahead.piece(number)).try_for_each(&mut fold)
    })
}

/// Ends the work of the other threads, however the one that has it ends.
struct Over<'a, 'b>(&'b Ahead<'a>);

impl Drop for Over<'_, '_> {
    fn drop(&mut self) {
        self.0.hands.lock().is_over = true;
        self.0.changed.notify_all();
    }
}

impl Ahead<'_> {
    fn pieces(&self) -> u64 {
        self.end.0.saturating_sub(self.from.0).div_ceil(PIECE_RECORDS)
    }

    /// The first record of a piece.
    fn start(&self, number: u64) -> Seq {
        Seq(self.end.0.min(self.from.0 + number * PIECE_RECORDS))
    }

    /// The thread beside the caller.
    fn work(&self) {
        let over = Over(self);
        let mut hands = self.hands.lock();
        while !hands.is_over && hands.next < self.pieces() {
            match self.take_in_hand(&mut hands) {
                true => {}
                false => self.changed.wait(&mut hands),
            }
        }
        drop(hands);
        // Only a panic ends it for all.
        std::mem::forget(over);
    }

    /// The piece of that number, once it is ready: the caller's own work, where nobody else is at it.
    /// `None` when there will be none.
    fn piece(&self, number: u64) -> Option<Piece> {
        let mut hands = self.hands.lock();
        hands.folded = number;
        self.changed.notify_all();
        loop {
            if let Some(piece) = hands.ready.remove(&number) {
                return Some(piece);
            }
            if hands.is_over {
                return None;
            }
            if !self.take_in_hand(&mut hands) {
                self.changed.wait(&mut hands);
            }
        }
    }

    /// Reads the next piece that nobody has, if there is one and it is not too early for it.
    fn take_in_hand(&self, hands: &mut MutexGuard<'_, Hands>) -> bool {
        let number = hands.next;
        if self.pieces() <= number || hands.folded + PIECES_AHEAD_MAX < number {
            return false;
        }
        hands.next += 1;
        let piece = MutexGuard::unlocked(hands, || self.read(number));
        hands.ready.insert(number, piece);
        self.changed.notify_all();
        true
    }

    fn read(&self, number: u64) -> Piece {
        let (from, until) = (self.start(number), self.start(number + 1));
        let room = usize::try_from(until.0 - from.0).unwrap_or(0);
        let (records, leaves) = (Vec::with_capacity(room), Vec::with_capacity(room));
        let mut piece = Piece { records, leaves, failure: None };
        piece.failure = self.read_into(&mut piece, from, until).err();
        piece
    }

    fn read_into(&self, piece: &mut Piece, from: Seq, until: Seq) -> Result<(), Failure> {
        let mut decoder = Decoder::for_fold();
        for block in records_from(self.store, from) {
            let block = block.map_err(Failure::Store)?;
            for (_, bytes) in block.iter().filter(|(seq, _)| from <= *seq && *seq < until) {
                piece.records.push(decoder.decode(bytes).map_err(Failure::Unreadable)?);
                piece.leaves.push(leaf_hash(bytes));
            }
            if until <= block.end() {
                break;
            }
        }
        Ok(())
    }
}
