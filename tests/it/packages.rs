//! Packages for a court: nothing can be left out, altered, moved or cut off without being named.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Program;

use serde_json::{Map, Value};
use tempfile::TempDir;
use token_ledger::audit::trail::{Trail, walk};
use token_ledger::cli::remote::ANSWER_BYTES_MAX;
use token_ledger::crypto::note::Note;
use token_ledger::domain::command::Command;
use token_ledger::domain::record::{About, Record};
use token_ledger::evidence::keys::Keys;
use token_ledger::evidence::package::{Asked, PackageError, verify, write};
use token_ledger::evidence::stored::StoredSource;
use token_ledger::log::checkpoint::Checkpoint;
use token_ledger::types::id::Seq;

use crate::support::names::{client_id, grant_id, subject_id};
use crate::support::process::{BINARY, Process, init, post_form, post_json, text};
use crate::support::recorded::EVERYTHING;
use crate::support::script::Script;
use crate::support::world::World;
use crate::verify_cli::{head, signer};

const NONCE: &str = "0123456789abcdef0123456789abcdef";

fn world() -> World {
    let mut script = Script::new();
    for (at, lines) in &EVERYTHING[..EVERYTHING.len() - 1] {
        script.run(at, lines);
    }
    script.world
}

fn read(world: &mut World, what: &str, about: &About, more: &[(&str, &str)]) -> Seq {
    let mut parameters = Map::new();
    for (name, value) in [("nonce", NONCE)].iter().chain(more) {
        parameters.insert((*name).to_owned(), Value::from(*value));
    }
    let (what, about) = (what.to_owned(), about.clone());
    world.ask(Command::ReadAudit { what, parameters, about }).seq.unwrap()
}

fn keys() -> Keys {
    Keys::new(vec![signer(1).verifier().clone()], Vec::new()).unwrap()
}

fn note(world: &World, seed: u8) -> Note {
    let origin = "ledger.example".parse().unwrap();
    Checkpoint { origin, head: head(&world.bytes()) }.sign(&signer(seed))
}

fn lines(records: &[Vec<u8>]) -> Vec<u8> {
    records.iter().flat_map(|record| [record.as_slice(), b"\n"].concat()).collect()
}

fn records_of(path: &Path) -> Vec<Vec<u8>> {
    let text = fs::read(path.join("records.jsonl")).unwrap();
    let lines = text.strip_suffix(b"\n").unwrap().split(|byte| *byte == b'\n');
    lines.map(<[u8]>::to_vec).collect()
}

/// The package of a trail, and the world it is of.
fn package(about: &About, trail: &Trail) -> (TempDir, PathBuf, World) {
    let mut world = world();
    let reading = read(&mut world, "trail", about, &[]);
    let (steps, more) = walk(world.store.as_ref(), trail, reading, 1000).unwrap();
    assert_eq!(more, None);
    let steps: Vec<_> = steps.into_iter().map(|step| step.bytes).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("case");
    let source = StoredSource::new(world.store.as_ref(), None);
    write(&path, &lines(&steps), &source, &note(&world, 1), &keys()).unwrap();
    (folder, path, world)
}

fn of_photos() -> (TempDir, PathBuf, World) {
    let client = client_id("photos");
    let about = About { client: Some(client.clone()), ..About::default() };
    package(&about, &Trail::Client(client))
}

#[test]
fn a_package_of_each_kind_of_trail_verifies_and_says_what_it_is_of() {
    let client = client_id("photos");
    let cases = [
        (About { client: Some(client.clone()), ..About::default() }, Trail::Client(client)),
        (
            About { subject: Some(subject_id("ann")), ..About::default() },
            Trail::Subject(subject_id("ann")),
        ),
        (About { grant: Some(grant_id("g3")), ..About::default() }, Trail::Grant(grant_id("g3"))),
    ];
    for (about, trail) in cases {
        let (_folder, path, _world) = package(&about, &trail);
        let proven = verify(&path, &keys(), Some(NONCE)).unwrap();
        assert_eq!(proven.reading.asked, Asked::Trail(trail));
        assert_eq!(proven.records as usize, records_of(&path).len());
        assert!(3 <= proven.records);
        assert!(path.join("README.md").is_file() && path.join("vkeys.txt").is_file());
    }
}

/// What `verify` says of a package whose records were changed.
fn changed(path: &Path, change: impl FnOnce(&mut Vec<Vec<u8>>)) -> PackageError {
    let records = records_of(path);
    let mut forged = records.clone();
    change(&mut forged);
    fs::write(path.join("records.jsonl"), lines(&forged)).unwrap();
    let error = verify(path, &keys(), Some(NONCE)).unwrap_err();
    fs::write(path.join("records.jsonl"), lines(&records)).unwrap();
    assert!(error.is_fault());
    error
}

#[test]
fn a_record_that_is_left_out_altered_moved_or_cut_off_is_found() {
    let (_folder, path, world) = of_photos();
    let all = records_of(&path);
    let seq = |i: usize| Record::decode(&all[i]).unwrap().seq;
    for i in 0..all.len() - 1 {
        let error = changed(&path, |records| drop(records.remove(i)));
        let named = matches!(error, PackageError::Gap { seq: at, .. } if at == seq(i + 1));
        assert!(named, "{i} left out: {error}");
        let error = changed(&path, |records| records.swap(i, i + 1));
        assert!(
            matches!(error, PackageError::Gap { .. } | PackageError::NoReading),
            "{i} moved: {error}"
        );
        let error = changed(&path, |records| {
            let text = String::from_utf8(records[i].clone()).unwrap();
            let at = text.find("\"request\":\"r_").unwrap() + 13;
            let mut bytes = text.into_bytes();
            bytes[at] = if bytes[at] == b'9' { b'8' } else { b'9' };
            records[i] = bytes;
        });
        assert!(
            matches!(error, PackageError::Receipt { seq: at, .. } if at == seq(i)),
            "{i} altered: {error}"
        );
        let error = changed(&path, |records| records.truncate(i + 1));
        assert!(matches!(error, PackageError::NoReading), "cut after {i}: {error}");
    }
    let stranger = world.bytes()[0].clone();
    let error = changed(&path, |records| records.insert(1, stranger));
    assert!(matches!(error, PackageError::OffTrail { seq: Seq(0) }), "{error}");
    let error = changed(&path, |records| *records = vec![b"{}".to_vec()]);
    assert!(matches!(error, PackageError::NotARecord { line: 1, .. }), "{error}");
    verify(&path, &keys(), Some(NONCE)).unwrap();
}

#[test]
fn an_older_reading_is_told_by_its_nonce() {
    let (_folder, path, _world) = of_photos();
    let error = verify(&path, &keys(), Some("another-nonce-of-the-auditor")).unwrap_err();
    assert!(matches!(error, PackageError::Nonce { .. }), "{error}");
}

#[test]
fn receipts_checkpoint_and_keys_must_be_those_of_the_log() {
    let (_folder, path, world) = of_photos();
    let error =
        verify(&path, &Keys::new(vec![signer(2).verifier().clone()], vec![]).unwrap(), None);
    assert!(matches!(error, Err(PackageError::Untrusted(_))));
    let checkpoint = path.join("checkpoint");
    let was = fs::read(&checkpoint).unwrap();
    fs::write(&checkpoint, note(&world, 9).encode()).unwrap();
    let error = verify(&path, &keys(), None).unwrap_err();
    assert!(matches!(error, PackageError::Untrusted(_)), "signed anew: {error}");
    fs::write(&checkpoint, was).unwrap();
    let all = records_of(&path);
    let receipt = |i: usize| {
        let seq = Record::decode(&all[i]).unwrap().seq;
        path.join(format!("receipts/{seq}.tlog-proof"))
    };
    let was = fs::read(receipt(2)).unwrap();
    fs::copy(receipt(3), receipt(2)).unwrap();
    let error = verify(&path, &keys(), None).unwrap_err();
    assert!(matches!(error, PackageError::OtherReceipt { .. }), "{error}");
    fs::remove_file(receipt(2)).unwrap();
    let error = verify(&path, &keys(), None).unwrap_err();
    assert!(matches!(error, PackageError::Missing { .. }), "{error}");
    fs::write(receipt(2), &was).unwrap();
    verify(&path, &keys(), None).unwrap();
    // A checkpoint from before the reading does not cover it, and nothing is written.
    let mut world = world;
    let early = note(&world, 1);
    let about = About { client: Some(client_id("photos")), ..About::default() };
    let reading = read(&mut world, "trail", &about, &[]);
    let trail = Trail::Client(client_id("photos"));
    let (steps, _) = walk(world.store.as_ref(), &trail, reading, 1000).unwrap();
    let steps: Vec<_> = steps.into_iter().map(|step| step.bytes).collect();
    let source = StoredSource::new(world.store.as_ref(), None);
    let late = path.with_file_name("late");
    let error = write(&late, &lines(&steps), &source, &early, &keys()).unwrap_err();
    assert!(matches!(error, PackageError::TooEarly { .. }) && !late.exists(), "{error}");
}

#[test]
fn the_records_of_a_time_are_dense_from_before_it_to_after_it() {
    let mut world = world();
    let times: Vec<_> =
        world.records_from(Seq(0)).iter().map(|record| record.at.to_string()).collect();
    let (since, until) = (times[20].clone(), times[40].clone());
    let span = [("since", since.as_str()), ("until", until.as_str())];
    let reading = read(&mut world, "records", &About::default(), &span);
    let log = world.bytes();
    let from = times.iter().position(|at| *at == since).unwrap() - 1;
    let to = times.iter().position(|at| until < *at).unwrap();
    let mut records = log[from..=to].to_vec();
    records.push(log[usize::try_from(reading.0).unwrap()].clone());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("case");
    let source = StoredSource::new(world.store.as_ref(), None);
    write(&path, &lines(&records), &source, &note(&world, 1), &keys()).unwrap();
    let proven = verify(&path, &keys(), Some(NONCE)).unwrap();
    assert!(matches!(proven.reading.asked, Asked::Span { .. }));
    let last = records.len() - 1;
    for i in 1..last - 1 {
        let error = changed(&path, |records| drop(records.remove(i)));
        assert!(matches!(error, PackageError::Gap { .. }), "{i} left out: {error}");
    }
    for (i, which) in [(0, "the beginning"), (last - 1, "the end")] {
        let error = changed(&path, |records| drop(records.remove(i)));
        assert!(matches!(error, PackageError::Span { which: found } if found == which), "{error}");
    }
}

/// A command on a running server; its exit code, and all that it says.
fn run(process: &Process, (id, secret): &(String, String), args: &[&str]) -> (i32, String) {
    let mut program = Program::new(BINARY);
    program.args(args).env("TOKEN_LEDGER_PUBLIC_URL", &process.public);
    program.env("TOKEN_LEDGER_ADMIN_URL", &process.admin);
    program.env("TOKEN_LEDGER_CLIENT_ID", id).env("TOKEN_LEDGER_CLIENT_SECRET", secret);
    let output = program.output().unwrap();
    let all = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8_lossy(&all).into_owned())
}

#[actix_web::test]
async fn a_package_holds_a_trail_longer_than_other_answers_may_be() {
    let folder = tempfile::tempdir().unwrap();
    let (data, case) = (folder.path().join("data"), folder.path().join("case"));
    let admin = init(&data);
    let vkey = Program::new(BINARY).args(["keys", "vkey", "--data"]).arg(&data).output().unwrap();
    let vkey = String::from_utf8(vkey.stdout).unwrap().trim().to_owned();
    let process = Process::serve(&data);
    let url = format!("{}/oauth/token", process.public);
    let own = post_form(&url, &admin, &[("grant_type", "client_credentials")]).await.unwrap();
    let bearer = text(&own, "access_token");
    let clients = format!("{}/admin/clients", process.admin);
    // Each change is a record of all that is registered.
    let uri = |i: usize| format!("https://{i}.example/{}", "a".repeat(480));
    let uris: Vec<String> = (0..20).map(uri).collect();
    let registration = serde_json::json!({ "client_id": "large", "redirect_uris": uris,
        "grant_types": ["authorization_code"] });
    post_json(&clients, &bearer, &registration).await;
    let (http, change) = (reqwest::Client::new(), format!("{clients}/large"));
    for i in 0..900 {
        let name = serde_json::json!({ "client_name": format!("change {i}") });
        let sent = http.patch(&change).bearer_auth(&bearer).json(&name).send().await.unwrap();
        assert!(sent.status().is_success(), "{}", sent.text().await.unwrap());
    }
    let run = |args: &[&str]| run(&process, &admin, args);
    let out = case.to_str().unwrap();
    let (code, all) =
        run(&["audit", "package", "--client", "large", "--out", out, "--vkey", &vkey]);
    assert_eq!(code, 0, "{all}");
    assert!(ANSWER_BYTES_MAX < fs::read(case.join("records.jsonl")).unwrap().len());
    let (code, all) = run(&["verify", "--package", out, "--vkey", &vkey]);
    assert!(code == 0 && all.contains("all records of the client large"), "{all}");
    assert!(all.contains(", as the log itself says"), "{all}");
    // What is not a package stays within its bound, and says what to do.
    let (code, all) = run(&["audit", "trail", "--client", "large"]);
    assert!(code != 0 && all.contains("is longer than") && all.contains("ask for less"), "{all}");
}

#[test]
fn a_package_is_made_from_a_running_server_and_checked_with_tools_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let (data, case) = (folder.path().join("data"), folder.path().join("case"));
    let (id, secret) = init(&data);
    let vkey = Program::new(BINARY).args(["keys", "vkey", "--data"]).arg(&data).output().unwrap();
    let vkey = String::from_utf8(vkey.stdout).unwrap().trim().to_owned();
    let process = Process::serve(&data);
    let run = |args: &[&str]| run(&process, &(id.clone(), secret.clone()), args);
    let out = case.to_str().unwrap();
    let (code, all) = run(&["audit", "package", "--client", &id, "--out", out, "--vkey", &vkey]);
    assert_eq!(code, 0, "{all}");
    let nonce = all.lines().find_map(|line| line.strip_prefix("nonce ")).unwrap().to_owned();
    let (code, all) = run(&["verify", "--package", out, "--vkey", &vkey, "--nonce", &nonce]);
    assert!(code == 0 && all.contains(&format!("all records of the client {id}")), "{all}");
    let url = format!("{}/log", process.admin);
    let (code, all) = run(&["verify", "--url", &url, "--vkey", &vkey]);
    assert!(code == 0 && all.contains("is whole"), "{all}");
    let span = folder.path().join("span");
    let out = span.to_str().unwrap();
    let (since, until) = ("2020-01-01T00:00:00Z", "2100-01-01T00:00:00Z");
    let (code, all) = run(&[
        "audit", "package", "--since", since, "--until", until, "--out", out, "--vkey", &vkey,
    ]);
    assert_eq!(code, 0, "{all}");
    let (code, all) = run(&["verify", "--package", out, "--vkey", &vkey]);
    assert!(code == 0 && all.contains("with their neighbours"), "{all}");
    process.kill();
    check_by_hand(&case, &vkey, folder.path());
}

/// The script of the documentation: `sha256sum` and `openssl`, and nothing of ours.
fn check_by_hand(case: &Path, vkey: &str, folder: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/evidence/check-receipt.sh");
    let (receipt_file, record_file) = (folder.join("receipt"), folder.join("record"));
    let run = |receipt: &[u8], record: &[u8], key: &str| {
        fs::write(&receipt_file, receipt).unwrap();
        fs::write(&record_file, record).unwrap();
        let mut program = Program::new(&script);
        let output = program.arg(&receipt_file).arg(&record_file).arg(key).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8_lossy(&said).into_owned())
    };
    let records = records_of(case);
    for record in &records {
        let seq = Record::decode(record).unwrap().seq;
        let receipt = fs::read(case.join(format!("receipts/{seq}.tlog-proof"))).unwrap();
        let (code, said) = run(&receipt, record, vkey);
        assert!(code == 0 && said.contains("is in the log as signed over"), "{said}");
    }
    let last = records.last().unwrap();
    let seq = Record::decode(last).unwrap().seq;
    let receipt = fs::read_to_string(case.join(format!("receipts/{seq}.tlog-proof"))).unwrap();
    let line = |n: usize| receipt.lines().nth(n).unwrap().to_owned();
    let (hash, size) = (line(2), receipt.lines().skip_while(|l| !l.is_empty()).nth(2).unwrap());
    let wrong_hash = hash.replacen(|c: char| c.is_ascii_lowercase(), "Q", 1);
    let stranger = signer(2).verifier().to_string();
    let cases = [
        (receipt.clone(), records[0].clone(), vkey, "the path leads to"),
        (receipt.replacen(&hash, &wrong_hash, 1), last.clone(), vkey, "the path leads to"),
        (receipt.replacen(&format!("{hash}\n"), "", 1), last.clone(), vkey, "the path"),
        (
            receipt.replacen(&format!("{hash}\n"), &format!("{hash}\n{hash}\n"), 1),
            last.clone(),
            vkey,
            "the path",
        ),
        (
            receipt.replacen(&format!("\n{size}\n"), "\n1000\n", 1),
            last.clone(),
            vkey,
            "the signature is not over this checkpoint",
        ),
        (receipt.replacen("index ", "index 9", 1), last.clone(), vkey, "is not in a log of"),
        (receipt.replacen("@v1", "@v2", 1), last.clone(), vkey, "this is no receipt"),
        (receipt.clone(), last.clone(), &stranger, "the checkpoint is of"),
    ];
    for (receipt, record, key, says) in cases {
        let (code, said) = run(receipt.as_bytes(), &record, key);
        assert!(code == 1 && said.contains(says), "{says}: {code} {said}\n{receipt}");
    }
}
