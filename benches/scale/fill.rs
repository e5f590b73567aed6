//! Fills a ledger with valid records, by the real writer on the real store, and goes on with one that
//! is there already.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use token_ledger::clock::ManualClock;
use token_ledger::domain::client::{ClientMetadata, GrantType};
use token_ledger::domain::command::Asked;
use token_ledger::domain::state::State;
use token_ledger::entropy::OsEntropy;
use token_ledger::ledger::open::{Beginning, create, leave_clean_mark};
use token_ledger::ledger::replay::replay_onto;
use token_ledger::ledger::snapshot::{Fold, restore, write};
use token_ledger::ledger::tree::Tree;
use token_ledger::ledger::writer::Writer;
use token_ledger::log::directory::DataDirectory;
use token_ledger::log::journaled::JournaledStore;
use token_ledger::log::sled::SledDatabase;
use token_ledger::log::snapshots::Snapshots;
use token_ledger::log::store::{Store, records_from};
use token_ledger::types::id::Seq;
use token_ledger::types::time::Timestamp;

use super::commands::{Commands, grant_id};
use super::process::{disk_bytes, mib};

pub const CACHE_BYTES: u64 = 64 * 1024 * 1024;
/// As many as one write makes durable at most, by default.
const BATCH_COMMANDS: usize = 256;
/// What one second of the ledger's time holds, so that a tenth of the access tokens are live.
const COMMANDS_PER_SECOND: u64 = 125;
const LIFETIME_S: u64 = 3600;
const BEGIN_S: u64 = 1_700_000_000;

/// A ledger that is open, its writer apart.
pub struct Filled {
    pub directory: DataDirectory,
    pub store: Arc<dyn Store>,
    pub tree: Arc<Tree>,
    pub state: State,
}

impl Filled {
    /// Opens the ledger in `path`, as a start does; makes it where there is none.
    pub fn open(path: &Path) -> Self {
        if !path.exists() {
            let administrator = ClientMetadata {
                grant_types: [GrantType::ClientCredentials].into(),
                scope: "ledger:admin".parse().unwrap(),
                ..ClientMetadata::default()
            };
            let (issuer, origin) = ("https://ledger.example", "ledger.example");
            let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(BEGIN_S)));
            let beginning = Beginning { issuer, origin, administrator };
            create(path, beginning, CACHE_BYTES, clock, &OsEntropy).unwrap();
        }
        let directory = DataDirectory::open(path).unwrap();
        directory.take_clean_mark().unwrap().expect("the last stop was clean");
        let database = Arc::new(SledDatabase::open(&directory.log_dir(), CACHE_BYTES).unwrap());
        let journaled = JournaledStore::open(database).unwrap();
        let tiles = journaled.table();
        let store: Arc<dyn Store> = Arc::new(journaled);
        let snapshots = Snapshots::new(directory.snapshots_dir());
        let Fold { mut state, frontier } =
            restore(&snapshots, &directory.marker().issuer, store.as_ref());
        let tree = Tree::resume(Arc::clone(&store), tiles, frontier).unwrap().unwrap();
        replay_onto(&mut state, store.as_ref(), |_, leaves| tree.regrow(leaves.iter().copied()))
            .unwrap();
        Self { directory, store, tree: Arc::new(tree), state }
    }
}

/// Leaves a snapshot and the mark of a clean stop.
pub fn close(directory: &DataDirectory, tree: &Tree, state: &State) {
    let frontier = tree.frontier(state.next_seq().0).unwrap();
    write(&Snapshots::new(directory.snapshots_dir()), state, &frontier).unwrap();
    leave_clean_mark(directory, state).unwrap();
}

/// Grants first, then refreshes of them in turn, until there are `records` or time is up.
pub fn run(path: &Path, records: u64, grants: u64, seconds: u64) {
    let Filled { directory, store, tree, state } = Filled::open(path);
    let begun = Instant::now();
    let first = state.next_seq().0;
    let mut made = state.counts().grants as u64;
    let mut commands = Commands::new(LIFETIME_S, first);
    // Where the refreshes of a run before this one ended: the first grant has the most.
    let generation = |state: &State, number| {
        let grant = state.grant(&grant_id(number)).unwrap();
        grant.refresh_token().unwrap().generation
    };
    let mut generations: Vec<u32> = (0..made).map(|number| generation(&state, number)).collect();
    let mut next = generations.windows(2).position(|pair| pair[1] < pair[0]).map_or(0, |i| i + 1);
    let newest = state.head().map_or(BEGIN_S, |head| head.at.seconds());
    let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(newest)));
    let is_new = state.client(&"photos".parse().unwrap()).is_none();
    let state = Arc::new(RwLock::new(state));
    let mut writer =
        Writer::new(Arc::clone(&store), Arc::clone(&tree), Arc::clone(&state), clock.clone(), 16);
    let mut batch: Vec<Asked> = is_new.then(|| commands.register()).into_iter().collect();
    let mut asked = 0_u64;
    while state.read().next_seq().0 < records && begun.elapsed() < Duration::from_secs(seconds) {
        let at = Timestamp::from_seconds(newest + asked / COMMANDS_PER_SECOND);
        clock.set(at);
        while batch.len() < BATCH_COMMANDS {
            if made < grants {
                batch.extend(commands.session(made, at));
                generations.push(0);
                made += 1;
            } else {
                batch.push(commands.refresh(next as u64, generations[next], at));
                generations[next] += 1;
                next = (next + 1) % generations.len();
            }
        }
        asked += batch.len() as u64;
        for answer in writer.commit(batch.iter()).unwrap() {
            answer.outcome.unwrap();
        }
        batch.clear();
    }
    drop(writer);
    let state = state.read();
    let (end, taken) = (state.next_seq().0, begun.elapsed().as_secs_f64());
    println!(
        "{} records in {taken:.1} s, {:.0} a second, {} syncs; now {end} records, {:?}",
        end - first,
        (end - first) as f64 / taken,
        store.syncs(),
        state.counts()
    );
    close(&directory, &tree, &state);
    drop((store, tree));
    if records <= end {
        disk(path);
    }
}

/// Prints what the log takes on the disk.
fn disk(path: &Path) {
    let database = Arc::new(SledDatabase::open(&path.join("log"), CACHE_BYTES).unwrap());
    let store = JournaledStore::open(database).unwrap();
    let mut bytes = 0_u64;
    for block in records_from(&store, Seq(0)) {
        bytes += block.unwrap().iter().map(|(_, record)| record.len() as u64).sum::<u64>();
    }
    let (log, snapshots) = (disk_bytes(&path.join("log")), disk_bytes(&path.join("snapshots")));
    println!(
        "records {:.0} MiB, log on disk {:.0} MiB with tiles: {:.2} bytes for each; snapshots {:.0} MiB",
        mib(bytes),
        mib(log),
        log as f64 / bytes as f64,
        mib(snapshots)
    );
}
