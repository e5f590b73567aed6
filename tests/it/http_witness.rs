//! A service with witnesses: its checkpoints are cosigned, its figures say how far each witness is,
//! and one that is down or lies holds up nobody.

use std::net::TcpListener;
use std::process::Command;

use token_ledger::crypto::note::Note;
use token_ledger::crypto::note_key::NoteVerifier;
use token_ledger::crypto::note_signer::Cosigner;
use token_ledger::log::checkpoint::Checkpoint;
use token_ledger::witness::directory::{KnownLog, WitnessDirectory};

use crate::support::notary::Served;
use crate::support::process::BINARY;
use crate::support::server::Server;

const ORIGIN: &str = "ledger.example/t";

/// A witness that knows nobody yet.
fn witness(path: &std::path::Path, name: &str, seed: u8) -> Served {
    let key = Cosigner::new(name.parse().unwrap(), &[seed; 32]);
    drop(WitnessDirectory::create(path, &key).unwrap());
    Served::start(path)
}

/// The figure `name` of the witness `witness`.
async fn figure(server: &Server, name: &str, witness: &str) -> u64 {
    let body = server.administer("GET", "/metrics", None).await.is(200).body;
    let start = format!("token_ledger_{name}{{witness=\"{witness}\"}} ");
    let line = body.lines().find_map(|line| line.strip_prefix(&start));
    line.unwrap_or_else(|| panic!("no {start}: {body}")).parse().unwrap()
}

async fn until_figure(server: &Server, name: &str, witness: &str, is: impl Fn(u64) -> bool) {
    while !is(figure(server, name, witness).await) {
        actix_web::rt::task::yield_now().await;
    }
}

#[actix_web::test]
async fn checkpoints_are_cosigned_by_those_who_answer_and_wait_for_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w");
    let here = witness(&path, "here.example", 1);
    let gone = Cosigner::new("gone.example".parse().unwrap(), &[2; 32]);
    let nowhere = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    // Accepts, and never answers.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = Cosigner::new("silent.example".parse().unwrap(), &[3; 32]);
    let witnesses = format!(
        "{} {}, {} http://{nowhere}, {} http://{}",
        here.verifier,
        here.url,
        gone.verifier(),
        silent.verifier(),
        mute.local_addr().unwrap()
    );
    let server = Server::start_with(|raw| {
        raw.witnesses = witnesses;
        raw.witness_timeout_ms = 1000;
        raw.witness_pause_ms_max = 10;
        raw.checkpoint_interval_ms = 20;
    })
    .await;
    // Tokens come, checkpoints are published, though nobody cosigns.
    server.tokens("alice").await;
    until_figure(&server, "witness_failures", "here.example", |failed| 0 < failed).await;
    until_figure(&server, "witness_failures", "gone.example", |failed| 0 < failed).await;
    assert!(0 < figure(&server, "witness_lag_records", "here.example").await);
    // From now on the witness knows the log.
    let note = server.administer("GET", "/log/checkpoint", None).await.is(200).body;
    let by_log = Note::parse(note.as_bytes()).unwrap().signatures()[0].clone();
    let keys = server.running().edge.notary.verifiers();
    assert!(keys.iter().any(|key: &NoteVerifier| key.is_named_by(&by_log)));
    let log = KnownLog { origin: ORIGIN.parse().unwrap(), keys: keys.clone() };
    WitnessDirectory::look(&path).unwrap().add_log(&log).unwrap();
    server.tokens("bob").await;
    // All that is there: else a checkpoint that nobody has seen yet may come in between.
    let until = server.running().ledger().tree().size();
    until_figure(&server, "witness_cosigned_records", "here.example", |size| until <= size).await;
    until_figure(&server, "witness_lag_seconds", "here.example", |lag| lag == 0).await;
    until_figure(&server, "witness_lag_records", "here.example", |lag| lag == 0).await;
    assert_eq!(figure(&server, "witness_alarm", "here.example").await, 0);
    assert_eq!(figure(&server, "witness_cosigned_records", "gone.example").await, 0);
    // What is published bears both signatures; what the witness tells is the same text.
    let told = here.monitor(&log.origin).await.is(200).body;
    let told = Note::parse(told.as_bytes()).unwrap();
    let both = [keys[0].clone(), here.verifier.clone()];
    assert_eq!(told.open(&both).unwrap().len(), 2);
    let published = server.administer("GET", "/log/checkpoint", None).await.is(200).body;
    let published = Note::parse(published.as_bytes()).unwrap();
    assert_eq!(published.open(&both).unwrap().len(), 2);
}

#[actix_web::test]
async fn a_witness_that_saw_another_history_raises_the_alarm() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w");
    let seen = witness(&path, "seen.example", 1);
    let setting = format!("{} {}", seen.verifier, seen.url);
    let mut server = Server::start_with(|raw| {
        raw.witnesses = setting;
        raw.witness_pause_ms_max = 10;
        raw.checkpoint_interval_ms = 20;
    })
    .await;
    let keys = server.running().edge.notary.verifiers();
    let log = KnownLog { origin: ORIGIN.parse().unwrap(), keys };
    WitnessDirectory::look(&path).unwrap().add_log(&log).unwrap();
    server.stop().await;
    // A copy from now comes back later, with its own fence: only the witness can know.
    let copy = folder.path().join("copy");
    let copied = Command::new("cp").arg("-r").arg(server.data()).arg(&copy).status();
    assert!(copied.unwrap().success());
    server.resume().await;
    server.tokens("alice").await;
    server.tokens("bob").await;
    let until = server.running().ledger().tree().size();
    until_figure(&server, "witness_cosigned_records", "seen.example", |size| until <= size).await;
    server.stop().await;
    std::fs::remove_dir_all(server.data()).unwrap();
    std::fs::rename(&copy, server.data()).unwrap();
    server.resume().await;
    server.renew().await;
    until_figure(&server, "witness_alarm", "seen.example", |alarm| alarm == 1).await;
    // The alarm is for people: the service goes on.
    server.tokens("carol").await;
}

#[actix_web::test]
async fn a_stop_has_its_last_checkpoint_cosigned_and_waits_for_nobody_who_failed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w");
    let here = witness(&path, "here.example", 1);
    let nowhere = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gone = Cosigner::new("gone.example".parse().unwrap(), &[2; 32]);
    let witnesses = format!("{} {}, {} http://{nowhere}", here.verifier, here.url, gone.verifier());
    let mut server = Server::start_with(|raw| {
        raw.witnesses = witnesses;
        raw.witness_pause_ms_max = 10;
        raw.checkpoint_interval_ms = 20;
    })
    .await;
    let origin = ORIGIN.parse().unwrap();
    let keys = server.running().edge.notary.verifiers();
    let log = KnownLog { origin, keys: keys.clone() };
    WitnessDirectory::look(&path).unwrap().add_log(&log).unwrap();
    server.tokens("alice").await;
    until_figure(&server, "witness_cosigned_records", "here.example", |size| 0 < size).await;
    until_figure(&server, "witness_failures", "gone.example", |failed| 0 < failed).await;
    server.stop().await;
    let told = here.monitor(&log.origin).await.is(200).body;
    let told = Note::parse(told.as_bytes()).unwrap();
    let told = Checkpoint::open(&told, &log.origin, &keys[0], &[]).unwrap().checkpoint.head;
    let export =
        Command::new(BINARY).args(["export", "--data"]).arg(server.data()).output().unwrap();
    let records = String::from_utf8(export.stdout).unwrap().lines().count();
    assert_eq!(told.size, u64::try_from(records).unwrap(), "with the record of the stop");
    // What the directory keeps bears it: nobody has to be excused.
    let verified = Command::new(BINARY)
        .args(["verify", "--data"])
        .arg(server.data())
        .args(["--vkey", &keys[0].to_string(), "--witness-vkey", &here.verifier.to_string()])
        .output()
        .unwrap();
    let said = String::from_utf8(verified.stdout).unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    assert!(said.contains(&format!("{records} records")), "{said}");
    assert!(!said.contains("after"), "{said}");
}
