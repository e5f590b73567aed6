//! Whether size costs speed: refreshes a second with few and with many live grants, and what an
//! auditor's questions cost. In one process, through the running ledger, each answer after its sync.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use token_ledger::audit::past::{Extent, fold, valid};
use token_ledger::audit::trail::{Trail, walk};
use token_ledger::clock::ManualClock;
use token_ledger::ledger::handle::Ledger;
use token_ledger::types::id::Seq;

use super::commands::{Commands, grant_id, subject_id};
use super::fill::{Filled, close};
use super::start::limits;

const CONNECTIONS: usize = 64;
/// Questions of each kind an auditor asks in a second.
const QUESTIONS_PER_SECOND: u64 = 25;
const TRAIL_RECORDS_MAX: usize = 100_000;
const ROUNDS: usize = 6;

/// A running ledger and what its next refreshes are.
struct Running {
    name: String,
    filled: Option<Filled>,
    ledger: Ledger,
    clock: Arc<ManualClock>,
    commands: Commands,
    generations: Vec<u32>,
    next: usize,
}

impl Running {
    fn open(path: &Path) -> Self {
        let mut filled = Filled::open(path);
        let state = std::mem::take(&mut filled.state);
        let (grants, head) = (state.counts().grants as u64, state.head().unwrap());
        let generation = |number| {
            let grant = state.grant(&grant_id(number)).unwrap();
            grant.refresh_token().unwrap().generation
        };
        let generations = (0..grants).map(generation).collect();
        let clock = Arc::new(ManualClock::at(head.at));
        let name = format!("{grants} grants, {} records", head.seq.next());
        let (store, tree) = (Arc::clone(&filled.store), Arc::clone(&filled.tree));
        let ledger = Ledger::start(store, tree, state, clock.clone(), limits(0)).unwrap();
        let commands = Commands::new(3600, head.seq.0 + 1);
        Self { name, filled: Some(filled), ledger, clock, commands, generations, next: 0 }
    }

    /// Refreshes for so long, each grant in its turn; answers how many in a second.
    fn refreshes_per_second(&mut self, seconds: u64) -> f64 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let filled = self.filled.as_ref().unwrap();
        let (begun, syncs) = (Instant::now(), filled.store.syncs());
        let mut answered = 0_u64;
        runtime.block_on(async {
            let mut waiting = tokio::task::JoinSet::new();
            let until = Duration::from_secs(seconds);
            loop {
                while waiting.len() < CONNECTIONS && begun.elapsed() < until {
                    // Far apart, as the users of a large service are.
                    let number = self.next;
                    self.next = (self.next + 7919) % self.generations.len();
                    let at = self.ledger.now();
                    let generation = self.generations[number];
                    let asked = self.commands.refresh(number as u64, generation, at);
                    self.generations[number] += 1;
                    let ledger = self.ledger.clone();
                    waiting.spawn(async move { ledger.submit(asked).await.unwrap() });
                }
                match waiting.join_next().await {
                    Some(answer) => answer.unwrap().outcome.unwrap(),
                    None => break,
                };
                answered += 1;
                if answered.is_multiple_of(1000) {
                    self.clock.advance_s(1);
                }
            }
        });
        assert!(syncs < self.filled.as_ref().unwrap().store.syncs(), "answers without a sync");
        answered as f64 / begun.elapsed().as_secs_f64()
    }

    fn stop(mut self) {
        self.ledger.stop().unwrap();
        let filled = self.filled.take().unwrap();
        close(&filled.directory, &filled.tree, &self.ledger.state());
    }
}

/// An auditor's answers: how long each took, in milliseconds.
#[derive(Default)]
struct Answers {
    trail: Vec<f64>,
    valid: Vec<f64>,
}

fn ask(ledger: &Ledger, grants: u64, ends: &AtomicBool) -> Answers {
    let mut answers = Answers::default();
    let mut number = 1_u64;
    while !ends.load(Ordering::Relaxed) {
        number = (number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1)) % grants;
        let begun = Instant::now();
        let trail = Trail::Grant(grant_id(number));
        let head: Seq = trail.head(&ledger.state()).unwrap();
        let (steps, more) = walk(ledger.store(), &trail, head, TRAIL_RECORDS_MAX).unwrap();
        assert!(!steps.is_empty() && more.is_none());
        answers.trail.push(begun.elapsed().as_secs_f64() * 1e3);

        let begun = Instant::now();
        let subject = subject_id(number);
        let trail = Trail::Subject(subject);
        let (control, head, at) = {
            let state = ledger.state();
            (state.control().to_vec(), trail.head(&state).unwrap(), state.head().unwrap().at)
        };
        let extent = Extent::Along(trail, head);
        let past = fold(ledger.store(), &control, &extent, at, TRAIL_RECORDS_MAX).unwrap().unwrap();
        let tokens = valid(&past, at, TRAIL_RECORDS_MAX, |grant| grant.subject == Some(subject));
        assert!(!tokens.unwrap().is_empty(), "the refresh token at least");
        answers.valid.push(begun.elapsed().as_secs_f64() * 1e3);
        std::thread::sleep(Duration::from_millis(1000 / QUESTIONS_PER_SECOND));
    }
    answers
}

fn percentile(mut all: Vec<f64>, part: f64) -> f64 {
    all.sort_by(f64::total_cmp);
    all[((all.len() - 1) as f64 * part) as usize]
}

/// The middle one, and how far the others are from it.
fn spread(all: &[f64]) -> [f64; 3] {
    [0.5, 0.0, 1.0].map(|part| percentile(all.to_vec(), part))
}

fn row(name: &str, all: &[f64], digits: usize) {
    let [median, least, most] = spread(all);
    println!("{name:<52} {median:>12.digits$} {least:>12.digits$} {most:>12.digits$}");
}

/// One round of each kind after the other, and backwards the next time: what drifts in the machine
/// hits all alike. The ratios are those within a round.
pub fn run(paths: [&Path; 2], seconds: u64) {
    let [mut small, mut large] = paths.map(Running::open);
    let mut rates = [Vec::new(), Vec::new(), Vec::new()];
    let mut answers = Answers::default();
    let grants = large.generations.len() as u64;
    for round in 0..ROUNDS {
        for step in 0..3 {
            let kind = if round % 2 == 0 { step } else { 2 - step };
            rates[kind].push(match kind {
                0 => small.refreshes_per_second(seconds),
                1 => large.refreshes_per_second(seconds),
                _ => audited(&mut large, seconds, &mut answers),
            });
        }
    }
    println!("{ROUNDS} rounds of {seconds} s each, {CONNECTIONS} refreshes wait at once");
    println!("{:<52} {:>12} {:>12} {:>12}", "refreshes a second", "median", "least", "most");
    let audited = "the same, with an auditor's 50 questions a second";
    let [few, many, asked] = &rates;
    for (name, rates) in [(small.name.as_str(), few), (&large.name, many), (audited, asked)] {
        row(name, rates, 0);
    }
    let ratios = |of: &[f64], to: &[f64]| -> Vec<f64> {
        of.iter().zip(to).map(|(of, to)| of / to).collect()
    };
    row("large to small, within a round", &ratios(many, few), 3);
    row("with an auditor to without, within a round", &ratios(asked, many), 3);
    // What the storage alone takes: the same questions while nobody refreshes.
    let (alone, ends) = (large.ledger.clone(), AtomicBool::new(false));
    let alone = std::thread::scope(|scope| {
        let auditor = scope.spawn(|| ask(&alone, grants, &ends));
        std::thread::sleep(Duration::from_secs(3 * seconds));
        ends.store(true, Ordering::Relaxed);
        auditor.join().unwrap()
    });
    println!("{:<52} {:>12} {:>12} {:>12}", "answers, ms", "p50", "p99", "asked");
    for (name, all) in [
        ("trail of a grant, while others refresh", answers.trail),
        ("valid for a subject, while others refresh", answers.valid),
        ("trail of a grant, with nothing beside it", alone.trail),
        ("valid for a subject, with nothing beside it", alone.valid),
    ] {
        let (p50, p99) = (percentile(all.clone(), 0.5), percentile(all.clone(), 0.99));
        println!("{name:<52} {p50:>12.3} {p99:>12.3} {:>12}", all.len());
    }
    small.stop();
    large.stop();
}

fn audited(large: &mut Running, seconds: u64, answers: &mut Answers) -> f64 {
    let (ends, grants) = (AtomicBool::new(false), large.generations.len() as u64);
    let ledger = large.ledger.clone();
    std::thread::scope(|scope| {
        let auditor = scope.spawn(|| ask(&ledger, grants, &ends));
        let rate = large.refreshes_per_second(seconds);
        ends.store(true, Ordering::Relaxed);
        let Answers { trail, valid } = auditor.join().unwrap();
        answers.trail.extend(trail);
        answers.valid.extend(valid);
        rate
    })
}
