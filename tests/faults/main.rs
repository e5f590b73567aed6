//! Faults of the world, on the real binary: power cuts, `kill -9` at any moment and at each step, clean
//! stops under load, full disks, I/O errors at every call, overload, clocks that step, damaged files.
//!
//! `cargo test --test faults -- [power] [kill] [stop] [full] [errors] [steps] [overload] [clock]
//! [damage] [--rounds N] [--part I/N] [--seed S] [--loud]`; without a name all of them. It prints one table, and ends with how many
//! rounds passed and failed. What cannot run here is named. See `tests/faults/README.md`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::too_many_arguments,
    unreachable_pub
)]

mod aims;
mod clients;
mod clock;
mod damage;
mod disk;
mod errors;
mod full;
mod kill;
mod mount;
mod overload;
mod power;
mod random;
mod report;
mod service;
mod stage;
mod steps;
mod stop;
mod strace;
mod tools;
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use mount::{FileSystem, missing};
use report::Report;

struct Options {
    names: Vec<String>,
    rounds: Option<u64>,
    seed: u64,
    is_loud: bool,
    only: Option<FileSystem>,
}

fn options() -> Options {
    let mut options =
        Options { names: Vec::new(), rounds: None, seed: 1, is_loud: false, only: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--rounds" => options.rounds = Some(words.next().unwrap().parse().unwrap()),
            "--seed" => options.seed = words.next().unwrap().parse().unwrap(),
            "--part" => {
                let word = words.next().unwrap();
                let (part, parts) = word.split_once('/').unwrap();
                strace::PART.set((part.parse().unwrap(), parts.parse().unwrap())).unwrap();
            }
            "--loud" => options.is_loud = true,
            "--lying" => service::IS_LYING.store(true, Ordering::Relaxed),
            "--ext4" => options.only = Some(FileSystem::Ext4),
            "--xfs" => options.only = Some(FileSystem::Xfs),
            name => options.names.push(name.to_owned()),
        }
    }
    options
}

fn main() -> ExitCode {
    let options = options();
    let mut report = Report::new(options.is_loud);
    // In memory where there is room: what a disk holds is in these files, not on the disk below.
    let folder = tempfile::Builder::new().prefix("faults-").tempdir_in(scratch()).unwrap();
    let scratch = folder.path();
    let chosen = |name: &str| {
        let all = options.names.iter().any(|name| name == "all");
        all || options.names.is_empty() || options.names.iter().any(|chosen| chosen == name)
    };
    println!("seed {}", options.seed);
    if chosen("power") {
        for file_system in [FileSystem::Ext4, FileSystem::Xfs] {
            if options.only.is_some_and(|only| only != file_system) {
                continue;
            }
            match missing(file_system) {
                Some(why) => report.skipped(&format!("power {}", file_system.name()), &why),
                None => {
                    let rounds = options.rounds.unwrap_or(6);
                    power::run(file_system, rounds, options.seed, scratch, &mut report);
                }
            }
        }
    }
    if chosen("kill") {
        kill::run(options.rounds.unwrap_or(6), options.seed, scratch, &mut report);
    }
    if chosen("stop") {
        stop::run(options.rounds.unwrap_or(4), options.seed, scratch, &mut report);
    }
    if chosen("full") {
        match missing(FileSystem::Ext4) {
            Some(why) => report.skipped("full disks", &why),
            None => full::run(options.rounds.unwrap_or(1), options.seed, scratch, &mut report),
        }
    }
    if chosen("errors") {
        errors::run(options.rounds.unwrap_or(14), options.seed, scratch, &mut report);
    }
    if chosen("steps") {
        steps::run_all(options.rounds.unwrap_or(1), options.seed, scratch, &mut report);
    }
    if chosen("overload") {
        overload::run(options.rounds.unwrap_or(1000), scratch, &mut report);
    }
    if chosen("clock") {
        clock::run(options.rounds.unwrap_or(1), scratch, &mut report);
    }
    if chosen("damage") {
        damage::run(options.rounds.unwrap_or(20), options.seed, scratch, &mut report);
    }
    if report.close() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn scratch() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { memory } else { PathBuf::from(env!("CARGO_TARGET_TMPDIR")) }
}
