//! How long a start takes, and where the time of a replay goes.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use token_ledger::clock::SystemClock;
use token_ledger::domain::record::Decoder;
use token_ledger::domain::state::State;
use token_ledger::ledger::handle::Limits;
use token_ledger::ledger::open::{Opened, leave_clean_mark, open};
use token_ledger::ledger::replay::{check_back, check_chain};
use token_ledger::ledger::tree::Tree;
use token_ledger::log::journaled::JournaledStore;
use token_ledger::log::leaf::leaf_hash;
use token_ledger::log::side_table::MemoryTable;
use token_ledger::log::sled::SledDatabase;
use token_ledger::log::store::{Store, records_from};
use token_ledger::types::id::Seq;

use super::fill::CACHE_BYTES;
use super::process::{cpu_seconds, mib, peak_bytes, resident_bytes};

/// Records whose steps are measured one by one.
const STEPS_RECORDS: u64 = 500_000;

pub fn limits(snapshot_every_records: u64) -> Limits {
    Limits {
        queue_commands_max: 4096,
        batch_commands_max: 256,
        coalesce_keys_max: 1024,
        submit_timeout_ms: 60_000,
        clock_step_warn_ms: u64::MAX,
        snapshot_every_records,
    }
}

pub fn run(path: &Path) {
    println!("{:<44} {:>9} {:>9} {:>14} {:>10}", "start", "s", "cpu s", "records/s", "peak MiB");
    // Twice: after a long run the storage engine reads its own tail once, and notes that.
    for name in ["from the snapshot, first open since the writes", "from the snapshot"] {
        started(path, name, 1_000_000);
    }
    steps(path);
    started(path, "from the log alone", 0);
}

fn started(path: &Path, name: &str, snapshot_every_records: u64) {
    let (begun, cpu) = (Instant::now(), cpu_seconds());
    let mut folded = 0_u64;
    let clock = Arc::new(SystemClock);
    let opened =
        open(path, limits(snapshot_every_records), CACHE_BYTES, 0, clock, |_| folded += 1).unwrap();
    let (taken, cpu) = (begun.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    println!(
        "{name:<44} {taken:>9.2} {cpu:>9.2} {:>14} {:>10.0}",
        if folded == 0 { "-".to_owned() } else { format!("{:.0}", folded as f64 / taken) },
        mib(peak_bytes())
    );
    stop(&opened);
}

fn stop(opened: &Opened) {
    opened.ledger.stop().unwrap();
    leave_clean_mark(&opened.directory, &opened.ledger.state()).unwrap();
}

/// One step of the replay at a time, on one thread, over the same records.
fn steps(path: &Path) {
    let database = Arc::new(SledDatabase::open(&path.join("log"), CACHE_BYTES).unwrap());
    let store: Arc<dyn Store> = Arc::new(JournaledStore::open(database).unwrap());
    let from = Seq(0);
    println!("{:<44} {:>9}", "one step of a replay, on one thread", "us/record");
    let begun = Instant::now();
    let mut log: Vec<Vec<u8>> = Vec::new();
    for block in records_from(store.as_ref(), from) {
        log.extend(block.unwrap().iter().map(|(_, record)| record.to_vec()));
        if STEPS_RECORDS <= log.len() as u64 {
            break;
        }
    }
    let each = |begun: Instant| begun.elapsed().as_secs_f64() * 1e6 / log.len() as f64;
    let row = |name: &str, us: f64| println!("{name:<44} {us:>9.3}");
    row("read, block checksum, copy", each(begun));
    let begun = Instant::now();
    let leaves: Vec<_> = log.iter().map(|record| leaf_hash(record)).collect();
    row("leaf hash (SHA-256)", each(begun));
    let begun = Instant::now();
    let mut decoder = Decoder::for_fold();
    for record in &log {
        std::hint::black_box(decoder.decode(record).unwrap());
    }
    row("decode", each(begun));
    let mut state = State::default();
    let begun = Instant::now();
    for (record, leaf) in log.iter().zip(&leaves) {
        let record = decoder.decode(record).unwrap();
        check_chain(state.head(), &record).unwrap();
        check_back(&state, &record).unwrap();
        state.apply(&record, *leaf);
    }
    row("decode, check and fold", each(begun));
    let tree = Tree::empty(Arc::clone(&store), Arc::new(MemoryTable::default()));
    let begun = Instant::now();
    leaves.chunks(32).for_each(|some| tree.regrow(some.iter().copied()).unwrap());
    row("tree", each(begun));
    let bytes: usize = log.iter().map(Vec::len).sum();
    println!("{} records of {} bytes on average", log.len(), bytes / log.len());
}

/// Reads all records as an audit does, and tells how much memory that took.
pub fn scan(path: &Path) {
    let database = Arc::new(SledDatabase::open(&path.join("log"), CACHE_BYTES).unwrap());
    let store = JournaledStore::open(database).unwrap();
    let (before, begun, cpu) = (resident_bytes(), Instant::now(), cpu_seconds());
    let (mut records, mut most, mut next) = (0_u64, 0, 1_000_000);
    println!("{:>12} {:>14} {:>14}", "records", "resident MiB", "more MiB");
    for block in records_from(&store, Seq(0)) {
        records += block.unwrap().iter().count() as u64;
        if next <= records {
            let now = resident_bytes();
            most = most.max(now);
            println!("{records:>12} {:>14.0} {:>14.0}", mib(now), mib(now.saturating_sub(before)));
            next += 1_000_000;
        }
    }
    let taken = begun.elapsed().as_secs_f64();
    println!(
        "{records} records in {taken:.1} s ({:.0} a second, {:.1} cpu s), at most {:.0} MiB more than \
         before; the cache may have {:.0}",
        records as f64 / taken,
        cpu_seconds() - cpu,
        mib(most.saturating_sub(before)),
        mib(CACHE_BYTES)
    );
}
