//! The simulation, many seeds: `cargo bench --bench simulate -- [--seeds 100000] [--from 0] [--seconds S]`.
//!
//! Each seed is a service of its own in one thread: clients, thief, operator, the real writer over a
//! store that fails, a clock that steps, crashes. Prints how many seeds ran and what happened in
//! them, or the first seed that failed with what it did. `--seed N` runs one, and tells all of it.
#![allow(
    missing_docs,
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::missing_errors_doc
)]

#[path = "../tests/it/support"]
mod support {
    pub(crate) mod names;
    pub(crate) mod world;
    pub(crate) mod auditor;
    pub(crate) mod policies;
    pub(crate) mod model;
    pub(crate) mod simulation;
}

#[allow(unused_imports)] // for its tests, which are not built here
#[path = "../tests/it/merkle.rs"]
mod merkle;

use support::simulation::campaign::{campaign, story};
use token_ledger::clock::Stopwatch;

struct Options {
    from: u64,
    seeds: u64,
    seconds: f64,
    seed: Option<u64>,
}

fn options() -> Options {
    let mut options = Options { from: 0, seeds: 1000, seconds: f64::INFINITY, seed: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || words.next().and_then(|word| word.parse::<u64>().ok()).unwrap();
        match word.as_str() {
            "--from" => options.from = number(),
            "--seeds" => options.seeds = number(),
            "--seconds" => options.seconds = number() as f64,
            "--seed" => options.seed = Some(number()),
            _ => {} // cargo's own `--bench`
        }
    }
    options
}

fn main() {
    let options = options();
    if let Some(seed) = options.seed {
        println!("{}", story(seed));
        return;
    }
    let watch = Stopwatch::start();
    match campaign(options.from, options.seeds, || watch.seconds() < options.seconds) {
        Ok((seeds, tally)) => {
            let (took_s, next) = (watch.seconds(), options.from + seeds);
            let rate = seeds as f64 / took_s;
            println!("{seeds} seeds from {} in {took_s:.1} s: {rate:.0} a second", options.from);
            println!("{tally:?}");
            println!("all well; go on with --from {next}");
        }
        Err(story) => {
            println!("{story}");
            std::process::exit(1);
        }
    }
}
