//! A mirror follows a log through kills, silence and full disks, without gap or duplicate, and
//! stops where the log contradicts itself.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix_web::{App, HttpResponse, HttpServer, web};
use serde_json::Value;
use token_ledger::backup::doctor::examine;
use token_ledger::backup::follow::{FollowError, follow};
use token_ledger::crypto::note::{Note, NoteSignature};
use token_ledger::crypto::note_signer::{Cosigner, NoteSigner};
use token_ledger::evidence::directory::DirectorySource;
use token_ledger::evidence::source::{entries, hashes, newest_note};
use token_ledger::evidence::stored::StoredSource;
use token_ledger::evidence::writer::{TileDirectory, WriteError};
use token_ledger::log::checkpoint::Checkpoint;
use token_ledger::log::leaf::leaf_hash;
use token_ledger::log::memory::MemoryStore;
use token_ledger::log::store::Store;
use token_ledger::log::tile::{TileKind, tiles_between};
use token_ledger::log::tree::Frontier;
use token_ledger::types::id::Seq;
use token_ledger::types::time::Timestamp;

use crate::support::disk::Small;
use crate::support::process::{BINARY, init};

/// A log as tiles, and a server of them that can be silenced.
struct Origin {
    folder: tempfile::TempDir,
    salt: &'static str,
    url: String,
    up: Arc<AtomicBool>,
}

fn signer() -> NoteSigner {
    NoteSigner::new("log.example".parse().unwrap(), &[7; 32])
}

fn vkey() -> String {
    signer().verifier().to_string()
}

fn store_and_note(salt: &str, size: u64) -> (MemoryStore, Note) {
    let (store, mut frontier) = (MemoryStore::new(), Frontier::default());
    let records: Vec<Vec<u8>> =
        (0..size).map(|seq| format!("{salt} {seq:060}").into_bytes()).collect();
    for (batch, first) in records.chunks(100).zip((0..).step_by(100)) {
        batch.iter().for_each(|record| frontier.append(leaf_hash(record)));
        store.append(Seq(first), batch).unwrap();
    }
    let origin = "log.example".parse().unwrap();
    (store, Checkpoint { origin, head: frontier.head() }.sign(&signer()))
}

fn extend(path: &Path, salt: &str, size: u64) -> Result<(), WriteError> {
    let (store, note) = store_and_note(salt, size);
    TileDirectory::open(path)?.extend(&StoredSource::new(&store, None), &note).map(drop)
}

impl Origin {
    fn start(salt: &'static str, size: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (root, up) = (folder.path().to_owned(), Arc::new(AtomicBool::new(true)));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/log", listener.local_addr().unwrap());
        let is_up = Arc::clone(&up);
        let serve = move |name: web::Path<String>| {
            let (path, is_up) = (root.join(name.as_str()), is_up.load(Ordering::SeqCst));
            async move {
                match std::fs::read(path) {
                    _ if !is_up => HttpResponse::ServiceUnavailable().finish(),
                    Ok(bytes) => HttpResponse::Ok().body(bytes),
                    Err(_) => HttpResponse::NotFound().finish(),
                }
            }
        };
        let server = HttpServer::new(move || {
            App::new().route("/log/{name:.*}", web::get().to(serve.clone()))
        });
        let server = server.workers(1).disable_signals().listen(listener).unwrap().run();
        std::thread::spawn(move || actix_web::rt::System::new().block_on(server));
        let origin = Self { folder, salt, url, up };
        origin.grow(size);
        origin
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn grow(&self, size: u64) {
        extend(self.path(), self.salt, size).unwrap();
    }

    fn mirror(&self, to: &Path, more: &[&str]) -> Child {
        let mut command = Command::new(BINARY);
        command.args(["mirror", "--interval-ms", "10", "--vkey", &vkey(), "--url", &self.url]);
        command.args(more).arg("--to").arg(to);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

/// The mirror has what the log has: every record once, every tile, and the checkpoint.
fn check(mirror: &Path, origin: &Origin) {
    let (is, was) = (DirectorySource::new(mirror), DirectorySource::new(origin.path()));
    let note = newest_note(&was).unwrap();
    assert_eq!(newest_note(&is).unwrap(), note);
    for tile in tiles_between(0, Checkpoint::parse(note.text()).unwrap().head.size) {
        match tile.kind() {
            TileKind::Entries => {
                assert_eq!(entries(&is, tile).unwrap(), entries(&was, tile).unwrap());
            }
            TileKind::Hashes(_) => {
                assert_eq!(hashes(&is, tile).unwrap(), hashes(&was, tile).unwrap());
            }
        }
    }
    assert!(examine(mirror, None).is_usable());
}

/// The size in the next line of a mirror.
fn next_size(lines: &mut impl BufRead) -> u64 {
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    let line: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no line: {line}"));
    line["records"].as_u64().unwrap()
}

fn end(mut child: Child) -> (Option<i32>, String) {
    let mut said = String::new();
    let stderr = child.stderr.take().unwrap();
    std::io::Read::read_to_string(&mut BufReader::new(stderr), &mut said).unwrap();
    (child.wait().unwrap().code(), said)
}

#[test]
fn a_mirror_takes_the_later_date_of_a_heartbeat() {
    let (origin, folder) = (Origin::start("leaf", 10), tempfile::tempdir().unwrap());
    let to = folder.path().join("mirror");
    for at in [100, 700] {
        let (_, mut note) = store_and_note("leaf", 10);
        note.add(signer().date(note.text(), Timestamp::from_seconds(at))).unwrap();
        std::fs::write(origin.path().join("checkpoint"), note.encode()).unwrap();
        let (code, said) = end(origin.mirror(&to, &["--once"]));
        assert_eq!(code, Some(0), "{said}");
        check(&to, &origin);
    }
    // A date that is not the log's is no signature more, but a reason to refuse the whole.
    let (_, undated) = store_and_note("leaf", 10);
    let alone = Note::new(
        undated.text().to_owned(),
        signer().date(undated.text(), Timestamp::from_seconds(800)),
    );
    let mut forged = undated.clone();
    forged.add(signer().date("another\n", Timestamp::from_seconds(900))).unwrap();
    let held = std::fs::read(to.join("checkpoint")).unwrap();
    for note in [alone.unwrap(), forged] {
        std::fs::write(origin.path().join("checkpoint"), note.encode()).unwrap();
        let (code, said) = end(origin.mirror(&to, &["--once"]));
        assert!(code != Some(0) && said.contains("is not signed by a key"), "{code:?} {said}");
        assert_eq!(std::fs::read(to.join("checkpoint")).unwrap(), held);
    }
}

#[test]
fn a_line_that_anybody_can_write_replaces_no_signature() {
    let (origin, folder) = (Origin::start("leaf", 10), tempfile::tempdir().unwrap());
    let to = folder.path().join("mirror");
    let (_, plain) = store_and_note("leaf", 10);
    let mirrored = |note: &Note| {
        std::fs::write(origin.path().join("checkpoint"), note.encode()).unwrap();
        let (code, said) = end(origin.mirror(&to, &["--once"]));
        assert_eq!(code, Some(0), "{said}");
        newest_note(&DirectorySource::new(&to)).unwrap()
    };
    let witness = Cosigner::new("witness.example".parse().unwrap(), &[5; 32]);
    let with = |at: u64, lines: Vec<NoteSignature>| {
        let mut note = plain.clone();
        note.add(signer().date(note.text(), Timestamp::from_seconds(at))).unwrap();
        lines.into_iter().for_each(|line| note.add(line).unwrap());
        note
    };
    let seen = witness.cosign(plain.text(), Timestamp::from_seconds(300));
    assert_eq!(mirrored(&with(200, vec![seen.clone()])), with(200, vec![seen.clone()]));
    // Two lines of nobody, without the date of the log: as many lines as before.
    let mut junk = plain.clone();
    for name in ["one.example", "two.example"] {
        let nobody = Cosigner::new(name.parse().unwrap(), &[6; 32]);
        junk.add(nobody.cosign("another\n", Timestamp::from_seconds(900))).unwrap();
    }
    let is_kept = |held: &Note, line: &NoteSignature| held.signatures().contains(line);
    let date = signer().date(plain.text(), Timestamp::from_seconds(200));
    let held = mirrored(&junk);
    assert!(is_kept(&held, &date) && is_kept(&held, &seen), "{}", held.encode());
    // An earlier date is old news; a later one comes though its cosignatures are still on their way.
    assert_eq!(mirrored(&with(100, vec![])), held);
    let held = mirrored(&with(700, vec![]));
    let date = signer().date(plain.text(), Timestamp::from_seconds(700));
    assert!(is_kept(&held, &date) && is_kept(&held, &seen), "{}", held.encode());
}

#[test]
fn a_mirror_goes_on_over_bytes_that_it_had_not_verified() {
    let (origin, folder) = (Origin::start("leaf", 100), tempfile::tempdir().unwrap());
    let to = folder.path().join("mirror");
    assert_eq!(end(origin.mirror(&to, &["--once"])).0, Some(0));
    // Of a fork that was served once, by one who was killed before its root was known.
    let fork = Origin::start("fork", 600);
    for file in ["tile/entries/000", "tile/0/000"] {
        std::fs::copy(fork.path().join(file), to.join(file)).unwrap();
    }
    origin.grow(700);
    let (code, said) = end(origin.mirror(&to, &["--once"]));
    assert_eq!(code, Some(0), "{said}");
    check(&to, &origin);
}

#[test]
fn a_mirror_follows_and_ends_when_it_is_told_to() {
    let (origin, folder) = (Origin::start("leaf", 10), tempfile::tempdir().unwrap());
    let to = folder.path().join("mirror");
    let mut child = origin.mirror(&to, &[]);
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    for size in [10, 11, 256, 300, 2000] {
        origin.grow(size);
        while next_size(&mut lines) < size {}
        check(&to, &origin);
    }
    // Silence is not the end of it.
    origin.up.store(false, Ordering::SeqCst);
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().contains("the mirror lags behind")));
    origin.up.store(true, Ordering::SeqCst);
    origin.grow(2100);
    while next_size(&mut lines) < 2100 {}
    check(&to, &origin);
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_mirror_that_is_killed_at_any_moment_catches_up_without_gap_or_duplicate() {
    let (origin, folder) = (Origin::start("leaf", 1), tempfile::tempdir().unwrap());
    let to = folder.path().join("mirror");
    let written = |folder: PathBuf| std::fs::read_dir(folder).map_or(0, Iterator::count);
    let mut size = 1;
    for round in 0..8 {
        size += 1700;
        origin.grow(size);
        let before = written(to.join("tile/entries"));
        let mut child = origin.mirror(&to, &["--once"]);
        // Killed once so many files of this round are there: somewhere in the middle.
        while written(to.join("tile/entries")) < before + round % 5
            && child.try_wait().unwrap().is_none()
        {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // Whatever checkpoint there is, all that it covers is there.
        assert!(
            !to.join("checkpoint").exists() || examine(&to, None).is_usable(),
            "{:?}",
            examine(&to, None)
        );
    }
    assert_eq!(end(origin.mirror(&to, &["--once"])).0, Some(0));
    check(&to, &origin);
}

#[test]
fn a_mirror_stops_where_the_log_contradicts_what_it_has() {
    let (origin, folder) = (Origin::start("leaf", 700), tempfile::tempdir().unwrap());
    let to = folder.path().join("mirror");
    assert_eq!(end(origin.mirror(&to, &["--once"])).0, Some(0));
    let held = std::fs::read(to.join("checkpoint")).unwrap();
    for (what, other, says) in [
        ("a fork", Origin::start("fork", 900), "do not have the root"),
        ("a fork of the same size", Origin::start("fork", 700), "do not have the root"),
        ("a rollback", Origin::start("leaf", 600), "rolled back"),
    ] {
        let (code, said) = end(other.mirror(&to, &[]));
        assert_eq!(code, Some(3), "{what}: {said}");
        assert!(said.contains(says), "{what}: {said}");
        assert_eq!(std::fs::read(to.join("checkpoint")).unwrap(), held, "{what}");
        check(&to, &origin);
    }
    // A checkpoint by another key is not even looked at.
    let stranger = NoteSigner::new("log.example".parse().unwrap(), &[8; 32]);
    let mut command = Command::new(BINARY);
    command.args(["mirror", "--vkey", &stranger.verifier().to_string(), "--url", &origin.url]);
    let output = command.arg("--to").arg(folder.path().join("other")).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!folder.path().join("other/checkpoint").exists());
    origin.grow(1000);
    assert_eq!(end(origin.mirror(&to, &["--once"])).0, Some(0));
    check(&to, &origin);
}

#[test]
fn a_mirror_on_a_full_disk_keeps_its_checkpoint_and_goes_on_when_there_is_room() {
    let Some(small) = Small::mounted() else { return };
    let origin = Origin::start("leaf", 100);
    let keys = [signer().verifier().clone()];
    let source = DirectorySource::new(origin.path());
    let mut mirror = TileDirectory::open(small.path()).unwrap();
    follow(&mut mirror, small.path(), &source, &keys).unwrap();
    check(small.path(), &origin);
    let held = std::fs::read(small.path().join("checkpoint")).unwrap();
    origin.grow(3000);
    for _ in 0..2 {
        let full = follow(&mut mirror, small.path(), &source, &keys).unwrap_err();
        assert!(matches!(full, FollowError::Write(WriteError::File(_))), "{full}");
        assert!(!full.is_contradiction());
        assert_eq!(std::fs::read(small.path().join("checkpoint")).unwrap(), held);
        assert!(examine(small.path(), None).is_usable());
    }
    small.grow();
    follow(&mut mirror, small.path(), &source, &keys).unwrap();
    check(small.path(), &origin);
}

#[test]
fn a_mirror_is_not_made_of_a_ledger_nor_of_nothing() {
    let (folder, origin) = (tempfile::tempdir().unwrap(), Origin::start("leaf", 5));
    let ledger = folder.path().join("ledger");
    init(&ledger);
    for inside in [ledger.clone(), ledger.join("log")] {
        let (code, said) = end(origin.mirror(&inside, &["--once"]));
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("name another directory"), "{said}");
    }
    assert!(examine(&ledger, None).is_usable());
    std::fs::remove_file(origin.path().join("checkpoint")).unwrap();
    let (code, said) = end(origin.mirror(&folder.path().join("mirror"), &["--once"]));
    assert_eq!(code, Some(1), "{said}");
}
