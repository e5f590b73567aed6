//! What the evidence costs the writer and the disk: a leaf in the tree, a tile among them, and one
//! signed checkpoint behind a fence, each on its own. `cargo bench --bench evidence`.

#![allow(clippy::print_stdout)] // its answer

use std::path::Path;
use std::sync::Arc;

use token_ledger::clock::Stopwatch;
use token_ledger::crypto::note_signer::NoteSigner;
use token_ledger::ledger::checkpoints::Checkpoints;
use token_ledger::ledger::notary::{Heartbeat, Notary};
use token_ledger::ledger::tree::Tree;
use token_ledger::log::fence::FenceFile;
use token_ledger::log::leaf::leaf_hash;
use token_ledger::log::memory::MemoryStore;
use token_ledger::log::receipt::Receipt;
use token_ledger::log::side_table::SideTable;
use token_ledger::log::sled::{SledDatabase, SledRows};
use token_ledger::log::store::Store;
use token_ledger::types::id::Seq;
use token_ledger::types::time::Timestamp;

const LEAVES: u64 = 1_000_000;
const CHECKPOINTS: u64 = 200;
const CACHE_BYTES: u64 = 64 * 1024 * 1024;

fn main() {
    let root = tempfile::tempdir().expect("a directory");
    measure(root.path());
}

fn measure(root: &Path) {
    let database = SledDatabase::create(&root.join("log"), CACHE_BYTES).expect("a database");
    let database = Arc::new(database);
    let table = |name| -> Arc<dyn SideTable> {
        Arc::new(SledRows::within(Arc::clone(&database), name).expect("a table"))
    };
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let tree = Arc::new(Tree::empty(store, table("tiles")));
    let leaves: Vec<_> = (0..LEAVES).map(|seq| leaf_hash(&seq.to_be_bytes())).collect();
    let watch = Stopwatch::start();
    for batch in leaves.chunks(40) {
        tree.grow(batch.iter().copied()).expect("a table that is written");
    }
    let per_leaf_us = watch.seconds() * 1e6 / LEAVES as f64;
    println!("tree: {per_leaf_us:.3} us for each of {LEAVES} records, tiles written to sled");

    let name = || "log.example".parse().expect("a name");
    let signer = NoteSigner::new(name(), &[1; 32]);
    let (origin, fence) = ("log.example".parse(), FenceFile::new(&root.join("fence")));
    let notary = Notary::open(
        Arc::clone(&tree),
        origin.expect("an origin"),
        Checkpoints::new(table("checkpoints")),
        Box::new(fence),
        Heartbeat { heartbeat_s: 600 },
        vec![signer],
    );
    let notary = notary.expect("a fence that agrees");
    let watch = Stopwatch::start();
    for second in 0..CHECKPOINTS {
        tree.grow(std::iter::once(leaf_hash(b"more"))).expect("a table that is written");
        notary.sign(Timestamp::from_seconds(second)).expect("a disk that takes it");
    }
    let each_ms = watch.seconds() * 1e3 / CHECKPOINTS as f64;
    println!("checkpoint: {each_ms:.2} ms (fence and row durable); at 20000 records a second");
    println!("  and one a second that is {:.3} us for each record", each_ms * 1e3 / 20_000.0);

    let published = notary.newest().expect("signed");
    let watch = Stopwatch::start();
    let mut bytes = 0;
    for index in (0..LEAVES).step_by(1000).map(Seq) {
        let proof = tree.inclusion(index, published.head.size).expect("a leaf");
        let checkpoint = published.note.clone();
        bytes = Receipt { extra: Vec::new(), index, proof, checkpoint }.encode().len();
    }
    let each_us = watch.seconds() * 1e6 / 1000.0;
    println!("receipt: {bytes} bytes at {LEAVES} records, {each_us:.0} us to make");
}
