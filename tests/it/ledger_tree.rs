//! The tree of a running ledger, over real stores: every root that an answer may name, the tiles that
//! are stored, and what is made again when they are gone.

use std::path::Path;
use std::sync::Arc;

use token_ledger::ledger::tree::Tree;
use token_ledger::log::leaf::leaf_hash;
use token_ledger::log::memory::MemoryStore;
use token_ledger::log::proof::{verify_consistency, verify_inclusion};
use token_ledger::log::side_table::{MemoryTable, SideTable};
use token_ledger::log::sled::{SledDatabase, SledRows, SledStore};
use token_ledger::log::store::Store;
use token_ledger::log::tile::{TileId, tiles_between};
use token_ledger::log::tile_hashes::TileReadError;
use token_ledger::log::tree::TreeHead;
use token_ledger::types::digest::LeafHash;
use token_ledger::types::id::Seq;

use crate::merkle::mth;

const CACHE: u64 = 1 << 20;

fn record(seq: u64) -> Vec<u8> {
    format!("record {seq}").into_bytes()
}

fn leaves(count: u64) -> Vec<LeafHash> {
    (0..count).map(|seq| leaf_hash(&record(seq))).collect()
}

/// Appends records as the writer does: first durable, then in the tree.
fn append(store: &dyn Store, tree: &Tree, count: u64) {
    let first = tree.size();
    let records: Vec<Vec<u8>> = (first..first + count).map(record).collect();
    store.append(Seq(first), &records).unwrap();
    tree.grow(records.iter().map(|record| leaf_hash(record))).unwrap();
}

struct OnSled {
    store: Arc<dyn Store>,
    tiles: Arc<SledRows>,
}

impl OnSled {
    fn over(database: SledDatabase) -> Self {
        let database = Arc::new(database);
        let store = Arc::new(SledStore::open(Arc::clone(&database)).unwrap());
        Self { store, tiles: Arc::new(SledRows::within(database, "tiles").unwrap()) }
    }

    fn create(dir: &Path) -> Self {
        Self::over(SledDatabase::create(dir, CACHE).unwrap())
    }

    fn open(dir: &Path) -> Self {
        Self::over(SledDatabase::open(dir, CACHE).unwrap())
    }

    fn tree(&self) -> Tree {
        Tree::over(Arc::clone(&self.store), Arc::clone(&self.tiles) as Arc<dyn SideTable>).unwrap()
    }
}

#[test]
fn every_root_of_a_stored_ledger_is_that_of_the_definition() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = OnSled::create(&dir.path().join("log"));
    let (tree, all) = (ledger.tree(), leaves(600));
    while tree.size() < 600 {
        append(ledger.store.as_ref(), &tree, (tree.size() % 7 + 1).min(600 - tree.size()));
        let size = usize::try_from(tree.size()).unwrap();
        assert_eq!(tree.head(), TreeHead { size: tree.size(), root: mth(&all[..size]) });
    }
    for size in 0..=600_u64 {
        let expected = mth(&all[..usize::try_from(size).unwrap()]);
        assert_eq!(tree.root(size).unwrap(), expected, "{size}");
        assert_eq!(tree.frontier(size).unwrap().root(), expected, "{size}");
    }
    let later = tree.root(601);
    assert!(matches!(later, Err(TileReadError::NoSuchNode { size: 600, .. })), "{later:?}");
}

#[test]
fn proofs_lead_from_any_record_and_any_size_to_any_later_size() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let tree = Tree::empty(Arc::clone(&store), Arc::new(MemoryTable::default()));
    append(store.as_ref(), &tree, 600);
    let all = leaves(600);
    let heads: Vec<TreeHead> =
        (0..=600).map(|size| TreeHead { size, root: tree.root(size).unwrap() }).collect();
    for new in (1..=600).step_by(37).chain([255, 256, 257, 511, 512, 513, 600]) {
        for old in (1..=new).step_by(29) {
            let proof = tree.consistency(old as u64, new as u64).unwrap();
            verify_consistency(&heads[old], &heads[new], &proof).unwrap();
            let index = old - 1;
            let proof = tree.inclusion(Seq(index as u64), new as u64).unwrap();
            verify_inclusion(&heads[new], Seq(index as u64), &all[index], &proof).unwrap();
        }
    }
    assert!(tree.inclusion(Seq(600), 600).is_err() && tree.inclusion(Seq(0), 601).is_err());
    assert!(tree.consistency(2, 1).is_err() && tree.consistency(1, 601).is_err());
}

#[test]
fn stored_tiles_are_those_of_the_records_and_come_back_when_they_are_lost() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("log");
    let ledger = OnSled::create(&dir);
    let tree = ledger.tree();
    append(ledger.store.as_ref(), &tree, 520);
    append(ledger.store.as_ref(), &tree, 1);
    let stored = ledger.tiles.rows_from(&[], 10).unwrap();
    let expected: Vec<Vec<u8>> = leaves(512).chunks(256).map(bytes).collect();
    assert_eq!(stored.iter().map(|(_, tile)| tile.clone()).collect::<Vec<_>>(), expected);
    assert_eq!(tree.tiles_remade(), 0);
    drop((tree, ledger));

    let ledger = OnSled::open(&dir);
    assert_eq!(ledger.tree().tiles_remade(), 0, "they were made durable by the next append");
    let [(first, _), (second, tile)] = &stored[..] else { panic!("two tiles") };
    ledger.tiles.remove(&[first]).unwrap();
    ledger.tiles.put(&[(second, &tile[1..])]).unwrap();
    let tree = ledger.tree();
    assert_eq!(tree.tiles_remade(), 2, "one was missing, one was another");
    assert_eq!(ledger.tiles.rows_from(&[], 10).unwrap(), stored);
    assert_eq!(tree.head().root, mth(&leaves(521)));
    // Lost while the ledger runs, they are read from the log.
    ledger.tiles.remove(&[first, second]).unwrap();
    assert_eq!(tree.root(300).unwrap(), mth(&leaves(300)));
}

fn bytes(hashes: &[LeafHash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

#[test]
fn a_tree_goes_on_from_its_frontier_as_if_it_had_never_stopped() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let tiles = Arc::new(MemoryTable::default());
    let table = || Arc::clone(&tiles) as Arc<dyn SideTable>;
    let tree = Tree::empty(Arc::clone(&store), table());
    append(store.as_ref(), &tree, 66_000);
    let served = |tree: &Tree, size: u64| -> Vec<_> {
        let tiles = tiles_between(0, size).map(|tile| tree.tile(tile).unwrap());
        tiles.map(|tile| tile.map(|hashes| hashes.encode())).collect()
    };
    for lost in [false, true] {
        if lost {
            tiles.clear();
        }
        for size in [0, 1, 255, 256, 257, 65_535, 65_536, 65_537, 66_000] {
            let frontier = tree.frontier(size).unwrap();
            let resumed = Tree::resume(Arc::clone(&store), table(), frontier.clone()).unwrap();
            let resumed = resumed.expect("a frontier of this log");
            assert_eq!(resumed.frontier(size).unwrap(), frontier);
            assert_eq!(served(&resumed, size), served(&tree, size), "{size}");
            let rest = leaves(66_000).split_off(usize::try_from(size).unwrap());
            resumed.regrow(rest.into_iter()).unwrap();
            assert_eq!(resumed.head(), tree.head(), "{size}");
        }
    }
    let frontier = tree.frontier(7).unwrap();
    let mut nodes = frontier.nodes().to_vec();
    nodes.rotate_left(1);
    let other = token_ledger::log::tree::Frontier::from_nodes(7, nodes).unwrap();
    assert!(Tree::resume(store, table(), other).unwrap().is_none(), "of another log");
}

#[test]
fn a_tile_is_served_only_as_wide_as_the_tree_has_it() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let tree = Tree::empty(Arc::clone(&store), Arc::new(MemoryTable::default()));
    append(store.as_ref(), &tree, 300);
    let tile = |path: &str| {
        let tile = tree.tile(path.parse::<TileId>().unwrap()).unwrap();
        tile.map(|hashes| hashes.encode())
    };
    let all = leaves(300);
    assert_eq!(tile("tile/0/000"), Some(bytes(&all[..256])));
    assert_eq!(tile("tile/0/000.p/9"), Some(bytes(&all[..9])));
    assert_eq!(tile("tile/0/001.p/44"), Some(bytes(&all[256..])));
    assert_eq!(tile("tile/1/000.p/1"), Some(bytes(&[mth(&all[..256])])));
    for path in ["tile/0/001", "tile/0/001.p/45", "tile/1/000.p/2", "tile/entries/000.p/1"] {
        assert_eq!(tile(path), None, "{path}");
    }
}
