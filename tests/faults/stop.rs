//! A clean stop under load: whoever had sent a request before the stop gets its answer, and nothing
//! is recorded whose answer was lost.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::clients::{Parties, Tally};
use crate::random::Random;
use crate::report::Report;
use crate::service::{Process, binary, has_panicked};
use crate::stage::words;
use crate::strace;
use crate::wire::{Wire, form};

/// How long a request may lie in the system unread on a busy machine. One that the service had not
/// read when it was told to stop gets no answer, and leaves no record: the client asks again.
const UNREAD: Duration = Duration::from_millis(100);

const CLIENTS: usize = 24;

/// Stops a loaded service `rounds` times.
pub fn run(rounds: u64, seed: u64, scratch: &Path, report: &mut Report) {
    let mut random = Random::new(seed);
    let why = strace::missing();
    let has_strace = why.is_none();
    if let Some(why) = why {
        report.skipped("stop while every answer waits for the disk", &why);
    }
    for round in 0..rounds {
        let is_slow = has_strace && round % 2 == 1;
        let (tally, failed) = one(is_slow, &mut random, scratch);
        let row = if is_slow { "stop, disk slow" } else { "stop" };
        report.round(row, tally, failed);
    }
}

/// What one client saw: answers, and a request that got none with when it was sent.
struct Seen {
    answered: Vec<String>,
    unanswered: Option<Instant>,
}

fn one(is_slow: bool, random: &mut Random, scratch: &Path) -> (Tally, Option<String>) {
    let folder = tempfile::tempdir_in(scratch).unwrap();
    let data = folder.path().join("ledger");
    let administrator = Process::init(&[], &data, scratch).administrator().unwrap();
    // Each sync takes 30 ms then, so that nearly every client waits for one at any moment.
    let slowing = strace::slowing("fdatasync", 30_000);
    let slow = words(&slowing);
    let before: &[&str] = if is_slow { &slow } else { &[] };
    let service = Process::serve_under(before, &data, scratch).ready().unwrap();
    let parties = Parties::register(&service, &administrator).unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let asking = Arc::new(Mutex::new(0_u64));
    let threads: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (over, asking) = (Arc::clone(&over), Arc::clone(&asking));
            let (address, basic) = (service.public, parties.basics[1].clone());
            std::thread::spawn(move || ask_until_over(address, &basic, &over, &asking))
        })
        .collect();
    while *asking.lock() < 200 + random.below(200) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let stopping = Instant::now();
    service.terminate();
    over.store(true, Ordering::SeqCst);
    let seen: Vec<Seen> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let (code, said) = service.ended();
    let took = stopping.elapsed();

    let mut tally = Tally::default();
    let answered: BTreeSet<&String> = seen.iter().flat_map(|seen| &seen.answered).collect();
    tally.acknowledged = answered.len() as u64;
    for unanswered in seen.iter().filter_map(|seen| seen.unanswered) {
        if unanswered + UNREAD < stopping {
            tally.lost += 1;
            tally.wrong.push(format!(
                "a request sent {:?} before the stop got no answer",
                stopping - unanswered
            ));
        }
    }
    let recorded = issued(&data, &parties.ids[1]);
    if recorded != answered.len() {
        tally.wrong.push(format!("{recorded} recorded, but {} answered", answered.len()));
    }
    if Duration::from_secs(10) < took {
        tally.wrong.push(format!("the stop took {took:?}"));
    }
    let failed = (code != Some(0) || has_panicked(&said)).then_some(said);
    (tally, failed)
}

fn ask_until_over(
    address: SocketAddr,
    basic: &str,
    over: &AtomicBool,
    asking: &Mutex<u64>,
) -> Seen {
    let mut wire = Wire::to(address);
    let request = form("/oauth/token", basic, &[("grant_type", "client_credentials")]);
    let mut seen = Seen { answered: Vec::new(), unanswered: None };
    loop {
        if wire.send(&request).is_err() {
            // Refused at the door, or closed while idle: nothing was asked.
            return seen;
        }
        let sent = Instant::now();
        match wire.read() {
            Ok(answer) if answer.status == 200 => {
                seen.answered.extend(answer.text("access_token"));
                *asking.lock() += 1;
            }
            // Told that it stops: that is an answer.
            Ok(_) if over.load(Ordering::SeqCst) => return seen,
            Ok(_) | Err(_) => {
                seen.unanswered = Some(sent);
                return seen;
            }
        }
    }
}

/// How many access tokens were issued to a client, as the log has it.
fn issued(data: &Path, client: &str) -> usize {
    let export = Command::new(binary()).arg("export").arg("--data").arg(data).output().unwrap();
    let lines = String::from_utf8_lossy(&export.stdout).into_owned();
    let of_client = format!("\"client\":\"{client}\"");
    let issued =
        |line: &&str| line.contains("\"access_token.issued\"") && line.contains(&of_client);
    lines.lines().filter(issued).count()
}
