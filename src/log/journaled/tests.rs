//! A journal that is full, lost, damaged or cannot be synced, and a log that was killed.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::super::sled::tests::killed;
use super::super::store::{BATCH_BYTES_MAX, JournalDamage, records_from};
use super::*;

const CACHE: u64 = 1 << 20;

fn created_in(dir: &Path) -> JournaledStore {
    JournaledStore::open(Arc::new(SledDatabase::create(dir, CACHE).unwrap())).unwrap()
}

fn opened_in(dir: &Path) -> Result<JournaledStore, StoreError> {
    JournaledStore::open(Arc::new(SledDatabase::open(dir, CACHE)?))
}

fn records(from: u64, count: u64) -> Vec<Vec<u8>> {
    (from..from + count).map(|n| format!("{{\"n\":{n}}}").into_bytes()).collect()
}

fn all(store: &dyn Store) -> Vec<Vec<u8>> {
    let blocks = records_from(store, Seq(0)).map(Result::unwrap);
    let records = |block: Block| block.iter().map(|(_, bytes)| bytes.to_vec()).collect::<Vec<_>>();
    blocks.flat_map(records).collect()
}

#[test]
fn a_killed_log_goes_on_with_what_only_the_journal_had() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("log");
    let store = created_in(&dir);
    for turn in 0..10 {
        store.append(Seq(turn * 3), &records(turn * 3, 3)).unwrap();
    }
    assert_eq!((store.shared.sled.end().unwrap(), store.syncs()), (Seq(0), 10));
    assert_eq!(all(&store), records(0, 30));
    let after = killed(&dir, root.path());
    let reopened = opened_in(&after).unwrap();
    assert_eq!((reopened.recovered(), reopened.shared.sled.end().unwrap()), (30, Seq(30)));
    assert_eq!(all(&reopened), records(0, 30));
    reopened.append(Seq(30), &records(30, 1)).unwrap();
    drop(reopened);
    // Killed between the move and the next round: both have it.
    assert_eq!(opened_in(&after).unwrap().recovered(), 0);
}

#[test]
fn a_settled_log_needs_no_journal() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("log");
    let store = created_in(&dir);
    store.append(Seq(0), &records(0, 5)).unwrap();
    store.settle().unwrap();
    assert_eq!(store.shared.sled.end().unwrap(), Seq(5));
    assert!(store.shared.waiting.lock().blocks.is_empty());
    store.append(Seq(5), &records(5, 5)).unwrap();
    drop(store);
    std::fs::remove_file(dir.join(JOURNAL)).unwrap();
    let reopened = opened_in(&dir).unwrap();
    assert_eq!(all(&reopened), records(0, 10));
    // Who only reads makes none.
    assert!(!dir.join(JOURNAL).exists());
    reopened.append(Seq(10), &records(10, 1)).unwrap();
    assert!(dir.join(JOURNAL).exists());
}

#[test]
fn a_full_journal_makes_the_next_batch_wait_and_loses_none() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("log");
    let store = created_in(&dir);
    let batch = |turn: u64| vec![vec![b'0' + (turn % 64) as u8; 15_000]; 40];
    std::thread::scope(|scope| {
        // Three rounds of the ring.
        let writer = scope.spawn(|| {
            (0..40).for_each(|turn| store.append(Seq(turn * 40), &batch(turn)).unwrap());
        });
        while !writer.is_finished() {
            // Whoever reads meanwhile sees whole batches, each record once.
            let seen = all(&store);
            let expected = (0..seen.len() as u64 / 40).flat_map(batch);
            assert!(seen.len().is_multiple_of(40) && seen.into_iter().eq(expected));
        }
    });
    assert!(store.shared.waiting.lock().ring.held_bytes() <= JOURNAL_BYTES);
    drop(store);
    let reopened = opened_in(&dir).unwrap();
    assert!(all(&reopened).into_iter().eq((0..40).flat_map(batch)));
}

#[test]
fn a_batch_that_no_frame_takes_goes_past_the_journal() {
    let root = tempfile::tempdir().unwrap();
    let store = created_in(&root.path().join("log"));
    store.append(Seq(0), &records(0, 2)).unwrap();
    let long = vec![vec![b'x'; 16_000]; 300];
    store.append(Seq(2), &long).unwrap();
    assert_eq!((store.shared.sled.end().unwrap(), store.syncs()), (Seq(302), 2));
    store.append(Seq(302), &records(302, 2)).unwrap();
    assert_eq!(all(&store), [records(0, 2), long, records(302, 2)].concat());
}

#[test]
fn a_batch_as_long_as_any_that_is_kept_whole_fits_into_a_frame() {
    // The shorter the records, the more there is beside them; none is as short as these.
    for length in [128, 16 * 1024] {
        let batch = vec![vec![b'x'; length]; BATCH_BYTES_MAX / length];
        assert!(frame_bytes(&framed(Seq(0), &batch).unwrap()) <= FRAME_BYTES_MAX, "{length}");
    }
}

#[test]
fn of_a_batch_that_no_frame_takes_a_crash_may_leave_the_beginning() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("log");
    let store = created_in(&dir);
    store.append(Seq(0), &vec![vec![b'x'; 16_000]; 300]).unwrap();
    let after = killed(&dir, root.path());
    let segment = after.join("records-00000000000000000000");
    OpenOptions::new().write(true).open(segment).unwrap().set_len(2_000_000).unwrap();
    let left = opened_in(&after).unwrap().end().unwrap();
    assert!(Seq(0) < left && left < Seq(300), "{left}");
}

#[test]
fn after_a_failed_sync_of_the_journal_nothing_is_written_and_all_is_read() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("log");
    let store = created_in(&dir);
    store.append(Seq(0), &records(0, 2)).unwrap();
    {
        // A device that cannot be synced.
        let mut writing = store.writing.lock();
        let broken = OpenOptions::new().write(true).open("/dev/null").unwrap();
        writing.open.as_mut().unwrap().0.replace_file(broken);
    }
    let failed = store.append(Seq(2), &records(2, 2)).unwrap_err();
    assert!(matches!(failed, StoreError::Io(FileError { what: "fsync", .. })), "{failed}");
    let refused = store.append(Seq(2), &records(2, 2));
    assert!(matches!(refused, Err(StoreError::Poisoned)), "{refused:?}");
    assert!(matches!(store.shared.sled.database().durable(), Err(StoreError::Poisoned)));
    assert_eq!((all(&store), store.syncs()), (records(0, 2), 1));
    assert!(store.settle().is_err());
}

#[test]
fn a_move_that_fails_is_told_once_and_final() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("log");
    let store = created_in(&dir);
    store.append(Seq(0), &records(0, 2)).unwrap();
    store.shared.sled.database().poison();
    assert!(matches!(store.settle(), Err(StoreError::Poisoned)));
    assert!(matches!(store.append(Seq(2), &records(2, 1)), Err(StoreError::Poisoned)));
    assert_eq!(all(&store), records(0, 2));
    let after = killed(&dir, root.path());
    assert_eq!(all(&opened_in(&after).unwrap()), records(0, 2));
}

#[test]
fn a_journal_with_a_hole_is_named_and_nothing_is_moved() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("log");
    let store = created_in(&dir);
    for turn in 0..3 {
        store.append(Seq(turn), &records(turn, 1)).unwrap();
    }
    let after = killed(&dir, root.path());
    let path = after.join(JOURNAL);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[0; 512], 4096).unwrap();
    for _ in 0..2 {
        let Err(error) = opened_in(&after) else { panic!("opened over a hole") };
        let gap = JournalDamage::Gap { from: Seq(1), until: Seq(2) };
        assert!(
            matches!(&error, StoreError::Journal { path: named, what } if *named == path && *what == gap),
            "{error}"
        );
    }
    // The end of the journal alone may be torn: nobody was told of it.
    file.write_all_at(&[0; 512], 2 * 4096).unwrap();
    assert_eq!(all(&opened_in(&after).unwrap()), records(0, 1));
}

#[test]
fn rows_are_read_at_once_and_go_into_sled_with_the_records() {
    let root = tempfile::tempdir().unwrap();
    let store = created_in(&root.path().join("log"));
    let table = store.table();
    let in_sled = |key: &[u8]| store.shared.table.row(key).unwrap();
    // Nothing moves yet, so nobody would be waited for.
    table.put_later(&[(b"a", b"1")]).unwrap();
    assert_eq!(in_sled(b"a").as_deref(), Some(&b"1"[..]));
    store.append(Seq(0), &records(0, 2)).unwrap();
    table.put_later(&[(b"b", b"2"), (b"c", b"3")]).unwrap();
    assert_eq!(table.row(b"b").unwrap().as_deref(), Some(&b"2"[..]));
    assert_eq!(in_sled(b"b"), None);
    store.settle().unwrap();
    assert_eq!(in_sled(b"b").as_deref(), Some(&b"2"[..]));
    assert!(store.shared.waiting.lock().rows.is_empty());
    // After the last record there may still be rows of it.
    table.put_later(&[(b"d", b"4")]).unwrap();
    assert_eq!(table.last().unwrap(), Some((b"d".to_vec(), b"4".to_vec())));
    table.put_later(&[(b"e", b"5")]).unwrap();
    table.put(&[(b"e", b"6")]).unwrap();
    assert_eq!(table.rows_from(b"d", 9).unwrap().len(), 2);
    assert_eq!(table.row(b"e").unwrap().as_deref(), Some(&b"6"[..]));
}
