//! What only the inside can show: sled without our precautions, and a disk that fails.

use std::mem;

use super::super::block::BlockError;
use super::super::store::EngineError;
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

#[test]
fn after_a_failed_fsync_nothing_is_written_and_all_is_read() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("log");
    created_in(&dir).append(Seq(0), &[b"old".to_vec()]).unwrap();
    let mut database = SledDatabase::open(&dir, CACHE).unwrap();
    // A device that cannot be synced.
    let mut data = DataFile(OpenOptions::new().write(true).open("/dev/null").unwrap());
    mem::swap(&mut database.data.0, &mut data.0);
    let database = Arc::new(database);
    let store = SledStore::open(Arc::clone(&database)).unwrap();

    let failed = store.append(Seq(1), &[b"new".to_vec()]).unwrap_err();
    assert!(matches!(failed, StoreError::Io(FileError { what: "fsync", .. })), "{failed}");
    let syncs = database.syncs();
    for first in [1, 2] {
        let refused = store.append(Seq(first), &[b"b".to_vec()]);
        assert!(matches!(refused, Err(StoreError::Poisoned)), "{refused:?}");
    }
    assert!(matches!(database.durable(), Err(StoreError::Poisoned)));
    assert_eq!(database.syncs(), syncs);
    // Not durable, so not visible.
    assert_eq!(store.end().unwrap(), Seq(1));
    assert!(store.block(Seq(1)).unwrap().is_none());
    assert_eq!(store.block(Seq(0)).unwrap().unwrap().record(Seq(0)), Some(&b"old"[..]));

    // sled is never closed over a disk that failed: this process goes on holding it. A restart is
    // a new process, which finds the files as they are.
    drop((store, database));
    drop(data);
    let after = root.path().join("after");
    std::fs::create_dir_all(after.join("blobs")).unwrap();
    for entry in std::fs::read_dir(&dir).unwrap().map(Result::unwrap) {
        if entry.path().is_file() {
            std::fs::copy(entry.path(), after.join(entry.file_name())).unwrap();
        }
    }
    let reopened = store_in(&after);
    assert_eq!(reopened.block(Seq(1)).unwrap().unwrap().record(Seq(1)), Some(&b"new"[..]));
    reopened.append(Seq(2), &[b"newer".to_vec()]).unwrap();
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
