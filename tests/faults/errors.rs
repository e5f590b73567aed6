//! An error at every call that the service makes on its files, one after the other: one run is
//! written down, and in each later run `strace` gives an error in place of the kernel. Whatever
//! fails, nothing that was answered is lost, the message helps, and the next start is well.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::clients::{Load, Parties, Promised, Tally, check, fresh};
use crate::random::Random;
use crate::report::Report;
use crate::service::{Administrator, Process, has_panicked, verify};
use crate::strace::{self, Fate, Place, Tracing};
use crate::tools::is_clear;

const CLIENTS: usize = 4;

struct Base {
    folder: tempfile::TempDir,
    parties: Parties,
    promised: Vec<Promised>,
}

/// Injects errors into `init`, and into a service from its start to its stop, at most `places_max`
/// times each.
pub fn run(places_max: u64, seed: u64, scratch: &Path, report: &mut Report) {
    if let Some(why) = strace::missing() {
        return report.skipped("errors at every call", &why);
    }
    let mut random = Random::new(seed);
    let places = {
        let folder = tempfile::tempdir_in(scratch).unwrap();
        let tracing = strace::recording(scratch);
        Process::init(&tracing.words(), &folder.path().join("ledger"), scratch)
            .administrator()
            .unwrap();
        tracing.places(folder.path())
    };
    each(places, places_max, "init", &mut random, report, |place, error, _, report| {
        in_init(place, error, scratch, report)
    });
    let base = base(scratch, random.next());
    let places = {
        let stage = tempfile::tempdir_in(scratch).unwrap();
        let tracing = strace::recording(scratch);
        serve(&base, stage.path(), &tracing, random.next(), scratch);
        tracing.places(stage.path())
    };
    each(places, places_max, "serve", &mut random, report, |place, error, seed, report| {
        in_service(&base, place, error, seed, scratch, report)
    });
}

/// Gives each chosen place each error that it may have.
fn each(
    places: Vec<Place>,
    places_max: u64,
    what: &str,
    random: &mut Random,
    report: &mut Report,
    mut give: impl FnMut(&Place, &'static str, u64, &mut Report) -> bool,
) {
    let errors = |place: &Place| if place.writes { vec!["EIO", "ENOSPC"] } else { vec!["EIO"] };
    let pairs = places
        .into_iter()
        .flat_map(|place| errors(&place).into_iter().map(move |error| (place.clone(), error)));
    let pairs: Vec<_> = pairs.collect();
    let all = pairs.len();
    let chosen =
        strace::some(pairs, places_max, random, |(place, error)| format!("{} {error}", place.call));
    let (tried, mut unreached) = (chosen.len(), Vec::new());
    for (place, error) in chosen {
        if !give(&place, error, random.next(), report) {
            unreached.push(format!("{place}, {error}"));
        }
    }
    let missed = unreached.len();
    report.figure(&format!(
        "errors, {what}: {all} places and errors, {tried} tried, {missed} of them not reached"
    ));
    report.remark(&unreached);
}

fn base(scratch: &Path, seed: u64) -> Base {
    let folder = tempfile::tempdir_in(scratch).unwrap();
    let data = folder.path().join("ledger");
    let administrator = Process::init(&[], &data, scratch).administrator().unwrap();
    let mut service = Process::serve(&data, scratch).ready().unwrap();
    let parties = Parties::register(&service, &administrator).unwrap();
    let load = Load::start(&service, &parties, fresh(CLIENTS), seed);
    load.until(60);
    let (promised, _) = load.end();
    // Killed, so that the next start recovers.
    service.kill();
    Base { folder, parties, promised }
}

/// Whether the error was given at all.
fn in_init(place: &Place, error: &'static str, scratch: &Path, report: &mut Report) -> bool {
    let folder = tempfile::tempdir_in(scratch).unwrap();
    let data = folder.path().join("ledger");
    let tracing = strace::at(place, Fate::Error(error), folder.path(), scratch);
    let made = Process::init(&tracing.words(), &data, scratch).administrator();
    if !tracing.was_reached() {
        return false;
    }
    let failed = match made {
        Ok(administrator) => serves(&data, &administrator, scratch).err(),
        Err(said) if !is_clear(&said) => Some(said),
        Err(_) => {
            let _ = std::fs::remove_dir_all(&data);
            let again = Process::init(&[], &data, scratch).administrator();
            again.and_then(|administrator| serves(&data, &administrator, scratch)).err()
        }
    };
    let failed = failed.map(|said| format!("at {place}: {said}"));
    report.round(&format!("init, {} {error}", place.call), Tally::default(), failed);
    true
}

fn serves(data: &Path, administrator: &Administrator, scratch: &Path) -> Result<(), String> {
    let service = Process::serve(data, scratch).ready()?;
    Parties::register(&service, administrator)?;
    service.stop()
}

/// A service on a copy of the base from its start to its stop: what was promised, and what is wrong
/// with what it said or answered.
fn serve(
    base: &Base,
    stage: &Path,
    tracing: &Tracing,
    seed: u64,
    scratch: &Path,
) -> (Vec<Promised>, Vec<String>) {
    let data = stage.join("ledger");
    copy(&base.folder.path().join("ledger"), &data);
    let mut promised = base.promised.clone();
    let mut wrong = Vec::new();
    let said = match Process::serve_under(&tracing.words(), &data, scratch).ready() {
        Ok(service) => {
            let load = Load::start(&service, &base.parties, promised, seed);
            load.until_or(60, Duration::from_secs(10));
            (promised, wrong) = load.end();
            service.terminate();
            service.ended().1
        }
        Err(said) => {
            if !is_clear(&said) {
                wrong.push(said.clone());
            }
            said
        }
    };
    if has_panicked(&said) {
        wrong.push(said);
    }
    (promised, wrong)
}

fn in_service(
    base: &Base,
    place: &Place,
    error: &'static str,
    seed: u64,
    scratch: &Path,
    report: &mut Report,
) -> bool {
    let stage = tempfile::tempdir_in(scratch).unwrap();
    let tracing = strace::at(place, Fate::Error(error), stage.path(), scratch);
    let (mut promised, wrong) = serve(base, stage.path(), &tracing, seed, scratch);
    if !tracing.was_reached() {
        return false;
    }
    let mut tally = Tally { wrong, ..Tally::default() };
    let data = stage.path().join("ledger");
    let failed = match Process::serve(&data, scratch).ready() {
        Ok(service) => {
            tally.add(check(&service, &base.parties, &mut promised));
            service.stop().and_then(|()| verify(&data)).err()
        }
        // sled overwrites what it cannot read while it opens. What it reads then was read just
        // before, and is in the system's memory: only `strace` can make that fail.
        Err(said) if !place.writes && is_clear(&said) && said.contains("restore a backup") => {
            report.figure(&format!("errors, serve: refused for good after {error} at {place}"));
            None
        }
        Err(said) => Some(said),
    };
    let failed = failed.map(|said| format!("at {place}: {said}"));
    tally.wrong.iter_mut().for_each(|wrong| *wrong = format!("at {place}: {wrong}"));
    report.round(&format!("serve, {} {error}", place.call), tally, failed);
    true
}

/// Copies a directory with all that is in it.
pub fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").args(["-r", "--sparse=always"]).arg(from).arg(to).status();
    assert!(done.unwrap().success());
}
