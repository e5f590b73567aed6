//! Packages for a court: nothing can be left out, altered, moved or cut off without being named.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command as Program;

use actix_web::http::StatusCode;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde_json::{Map, Value};
use tempfile::TempDir;
use token_ledger::audit::trail::{Trail, walk};
use token_ledger::cli::remote::ANSWER_BYTES_MAX;
use token_ledger::crypto::note::Note;
use token_ledger::crypto::note_signer::Cosigner;
use token_ledger::domain::command::Command;
use token_ledger::domain::record::{About, Record};
use token_ledger::evidence::keys::{Keys, Untrusted};
use token_ledger::evidence::package::asked::{Asked, Expected, Wanted};
use token_ledger::evidence::package::error::PackageError;
use token_ledger::evidence::package::{verify, write};
use token_ledger::evidence::stored::StoredSource;
use token_ledger::log::checkpoint::Checkpoint;
use token_ledger::types::id::Seq;
use token_ledger::types::time::Timestamp;

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

fn with(nonce: &str) -> Expected {
    Expected { nonce: Some(nonce.to_owned()), asked: None }
}

fn mine() -> Expected {
    with(NONCE)
}

fn any() -> Expected {
    Expected::default()
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
    write(&path, &lines(&steps), &source, &note(&world, 1), &keys(), &mine()).unwrap();
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
        let proven = verify(&path, &keys(), &mine()).unwrap();
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
    let error = verify(path, &keys(), &mine()).unwrap_err();
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
    verify(&path, &keys(), &mine()).unwrap();
}

#[test]
fn an_older_reading_is_told_by_its_nonce() {
    let (_folder, path, _world) = of_photos();
    let error = verify(&path, &keys(), &with("another-nonce-of-the-auditor")).unwrap_err();
    assert!(matches!(error, PackageError::Nonce { .. }), "{error}");
}

#[test]
fn a_server_that_answers_about_another_party_or_from_another_time_gets_no_package() {
    let mut world = world();
    let photos = Trail::Client(client_id("photos"));
    let about = About { client: Some(client_id("photos")), ..About::default() };
    let reading = read(&mut world, "trail", &about, &[]);
    let (steps, _) = walk(world.store.as_ref(), &photos, reading, 1000).unwrap();
    let trail: Vec<_> = steps.into_iter().map(|step| step.bytes).collect();
    let (since, until) = ("1970-01-12T13:46:40Z", "1970-01-12T13:46:41Z");
    let span = [("since", since), ("until", until)];
    let reading = read(&mut world, "records", &About::default(), &span);
    let log = world.bytes();
    let last = usize::try_from(reading.0).unwrap();
    let span = [&log[..last], &log[last..=last]].concat();
    let folder = tempfile::tempdir().unwrap();
    let (path, note) = (folder.path().join("case"), note(&world, 1));
    let write = |records: &[Vec<u8>], nonce: &str, asked: Wanted| {
        let source = StoredSource::new(world.store.as_ref(), None);
        let expected = Expected { asked: Some(asked), ..with(nonce) };
        let written = write(&path, &lines(records), &source, &note, &keys(), &expected);
        assert_eq!(path.exists(), written.is_ok());
        assert!(!folder.path().join("case.making").exists());
        written
    };
    let in_time = |since: &str, until: &str| Wanted::Span {
        since: Some(since.parse().unwrap()),
        until: Some(until.parse().unwrap()),
    };
    for (records, other) in [
        (&trail, Wanted::Trail(Trail::Client(client_id("other")))),
        (&trail, Wanted::Trail(Trail::Grant(grant_id("g3")))),
        (&trail, Wanted::Person),
        (&trail, in_time(since, until)),
        (&span, in_time(since, "1970-01-12T13:46:42Z")),
        (&span, in_time("1970-01-12T13:46:39Z", until)),
        (&span, Wanted::Trail(photos.clone())),
    ] {
        let error = write(records, NONCE, other).unwrap_err();
        assert!(matches!(error, PackageError::OtherReading { .. }) && error.is_fault(), "{error}");
    }
    let error = write(&trail, "sent-this-time", Wanted::Trail(photos.clone())).unwrap_err();
    assert!(matches!(error, PackageError::Nonce { .. }) && error.is_fault(), "{error}");
    write(&trail, NONCE, Wanted::Trail(photos.clone())).unwrap();
    // And who gets it can check whose it is.
    let whose =
        |asked: Wanted| verify(&path, &keys(), &Expected { nonce: None, asked: Some(asked) });
    whose(Wanted::Trail(photos)).unwrap();
    let error = whose(Wanted::Trail(Trail::Client(client_id("other")))).unwrap_err();
    assert!(error.to_string().contains("is of the client photos, and the client other"), "{error}");
}

#[test]
fn a_package_that_its_own_keys_would_refuse_is_not_written() {
    let mut world = world();
    let about = About { client: Some(client_id("photos")), ..About::default() };
    let reading = read(&mut world, "trail", &about, &[]);
    let trail = Trail::Client(client_id("photos"));
    let (steps, _) = walk(world.store.as_ref(), &trail, reading, 1000).unwrap();
    let steps: Vec<_> = steps.into_iter().map(|step| step.bytes).collect();
    let witness = Cosigner::new("witness.example".parse().unwrap(), &[5; 32]);
    let log = vec![signer(1).verifier().clone()];
    let keys = Keys::new(log, vec![witness.verifier().clone()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("case");
    let source = StoredSource::new(world.store.as_ref(), None);
    let mut note = note(&world, 1);
    let error = write(&path, &lines(&steps), &source, &note, &keys, &mine()).unwrap_err();
    let is_unseen = matches!(&error, PackageError::Untrusted(Untrusted::NotWitnessed { .. }));
    assert!(is_unseen && !path.exists(), "{error}");
    note.add(witness.cosign(note.text(), Timestamp::from_seconds(1_800_000_000))).unwrap();
    write(&path, &lines(&steps), &source, &note, &keys, &mine()).unwrap();
    verify(&path, &keys, &mine()).unwrap();
}

#[test]
fn receipts_checkpoint_and_keys_must_be_those_of_the_log() {
    let (_folder, path, world) = of_photos();
    let error =
        verify(&path, &Keys::new(vec![signer(2).verifier().clone()], vec![]).unwrap(), &any());
    assert!(matches!(error, Err(PackageError::Untrusted(_))));
    let checkpoint = path.join("checkpoint");
    let was = fs::read(&checkpoint).unwrap();
    fs::write(&checkpoint, note(&world, 9).encode()).unwrap();
    let error = verify(&path, &keys(), &any()).unwrap_err();
    assert!(matches!(error, PackageError::Untrusted(_)), "signed anew: {error}");
    fs::write(&checkpoint, was).unwrap();
    let all = records_of(&path);
    let receipt = |i: usize| {
        let seq = Record::decode(&all[i]).unwrap().seq;
        path.join(format!("receipts/{seq}.tlog-proof"))
    };
    let was = fs::read(receipt(2)).unwrap();
    fs::copy(receipt(3), receipt(2)).unwrap();
    let error = verify(&path, &keys(), &any()).unwrap_err();
    assert!(matches!(error, PackageError::OtherReceipt { .. }), "{error}");
    fs::remove_file(receipt(2)).unwrap();
    let error = verify(&path, &keys(), &any()).unwrap_err();
    assert!(matches!(error, PackageError::Missing { .. }), "{error}");
    fs::write(receipt(2), &was).unwrap();
    verify(&path, &keys(), &any()).unwrap();
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
    let error = write(&late, &lines(&steps), &source, &early, &keys(), &mine()).unwrap_err();
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
    write(&path, &lines(&records), &source, &note(&world, 1), &keys(), &mine()).unwrap();
    let proven = verify(&path, &keys(), &mine()).unwrap();
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
fn run(process: &Process, client: &(String, String), args: &[&str]) -> (i32, String) {
    run_at(&process.public, &process.admin, client, args)
}

fn run_at(
    public: &str,
    admin: &str,
    (id, secret): &(String, String),
    args: &[&str],
) -> (i32, String) {
    let mut program = Program::new(BINARY);
    program.args(args).env("TOKEN_LEDGER_PUBLIC_URL", public);
    program.env("TOKEN_LEDGER_ADMIN_URL", admin);
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
    // A time in which nothing happened: before all records, between two, and one still to come.
    let at: Vec<_> = records_of(&span).iter().map(|r| Record::decode(r).unwrap().at).collect();
    let gap = at.windows(2).find(|pair| pair[0].micros() + 1 < pair[1].micros()).unwrap();
    let since = Timestamp::from_micros(gap[0].micros() + 1).to_string();
    let until = Timestamp::from_micros(gap[1].micros() - 1).to_string();
    for (name, since, until) in [
        ("before", "2020-01-01T00:00:00Z", "2020-01-01T00:00:01Z"),
        ("between", since.as_str(), until.as_str()),
        ("to-come", "2100-01-01T00:00:00Z", "2100-01-01T00:00:01Z"),
    ] {
        let case = folder.path().join(name);
        let (out, time) = (case.to_str().unwrap(), ["--since", since, "--until", until]);
        let args = ["audit", "package", "--out", out, "--vkey", &vkey];
        let (code, all) = run(&[&args[..], &time].concat());
        assert!(code == 0 && all.contains("nothing happened in that time"), "{all}");
        let args = ["verify", "--package", out, "--vkey", &vkey];
        let (code, all) = run(&[&args[..], &time].concat());
        assert!(code == 0 && all.contains("nothing happened in that time"), "{all}");
        let (code, all) = run(&[&args[..], &time[..2], &["--json"]].concat());
        assert!(code == 0 && all.contains("\"asked_checked\":true"), "{all}");
        assert!(all.contains("\"in_time\":0") && all.contains(&since[..19]), "{all}");
        let (code, all) = run(&[&args[..], &["--since", "2021-01-01T00:00:00Z"]].concat());
        assert!(code == 3 && all.contains("was asked for"), "{all}");
    }
    let none = folder.path().join("none");
    let args = ["audit", "package", "--vkey", &vkey, "--out", none.to_str().unwrap()];
    let backwards = ["--since", "2020-01-01T00:00:01Z", "--until", "2020-01-01T00:00:00Z"];
    let (code, all) = run(&[&args[..], &backwards].concat());
    assert!(code == 1 && all.contains("since lies after until"), "{all}");
    let no_tiles = ["--client", id.as_str(), "--tiles", "/nowhere"];
    let (code, all) = run(&[&args[..], &no_tiles].concat());
    assert!(code == 1 && all.contains("/nowhere/checkpoint is not there"), "{code} {all}");
    assert!(!none.exists());
    let add = ["blacklist", "add", "--subject", "mallory", "--reason", "a test"];
    let (code, all) = run(&[&add[..], &["--receipt", "/nowhere/receipt"]].concat());
    assert!(code == 1 && all.contains("not kept: token-ledger audit receipt --seq "), "{all}");
    process.kill();
    check_by_hand(&case, &vkey, folder.path());
}

/// Stands before the admin listener `admin`, and asks it something else than it was asked.
fn liar(admin: &str, lie: impl Fn(&str) -> String + Clone + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let admin = admin.to_owned();
    let forward = move |request: HttpRequest| {
        let asked = lie(&request.uri().to_string());
        let bearer = request.headers().get("authorization").cloned();
        let mut call = reqwest::Client::new().get(format!("{admin}{asked}"));
        if let Some(bearer) = bearer {
            call = call.header("authorization", bearer.to_str().unwrap());
        }
        async move {
            let answer = call.send().await.unwrap();
            let status = StatusCode::from_u16(answer.status().as_u16()).unwrap();
            let mut said = HttpResponse::build(status);
            for name in ["content-type", "as-of-seq", "next-cursor"] {
                if let Some(value) = answer.headers().get(name) {
                    said.insert_header((name, value.to_str().unwrap()));
                }
            }
            said.body(answer.bytes().await.unwrap())
        }
    };
    let server =
        HttpServer::new(move || App::new().default_service(web::to(forward.clone()))).workers(1);
    let server = server.disable_signals().listen(listener).unwrap().run();
    std::thread::spawn(move || actix_web::rt::System::new().block_on(server));
    url
}

#[actix_web::test]
async fn an_auditor_believes_no_server_that_answers_something_else() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let admin = init(&data);
    let vkey = Program::new(BINARY).args(["keys", "vkey", "--data"]).arg(&data).output().unwrap();
    let vkey = String::from_utf8(vkey.stdout).unwrap().trim().to_owned();
    let process = Process::serve(&data);
    let url = format!("{}/oauth/token", process.public);
    let own = post_form(&url, &admin, &[("grant_type", "client_credentials")]).await.unwrap();
    let registration = serde_json::json!({ "client_id": "other",
        "grant_types": ["client_credentials"] });
    let clients = format!("{}/admin/clients", process.admin);
    post_json(&clients, &text(&own, "access_token"), &registration).await;
    type Lie = fn(&str) -> String;
    let cases: [(&str, &[&str], Lie, &str); 3] = [
        (
            "another party",
            &["--client", &admin.0],
            |asked| match asked.strip_prefix("/audit/clients/") {
                Some(rest) => format!("/audit/clients/other/{}", rest.split_once('/').unwrap().1),
                None => asked.to_owned(),
            },
            "is of the client other, and the client admin-",
        ),
        (
            "an older reading",
            &["--client", "other"],
            |asked| match asked.split_once("nonce=") {
                Some((before, _)) => format!("{before}nonce={NONCE}"),
                None => asked.to_owned(),
            },
            "it is an older one",
        ),
        (
            "a shorter time",
            &["--since", "2020-01-01T00:00:00Z", "--until", "2100-01-01T00:00:00Z"],
            |asked| asked.replace("2100-", "2021-"),
            "to 2100-01-01T00:00:00.000000Z was asked for",
        ),
    ];
    for (what, asked, lie, says) in cases {
        let (honest, out) = (folder.path().join("honest"), folder.path().join("case"));
        for (url, out, code) in
            [(&process.admin, &honest, 0), (&liar(&process.admin, lie), &out, 3)]
        {
            let args = ["audit", "package", "--out", out.to_str().unwrap(), "--vkey", &vkey];
            let (found, all) = run_at(&process.public, url, &admin, &[&args[..], asked].concat());
            assert_eq!((found, out.exists()), (code, code == 0), "{what}: {all}");
            assert!(code == 0 || all.contains(says), "{what}: {all}");
        }
        fs::remove_dir_all(honest).unwrap();
    }
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
