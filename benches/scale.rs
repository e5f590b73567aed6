//! The scale bench: `cargo bench --bench scale -- WORD ...`.
//!
//! | words | prints |
//! |---|---|
//! | `memory [COUNT ...]` | bytes of memory per grant and per access token |
//! | `fill DIR RECORDS GRANTS [SECONDS]` | makes a ledger, or goes on with it for so long; then bytes on disk per record byte |
//! | `start DIR` | how long a start takes with a snapshot and without, and what each step of a replay costs |
//! | `scan DIR` | memory while all records are read |
//! | `flat SMALL LARGE [SECONDS]` | refreshes a second in a small and in a large ledger, and audit answers meanwhile |
//!
//! Records are made by the real writer from the commands that the edge would send, with a clock that
//! is told what time it is, on the real store. Nothing here is signed or sealed: no HTTP, no keys.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::missing_errors_doc
)]

mod scale {
    pub mod commands;
    pub mod fill;
    pub mod flat;
    pub mod memory;
    pub mod process;
    pub mod start;
}

use std::path::Path;

/// That of the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    // cargo adds `--bench` at the end.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let number = |word: &str| word.parse::<u64>().unwrap();
    match words.as_slice() {
        ["memory"] => scale::memory::run(&[10_000, 100_000, 1_000_000]),
        ["memory", counts @ ..] => {
            scale::memory::run(&counts.iter().map(|word| number(word)).collect::<Vec<_>>());
        }
        ["memory-of", what, count] => scale::memory::measure(what, number(count)),
        ["fill", dir, records, grants] => {
            scale::fill::run(Path::new(dir), number(records), number(grants), u64::MAX);
        }
        ["fill", dir, records, grants, seconds] => {
            scale::fill::run(Path::new(dir), number(records), number(grants), number(seconds));
        }
        ["start", dir] => scale::start::run(Path::new(dir)),
        ["scan", dir] => scale::start::scan(Path::new(dir)),
        ["flat", small, large] => scale::flat::run([Path::new(small), Path::new(large)], 2),
        ["flat", small, large, seconds] => {
            scale::flat::run([Path::new(small), Path::new(large)], number(seconds));
        }
        _ => println!("which? memory, fill, start, scan or flat; see the head of benches/scale.rs"),
    }
}
