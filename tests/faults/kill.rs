//! `kill -9` at random moments: while it serves, while it starts, while it recovers from the kill
//! before. What was promised is there at the next start that lives long enough to be asked.

use std::path::Path;
use std::time::Duration;

use crate::clients::{Load, Parties, Tally, check, check_reuse, fresh};
use crate::random::Random;
use crate::report::Report;
use crate::service::{Process, has_panicked, verify};

const CLIENTS: usize = 8;
/// So that the copies made before each recovery stay small.
const KILLS_A_LEDGER: u64 = 25;

/// Kills `rounds` processes.
pub fn run(rounds: u64, seed: u64, scratch: &Path, report: &mut Report) {
    let mut random = Random::new(seed);
    let mut left = rounds;
    while 0 < left {
        let kills = left.min(KILLS_A_LEDGER);
        ledger(kills, &mut random, scratch, report);
        left -= kills;
    }
}

fn ledger(kills: u64, random: &mut Random, scratch: &Path, report: &mut Report) {
    let folder = tempfile::tempdir_in(scratch).unwrap();
    let data = folder.path().join("ledger");
    let administrator = Process::init(&[], &data, scratch).administrator().unwrap();
    let service = Process::serve(&data, scratch).ready().unwrap();
    let parties = Parties::register(&service, &administrator).unwrap();
    let mut promised = fresh(CLIENTS);
    let mut serving = Some(service);
    for _ in 0..kills {
        let service = match serving.take() {
            Some(service) => Some(service),
            // Half of the starts are not waited for.
            None if random.below(2) == 0 => {
                let mut process = Process::serve(&data, scratch);
                std::thread::sleep(Duration::from_millis(random.below(400)));
                process.kill();
                let said = process.said();
                let failed = (has_panicked(&said) || said.contains("error:")).then_some(said);
                report.round("kill during start", Tally::default(), failed);
                continue;
            }
            None => None,
        };
        let service = match service.map_or_else(|| Process::serve(&data, scratch).ready(), Ok) {
            Ok(service) => service,
            Err(said) => return report.round("kill under load", Tally::default(), Some(said)),
        };
        let mut tally = check(&service, &parties, &mut promised);
        let load = Load::start(&service, &parties, promised, random.next());
        std::thread::sleep(Duration::from_millis(random.below(500)));
        let mut service = service;
        service.kill();
        let (after, wrong) = load.end();
        promised = after;
        tally.wrong.extend(wrong);
        report.round("kill under load", tally, None);
    }
    let (tally, failed) = match Process::serve(&data, scratch).ready() {
        Ok(service) => {
            let mut tally = check(&service, &parties, &mut promised);
            tally.add(check_reuse(&service, &parties, &mut promised));
            (tally, service.stop().and_then(|()| verify(&data)).err())
        }
        Err(said) => (Tally::default(), Some(said)),
    };
    report.round("kill, at the end of a ledger", tally, failed);
}
