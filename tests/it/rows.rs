//! The table of rows that may change and go.

use std::path::Path;
use std::sync::Arc;

use token_ledger::log::sled::{ROW_BYTES_MAX, SledDatabase, SledRows, SledStore};
use token_ledger::log::store::{Store, StoreError};
use token_ledger::types::id::Seq;

const CACHE: u64 = 1 << 20;

fn all(rows: &SledRows) -> Vec<(Vec<u8>, Vec<u8>)> {
    rows.rows().map(Result::unwrap).collect()
}

/// Whether any file below `dir` holds these bytes.
fn holds(dir: &Path, needle: &[u8]) -> bool {
    std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).any(|path| {
        if path.is_dir() {
            return holds(&path, needle);
        }
        std::fs::read(path).unwrap().windows(needle.len()).any(|window| window == needle)
    })
}

#[test]
fn rows_change_and_go_for_good() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("vault-000001");
    let rows = SledRows::create(&dir, CACHE).unwrap();
    rows.put(&[(b"a", b"1"), (b"b", b"2"), (b"c", b"3")]).unwrap();
    rows.put(&[(b"b", b"two")]).unwrap();
    rows.remove(&[b"a", b"never there"]).unwrap();
    assert_eq!(rows.row(b"a").unwrap(), None);
    assert_eq!(rows.row(b"b").unwrap().as_deref(), Some(&b"two"[..]));
    drop(rows);

    let rows = SledRows::open(&dir, CACHE).unwrap();
    let left = [(b"b".to_vec(), b"two".to_vec()), (b"c".to_vec(), b"3".to_vec())];
    assert_eq!(all(&rows), left);
}

#[test]
fn a_row_that_is_too_long_is_refused_and_the_rest_with_it() {
    let root = tempfile::tempdir().unwrap();
    let rows = SledRows::create(&root.path().join("vault-000001"), CACHE).unwrap();
    let refused = rows.put(&[(b"a", b"1"), (b"b", &vec![0; ROW_BYTES_MAX])]);
    assert!(matches!(refused, Err(StoreError::RowTooLong { .. })), "{refused:?}");
    assert_eq!(all(&rows), []);
    rows.put(&[(b"b", &vec![0; ROW_BYTES_MAX - 1])]).unwrap();
}

#[test]
fn a_rewritten_table_holds_all_rows_and_no_removed_byte() {
    const ERASED: &[u8] = b"the key of somebody who is to be forgotten";
    let root = tempfile::tempdir().unwrap();
    let old_dir = root.path().join("vault-000001");
    let new_dir = root.path().join("vault-000002");
    let rows = SledRows::create(&old_dir, CACHE).unwrap();
    for n in 0_u16..500 {
        rows.put(&[(&n.to_be_bytes(), &[7; 100])]).unwrap();
    }
    rows.put(&[(b"erased", ERASED)]).unwrap();
    rows.remove(&[b"erased"]).unwrap();
    // This is why there is a rewrite at all.
    assert!(holds(&old_dir, ERASED));

    let fresh = rows.rewrite_into(&new_dir).unwrap();
    assert_eq!(all(&fresh), all(&rows));
    assert!(matches!(rows.rewrite_into(&new_dir), Err(StoreError::Exists { .. })));
    fresh.put(&[(b"later", b"1")]).unwrap();
    drop(fresh);
    assert_eq!(all(&SledRows::open(&new_dir, CACHE).unwrap()).len(), 501);
    assert!(!holds(&new_dir, ERASED));
}

#[test]
fn tables_and_log_share_a_database_without_meeting() {
    let root = tempfile::tempdir().unwrap();
    let database = Arc::new(SledDatabase::create(&root.path().join("log"), CACHE).unwrap());
    let store = SledStore::open(Arc::clone(&database)).unwrap();
    let tiles = SledRows::within(Arc::clone(&database), "tiles").unwrap();
    let meta = SledRows::within(database, "meta").unwrap();
    tiles.put(&[(&[0; 8], b"tile")]).unwrap();
    store.append(Seq(0), &[b"{}".to_vec()]).unwrap();
    assert_eq!(meta.row(&[0; 8]).unwrap(), None);
    assert_eq!(tiles.row(&[0; 8]).unwrap().as_deref(), Some(&b"tile"[..]));
    assert_eq!(store.end().unwrap(), Seq(1));
}
