//! Appending batches, in memory and on the disk below the target directory, with its syncs.

use std::sync::Arc;

use token_ledger::log::journaled::JournaledStore;
use token_ledger::log::memory::MemoryStore;
use token_ledger::log::sled::{SledDatabase, SledStore};
use token_ledger::log::store::Store;
use token_ledger::types::id::Seq;

use super::timing::{cost_once, heading};

const BATCHES: [usize; 3] = [1, 16, 256];
/// The mean length of a refresh's records.
const RECORD_BYTES: usize = 700;
const CACHE_BYTES_MAX: u64 = 64 * 1024 * 1024;

pub fn rows() {
    heading("append: a block, and on the disk its sync");
    for batch in BATCHES {
        appended(&format!("append, memory, batch of {batch}"), batch, 200, &MemoryStore::new());
    }
    // Below the target directory: a temporary directory may live in memory.
    let folder =
        tempfile::Builder::new().prefix("micro-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let database =
        |name| Arc::new(SledDatabase::create(&folder.path().join(name), CACHE_BYTES_MAX).unwrap());
    durable("sled", &SledStore::open(database("sled")).unwrap());
    durable("journal", &JournaledStore::open(database("journal")).unwrap());
}

fn durable(name: &str, store: &dyn Store) {
    let (mut appends, before) = (0, store.syncs());
    for batch in BATCHES {
        appends += appended(&format!("append, {name}, batch of {batch}"), batch, 200, store);
    }
    // Every append was durable when it returned.
    assert_eq!(store.syncs() - before, appends);
}

fn appended(name: &str, batch: usize, times: usize, store: &dyn Store) -> u64 {
    let records: Vec<Vec<u8>> = (0..batch).map(|i| record(i as u64)).collect();
    let mut appends = 0;
    let prepare = || ((), times);
    cost_once(name, "batch", prepare, |()| {
        for _ in 0..times {
            store.append(store.end().unwrap(), &records).unwrap();
            appends += 1;
        }
    });
    assert_ne!(store.end().unwrap(), Seq(0));
    appends
}

/// Text that a storage engine cannot make shorter than records are.
fn record(i: u64) -> Vec<u8> {
    let mut bytes = vec![0; RECORD_BYTES];
    blake3::Hasher::new().update(&i.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes.iter_mut().for_each(|byte| *byte = b'0' + (*byte & 0x3f));
    bytes
}
