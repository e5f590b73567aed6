//! Power cuts at the k-th write or flush of one thing: of a checkpoint with its fence, a snapshot, a
//! rotation of the keys, a backup onto the same disk. What was promised before is kept; the same
//! thing can be done again.

use std::fs::{self, File};
use std::path::Path;

use crate::clients::{Load, Parties, Promised, Tally, check, fresh};
use crate::disk::{Aim, Touch, Unflushed};
use crate::mount::{FileSystem, Mounted};
use crate::random::Random;
use crate::report::Report;
use crate::service::{Administrator, Process, Service, verify};
use crate::stage::{COPIES, await_snapshot, settings, words};
use crate::tools::{asking, run as run_tool, text, tool, write_vkeys};

const CLIENTS: usize = 3;
/// Each takes fewer of both.
const WRITES_MAX: u64 = 24;
const FLUSHES_MAX: u64 = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum During {
    Checkpoint,
    Snapshot,
    Rotation,
    Backup,
}

const ALL: [During; 4] = [During::Backup, During::Rotation, During::Snapshot, During::Checkpoint];

struct Attacked<'a> {
    file_system: FileSystem,
    scratch: &'a Path,
    administrator: Administrator,
    parties: Parties,
}

/// Cuts the power `rounds` times.
pub fn run(file_system: FileSystem, rounds: u64, seed: u64, scratch: &Path, report: &mut Report) {
    let mut random = Random::new(seed);
    let mut left = rounds;
    while 0 < left {
        left -= ledger(file_system, left, &mut random, scratch, report);
    }
}

/// A ledger that lives through each of them; answers how many rounds that were.
fn ledger(
    file_system: FileSystem,
    rounds: u64,
    random: &mut Random,
    scratch: &Path,
    report: &mut Report,
) -> u64 {
    let mounted = Mounted::forgetful(file_system.image(scratch), scratch, "live");
    let data = mounted.at.join("ledger");
    let administrator = Process::init(&[], &data, scratch).administrator().unwrap();
    COPIES.iter().for_each(|name| fs::create_dir(mounted.at.join(name)).unwrap());
    File::open(&mounted.at).and_then(|folder| folder.sync_all()).unwrap();
    // The auditor's keys are elsewhere.
    write_vkeys(&data, &scratch.join("vkeys")).unwrap();
    let service = serve(&mounted.at, scratch).ready().unwrap();
    let parties = Parties::register(&service, &administrator).unwrap();
    let attacked = Attacked { file_system, scratch, administrator, parties };
    let mut promised = fresh(CLIENTS);
    let mut order = ALL;
    for i in (1..order.len()).rev() {
        order.swap(i, random.below(i as u64 + 1) as usize);
    }
    let done = order.len().min(usize::try_from(rounds).unwrap_or(order.len()));
    for during in order.into_iter().take(done) {
        let load = Load::start(&service, &attacked.parties, promised, random.next());
        load.until(80);
        promised = load.end().0;
        attacked.one(during, &service, &mounted, promised.clone(), random, report);
    }
    let stopped = service.stop();
    report.wrong(stopped.err().into_iter().collect());
    done as u64
}

fn serve(at: &Path, scratch: &Path) -> Process {
    Process::serve_under(&words(&settings(at)), &at.join("ledger"), scratch)
}

impl Attacked<'_> {
    fn one(
        &self,
        during: During,
        service: &Service,
        mounted: &Mounted,
        mut promised: Vec<Promised>,
        random: &mut Random,
        report: &mut Report,
    ) {
        let unflushed = Unflushed::any(random);
        let (at, most) = match random.below(2) {
            0 => (Touch::Write, WRITES_MAX),
            _ => (Touch::Flush, FLUSHES_MAX),
        };
        let nth = 1 + random.below(most);
        mounted.disk().aim(Aim { at, nth, unflushed, seed: random.next() });
        let done = self.done(during, service, &mounted.at);
        let hit = mounted.disk().hit();
        // It took less than that: then the power fails right behind it.
        let is_over = hit.is_none();
        let image = hit.unwrap_or_else(|| mounted.disk().cut(unflushed, random));
        let left = Mounted::plain(&image, self.scratch, "left");
        drop(image);
        let row = format!("power {} {during:?} {unflushed:?}", self.file_system.name());
        let (tally, failed) = match self.judge(during, &left.at, &mut promised) {
            Ok(tally) => (tally, done.err()),
            Err(said) => {
                let when = if is_over { "behind" } else { "at" };
                (Tally::default(), Some(format!("{when} {at:?} {nth}: {said}")))
            }
        };
        report.round(&row, tally, failed);
    }

    fn ask(&self, service: &Service, arguments: &[&str]) -> Result<(), String> {
        run_tool(asking(service, &self.administrator, &[], arguments)).map(drop)
    }

    fn done(&self, during: During, service: &Service, at: &Path) -> Result<(), String> {
        match during {
            During::Checkpoint => self.ask(service, &["audit", "checkpoint"]),
            During::Snapshot => {
                await_snapshot(&at.join("ledger"));
                Ok(())
            }
            During::Rotation => {
                self.ask(service, &["keys", "rotate"])?;
                self.ask(service, &["keys", "rotate", "--checkpoint"])
            }
            During::Backup => self.back_up(service, at),
        }
    }

    fn back_up(&self, service: &Service, at: &Path) -> Result<(), String> {
        let (to, keys) = (text(&at.join("backup")), text(&self.scratch.join("vkeys")));
        self.ask(service, &["backup", "--to", &to, "--vkey", &keys])
    }

    fn judge(&self, during: During, at: &Path, promised: &mut [Promised]) -> Result<Tally, String> {
        let log = at.join("backup/log");
        if log.join("checkpoint").exists() {
            self.verify_tiles(&log)?;
        }
        let service = serve(at, self.scratch).ready()?;
        let tally = check(&service, &self.parties, promised);
        self.done(During::Checkpoint, &service, at)?;
        if during != During::Snapshot {
            self.done(during, &service, at)?;
        }
        service.stop()?;
        verify(&at.join("ledger"))?;
        if during == During::Backup {
            self.verify_tiles(&log)?;
            run_tool(tool(&[], &["doctor", "--data", &text(&log)]))?;
            let to = tempfile::tempdir_in(self.scratch).unwrap();
            let to = to.path().join("restored");
            let [vault, keys] = COPIES.map(|name| at.join(name));
            let (vault, keys) = (text(&vault.join("vault.copy")), text(&keys.join("keys.json")));
            run_tool(tool(
                &[],
                &[
                    "restore",
                    "--from",
                    &text(&log),
                    "--keys",
                    &keys,
                    "--vault",
                    &vault,
                    "--data",
                    &text(&to),
                ],
            ))?;
            verify(&to)?;
        }
        Ok(tally)
    }

    fn verify_tiles(&self, log: &Path) -> Result<(), String> {
        let keys = text(&self.scratch.join("vkeys"));
        run_tool(tool(&[], &["verify", "--tiles", &text(log), "--vkey", &keys])).map(drop)
    }
}
