//! An error at every write, sync and change of name that the service makes, one after the other:
//! `strace` gives the error in place of the kernel. Whatever fails, nothing that was answered is
//! lost, the message helps, and the next start is well.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::clients::{Load, Parties, Promised, Tally, check, fresh};
use crate::random::Random;
use crate::report::Report;
use crate::service::{Administrator, Process, verify};

const CLIENTS: usize = 4;
const CALLS: [&str; 8] =
    ["fdatasync", "fsync", "pwrite64", "sync_file_range", "rename", "unlink", "mkdir", "ftruncate"];

struct Base {
    folder: tempfile::TempDir,
    administrator: Administrator,
    parties: Parties,
    promised: Vec<Promised>,
}

/// Injects each error into `init`, and into a service from its start to its stop, at most
/// `places_max` times a call and kind.
pub fn run(places_max: u64, seed: u64, scratch: &Path, report: &mut Report) {
    if Command::new("strace").arg("-V").output().is_err() {
        return report.skipped("errors at every call", "needs strace");
    }
    let mut random = Random::new(seed);
    let base = base(scratch, random.next());
    for call in CALLS {
        for error in ["EIO", "ENOSPC"] {
            for nth in 1..=places_max {
                if !in_init(call, error, nth, scratch, report) {
                    break;
                }
            }
            for nth in 1..=places_max {
                if !in_service(&base, call, error, nth, random.next(), scratch, report) {
                    break;
                }
            }
        }
    }
}

fn base(scratch: &Path, seed: u64) -> Base {
    let folder = tempfile::tempdir_in(scratch).unwrap();
    let data = folder.path().join("ledger");
    let administrator = Process::init(&[], &data, scratch).administrator().unwrap();
    let service = Process::serve(&data, scratch).ready().unwrap();
    let parties = Parties::register(&service, &administrator).unwrap();
    let load = Load::start(&service, &parties, fresh(CLIENTS), seed);
    load.until(60);
    let (promised, _) = load.end();
    service.stop().unwrap();
    Base { folder, administrator, parties, promised }
}

/// The program to run under, and the file that tells whether the error was given.
fn injecting(call: &str, error: &str, nth: u64, scratch: &Path) -> (Vec<String>, PathBuf) {
    let told = scratch.join("strace.out");
    let _ = std::fs::remove_file(&told);
    let path = told.display().to_string();
    let inject = format!("inject={call}:error={error}:when={nth}");
    let trace = format!("trace={call}");
    let words = ["strace", "-D", "-f", "-qq", "-o", &path, "-e", &trace, "-e", &inject];
    (words.iter().map(|word| (*word).to_owned()).collect(), told)
}

fn was_given(told: &Path) -> bool {
    std::fs::read_to_string(told).unwrap_or_default().contains("INJECTED")
}

fn borrowed(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// Whether the error was given at all.
fn in_init(call: &str, error: &str, nth: u64, scratch: &Path, report: &mut Report) -> bool {
    let folder = tempfile::tempdir_in(scratch).unwrap();
    let data = folder.path().join("ledger");
    let (before, told) = injecting(call, error, nth, scratch);
    let made = Process::init(&borrowed(&before), &data, scratch).administrator();
    if !was_given(&told) {
        return false;
    }
    let failed = match made {
        Ok(administrator) => serves(&data, &administrator, scratch).err(),
        Err(said) if said.contains("panicked") || !said.contains("error:") => Some(said),
        Err(_) => {
            let _ = std::fs::remove_dir_all(&data);
            let again = Process::init(&[], &data, scratch).administrator();
            again.and_then(|administrator| serves(&data, &administrator, scratch)).err()
        }
    };
    let failed = failed.map(|said| format!("at call {nth}: {said}"));
    report.round(&format!("init, {call} {error}"), Tally::default(), failed);
    true
}

fn serves(data: &Path, administrator: &Administrator, scratch: &Path) -> Result<(), String> {
    let service = Process::serve(data, scratch).ready()?;
    Parties::register(&service, administrator)?;
    service.stop()
}

fn in_service(
    base: &Base,
    call: &str,
    error: &str,
    nth: u64,
    seed: u64,
    scratch: &Path,
    report: &mut Report,
) -> bool {
    let folder = tempfile::tempdir_in(scratch).unwrap();
    let data = folder.path().join("ledger");
    copy(&base.folder.path().join("ledger"), &data);
    let (before, told) = injecting(call, error, nth, scratch);
    let mut promised = base.promised.clone();
    let mut tally = Tally::default();
    let said = match Process::serve_under(&borrowed(&before), &data, scratch).ready() {
        Ok(service) => {
            let load = Load::start(&service, &base.parties, promised, seed);
            load.until_or(60, Duration::from_secs(10));
            let (after, wrong) = load.end();
            promised = after;
            tally.wrong.extend(wrong);
            service.terminate();
            service.ended().1
        }
        Err(said) => said,
    };
    if !was_given(&told) {
        return false;
    }
    if said.contains("panicked") {
        tally.wrong.push(format!("at call {nth}: {said}"));
    }
    let failed = match Process::serve(&data, scratch).ready() {
        Ok(service) => {
            tally.add(check(&service, &base.parties, &mut promised));
            service.stop().and_then(|()| verify(&data)).err()
        }
        Err(said) => Some(said),
    };
    let failed = failed.map(|said| format!("at call {nth}: {said}"));
    let _ = &base.administrator;
    report.round(&format!("serve, {call} {error}"), tally, failed);
    true
}

/// Copies a directory with all that is in it.
pub fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").args(["-r", "--sparse=always"]).arg(from).arg(to).status();
    assert!(done.unwrap().success());
}
