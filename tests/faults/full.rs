//! A disk that is full, and one that dies. Nobody gets a token that is not durable; who only reads
//! is served for as long as that is safe; with space again, nothing is lost.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::clients::{Load, Parties, Promised, Tally, check, fresh, live_token};
use crate::disk::Unflushed;
use crate::mount::{FileSystem, Mounted};
use crate::random::Random;
use crate::report::Report;
use crate::service::{Administrator, Process, Service, has_panicked, verify};
use crate::wire::{Wire, form, get};

const CLIENTS: usize = 4;

/// Fills `rounds` disks in each of three ways.
pub fn run(rounds: u64, seed: u64, scratch: &Path, report: &mut Report) {
    let mut random = Random::new(seed);
    for _ in 0..rounds {
        for (row, ends) in [("disk nearly full", false), ("disk full", true)] {
            let (tally, failed) = filled(ends, &mut random, scratch);
            report.round(row, tally, failed);
        }
        let (tally, failed) = dead(&mut random, scratch);
        report.round("disk dies", tally, failed);
    }
}

struct Loaded {
    data: PathBuf,
    administrator: Administrator,
    parties: Parties,
    service: Service,
    promised: Vec<Promised>,
}

fn loaded(at: &Path, before: &[&str], scratch: &Path, seed: u64) -> Loaded {
    let data = at.join("ledger");
    let administrator = Process::init(&[], &data, scratch).administrator().unwrap();
    let service = Process::serve_under(before, &data, scratch).ready().unwrap();
    let parties = Parties::register(&service, &administrator).unwrap();
    let load = Load::start(&service, &parties, fresh(CLIENTS), seed);
    load.until(200);
    let (promised, _) = load.end();
    Loaded { data, administrator, parties, service, promised }
}

/// Fills the file system up to a few blocks while clients ask. With `ends` no space is held back
/// for the ledger, and its own write fails.
fn filled(ends: bool, random: &mut Random, scratch: &Path) -> (Tally, Option<String>) {
    let image = FileSystem::Ext4.image(scratch);
    let mounted = Mounted::plain(&image, scratch, "full");
    let reserve: &[&str] = if ends { &["env", "TOKEN_LEDGER_DISK_FREE_BYTES_MIN=0"] } else { &[] };
    let Loaded { data, parties, service, promised, .. } =
        loaded(&mounted.at, reserve, scratch, random.next());
    let load = Load::start(&service, &parties, promised, random.next());
    let filler = mounted.at.join("filler");
    fill(&filler);
    let ended = load.ended_by_itself(Duration::from_secs(60));
    let (mut promised, wrong) = load.end();
    let mut tally = Tally { wrong, ..Tally::default() };
    if !ended {
        return (tally, Some("clients were served on a full disk".to_owned()));
    }
    if ends {
        return after_the_end(service, &data, &filler, &parties, promised, tally, scratch);
    }
    // Nothing has failed yet: reading goes on, and so does writing with the first free space.
    tally.wrong.extend(reads(&service, &parties, &promised));
    fs::remove_file(&filler).unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while !is_ready(&service) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    tally.add(check(&service, &parties, &mut promised));
    let failed = service.stop().and_then(|()| verify(&data)).err();
    (tally, failed)
}

/// A write failed: the process has ended by itself, and said why. With space it starts again.
fn after_the_end(
    service: Service,
    data: &Path,
    filler: &Path,
    parties: &Parties,
    mut promised: Vec<Promised>,
    mut tally: Tally,
    scratch: &Path,
) -> (Tally, Option<String>) {
    let (code, said) = service.ended();
    if code.is_none_or(|code| code == 0) || has_panicked(&said) || !said.contains("write failed") {
        tally.wrong.push(format!("after a failed write it ended with {code:?}: {said}"));
    }
    // Still full: it does not start, or serves nothing that it cannot keep; and harms nothing.
    if let Err(said) = Process::serve(data, scratch).ready()
        && has_panicked(&said)
    {
        tally.wrong.push(format!("a start on a full disk: {said}"));
    }
    fs::remove_file(filler).unwrap();
    let failed = match Process::serve(data, scratch).ready() {
        Ok(service) => {
            tally.add(check(&service, parties, &mut promised));
            service.stop().and_then(|()| verify(data)).err()
        }
        Err(said) => Some(format!("with space again it does not start: {said}")),
    };
    (tally, failed)
}

/// Every write and flush fails from one moment on; what was flushed before is all there is.
fn dead(random: &mut Random, scratch: &Path) -> (Tally, Option<String>) {
    let image = FileSystem::Ext4.image(scratch);
    let mounted = Mounted::forgetful(image, scratch, "dies");
    let Loaded { parties, mut service, promised, administrator, .. } =
        loaded(&mounted.at, &[], scratch, random.next());
    let load = Load::start(&service, &parties, promised, random.next());
    std::thread::sleep(Duration::from_millis(random.below(300)));
    mounted.disk().break_down();
    let ended = load.ended_by_itself(Duration::from_secs(60));
    let (mut promised, wrong) = load.end();
    let mut tally = Tally { wrong, ..Tally::default() };
    if !ended {
        tally.wrong.push("clients were served on a dead disk".to_owned());
    }
    let until = Instant::now() + Duration::from_secs(40);
    while !service.has_ended() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
    let said = service.said();
    if has_panicked(&said) || !said.contains("write failed") {
        tally.wrong.push(format!("on a dead disk it said: {said}"));
    }
    service.kill();
    drop(service);
    let left = mounted.disk().cut(Unflushed::Lost, random);
    drop(mounted);
    let mounted = Mounted::plain(&left, scratch, "left");
    let data = mounted.at.join("ledger");
    let _ = administrator;
    let failed = match Process::serve(&data, scratch).ready() {
        Ok(service) => {
            tally.add(check(&service, &parties, &mut promised));
            service.stop().and_then(|()| verify(&data)).err()
        }
        Err(said) => Some(format!("does not open: {said}")),
    };
    (tally, failed)
}

fn fill(path: &Path) {
    let mut file = fs::File::create(path).unwrap();
    for bytes in [1 << 20, 4096, 512] {
        let block = vec![7; bytes];
        while file.write_all(&block).is_ok() && file.sync_data().is_ok() {}
    }
}

fn is_ready(service: &Service) -> bool {
    Wire::to(service.public).ask(&get("/readyz", "")).is_ok_and(|answer| answer.status == 200)
}

/// What goes wrong with those who only ask, or who must be told to come again.
fn reads(service: &Service, parties: &Parties, promised: &[Promised]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut wire = Wire::to(service.public);
    let Some((client, token)) = live_token(promised) else { return wrong };
    let basic = &parties.basics[client];
    match wire.ask(&form("/oauth/introspect", basic, &[("token", &token)])) {
        Ok(answer) if answer.body["active"] == true => {}
        other => wrong.push(format!("introspection on a full disk: {other:?}")),
    }
    match wire.ask(&form("/oauth/token", basic, &[("grant_type", "client_credentials")])) {
        Ok(answer) if answer.status == 503 => {}
        other => wrong.push(format!("a token on a full disk: {other:?}")),
    }
    if is_ready(service) {
        wrong.push("it calls itself ready on a full disk".to_owned());
    }
    wrong
}
