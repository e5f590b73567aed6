//! The load bench: `cargo bench --bench load [-- --connections 64 --seconds 5 --data DIR]`.
//!
//! Starts the real binary on a real directory, prepares clients and grants over HTTP, drives it
//! over keep-alive connections from this process, and prints one table. Every figure is also given
//! as a ratio to `plaintext`: a two-byte `GET` answered by the same actix-web, started as a process
//! of its own, in the same run. Client and server share the machine's cores.
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
}

use std::path::PathBuf;

use load::generator::{Figures, Script, drive};
use load::prepare::{Prepared, ROWS, Row};
use load::server::{Counts, Ledger, Plaintext, own_cpu_seconds, serve_plaintext};

struct Options {
    connections: usize,
    seconds: u64,
    data: Option<PathBuf>,
    only: Option<String>,
}

fn options() -> Options {
    let mut options = Options { connections: 64, seconds: 5, data: None, only: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--connections" => options.connections = words.next().unwrap().parse().unwrap(),
            "--seconds" => options.seconds = words.next().unwrap().parse().unwrap(),
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
        "{} connections, {} s a row, client and server on {} cores",
        options.connections,
        options.seconds,
        std::thread::available_parallelism().map_or(0, usize::from)
    );
    println!(
        "{:<32} {:>8} {:>6} {:>7} {:>7} {:>7} {:>8} {:>7} {:>7} {:>8} {:>8}",
        "row",
        "req/s",
        "ratio",
        "p50 ms",
        "p99 ms",
        "p99.9",
        "cpu s/1k",
        "server",
        "client",
        "rec/sync",
        "B/sync"
    );
    let plaintext = Plaintext::start();
    let scripts: Vec<Script> =
        (0..options.connections).map(|_| Script::get(plaintext.address, "/")).collect();
    let measured = measure(scripts, options.seconds, || plaintext.cpu_seconds()).await;
    let base = measured.figures.per_second();
    report("plaintext", &measured, base, None);
    drop(plaintext);

    let ledger = Ledger::start(options.data.as_deref()).await;
    let mut prepared = Prepared::new(&ledger).await;
    for row in ROWS {
        if options.only.as_ref().is_some_and(|only| !row.name.contains(only.as_str())) {
            continue;
        }
        let scripts = prepared.scripts(row, options.connections, options.seconds).await;
        let counts = ledger.counts().await;
        let measured = measure(scripts, options.seconds, || ledger.cpu_seconds()).await;
        let synced = ledger.counts().await.since(&counts);
        report(row.name, &measured, base, Some(&synced));
        assert_durable(row, &measured.figures, &synced, options.connections);
    }
    ledger.stop().await;
}

/// One row, with the seconds of processor time that both sides took for it.
struct Measured {
    figures: Figures,
    server_s: f64,
    client_s: f64,
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

fn report(name: &str, measured: &Measured, base: f64, synced: Option<&Counts>) {
    let figures = &measured.figures;
    let rate = figures.per_second();
    let per_sync = synced.filter(|counts| 0 < counts.syncs).map_or(
        ("-".to_owned(), "-".to_owned()),
        |counts| {
            (
                format!("{:.1}", counts.records as f64 / counts.syncs as f64),
                format!("{:.0}", counts.bytes as f64 / counts.syncs as f64),
            )
        },
    );
    println!(
        "{:<32} {:>8.0} {:>6.3} {:>7.2} {:>7.2} {:>7.2} {:>8.4} {:>7.2} {:>7.2} {:>8} {:>8}{}",
        name,
        rate,
        rate / base,
        figures.percentile_ms(0.50),
        figures.percentile_ms(0.99),
        figures.percentile_ms(0.999),
        measured.server_s * 1000.0 / figures.answers.max(1) as f64,
        measured.server_s / figures.seconds,
        measured.client_s / figures.seconds,
        per_sync.0,
        per_sync.1,
        if figures.unexpected == 0 {
            String::new()
        } else {
            format!("  {} UNEXPECTED: {}", figures.unexpected, figures.example)
        },
    );
}
