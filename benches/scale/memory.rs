//! Memory: a process of its own for each figure folds so many grants or tokens through the real
//! writer, over a store that keeps nothing, and tells by how much it has grown.

use std::process::Command as Process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use token_ledger::clock::ManualClock;
use token_ledger::domain::command::Asked;
use token_ledger::domain::state::State;
use token_ledger::ledger::tree::Tree;
use token_ledger::ledger::writer::Writer;
use token_ledger::log::block::Block;
use token_ledger::log::side_table::{Row, SideTable};
use token_ledger::log::store::{Store, StoreError};
use token_ledger::types::id::Seq;
use token_ledger::types::time::Timestamp;

use super::commands::Commands;
use super::process::resident_bytes;

const BATCH_COMMANDS: usize = 64;
const BEGIN_S: u64 = 1_800_000_000;

/// A store that counts and forgets.
#[derive(Default)]
struct Forgetful(AtomicU64);

impl Store for Forgetful {
    fn append(&self, _: Seq, records: &[Vec<u8>]) -> Result<(), StoreError> {
        self.0.fetch_add(records.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn block(&self, _: Seq) -> Result<Option<Block>, StoreError> {
        Ok(None)
    }

    fn end(&self) -> Result<Seq, StoreError> {
        Ok(Seq(self.0.load(Ordering::Relaxed)))
    }
}

impl SideTable for Forgetful {
    fn row(&self, _: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }

    fn put(&self, _: &[(&[u8], &[u8])]) -> Result<(), StoreError> {
        Ok(())
    }

    fn put_later(&self, _: &[(&[u8], &[u8])]) -> Result<(), StoreError> {
        Ok(())
    }

    fn rows_from(&self, _: &[u8], _: usize) -> Result<Vec<Row>, StoreError> {
        Ok(Vec::new())
    }

    fn last(&self) -> Result<Option<Row>, StoreError> {
        Ok(None)
    }
}

struct Folding {
    writer: Writer,
    state: Arc<RwLock<State>>,
    clock: Arc<ManualClock>,
    waiting: Vec<Asked>,
}

impl Folding {
    fn new() -> Self {
        let store: Arc<dyn Store> = Arc::new(Forgetful::default());
        let tree = Arc::new(Tree::empty(Arc::clone(&store), Arc::new(Forgetful::default())));
        let state = Arc::new(RwLock::new(State::default()));
        let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(BEGIN_S)));
        let writer = Writer::new(store, tree, Arc::clone(&state), clock.clone(), 16);
        Self { writer, state, clock, waiting: Vec::new() }
    }

    fn ask(&mut self, asked: impl IntoIterator<Item = Asked>) {
        self.waiting.extend(asked);
        if BATCH_COMMANDS <= self.waiting.len() {
            self.commit();
        }
    }

    fn commit(&mut self) {
        for answer in self.writer.commit(self.waiting.iter()).unwrap() {
            answer.outcome.unwrap();
        }
        self.waiting.clear();
    }
}

/// Prints one line: by how many bytes the process grew.
pub fn measure(what: &str, count: u64) {
    let mut fold = Folding::new();
    let at = Timestamp::from_seconds(BEGIN_S);
    let mut commands = Commands::new(if what == "dead" { 1 } else { 3600 }, 0);
    fold.ask([commands.register()]);
    // Buffers, the stack and the first chunk of each table are there before it counts.
    let first = 4096;
    for number in 0..first {
        fold.ask(commands.session(u64::MAX - number, at));
    }
    fold.commit();
    let before = resident_bytes();
    for number in 0..count {
        match what {
            "grants" => fold.ask(commands.session(number, at)),
            "tokens" => {
                let generation = u32::try_from(number / first).unwrap();
                fold.ask([commands.refresh(u64::MAX - number % first, generation, at)]);
            }
            "dead" => {
                let at = Timestamp::from_seconds(BEGIN_S + number / 100);
                fold.clock.set(at);
                let [create, redeem] = commands.session(number, at);
                fold.ask([create, redeem, commands.revoke(number)]);
            }
            _ => panic!("grants, tokens or dead"),
        }
    }
    fold.commit();
    let grown = resident_bytes().saturating_sub(before);
    let counts = fold.state.read().counts();
    assert!(count <= if what == "tokens" { counts.access_tokens } else { counts.grants } as u64);
    println!("{grown}");
}

pub fn run(counts: &[u64]) {
    println!("bytes of resident memory for each, in a process of its own");
    println!(
        "{:>9} {:>28} {:>14} {:>22} {:>12}",
        "count", "grant + subject + token", "access token", "so grant + subject", "dead grant"
    );
    for count in counts {
        let of = |what: &str| {
            let program = std::env::current_exe().unwrap();
            let count_text = count.to_string();
            let output =
                Process::new(program).args(["memory-of", what, &count_text]).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let bytes: u64 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
            bytes as f64 / *count as f64
        };
        let (all, token, dead) = (of("grants"), of("tokens"), of("dead"));
        println!("{count:>9} {all:>28.0} {token:>14.0} {:>22.0} {dead:>12.0}", all - token);
    }
}
