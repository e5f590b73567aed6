//! What only the inside can show: sled without our precautions, and a disk that fails.

use std::mem;

use super::super::block::BlockError;
use super::super::store::{EngineError, records_from};
use super::*;

const CACHE: u64 = 1 << 20;

fn store_in(dir: &Path) -> SledStore {
    SledStore::open(Arc::new(SledDatabase::open(dir, CACHE).unwrap())).unwrap()
}

fn created_in(dir: &Path) -> SledStore {
    SledStore::open(Arc::new(SledDatabase::create(dir, CACHE).unwrap())).unwrap()
}

#[test]
fn a_torn_snapshot_stops_sled_but_not_us() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("log");
    created_in(&dir).append(Seq(0), &[b"{}".to_vec()]).unwrap();
    // The second open writes a snapshot; a kill would have left one like this.
    drop(store_in(&dir));
    let torn = dir.join("snap.0000000000000FFF.generating");
    std::fs::write(&torn, b"half of").unwrap();

    let Err(error) = open_engine(&dir, CACHE) else { panic!("sled read a torn snapshot") };
    let StoreError::Engine { source, .. } = error else { panic!("{error}") };
    assert!(matches!(source, EngineError::Damaged(_)), "{source}");
    assert!(torn.exists());

    assert_eq!(store_in(&dir).end().unwrap(), Seq(1));
    assert!(!torn.exists());
}

/// The files as a killed process leaves them, in a place where no process has them open.
pub(in crate::log) fn killed(dir: &Path, root: &Path) -> PathBuf {
    let after = root.join("after");
    let _ = std::fs::remove_dir_all(&after);
    std::fs::create_dir_all(after.join("blobs")).unwrap();
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.path().is_file() {
            std::fs::copy(entry.path(), after.join(entry.file_name())).unwrap();
        }
    }
    after
}

fn texts(store: &SledStore) -> Vec<String> {
    let texts = |block: Block| {
        let records = block.iter().map(|(_, text)| String::from_utf8(text.to_vec()).unwrap());
        records.collect::<Vec<_>>()
    };
    records_from(store, Seq(0)).flat_map(|block| texts(block.unwrap())).collect()
}

fn append(store: &SledStore, text: &str) {
    store.append(store.end().unwrap(), &[text.as_bytes().to_vec()]).unwrap();
}

fn segment(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("records-{first:020}"))
}

#[test]
fn after_a_failed_fsync_of_sled_nothing_is_written_and_all_is_read() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("log");
    append(&created_in(&dir), "old");
    let mut database = SledDatabase::open(&dir, CACHE).unwrap();
    // A device that cannot be synced.
    let mut data =
        DataFile(OpenOptions::new().write(true).open("/dev/null").unwrap(), AtomicBool::new(false));
    mem::swap(&mut database.data.0, &mut data.0);
    let database = Arc::new(database);
    let store = SledStore::open(Arc::clone(&database)).unwrap();
    // Durable without sled.
    append(&store, "new");

    let failed = store.settle().unwrap_err();
    assert!(matches!(failed, StoreError::Io(FileError { what: "fsync", .. })), "{failed}");
    for first in [2, 3] {
        let refused = store.append(Seq(first), &[b"b".to_vec()]);
        assert!(matches!(refused, Err(StoreError::Poisoned)), "{refused:?}");
    }
    assert!(matches!(database.durable(), Err(StoreError::Poisoned)));
    assert_eq!((texts(&store).join(" ").as_str(), store.syncs()), ("old new", 1));

    // sled is never closed over a disk that failed: this process goes on holding it. A restart is
    // a new process, which finds the files as they are.
    drop((store, database));
    drop(data);
    let reopened = store_in(&killed(&dir, root.path()));
    append(&reopened, "newer");
    assert_eq!(texts(&reopened).join(" "), "old new newer");
}

#[test]
fn after_a_failed_fsync_of_a_file_nothing_is_written_and_all_is_read() {
    let root = tempfile::tempdir().unwrap();
    let store = created_in(&root.path().join("log"));
    append(&store, "old");
    store.segments.replace_file(OpenOptions::new().write(true).open("/dev/null").unwrap());
    let failed = store.append(Seq(1), &[b"new".to_vec()]).unwrap_err();
    assert!(matches!(failed, StoreError::Io(FileError { what: "fsync", .. })), "{failed}");
    let refused = store.append(Seq(1), &[b"b".to_vec()]);
    assert!(matches!(refused, Err(StoreError::Poisoned)), "{refused:?}");
    // Not durable, so not visible.
    assert_eq!((texts(&store).join(" ").as_str(), store.syncs()), ("old", 1));
    assert!(matches!(store.settle(), Err(StoreError::Poisoned)));
}

#[test]
fn blocks_that_sled_forgot_are_found_again() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("log");
    let mut store = created_in(&dir);
    // Each block fills a file.
    store.segments = Segments::new(&dir).bounded(1);
    ["a", "b", "c", "d"].iter().for_each(|text| append(&store, text));
    store.settle().unwrap();
    ["e", "f"].iter().for_each(|text| append(&store, text));
    // sled keeps what is not synced in memory, so a kill loses it.
    let after = killed(&dir, root.path());
    let long_ago = std::time::SystemTime::UNIX_EPOCH;
    let file = |seq| OpenOptions::new().write(true).open(segment(&after, seq)).unwrap();
    (0..6).for_each(|seq| file(seq).set_modified(long_ago).unwrap());
    let reopened = store_in(&after);
    assert_eq!((texts(&reopened).concat().as_str(), reopened.found()), ("abcdef", 2));
    // Who was killed may not have synced them, and from now on they count as durable. They are written
    // again: after a sync that failed, another one alone does nothing. (That it is synced, only a power
    // cut after a kill shows: `tests/faults`.)
    let is_written = |seq: &u64| file(*seq).metadata().unwrap().modified().unwrap() != long_ago;
    assert_eq!((0..6).filter(is_written).collect::<Vec<_>>(), [4, 5]);
    drop(reopened);
    let reopened = store_in(&after);
    assert_eq!(reopened.found(), 0);
    drop(reopened);

    // All places are lost.
    let reopened = store_in(&after);
    reopened.records.clear().unwrap();
    drop(reopened);
    let reopened = store_in(&after);
    assert_eq!((texts(&reopened).concat().as_str(), reopened.found()), ("abcdef", 6));
    drop(reopened);
    // Or all, and a block among them is not intact: it is that file which is named.
    let reopened = store_in(&after);
    reopened.records.clear().unwrap();
    drop(reopened);
    let whole = std::fs::read(segment(&after, 3)).unwrap();
    std::fs::write(segment(&after, 3), vec![0; whole.len()]).unwrap();
    let Err(error) = SledStore::open(Arc::new(SledDatabase::open(&after, CACHE).unwrap())) else {
        panic!("opened over a block that is not intact")
    };
    let path = segment(&after, 3);
    assert!(
        matches!(&error, StoreError::Damaged { seq: Seq(3), what: Damage::Garbled { path: named, at: 0 } } if *named == path),
        "{error}"
    );
    std::fs::write(segment(&after, 3), whole).unwrap();
    let reopened = store_in(&after);
    // Or the newest ones and a file among them.
    (3_u64..6).for_each(|seq| drop(reopened.records.remove(seq.to_be_bytes()).unwrap()));
    drop(reopened);
    std::fs::remove_file(segment(&after, 4)).unwrap();
    let Err(error) = SledStore::open(Arc::new(SledDatabase::open(&after, CACHE).unwrap())) else {
        panic!("opened without a file")
    };
    let path = segment(&after, 4);
    assert!(
        matches!(&error, StoreError::Damaged { seq: Seq(4), what: Damage::NoFile { path: named } } if *named == path),
        "{error}"
    );
}

#[test]
fn a_torn_end_of_a_file_is_left_and_the_next_block_begins_another() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("log");
    let store = created_in(&dir);
    append(&store, "a");
    append(&store, "b");
    drop(store);
    // After a stop the same file goes on.
    let store = store_in(&dir);
    append(&store, "c");
    drop(store);
    assert!(!segment(&dir, 2).exists());

    let block = Block::encode(Seq(3), &[b"never acknowledged"]).unwrap();
    let torn: [&[u8]; 3] = [&block[..block.len() - 1], &block[..5], b"\x01"];
    for (torn, is_begun) in torn.into_iter().flat_map(|torn| [(torn, false), (torn, true)]) {
        let path = segment(&dir, 0);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&whole, torn].concat()).unwrap();
        // A crash right after a file was begun leaves an empty one, or half a block in it.
        if is_begun {
            std::fs::write(segment(&dir, 3), torn).unwrap();
        }
        let store = store_in(&dir);
        assert_eq!(texts(&store).concat(), "abc");
        append(&store, "d");
        drop(store);
        assert_eq!(std::fs::read(&path).unwrap(), [&whole, torn].concat());
        let store = store_in(&dir);
        assert_eq!((texts(&store).concat().as_str(), store.found()), ("abcd", 0));
        store.records.remove(3_u64.to_be_bytes()).unwrap();
        drop(store);
        std::fs::remove_file(segment(&dir, 3)).unwrap();
        std::fs::write(&path, whole).unwrap();
    }
}

#[test]
fn a_file_that_is_missing_or_cut_is_named() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("log");
    let mut store = created_in(&dir);
    store.segments = Segments::new(&dir).bounded(1);
    ["a", "b", "c"].iter().for_each(|text| append(&store, text));
    drop(store);
    let whole = std::fs::read(segment(&dir, 1)).unwrap();
    let damage_of = |seq: u64| match store_in(&dir).block(Seq(seq)) {
        Err(StoreError::Damaged { seq, what }) => (seq.0, what),
        other => panic!("{other:?}"),
    };
    std::fs::write(segment(&dir, 1), &whole[..whole.len() - 1]).unwrap();
    assert_eq!(damage_of(1), (1, Damage::Cut { path: segment(&dir, 1) }));
    std::fs::remove_file(segment(&dir, 1)).unwrap();
    assert_eq!(damage_of(1), (1, Damage::NoFile { path: segment(&dir, 1) }));
    assert!(store_in(&dir).block(Seq(2)).unwrap().is_some());
    // The last one is looked at when the log is opened.
    std::fs::remove_file(segment(&dir, 2)).unwrap();
    let opened = SledStore::open(Arc::new(SledDatabase::open(&dir, CACHE).unwrap()));
    let no_file = Damage::NoFile { path: segment(&dir, 2) };
    assert!(matches!(opened, Err(StoreError::Damaged { seq: Seq(2), what }) if what == no_file));
}

#[test]
fn no_value_ever_goes_to_a_blob_file() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("log");
    let store = created_in(&dir);
    let blobs = || std::fs::read_dir(dir.join("blobs")).unwrap().count();
    // Full blocks in full leaves, consolidated and split many times over.
    let batch = vec![vec![7; 16_000]; 4 * 20];
    for turn in 0..10 {
        store.append(Seq(turn * 80), &batch).unwrap();
        assert_eq!(blobs(), 0, "after batch {turn}");
    }
    drop(store);
    assert_eq!(store_in(&dir).end().unwrap(), Seq(800));
    assert_eq!(blobs(), 0);
}

#[test]
fn a_hole_and_a_changed_block_are_named() {
    let root = tempfile::tempdir().unwrap();
    let store = created_in(&root.path().join("log"));
    for first in [0, 2, 4] {
        store.append(Seq(first), &[b"a".to_vec(), b"b".to_vec()]).unwrap();
    }
    store.records.remove(2_u64.to_be_bytes()).unwrap();
    let place = store.records.get(4_u64.to_be_bytes()).unwrap().unwrap();
    let path = store.database.dir.join("records-00000000000000000000");
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert!(Place::decode(&place).is_some());

    assert!(store.block(Seq(1)).unwrap().is_some());
    for seq in [Seq(2), Seq(3)] {
        let Err(StoreError::Damaged { seq: named, what }) = store.block(seq) else {
            panic!("read record {seq} from a hole")
        };
        assert_eq!((named, what), (seq, Damage::Missing));
    }
    let Err(StoreError::Damaged { seq, what }) = store.block(Seq(5)) else {
        panic!("read a changed block")
    };
    assert_eq!((seq, what), (Seq(4), Damage::Block(BlockError::Checksum)));
    // A row may still be a block itself: so earlier versions wrote it.
    let old = Block::encode(Seq(2), &[b"c", b"d"]).unwrap();
    store.records.insert(2_u64.to_be_bytes(), old).unwrap();
    assert_eq!(store.block(Seq(3)).unwrap().unwrap().record(Seq(3)), Some(&b"d"[..]));
    // It is the last block, too, so the log does not even open.
    assert!(SledStore::open(Arc::clone(&store.database)).is_err());
}
