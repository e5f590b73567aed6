//! Damage to the files of a ledger at rest: bits flipped, sectors zeroed or filled with rubbish,
//! files cut or gone. Each is harmless, or found: at the start, when it is read, or by `verify`,
//! with the file or record named and what to do.

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::clients::{Load, Parties, Promised, Tally, check, fresh};
use crate::errors::copy;
use crate::random::Random;
use crate::report::Report;
use crate::service::{Process, binary, has_panicked, verify};

const CLIENTS: usize = 3;

/// A ledger at rest, and what it held.
struct Whole {
    folder: tempfile::TempDir,
    parties: Parties,
    promised: Vec<Promised>,
    records: Vec<u8>,
    /// Each file, by its path from the ledger's directory, with the places that hold something.
    files: Vec<(PathBuf, Vec<u64>)>,
    is_clean: bool,
}

/// What became of a damaged ledger.
enum Outcome {
    Harmless,
    /// By a start, with a message that names what and says what to do.
    Refused,
    /// Only by `verify`.
    Verified,
    /// Records at the end are gone, and nobody says so.
    Shortened,
    Wrong(String),
}

const BLOCK: u64 = 64;

/// Damages `rounds` copies of a ledger that was stopped, and as many of one that was killed.
pub fn run(rounds: u64, seed: u64, scratch: &Path, report: &mut Report) {
    let mut random = Random::new(seed);
    for is_clean in [true, false] {
        let whole = whole(is_clean, &mut random, scratch);
        for _ in 0..rounds {
            one(&whole, &mut random, scratch, report);
        }
    }
}

fn whole(is_clean: bool, random: &mut Random, scratch: &Path) -> Whole {
    let folder = tempfile::tempdir_in(scratch).unwrap();
    let data = folder.path().join("ledger");
    let administrator = Process::init(&[], &data, scratch).administrator().unwrap();
    let service = Process::serve(&data, scratch).ready().unwrap();
    let parties = Parties::register(&service, &administrator).unwrap();
    let load = Load::start(&service, &parties, fresh(CLIENTS), random.next());
    load.until(300);
    let (promised, _) = load.end();
    // What is signed and stored once a second is there.
    std::thread::sleep(std::time::Duration::from_millis(2500));
    if is_clean {
        service.stop().unwrap();
    } else {
        let mut service = service;
        service.kill();
    }
    // A copy, for reading it recovers it.
    let read = folder.path().join("read");
    copy(&data, &read);
    let records =
        Command::new(binary()).arg("export").arg("--data").arg(&read).output().unwrap().stdout;
    fs::remove_dir_all(&read).unwrap();
    let files = files(&data);
    Whole { folder, parties, promised, records, files, is_clean }
}

fn files(data: &Path) -> Vec<(PathBuf, Vec<u64>)> {
    let mut found = Vec::new();
    let mut open = vec![data.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let bytes = fs::read(&path).unwrap();
            let places = bytes.chunks(BLOCK as usize).enumerate();
            let places = places.filter(|(_, block)| block.iter().any(|byte| *byte != 0));
            let places = places.map(|(i, _)| i as u64 * BLOCK).collect::<Vec<_>>();
            found.push((path.strip_prefix(data).unwrap().to_owned(), places));
        }
    }
    found.sort();
    found
}

fn one(whole: &Whole, random: &mut Random, scratch: &Path, report: &mut Report) {
    // Most bytes are in the log, most kinds of damage elsewhere.
    let wanted = match random.below(10) {
        0 | 1 => "log/records-",
        2 | 3 => "log/db",
        4 => "log/journal",
        5 | 6 => "vault-000001/db",
        _ => "",
    };
    let is_wanted = |path: &Path| path.to_str().unwrap().starts_with(wanted);
    let fitting: Vec<_> = whole.files.iter().filter(|(path, _)| is_wanted(path)).collect();
    let (path, places) = fitting[random.below(fitting.len() as u64) as usize];
    let folder = tempfile::tempdir_in(scratch).unwrap();
    let data = folder.path().join("ledger");
    copy(&whole.folder.path().join("ledger"), &data);
    let how = damage(&data.join(path), places, random);
    let is_log = path.starts_with("log");
    let outcome = if is_log { read_log(whole, &data) } else { ask(whole, &data, scratch) };
    let kind = match path.to_str().unwrap() {
        name if name.starts_with("log/snap") => "log/snap",
        name if name.starts_with("log/records-") => "log/records",
        name if name.starts_with("vault-000001/snap") => "vault/snap",
        name => name,
    };
    let state = if whole.is_clean { "clean" } else { "killed" };
    let row = |what: &str| format!("damage {state} {kind}: {what}");
    let wrong = |said: String| Some(format!("{how} of {}: {said}", path.display()));
    match outcome {
        Outcome::Harmless => report.round(&row("harmless"), Tally::default(), None),
        Outcome::Refused => report.round(&row("refused"), Tally::default(), None),
        Outcome::Verified => report.round(&row("verify"), Tally::default(), None),
        // Between the last checkpoint and a crash nothing outside of the log knows its end.
        Outcome::Shortened if !whole.is_clean => {
            report.round(&row("SHORTENED"), Tally { lost: 1, ..Tally::default() }, None);
        }
        Outcome::Shortened => {
            report.round(&row("LOST"), Tally::default(), wrong("lost".to_owned()))
        }
        Outcome::Wrong(said) => report.round(&row("WRONG"), Tally::default(), wrong(said)),
    }
}

fn damage(path: &Path, places: &[u64], random: &mut Random) -> String {
    let mut file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let length = file.metadata().unwrap().len();
    let place = match places.len() as u64 {
        0 => 0,
        count => places[random.below(count) as usize] + random.below(BLOCK),
    };
    let place = place.min(length.saturating_sub(1));
    let fill = |file: &mut fs::File, from: u64, bytes: Vec<u8>| {
        let kept = (length - from).min(bytes.len() as u64) as usize;
        file.seek(SeekFrom::Start(from)).unwrap();
        file.write_all(&bytes[..kept]).unwrap();
    };
    match random.below(10) {
        0..=4 => {
            let mut byte = [0];
            file.seek(SeekFrom::Start(place)).unwrap();
            let _ = file.read(&mut byte).unwrap();
            let bit = random.below(8);
            fill(&mut file, place, vec![byte[0] ^ (1 << bit)]);
            format!("bit {bit} of byte {place}")
        }
        5 | 6 => {
            fill(&mut file, place / 512 * 512, vec![0; 512]);
            format!("a zeroed sector at {}", place / 512 * 512)
        }
        7 => {
            fill(&mut file, place / 4096 * 4096, vec![0; 4096]);
            format!("a zeroed block at {}", place / 4096 * 4096)
        }
        8 => {
            let rubbish = (0..512).map(|_| random.below(256) as u8).collect();
            fill(&mut file, place / 512 * 512, rubbish);
            format!("rubbish at {}", place / 512 * 512)
        }
        _ if random.below(3) == 0 => {
            fs::remove_file(path).unwrap();
            "the loss".to_owned()
        }
        _ => {
            file.set_len(place).unwrap();
            format!("a cut at {place}")
        }
    }
}

/// Whether a message names a file or record, and says what to do.
fn helps(said: &str, data: &Path) -> bool {
    let names = said.contains(data.to_str().unwrap()) || said.contains("record ");
    let tells = ["restore", "remove", "put it back", "put back", "check", "run a newer"];
    names && tells.iter().any(|word| said.contains(word)) && !has_panicked(said)
}

fn read_log(whole: &Whole, data: &Path) -> Outcome {
    let done = Command::new(binary()).arg("export").arg("--data").arg(data).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    if !done.status.success() {
        let helps = helps(&said, data);
        return if helps { Outcome::Refused } else { Outcome::Wrong(said) };
    }
    if has_panicked(&said) {
        return Outcome::Wrong(said);
    }
    if done.stdout == whole.records {
        return Outcome::Harmless;
    }
    if whole.records.starts_with(&done.stdout) {
        return Outcome::Shortened;
    }
    Outcome::Wrong("other records are there".to_owned())
}

/// Starts the service and asks for all that was promised.
fn ask(whole: &Whole, data: &Path, scratch: &Path) -> Outcome {
    let service = match Process::serve(data, scratch).ready() {
        Ok(service) => service,
        Err(said) if helps(&said, data) => return Outcome::Refused,
        Err(said) => return Outcome::Wrong(said),
    };
    let tally = check(&service, &whole.parties, &mut whole.promised.clone());
    let said = service.said();
    let stopped = service.stop();
    if tally.wrong.is_empty() {
        return stopped.map_or_else(Outcome::Wrong, |()| Outcome::Harmless);
    }
    if helps(&said, data) {
        return Outcome::Refused;
    }
    match verify(data) {
        Err(said) if helps(&said, data) => Outcome::Verified,
        Err(said) => Outcome::Wrong(said),
        Ok(()) => Outcome::Wrong(tally.wrong.join("; ")),
    }
}
