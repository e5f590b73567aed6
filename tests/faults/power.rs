//! Power cuts: the real binary on a file system on a disk that forgets what was not flushed. At a
//! random moment what the disk would hold is mounted, opened by the real binary, and asked for all
//! that was promised.

use std::path::Path;
use std::time::Duration;

use crate::aims;
use crate::clients::{Load, Parties, Promised, Tally, check, check_reuse, fresh};
use crate::disk::Unflushed;
use crate::mount::{FileSystem, Mounted};
use crate::random::Random;
use crate::report::Report;
use crate::service::{Administrator, Process, Service, has_panicked, verify};
use crate::strace::{self, Fate, Place};

const CLIENTS: usize = 8;

/// What was going on when the power failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum During {
    Init,
    AfterInit,
    Start,
    Load,
    Recovery,
    Killed,
    Stop,
    Stopped,
}

struct Cut {
    during: During,
    image: Vec<u8>,
    unflushed: Unflushed,
}

struct Session<'a> {
    file_system: FileSystem,
    scratch: &'a Path,
    random: Random,
    report: &'a mut Report,
    rounds: u64,
}

/// Cuts the power `rounds` times on a ledger on `file_system`.
pub fn run(file_system: FileSystem, rounds: u64, seed: u64, scratch: &Path, report: &mut Report) {
    // A third of them is aimed.
    let aimed = rounds.div_ceil(3);
    let mut random = Random::new(seed);
    aims::run(file_system, aimed, random.next() ^ file_system as u64, scratch, report);
    let mut session = Session { file_system, scratch, random, report, rounds: rounds - aimed };
    while 0 < session.rounds {
        session.one();
    }
}

impl Session<'_> {
    /// One ledger from its making to its clean stop, with a cut in each part of its life.
    fn one(&mut self) {
        let image = self.file_system.image(self.scratch);
        let mounted = Mounted::forgetful(image, self.scratch, "live");
        let data = mounted.at.join("ledger");

        let process = Process::init(&[], &data, self.scratch);
        self.wait(400);
        let cut = self.cut(&mounted, During::Init);
        let administrator = process.administrator().unwrap();
        self.opens_or_is_made_anew(cut);

        let cut = self.cut(&mounted, During::AfterInit);
        self.survives(cut, &administrator, None);

        let process = Process::serve(&data, self.scratch);
        self.wait(300);
        let cut = self.cut(&mounted, During::Start);
        let service = process.ready().unwrap();
        self.survives(cut, &administrator, None);

        let parties = Parties::register(&service, &administrator).unwrap();
        let load = Load::start(&service, &parties, fresh(CLIENTS), self.random.next());
        for _ in 0..3 {
            self.wait(700);
            let (promised, cut) = load.meanwhile(|| self.cut(&mounted, During::Load));
            let image = cut.image.clone();
            let promised = self.survives(cut, &administrator, Some((&parties, promised)));
            match (promised, self.random.below(3)) {
                (Some(promised), 0) => self.cut_again(image, &administrator, &parties, promised),
                (Some(promised), 1) => self.kill_and_cut(image, &administrator, &parties, promised),
                (Some(_) | None, _) => {}
            }
        }
        service.terminate();
        self.wait(60);
        let (promised, cut) = load.meanwhile(|| self.cut(&mounted, During::Stop));
        let ended = service.ended();
        assert_eq!(ended.0, Some(0), "the clean stop failed: {}", ended.1);
        let (_, wrong) = load.end();
        self.report.wrong(wrong);
        self.survives(cut, &administrator, Some((&parties, promised)));
        let cut = self.cut(&mounted, During::Stopped);
        self.survives(cut, &administrator, None);
    }

    fn wait(&mut self, below_ms: u64) {
        std::thread::sleep(Duration::from_millis(self.random.below(below_ms)));
    }

    fn cut(&mut self, mounted: &Mounted, during: During) -> Cut {
        let unflushed = Unflushed::any(&mut self.random);
        let image = mounted.disk().cut(unflushed, &mut self.random);
        Cut { during, image, unflushed }
    }

    fn row(&self, cut: &Cut) -> String {
        format!("power {} {:?} {:?}", self.file_system.name(), cut.during, cut.unflushed)
    }

    /// A cut while `init` ran: nothing was promised, but nobody may be left helpless.
    fn opens_or_is_made_anew(&mut self, cut: Cut) {
        if self.rounds == 0 {
            return;
        }
        self.rounds -= 1;
        let row = self.row(&cut);
        let mounted = Mounted::plain(&cut.image, self.scratch, "left");
        let data = mounted.at.join("ledger");
        let result = match Process::serve(&data, self.scratch).ready() {
            Ok(service) => service.stop().and_then(|()| verify(&data)),
            Err(said) if has_panicked(&said) || !said.contains("error:") => Err(said),
            // It says what to do, and that is done.
            Err(_) => {
                let _ = std::fs::remove_dir_all(&data);
                let made = Process::init(&[], &data, self.scratch).administrator();
                made.map(drop)
            }
        };
        self.report.round(&row, Tally::default(), result.err());
    }

    /// A cut after something was promised: it is kept. Answers what is promised from then on.
    fn survives(
        &mut self,
        cut: Cut,
        administrator: &Administrator,
        promised: Option<(&Parties, Vec<Promised>)>,
    ) -> Option<Vec<Promised>> {
        if self.rounds == 0 {
            return None;
        }
        self.rounds -= 1;
        let row = self.row(&cut);
        let mounted = Mounted::plain(&cut.image, self.scratch, "left");
        drop(cut);
        let data = mounted.at.join("ledger");
        let before = promised.as_ref().map(|(_, promised)| promised.clone());
        let (tally, failed) = match Process::serve(&data, self.scratch).ready() {
            Ok(service) => examine(service, &data, administrator, promised),
            Err(said) => (Tally::default(), Some(format!("does not open: {said}"))),
        };
        let is_well = failed.is_none();
        self.report.round(&row, tally, failed);
        before.filter(|_| is_well)
    }

    /// The power fails again while the service recovers from the cut before.
    fn cut_again(
        &mut self,
        image: Vec<u8>,
        administrator: &Administrator,
        parties: &Parties,
        promised: Vec<Promised>,
    ) {
        if self.rounds == 0 {
            return;
        }
        let mounted = Mounted::forgetful(image, self.scratch, "again");
        let mut process = Process::serve(&mounted.at.join("ledger"), self.scratch);
        self.wait(400);
        let cut = self.cut(&mounted, During::Recovery);
        process.kill();
        drop(process);
        drop(mounted);
        self.survives(cut, administrator, Some((parties, promised)));
    }
}

impl Session<'_> {
    /// A process is killed before it has synced a file of blocks, and the next one reads what was never
    /// on the disk; then the power fails.
    fn kill_and_cut(
        &mut self,
        image: Vec<u8>,
        administrator: &Administrator,
        parties: &Parties,
        mut promised: Vec<Promised>,
    ) {
        if self.rounds == 0 || strace::missing().is_some() {
            return;
        }
        let mounted = Mounted::forgetful(image, self.scratch, "again");
        let data = mounted.at.join("ledger");
        let (call, nth, writes) = ("fdatasync".to_owned(), 1 + self.random.below(3), true);
        let place = Place { call, file: newest_blocks(&data), nth, writes };
        let tracing = strace::at(&place, Fate::Killed, &data, self.scratch);
        let started = Process::serve_under(&tracing.words(), &data, self.scratch).ready();
        // Or it was killed in its recovery already.
        if let Ok(mut service) = started {
            // Clients of its own: of the others nobody knows before the end what is in doubt.
            let load = Load::start(&service, parties, fresh(CLIENTS), self.random.next());
            load.ended_by_itself(Duration::from_secs(20));
            service.kill();
            let (meanwhile, wrong) = load.end();
            self.report.wrong(wrong);
            promised.extend(meanwhile);
        }
        let mut service = match Process::serve(&data, self.scratch).ready() {
            Ok(service) => service,
            Err(said) => {
                return self.report.wrong(vec![format!("does not open after {place}: {said}")]);
            }
        };
        let load = Load::start(&service, parties, fresh(CLIENTS), self.random.next());
        load.until_or(1 + self.random.below(20), Duration::from_secs(5));
        let (meanwhile, cut) = load.meanwhile(|| self.cut(&mounted, During::Killed));
        promised.extend(meanwhile);
        service.kill();
        let (_, wrong) = load.end();
        self.report.wrong(wrong);
        drop((service, mounted));
        self.survives(cut, administrator, Some((parties, promised)));
    }
}

/// The file of blocks that is written to, from the data directory.
fn newest_blocks(data: &Path) -> String {
    let found = std::fs::read_dir(data.join("log")).unwrap();
    let names = found.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let newest = names.filter(|name| name.starts_with("records-")).max().unwrap();
    format!("log/{newest}")
}

/// Whether a service that opened keeps what was promised, stops cleanly, and leaves a whole log.
fn examine(
    service: Service,
    data: &Path,
    administrator: &Administrator,
    promised: Option<(&Parties, Vec<Promised>)>,
) -> (Tally, Option<String>) {
    let mut tally = Tally::default();
    let failed = match promised {
        Some((parties, mut promised)) => {
            tally.add(check(&service, parties, &mut promised));
            tally.add(check_reuse(&service, parties, &mut promised));
            None
        }
        // Who was just made administrator, is.
        None => Parties::register(&service, administrator).err(),
    };
    let stopped = service.stop().and_then(|()| verify(data)).err();
    (tally, failed.or(stopped))
}
