//! The load bench: `cargo bench --bench load [-- --connections 64 --seconds 5 --rounds 1 --data DIR]`.
//!
//! Starts the real binary on a real directory, prepares clients and grants over HTTP, drives it
//! over keep-alive connections from this process, and prints one table. Every figure is also given
//! as a ratio to `plaintext`: a two-byte `GET` answered by the same actix-web, started as a process
//! of its own, right before and right after it. Client and server share the machine's cores.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::missing_errors_doc
)]

mod load {
    pub mod generator;
    pub mod prepare;
    pub mod server;
    pub mod table;
}

use std::path::PathBuf;

use load::generator::{Figures, Script, drive};
use load::prepare::{Prepared, ROWS, Row};
use load::server::{Counts, Ledger, Plaintext, own_cpu_seconds, serve_plaintext};
use load::table::{self, Round};

struct Options {
    connections: usize,
    seconds: u64,
    rounds: u64,
    data: Option<PathBuf>,
    only: Option<String>,
}

fn options() -> Options {
    let mut options = Options { connections: 64, seconds: 5, rounds: 1, data: None, only: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--connections" => options.connections = words.next().unwrap().parse().unwrap(),
            "--seconds" => options.seconds = words.next().unwrap().parse().unwrap(),
            "--rounds" => options.rounds = words.next().unwrap().parse().unwrap(),
            "--data" => options.data = words.next().map(PathBuf::from),
            "--only" => options.only = words.next(),
            "--plaintext-server" => {
                serve_plaintext();
                std::process::exit(0);
            }
            _ => {} // cargo's own `--bench`
        }
    }
    options
}

fn main() {
    let options = options();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(run(&options));
}

async fn run(options: &Options) {
    println!(
        "{} connections, {} s a row, rounds: {}, client and server on {} cores",
        options.connections,
        options.seconds,
        options.rounds,
        std::thread::available_parallelism().map_or(0, usize::from)
    );
    table::head();
    let plaintext = Plaintext::start();
    let ledger = Ledger::start(options.data.as_deref()).await;
    let mut prepared = Prepared::new(&ledger).await;
    let mut base = measure_plaintext(&plaintext, options).await;
    table::row("plaintext", &[Round::new(&base, &[&base], None)], "");
    for row in ROWS {
        if options.only.as_ref().is_some_and(|only| !row.name.contains(only.as_str())) {
            continue;
        }
        let mut rounds = Vec::new();
        let mut unexpected = String::new();
        for _ in 0..if row.repeats() { options.rounds } else { 1 } {
            let scripts = prepared.scripts(row, options.connections, options.seconds).await;
            let counts = ledger.counts().await;
            let measured = measure(scripts, options.seconds, || ledger.cpu_seconds()).await;
            let synced = ledger.counts().await.since(&counts);
            assert_durable(row, &measured.figures, &synced, options.connections);
            // What the machine gives moves within seconds, so plaintext is asked on both sides.
            let after = measure_plaintext(&plaintext, options).await;
            rounds.push(Round::new(&measured, &[&base, &after], Some(&synced)));
            base = after;
            unexpected.push_str(&measured.figures.unexpected());
        }
        table::row(row.name, &rounds, &unexpected);
    }
    ledger.stop().await;
}

/// One row, with the seconds of processor time that both sides took for it.
pub struct Measured {
    figures: Figures,
    server_s: f64,
    client_s: f64,
}

async fn measure_plaintext(plaintext: &Plaintext, options: &Options) -> Measured {
    let script = |_| Script::get(plaintext.address, "/");
    let scripts = (0..options.connections).map(script).collect();
    measure(scripts, options.seconds, || plaintext.cpu_seconds()).await
}

async fn measure(scripts: Vec<Script>, seconds: u64, server_s: impl Fn() -> f64) -> Measured {
    let (server, client) = (server_s(), own_cpu_seconds());
    let figures = drive(scripts, seconds).await;
    Measured { figures, server_s: server_s() - server, client_s: own_cpu_seconds() - client }
}

/// Durable before the answer. A connection waits for its answer, so a batch holds at most one
/// command of each: with fewer syncs than this, some answer came before its sync.
fn assert_durable(row: Row, figures: &Figures, synced: &Counts, connections: usize) {
    let (name, answers, connections) = (row.name, figures.answers, connections as u64);
    assert!(answers * row.records <= synced.records, "{name}: answers without records");
    let least = if row.records == 0 { 0 } else { answers.div_ceil(connections) };
    assert!(least <= synced.syncs, "{name}: {answers} answers with only {} syncs", synced.syncs);
    assert!(synced.records == 0 || 0 < synced.syncs, "{name}: records without a sync");
}
