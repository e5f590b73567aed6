//! A ledger with all that stands around it: a backup that is behind, one that is whole, a mirror, a
//! witness. Made once; each round gets a copy of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::clients::{Load, Parties, Promised, fresh};
use crate::errors::copy;
use crate::service::{Administrator, Process, Service};
use crate::tools::{asking, run, text, tool, write_vkeys};

const CLIENTS: usize = 3;
/// The origin of every ledger here: its issuer without the scheme.
pub const ORIGIN: &str = "127.0.0.1:8080";

pub struct Base {
    folder: tempfile::TempDir,
    pub administrator: Administrator,
    pub parties: Parties,
    /// What stood when the service was killed.
    pub promised: Vec<Promised>,
    /// What stood when the whole backup was made.
    pub backed_up: Vec<Promised>,
}

/// Where copies of the vault and of the keys go.
pub const COPIES: [&str; 2] = ["copies-of-vault", "copies-of-keys"];

/// The program `env` with the settings of a service whose copies go below `folder`.
pub fn settings(folder: &Path) -> Vec<String> {
    let [vault, keys] = COPIES.map(|name| folder.join(name).display().to_string());
    vec![
        "env".to_owned(),
        format!("TOKEN_LEDGER_BACKUP_VAULT_DIR={vault}"),
        format!("TOKEN_LEDGER_BACKUP_KEYS_DIR={keys}"),
        "TOKEN_LEDGER_CHECKPOINT_INTERVAL_MS=100".to_owned(),
        "TOKEN_LEDGER_SNAPSHOT_EVERY_RECORDS=50".to_owned(),
        "TOKEN_LEDGER_WITNESS_PAUSE_MS_MAX=50".to_owned(),
    ]
}

pub fn words(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// Waits until the service on `data` has written one more snapshot, a few seconds at most.
pub fn await_snapshot(data: &Path) {
    let newest = || {
        let found = fs::read_dir(data.join("snapshots")).ok()?;
        found.flatten().map(|entry| entry.file_name()).max()
    };
    let (before, until) = (newest(), Instant::now() + Duration::from_millis(2500));
    while newest() == before && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl Base {
    pub fn new(seed: u64, scratch: &Path) -> Self {
        let folder = tempfile::tempdir_in(scratch).unwrap();
        let at = |name: &str| folder.path().join(name);
        COPIES.iter().for_each(|name| fs::create_dir(at(name)).unwrap());
        let administrator = Process::init(&[], &at("ledger"), scratch).administrator().unwrap();
        write_vkeys(&at("ledger"), &at("vkeys")).unwrap();
        let set = settings(folder.path());
        let serving = Process::serve_under(&words(&set), &at("ledger"), scratch);
        let mut service = serving.ready().unwrap();
        let parties = Parties::register(&service, &administrator).unwrap();
        let keys = text(&at("vkeys"));
        let ask = |service: &Service, arguments: &[&str]| {
            run(asking(service, &administrator, &[], arguments)).unwrap();
        };
        let go_on = |service: &Service, promised, answers| {
            let load = Load::start(service, &parties, promised, seed ^ answers);
            load.until(answers);
            load.end().0
        };
        let promised = go_on(&service, fresh(CLIENTS), 60);
        await_snapshot(&at("ledger"));
        ask(&service, &["backup", "--to", &text(&at("backup")), "--vkey", &keys]);
        ask(&service, &["mirror", "--once", "--to", &text(&at("mirror")), "--vkey", &keys]);
        let backed_up = go_on(&service, promised, 250);
        await_snapshot(&at("ledger"));
        ask(&service, &["backup", "--to", &text(&at("full")), "--vkey", &keys]);
        let promised = go_on(&service, backed_up.clone(), 40);
        service.kill();
        drop(service);
        let witness = text(&at("witness"));
        run(tool(&[], &["witness", "init", "--data", &witness, "--name", "witness.example"]))
            .unwrap();
        let vkeys = fs::read_to_string(at("vkeys")).unwrap();
        let mut add = vec!["witness", "add", "--data", &witness, "--origin", ORIGIN];
        vkeys.lines().for_each(|key| add.extend(["--vkey", key]));
        run(tool(&[], &add)).unwrap();
        Self { folder, administrator, parties, promised, backed_up }
    }
}

/// A copy of the base, for one round.
pub struct Stage<'a> {
    folder: tempfile::TempDir,
    pub base: &'a Base,
    pub scratch: &'a Path,
}

impl<'a> Stage<'a> {
    pub fn of(base: &'a Base, scratch: &'a Path) -> Self {
        let folder = tempfile::tempdir_in(scratch).unwrap();
        for entry in fs::read_dir(base.folder.path()).unwrap() {
            let path = entry.unwrap().path();
            copy(&path, &folder.path().join(path.file_name().unwrap()));
        }
        Self { folder, base, scratch }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn text(&self, name: &str) -> String {
        text(&self.path(name))
    }

    /// The service on `data`, below `before`, with more settings (`KEY=VALUE` of the environment).
    pub fn serve_with(&self, data: &str, before: &[&str], more: &[String]) -> Process {
        let mut set = settings(self.folder());
        set.extend(more.iter().cloned());
        let all: Vec<&str> = words(&set).into_iter().chain(before.iter().copied()).collect();
        Process::serve_under(&all, &self.path(data), self.scratch)
    }

    pub fn serve(&self, before: &[&str]) -> Process {
        self.serve_with("ledger", before, &[])
    }

    /// A command that asks `service`.
    pub fn ask(
        &self,
        service: &Service,
        before: &[&str],
        arguments: &[&str],
    ) -> Result<String, String> {
        run(asking(service, &self.base.administrator, before, arguments))
    }
}
