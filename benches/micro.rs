//! The micro benches: `cargo bench --bench micro [-- --grants 10000 --only WORD]`.
//!
//! Each row isolates one cost of the serving path and names it per unit. Nothing runs beside it, so
//! the sum of the rows is what a request costs at least, not what it costs under load.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::missing_errors_doc
)]

mod micro {
    pub mod book;
    pub mod edge;
    pub mod forgetful;
    pub mod stores;
    pub mod timing;
}

use std::hint::black_box;
use std::sync::Arc;

use micro::book::{BATCH, Book, START_S, access_digest, log_of};
use micro::forgetful::Forgetful;
use micro::timing::{cost, cost_once, heading};
use token_ledger::domain::decide::decide;
use token_ledger::domain::record::{Decoder, Record};
use token_ledger::domain::state::State;
use token_ledger::domain::view::View;
use token_ledger::ledger::replay::replay;
use token_ledger::log::leaf::leaf_hash;
use token_ledger::log::memory::MemoryStore;
use token_ledger::log::store::records_from;
use token_ledger::log::tree::Frontier;
use token_ledger::types::digest::LeafHash;
use token_ledger::types::id::Seq;
use token_ledger::types::time::Timestamp;

/// The writer's work for one refresh is to stay below this, in seconds.
const REFRESH_TARGET_S: f64 = 4e-6;

/// That of the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let (mut grants, mut only) = (10_000, None);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--grants" => grants = words.next().unwrap().parse().unwrap(),
            "--only" => only = words.next(),
            _ => {} // cargo's own `--bench`
        }
    }
    let wants = |part: &str| only.as_ref().is_none_or(|only| only == part);
    println!("{grants} live grants, batches of {BATCH} where nothing else is said");
    if wants("edge") {
        micro::edge::rows();
    }
    if wants("writer") {
        writer(grants);
    }
    if wants("record") {
        records(grants);
    }
    if wants("store") {
        micro::stores::rows();
    }
}

/// What the writer thread does for a refresh, whole and in parts.
fn writer(grants: u64) {
    heading("the writer: decide, encode two records, hash, chain, grow the tree, apply");
    let mut book = Book::new(Arc::new(Forgetful::default()), grants);
    let refreshes = book.refreshes();
    let at = Timestamp::from_seconds(START_S);
    cost("decide, refresh", "command", refreshes.len(), || {
        let state = book.state.read();
        for asked in &refreshes {
            black_box(decide(&View::of(&state), at, asked));
        }
    });
    for batch in refreshes.chunks(BATCH) {
        book.commit(batch);
    }
    let book = std::cell::RefCell::new(book);
    let next = || {
        let commands = book.borrow_mut().refreshes();
        let units = commands.len();
        (commands, units)
    };
    let whole = cost_once("writer work for a refresh", "refresh", next, |commands| {
        let mut book = book.borrow_mut();
        for batch in commands.chunks(BATCH) {
            book.commit(batch);
        }
    });
    let met = if whole <= REFRESH_TARGET_S { "met" } else { "missed" };
    println!("{:<52} {:>12} {met}", "  target", format!("{:.0} ns", REFRESH_TARGET_S * 1e9));
}

/// Records as bytes, and their fold.
fn records(grants: u64) {
    heading("records and their fold");
    let (store, book) = log_of(grants);
    let all = bytes_of(&store);
    // The last ones are the refreshes: two records each.
    let bytes = &all[all.len() - 2 * usize::try_from(grants).unwrap()..];
    let decoded: Vec<Record> = bytes.iter().map(|bytes| Record::decode(bytes).unwrap()).collect();
    let mean = bytes.iter().map(Vec::len).sum::<usize>() / bytes.len();
    println!("{:<52} {:>12}", "mean length of a refresh's records", format!("{mean} bytes"));
    cost("record encode", "record", decoded.len(), || {
        for record in &decoded {
            black_box(record.encode().unwrap());
        }
    });
    cost("record decode, one by itself", "record", bytes.len(), || {
        for bytes in bytes {
            black_box(Record::decode(bytes).unwrap());
        }
    });
    let mut decoder = Decoder::default();
    cost("record decode, one after the other", "record", bytes.len(), || {
        for bytes in bytes {
            black_box(decoder.decode(bytes).unwrap());
        }
    });
    cost("leaf hash (SHA-256)", "record", bytes.len(), || {
        for bytes in bytes {
            black_box(leaf_hash(bytes));
        }
    });
    let leaves: Vec<LeafHash> = bytes.iter().map(|bytes| leaf_hash(bytes)).collect();
    cost("tree append", "leaf", leaves.len(), || {
        let mut frontier = Frontier::default();
        for leaf in &leaves {
            frontier.append(*leaf);
        }
        black_box(frontier.root());
    });
    let whole: Vec<(Record, LeafHash)> =
        all.iter().map(|bytes| (Record::decode(bytes).unwrap(), leaf_hash(bytes))).collect();
    cost_once(
        "apply, all records of the log",
        "record",
        || (State::default(), whole.len()),
        |mut state| {
            for (record, leaf) in &whole {
                state.apply(record, *leaf);
            }
            black_box(&state);
        },
    );
    cost_once(
        "replay: verify, decode, apply (all cores)",
        "record",
        || ((), all.len()),
        |()| {
            black_box(replay(store.as_ref(), |_, _| Ok(())).unwrap());
        },
    );
    look_up(&book, grants);
}

/// What introspection asks of the projection.
fn look_up(book: &Book, grants: u64) {
    let state = book.state.read();
    let now = Timestamp::from_seconds(START_S);
    // A stride that is prime to the number of grants: no token is still in the processor's caches.
    let shorts: Vec<_> =
        (0..grants).map(|i| access_digest((i * 7919) % grants, 1).short()).collect();
    cost("introspection look-up: find, and judge", "token", shorts.len(), || {
        for short in &shorts {
            let token = state.token(short).unwrap();
            assert!(state.is_active(token, now));
        }
    });
}

fn bytes_of(store: &MemoryStore) -> Vec<Vec<u8>> {
    let blocks = records_from(store, Seq(0)).map(Result::unwrap);
    blocks.flat_map(|b| b.iter().map(|(_, bytes)| bytes.to_vec()).collect::<Vec<_>>()).collect()
}
