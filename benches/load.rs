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
use load::prepare::Prepared;
use load::server::{Ledger, Plaintext, serve_plaintext};

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
        "{:<34} {:>9} {:>7} {:>8} {:>8} {:>8} {:>9} {:>9} {:>9}",
        "row", "req/s", "ratio", "p50 ms", "p99 ms", "p99.9", "cpu s/1k", "rec/sync", "B/sync"
    );
    let plaintext = Plaintext::start();
    let scripts: Vec<Script> =
        (0..options.connections).map(|_| Script::get(plaintext.address, "/")).collect();
    let before = plaintext.cpu_seconds();
    let base = drive(scripts, options.seconds).await;
    report("plaintext", &base, base.per_second(), plaintext.cpu_seconds() - before, None);
    drop(plaintext);

    let ledger = Ledger::start(options.data.as_deref()).await;
    let prepared = Prepared::new(&ledger).await;
    for (name, scripts) in prepared.rows(options.connections, options.seconds).await {
        if options.only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            continue;
        }
        let scripts = scripts.make(&prepared).await;
        let (cpu, counts) = (ledger.cpu_seconds(), ledger.counts().await);
        let figures = drive(scripts, options.seconds).await;
        let (cpu, now) = (ledger.cpu_seconds() - cpu, ledger.counts().await);
        let synced = now.since(&counts);
        report(name, &figures, base.per_second(), cpu, Some(synced));
        // Durable before the answer: whatever writes has synced.
        assert!(synced.records == 0 || 0 < synced.syncs, "{name}: records without a sync");
    }
    ledger.stop().await;
}

fn report(
    name: &str,
    figures: &Figures,
    base: f64,
    cpu_seconds: f64,
    synced: Option<load::server::Counts>,
) {
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
        "{:<34} {:>9.0} {:>7.3} {:>8.2} {:>8.2} {:>8.2} {:>9.4} {:>9} {:>9}{}",
        name,
        rate,
        rate / base,
        figures.percentile_ms(0.50),
        figures.percentile_ms(0.99),
        figures.percentile_ms(0.999),
        cpu_seconds * 1000.0 / figures.answers.max(1) as f64,
        per_sync.0,
        per_sync.1,
        if figures.unexpected == 0 {
            String::new()
        } else {
            format!("  {} UNEXPECTED: {}", figures.unexpected, figures.example)
        },
    );
}
