//! Every store behaves alike: one contract, run over memory, over sled, and with a journal before it.

use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;

use token_ledger::log::block::{Block, RECORD_BYTES_MAX, split};
use token_ledger::log::journaled::JournaledStore;
use token_ledger::log::memory::{Fault, MemoryStore};
use token_ledger::log::sled::{SledDatabase, SledStore};
use token_ledger::log::store::{Damage, Store, StoreError, records_from};
use token_ledger::types::id::Seq;

const CACHE: u64 = 1 << 20;

/// A store that can be closed and opened again.
trait Subject {
    fn fresh() -> Self;
    fn store(&self) -> &dyn Store;
    fn reopened(self) -> Self;
}

impl Subject for MemoryStore {
    fn fresh() -> Self {
        Self::new()
    }

    fn store(&self) -> &dyn Store {
        self
    }

    fn reopened(self) -> Self {
        self.reopen()
    }
}

struct OnSled {
    store: SledStore,
    root: TempDir,
}

impl OnSled {
    fn over(database: SledDatabase, root: TempDir) -> Self {
        Self { store: SledStore::open(Arc::new(database)).unwrap(), root }
    }

    fn dir(root: &TempDir) -> PathBuf {
        root.path().join("log")
    }
}

impl Subject for OnSled {
    fn fresh() -> Self {
        let root = tempfile::tempdir().unwrap();
        Self::over(SledDatabase::create(&Self::dir(&root), CACHE).unwrap(), root)
    }

    fn store(&self) -> &dyn Store {
        &self.store
    }

    fn reopened(self) -> Self {
        let Self { store, root } = self;
        drop(store);
        Self::over(SledDatabase::open(&Self::dir(&root), CACHE).unwrap(), root)
    }
}

struct WithJournal {
    store: JournaledStore,
    root: TempDir,
}

impl WithJournal {
    fn over(database: SledDatabase, root: TempDir) -> Self {
        Self { store: JournaledStore::open(Arc::new(database)).unwrap(), root }
    }
}

impl Subject for WithJournal {
    fn fresh() -> Self {
        let root = tempfile::tempdir().unwrap();
        Self::over(SledDatabase::create(&OnSled::dir(&root), CACHE).unwrap(), root)
    }

    fn store(&self) -> &dyn Store {
        &self.store
    }

    fn reopened(self) -> Self {
        let Self { store, root } = self;
        drop(store);
        Self::over(SledDatabase::open(&OnSled::dir(&root), CACHE).unwrap(), root)
    }
}

fn records(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|n| format!("{{\"n\":{n}}}").into_bytes()).collect()
}

/// All records that the store holds from `from` on, as a reader sees them.
fn read_from(store: &dyn Store, from: u64) -> Vec<Vec<u8>> {
    let blocks = records_from(store, Seq(from)).map(Result::unwrap);
    blocks
        .flat_map(|block| {
            let records = block.iter().filter(|(seq, _)| from <= seq.0);
            records.map(|(_, record)| record.to_vec()).collect::<Vec<_>>()
        })
        .collect()
}

fn an_empty_store_ends_at_0<S: Subject>() {
    let subject = S::fresh();
    assert_eq!(subject.store().end().unwrap(), Seq(0));
    assert!(subject.store().block(Seq(0)).unwrap().is_none());
    assert!(records_from(subject.store(), Seq(0)).next().is_none());
    assert_eq!(subject.reopened().store().end().unwrap(), Seq(0));
}

fn each_record_is_found_in_the_block_of_its_batch<S: Subject>() {
    let subject = S::fresh();
    let store = subject.store();
    let all = records(6);
    for (first, end) in [(0, 1), (1, 4), (4, 6)] {
        store.append(Seq(first as u64), &all[first..end]).unwrap();
        assert_eq!(store.end().unwrap(), Seq(end as u64));
        for (seq, record) in (first as u64..).map(Seq).zip(&all[first..end]) {
            let block = store.block(seq).unwrap().unwrap();
            assert_eq!((block.first(), block.end()), (Seq(first as u64), Seq(end as u64)));
            assert_eq!(block.record(seq), Some(&record[..]));
        }
        assert!(store.block(Seq(end as u64)).unwrap().is_none());
        assert!(store.block(Seq(u64::MAX)).unwrap().is_none());
    }
    for from in 0..8 {
        assert_eq!(read_from(store, from as u64), all[from.min(6)..]);
    }
}

fn only_the_end_may_be_appended_to<S: Subject>() {
    let subject = S::fresh();
    let store = subject.store();
    store.append(Seq(0), &records(3)).unwrap();
    for wrong in [0, 2, 4, u64::MAX] {
        let refused = store.append(Seq(wrong), &records(1)).unwrap_err();
        let StoreError::NotAtEnd { first, end } = refused else { panic!("{refused}") };
        assert_eq!((first, end), (Seq(wrong), Seq(3)));
    }
    store.append(Seq(3), &records(1)).unwrap();
}

fn a_refused_batch_changes_nothing<S: Subject>() {
    let subject = S::fresh();
    let store = subject.store();
    let long = vec![0; RECORD_BYTES_MAX + 1];
    // The long one comes last, when blocks before it could have been stored.
    let mut batch = vec![vec![0; RECORD_BYTES_MAX]; 9];
    batch.push(long);
    for batch in [&[][..], &batch] {
        let refused = store.append(Seq(0), batch);
        assert!(matches!(refused, Err(StoreError::Unframed(_))), "{refused:?}");
        assert_eq!(store.end().unwrap(), Seq(0));
    }
    store.append(Seq(0), &batch[..9]).unwrap();
    assert_eq!(subject.reopened().store().end().unwrap(), Seq(9));
}

fn a_long_batch_is_split_and_kept_in_order<S: Subject>() {
    let subject = S::fresh();
    let batch: Vec<Vec<u8>> = (0..50).map(|n| vec![n; usize::from(n) * 300]).collect();
    subject.store().append(Seq(0), &batch).unwrap();
    subject.store().append(Seq(50), &records(2)).unwrap();
    let blocks = records_from(subject.store(), Seq(0)).count();
    assert_eq!(blocks, split(&batch).count() + 1);
    assert!(3 < blocks);
    let subject = subject.reopened();
    assert_eq!(read_from(subject.store(), 0), [batch, records(2)].concat());
}

fn what_was_appended_is_there_after_a_restart<S: Subject>() {
    let mut subject = S::fresh();
    let all = records(30);
    for turn in 0..10 {
        subject.store().append(Seq(turn as u64 * 3), &all[turn * 3..][..3]).unwrap();
        subject = subject.reopened();
        assert_eq!(read_from(subject.store(), 0), all[..(turn + 1) * 3]);
    }
}

macro_rules! contract {
    ($($test:ident)*) => {
        mod memory { $(#[test] fn $test() { super::$test::<super::MemoryStore>(); })* }
        mod sled { $(#[test] fn $test() { super::$test::<super::OnSled>(); })* }
        mod journal { $(#[test] fn $test() { super::$test::<super::WithJournal>(); })* }
    };
}

contract! {
    an_empty_store_ends_at_0
    each_record_is_found_in_the_block_of_its_batch
    only_the_end_may_be_appended_to
    a_refused_batch_changes_nothing
    a_long_batch_is_split_and_kept_in_order
    what_was_appended_is_there_after_a_restart
    readers_meet_no_half_appended_batch
}

#[test]
fn a_failed_append_is_lost_or_kept_and_poisons() {
    for (fault, survives) in [(Fault::Lost, 2), (Fault::Kept, 5)] {
        let store = MemoryStore::new();
        store.fail_append(1, fault);
        store.append(Seq(0), &records(2)).unwrap();
        assert!(matches!(store.append(Seq(2), &records(3)), Err(StoreError::Io(_))));
        assert!(matches!(store.append(Seq(2), &records(3)), Err(StoreError::Poisoned)));
        // Reads go on, and show nothing that was not acknowledged.
        assert_eq!(read_from(&store, 0), records(2));

        let reopened = store.reopen();
        assert_eq!(reopened.end().unwrap(), Seq(survives));
        reopened.append(Seq(survives), &records(1)).unwrap();
    }
}

#[test]
fn a_batch_is_one_sync() {
    let appends_twice = |store: &dyn Store| {
        let before = store.syncs();
        store.append(Seq(0), &records(1)).unwrap();
        store.append(Seq(1), &vec![vec![0; RECORD_BYTES_MAX]; 20]).unwrap();
        assert_eq!(store.syncs(), before + 2);
    };
    appends_twice(OnSled::fresh().store());
    appends_twice(WithJournal::fresh().store());
}

fn readers_meet_no_half_appended_batch<S: Subject + Sync>() {
    let subject = S::fresh();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for turn in 0..30 {
                subject.store().append(Seq(turn * 40), &vec![vec![1; 4_000]; 40]).unwrap();
            }
        });
        while !writer.is_finished() {
            assert_eq!(read_from(subject.store(), 0).len() % 40, 0);
        }
    });
    assert_eq!(read_from(subject.store(), 0).len(), 1_200);
}

#[test]
fn a_hole_in_the_log_is_named() {
    let store = MemoryStore::new();
    for turn in 0..5 {
        store.append(Seq(turn * 2), &records(2)).unwrap();
    }
    let holed = store.without_block(Seq(5));
    let mut blocks = records_from(&holed, Seq(0));
    assert_eq!(blocks.by_ref().take_while(Result::is_ok).count(), 2);
    assert!(blocks.next().is_none());
    let error = records_from(&holed, Seq(4)).next().unwrap().unwrap_err();
    assert!(matches!(error, StoreError::Damaged { seq: Seq(4), what: Damage::Missing }), "{error}");
}

/// A store that answers wrongly: its blocks lie as given, whatever it is asked for.
struct Lying(Vec<Option<Block>>);

impl Store for Lying {
    fn append(&self, _first: Seq, _records: &[Vec<u8>]) -> Result<(), StoreError> {
        Err(StoreError::Poisoned)
    }

    fn block(&self, seq: Seq) -> Result<Option<Block>, StoreError> {
        Ok(self.0.get(seq.0 as usize).cloned().flatten())
    }

    fn end(&self) -> Result<Seq, StoreError> {
        Ok(Seq(self.0.len() as u64))
    }
}

#[test]
fn a_walk_does_not_trust_the_store() {
    let block = |first| Block::decode(Seq(first), Block::encode(Seq(first), &records(2)).unwrap());
    let block = |first| Some(block(first).unwrap());
    let damage = |blocks| {
        let store = Lying(blocks);
        let error = records_from(&store, Seq(0)).find_map(Result::err).unwrap();
        let StoreError::Damaged { seq, what } = error else { panic!("{error}") };
        (seq, what)
    };
    assert_eq!(damage(vec![block(0), block(0), None, None]), (Seq(2), Damage::Missing));
    let misplaced = Damage::Misplaced { end: Seq(2) };
    assert_eq!(damage(vec![block(0), block(0), block(0)]), (Seq(0), misplaced.clone()));
    assert_eq!(damage(vec![block(0), block(0), block(3)]), (Seq(3), misplaced));
    // Put into larger blocks meanwhile: each record comes once.
    let moved = Lying(vec![block(0), block(0), block(1)]);
    assert_eq!(read_from(&moved, 0), [records(2), records(2)[1..].to_vec()].concat());
}

#[test]
fn a_tampered_store_differs_in_what_was_asked_for_only() {
    let store = MemoryStore::new();
    store.append(Seq(0), &records(3)).unwrap();
    store.append(Seq(3), &records(3)).unwrap();
    let before = read_from(&store, 0);

    let mut changed = before.clone();
    changed[4] = b"forged".to_vec();
    assert_eq!(read_from(&store.with_record(Seq(4), b"forged"), 0), changed);
    assert_eq!(read_from(&store, 0), before);

    for end in (0..=6).rev() {
        store.truncate(Seq(end));
        assert_eq!(store.end().unwrap(), Seq(end));
        assert_eq!(read_from(&store, 0), before[..end as usize]);
    }
    store.append(Seq(0), &records(1)).unwrap();
}

#[test]
fn a_database_is_neither_created_nor_overwritten_by_accident() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("log");
    let missing = SledDatabase::open(&dir, CACHE).err().unwrap();
    assert!(
        matches!(&missing, StoreError::Missing { path } if path.starts_with(&dir)),
        "{missing}"
    );
    assert!(!dir.exists());

    drop(SledDatabase::create(&dir, CACHE).unwrap());
    let exists = SledDatabase::create(&dir, CACHE).err().unwrap();
    assert!(matches!(exists, StoreError::Exists { .. }), "{exists}");

    let open = SledDatabase::open(&dir, CACHE).unwrap();
    let in_use = SledDatabase::open(&dir, CACHE).err().unwrap();
    assert!(matches!(in_use, StoreError::Engine { what: "open", .. }), "{in_use}");
    drop(open);

    std::fs::remove_file(dir.join("conf")).unwrap();
    assert!(matches!(SledDatabase::open(&dir, CACHE), Err(StoreError::Missing { .. })));
}
