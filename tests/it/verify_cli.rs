//! `verify` as an auditor runs it, on every kind of evidence.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;
use token_ledger::crypto::note::Note;
use token_ledger::crypto::note_signer::{Cosigner, NoteSigner};
use token_ledger::evidence::directory::DirectorySource;
use token_ledger::evidence::source::newest_note;
use token_ledger::evidence::stored::StoredSource;
use token_ledger::evidence::writer::TileDirectory;
use token_ledger::ledger::open::open_log;
use token_ledger::log::checkpoint::Checkpoint;
use token_ledger::log::leaf::leaf_hash;
use token_ledger::log::receipt::Receipt;
use token_ledger::log::tree::{Frontier, TreeHead, inclusion_proof};
use token_ledger::types::id::Seq;
use token_ledger::types::time::Timestamp;

use crate::support::process::{BINARY, Process, init};
use crate::support::recorded::everything;

pub(crate) fn signer(seed: u8) -> NoteSigner {
    NoteSigner::new("ledger.example".parse().unwrap(), &[seed; 32])
}

pub(crate) fn head(log: &[Vec<u8>]) -> TreeHead {
    let mut frontier = Frontier::default();
    log.iter().for_each(|record| frontier.append(leaf_hash(record)));
    frontier.head()
}

/// The evidence of one ledger, written to a directory.
struct Evidence {
    folder: TempDir,
    log: Vec<Vec<u8>>,
    vkey: String,
}

impl Evidence {
    fn new() -> Self {
        let world = everything().world;
        let (folder, log) = (tempfile::tempdir().unwrap(), world.bytes());
        let origin = "ledger.example".parse().unwrap();
        let note = Checkpoint { origin, head: head(&log) }.sign(&signer(1));
        let source = StoredSource::new(world.store.as_ref(), None);
        let mut tiles = TileDirectory::open(&folder.path().join("tiles")).unwrap();
        tiles.extend(&source, &note).unwrap();
        let export: Vec<u8> = log.iter().flat_map(|r| [r.as_slice(), b"\n"].concat()).collect();
        fs::write(folder.path().join("export.jsonl"), export).unwrap();
        Self { folder, log, vkey: signer(1).verifier().to_string() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A checkpoint over the first `size` records, signed with the key `seed`.
    fn checkpoint(&self, name: &str, size: usize, seed: u8) -> PathBuf {
        let origin = "ledger.example".parse().unwrap();
        let note = Checkpoint { origin, head: head(&self.log[..size]) }.sign(&signer(seed));
        fs::write(self.path(name), note.encode()).unwrap();
        self.path(name)
    }

    fn receipt(&self, index: usize) -> Receipt {
        let size = self.log.len() as u64;
        let leaves: Vec<_> = self.log.iter().map(|record| leaf_hash(record)).collect();
        let read = |at: token_ledger::log::tree::NodeAt| {
            let (from, width) = ((at.index as usize) << at.level, 1 << at.level);
            let mut frontier = Frontier::default();
            leaves[from..from + width].iter().for_each(|leaf| frontier.append(*leaf));
            Ok::<_, std::convert::Infallible>(frontier.root())
        };
        let proof = inclusion_proof(Seq(index as u64), size, read).unwrap();
        let checkpoint = newest_note(&DirectorySource::new(&self.path("tiles"))).unwrap();
        Receipt { extra: Vec::new(), index: Seq(index as u64), proof, checkpoint }
    }
}

fn verify(args: &[&str]) -> Output {
    Command::new(BINARY).arg("verify").args(args).output().unwrap()
}

/// The exit code, and what was said to whom.
fn said(output: &Output) -> (i32, String) {
    let (out, err) = (&output.stdout, &output.stderr);
    let text = String::from_utf8_lossy(out).into_owned() + &String::from_utf8_lossy(err);
    (output.status.code().unwrap(), text)
}

fn fails(args: &[&str], code: i32, says: &str) {
    let (found, text) = said(&verify(args));
    assert_eq!(found, code, "{args:?}: {text}");
    assert!(text.contains(says), "{args:?}: {text}");
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn whole_evidence_of_every_kind_verifies_and_says_who_vouches() {
    let evidence = Evidence::new();
    let (tiles, export) = (evidence.path("tiles"), evidence.path("export.jsonl"));
    let kept = evidence.checkpoint("kept", 20, 1);
    let (code, all) = said(&verify(&[
        "--tiles",
        text(&tiles),
        "--vkey",
        &evidence.vkey,
        "--checkpoint",
        text(&kept),
    ]));
    assert_eq!(code, 0, "{all}");
    for part in ["is whole: 75 records", "signed by ledger.example", "nothing before has changed"] {
        assert!(all.contains(part), "{part}: {all}");
    }
    let (code, all) = said(&verify(&["--tiles", text(&tiles)]));
    assert!(code == 0 && all.contains("nobody vouches for it: no --vkey was given"), "{all}");
    fs::write(evidence.path("keys"), format!("{}\n\n", evidence.vkey)).unwrap();
    let keys = evidence.path("keys");
    let args = ["--export", text(&export), "--checkpoint", text(&kept), "--vkey", text(&keys)];
    let output = verify(&[&args[..], &["--json"]].concat());
    let body: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((body["whole"].as_bool(), body["records"].as_u64()), (Some(true), Some(75)));
    let output = verify(&["--tiles", text(&tiles), "--vkey", text(&keys), "--json"]);
    let body: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(body["signature_checked"], Value::Bool(true));
    assert_eq!(body["checkpoint"]["size"].as_u64(), Some(75));
}

#[test]
fn a_key_that_was_rotated_is_one_of_several_and_a_strangers_key_is_none() {
    let evidence = Evidence::new();
    let tiles = evidence.path("tiles");
    let newer = signer(2).verifier().to_string();
    let both = ["--tiles", text(&tiles), "--vkey", &newer, "--vkey", &evidence.vkey];
    assert_eq!(said(&verify(&both)).0, 0);
    fails(&["--tiles", text(&tiles), "--vkey", &newer], 3, "no signature is by a known key");
    let other = NoteSigner::new("other.example".parse().unwrap(), &[1; 32]);
    let other = other.verifier().to_string();
    fails(&["--tiles", text(&tiles), "--vkey", &other], 3, "no signature is by a known key");
    let mixed = ["--tiles", text(&tiles), "--vkey", &other, "--vkey", &newer];
    fails(&mixed, 2, "of two logs");
    fails(&["--tiles", text(&tiles), "--vkey", "nonsense"], 2, "is no verifier key");
}

#[test]
fn a_kept_checkpoint_finds_a_past_that_was_written_anew() {
    let evidence = Evidence::new();
    let export = evidence.path("export.jsonl");
    let kept = evidence.checkpoint("kept", 74, 1);
    let args = ["--checkpoint", text(&kept), "--vkey", evidence.vkey.as_str(), "--export"];
    assert_eq!(said(&verify(&[&args[..], &[text(&export)]].concat())).0, 0);
    // The reason of an entry, changed by one who then chained all that follows anew.
    let mut log = evidence.log.clone();
    for i in 0..log.len() {
        let mut record = token_ledger::domain::record::Record::decode(&log[i]).unwrap();
        if let token_ledger::domain::event::Event::BlacklistAdded(data) = &mut record.event {
            data.reason = "another".to_owned();
        }
        record.prev = i.checked_sub(1).map(|before| leaf_hash(&log[before]));
        log[i] = record.encode().unwrap();
    }
    let forged: Vec<u8> = log.iter().flat_map(|r| [r.as_slice(), b"\n"].concat()).collect();
    let path = evidence.path("forged.jsonl");
    fs::write(&path, forged).unwrap();
    assert_eq!(said(&verify(&["--export", text(&path)])).0, 0, "alone it looks whole");
    fails(&[&args[..], &[text(&path)]].concat(), 3, "a record was changed before it was written");
    // Signed anew, too: by another key, for the forger has not that of the log.
    let origin = "ledger.example".parse().unwrap();
    let resigned = Checkpoint { origin, head: head(&log) }.sign(&signer(9));
    fs::write(evidence.path("resigned"), resigned.encode()).unwrap();
    let resigned = evidence.path("resigned");
    let args = ["--export", text(&path), "--checkpoint", text(&resigned), "--vkey"];
    fails(&[&args[..], &[&evidence.vkey]].concat(), 3, "no signature is by a known key");
    // And what was cut off since.
    let cut: Vec<u8> =
        evidence.log[..60].iter().flat_map(|r| [r.as_slice(), b"\n"].concat()).collect();
    fs::write(&path, cut).unwrap();
    let args = ["--checkpoint", text(&kept), "--vkey", evidence.vkey.as_str(), "--export"];
    fails(&[&args[..], &[text(&path)]].concat(), 3, "the end was cut off");
}

#[test]
fn where_there_is_nothing_to_judge_nothing_is_whole() {
    let evidence = Evidence::new();
    let (empty, nowhere) = (evidence.path("empty"), evidence.path("nowhere"));
    fs::write(&empty, b"").unwrap();
    fails(&["--export", text(&empty)], 1, "holds no record: nothing was judged");
    fails(&["--tiles", text(&nowhere), "--vkey", &evidence.vkey], 1, "name a directory of tiles");
}

#[test]
fn a_witness_that_is_named_must_have_cosigned() {
    let evidence = Evidence::new();
    let tiles = evidence.path("tiles");
    let witness = Cosigner::new("witness.example".parse().unwrap(), &[5; 32]);
    let key = witness.verifier().to_string();
    let args = ["--tiles", text(&tiles), "--vkey", &evidence.vkey, "--witness-vkey", &key];
    fails(&args, 3, "is not cosigned by witness.example");
    let mut note = newest_note(&DirectorySource::new(&tiles)).unwrap();
    note.add(witness.cosign(note.text(), Timestamp::from_seconds(1_800_000_000))).unwrap();
    fs::write(tiles.join("checkpoint"), note.encode()).unwrap();
    let (code, all) = said(&verify(&args));
    assert_eq!(code, 0, "{all}");
    assert!(all.contains("cosigned by witness.example at 2027-01-15T08:00:00"), "{all}");
    let swapped = ["--tiles", text(&tiles), "--vkey", &key];
    fails(&swapped, 2, "is a key of another kind");
}

#[test]
fn a_key_that_signed_nothing_there_vouches_for_nothing() {
    let evidence = Evidence::new();
    let (export, key) = (evidence.path("export.jsonl"), evidence.vkey.as_str());
    let witness = Cosigner::new("witness.example".parse().unwrap(), &[5; 32]);
    let witness_key = witness.verifier().to_string();
    let of_export = ["--export", text(&export)];
    fails(&[&of_export[..], &["--vkey", key]].concat(), 2, "an export has no checkpoint");
    // A witness saw what the log signed, and the log is not named.
    for place in [of_export, ["--tiles", text(&evidence.path("tiles"))]] {
        let alone = [&place[..], &["--witness-vkey", &witness_key]].concat();
        fails(&alone, 2, "name the key of the log (--vkey), too");
    }
    // The largest checkpoint must be cosigned; those before it need not be.
    let (older, kept) = (evidence.checkpoint("older", 20, 1), evidence.checkpoint("kept", 70, 1));
    let both = ["--checkpoint", text(&kept), "--checkpoint", text(&older), "--vkey", key];
    let both = [&of_export[..], &both, &["--witness-vkey", &witness_key]].concat();
    fails(&both, 3, "kept is not cosigned by witness.example");
    let mut note = Note::parse(&fs::read(&kept).unwrap()).unwrap();
    note.add(witness.cosign(note.text(), Timestamp::from_seconds(1_800_000_000))).unwrap();
    fs::write(&kept, note.encode()).unwrap();
    let (code, all) = said(&verify(&both));
    assert_eq!(code, 0, "{all}");
    for says in ["signed by ledger.example", "cosigned by witness.example", "first 70 of 75"] {
        assert!(all.contains(says), "{says}: {all}");
    }
}

#[test]
fn the_order_of_the_keys_does_not_decide_whether_a_broken_signature_is_refused() {
    let evidence = Evidence::new();
    let tiles = evidence.path("tiles");
    let path = tiles.join("checkpoint");
    let mut note = newest_note(&DirectorySource::new(&tiles)).unwrap();
    // Of the second key, and over another text.
    note.add(signer(2).sign("another\n")).unwrap();
    fs::write(&path, note.encode()).unwrap();
    let newer = signer(2).verifier().to_string();
    for [one, other] in [[&evidence.vkey, &newer], [&newer, &evidence.vkey]] {
        let args = ["--tiles", text(&tiles), "--vkey", one, "--vkey", other];
        fails(&args, 3, "is not over this text");
    }
    // Who does not know that key cannot tell.
    assert_eq!(said(&verify(&["--tiles", text(&tiles), "--vkey", &evidence.vkey])).0, 0);
}

#[test]
fn a_receipt_proves_its_record_and_no_other() {
    let evidence = Evidence::new();
    let receipt = evidence.path("x.tlog-proof");
    fs::write(&receipt, evidence.receipt(20).encode()).unwrap();
    let (mine, other) = (evidence.path("mine"), evidence.path("other"));
    fs::write(&mine, [evidence.log[20].as_slice(), b"\n"].concat()).unwrap();
    fs::write(&other, &evidence.log[21]).unwrap();
    let args = |record: &Path, key: &str| {
        let args = ["--receipt", text(&receipt), "--record", text(record), "--vkey", key];
        args.map(str::to_owned)
    };
    let run = |args: &[String; 6]| verify(&args.each_ref().map(String::as_str));
    let (code, all) = said(&run(&args(&mine, &evidence.vkey)));
    assert_eq!(code, 0, "{all}");
    assert!(all.contains("is record 20 of the log ledger.example, as signed over 75"), "{all}");
    let (code, all) = said(&run(&args(&other, &evidence.vkey)));
    assert!(code == 3 && all.contains("the proof leads to another root"), "{all}");
    let (code, all) = said(&run(&args(&mine, &signer(2).verifier().to_string())));
    assert!(code == 3 && all.contains("no signature is by a known key"), "{all}");
    assert_eq!(verify(&["--receipt", text(&receipt)]).status.code(), Some(2), "a record is needed");
}

#[test]
fn what_cannot_be_read_is_no_forgery() {
    let evidence = Evidence::new();
    fails(&["--export", "/nowhere/export.jsonl"], 1, "cannot read /nowhere/export.jsonl");
    fails(&["--export", "/nowhere/export.jsonl"], 1, "hint: check the path and who may read it");
    fails(&["--url", "http://127.0.0.1:1/log"], 1, "cannot be fetched");
    fails(&["--url", "ftp://example/log"], 2, "is no http or https URL");
    fails(&["--tiles", text(&evidence.path("nothing"))], 1, "checkpoint is not there");
    let bundle = evidence.path("tiles/tile/entries/000.p/75");
    fs::remove_file(&bundle).unwrap();
    fails(&["--tiles", text(&evidence.path("tiles"))], 3, "entries/000.p/75 is missing");
}

/// A server of somebody else: it answers one request with `status`, and tells the head of it.
fn answered(status: u16) -> (String, std::thread::JoinHandle<String>) {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/log", socket.local_addr().unwrap());
    let answering = std::thread::spawn(move || {
        let (mut caller, _) = socket.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            caller.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
        caller.write_all(answer.as_bytes()).unwrap();
        String::from_utf8(head).unwrap().to_ascii_lowercase()
    });
    (url, answering)
}

#[test]
fn the_token_for_a_server_is_not_shown_to_another_one() {
    for (status, says) in [(404, "checkpoint is not there"), (401, "name its profile (--profile)")]
    {
        let (url, answering) = answered(status);
        // Nobody listens there: whoever is asked for a token is not reached.
        let output = Command::new(BINARY)
            .args(["verify", "--url", &url])
            .env("TOKEN_LEDGER_PUBLIC_URL", "http://127.0.0.1:1")
            .env("TOKEN_LEDGER_ADMIN_URL", "http://127.0.0.1:2")
            .env("TOKEN_LEDGER_CLIENT_ID", "ops")
            .env("TOKEN_LEDGER_CLIENT_SECRET", "tls_secret")
            .output()
            .unwrap();
        let (code, all) = said(&output);
        assert!(code == 1 && all.contains(says), "{code} {all}");
        assert!(!answering.join().unwrap().contains("authorization"));
    }
}

/// The files of a directory as a kill of the process that has it open would leave them.
fn killed_now(data: &Path, copy: &Path) {
    fs::create_dir_all(copy).unwrap();
    for entry in fs::read_dir(data).unwrap().map(Result::unwrap) {
        let (from, to) = (entry.path(), copy.join(entry.file_name()));
        match from.is_dir() {
            true => killed_now(&from, &to),
            false => drop(fs::copy(&from, &to).unwrap()),
        }
    }
}

#[test]
fn a_reader_that_is_killed_leaves_a_ledger_as_it_was_left() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    init(&data);
    Process::serve(&data).stop();
    let read = |data: &Path, killed: &str| {
        let opened = open_log(data, 1 << 20, 0, |_| {}).unwrap();
        killed_now(data, &folder.path().join(killed));
        opened.clean
    };
    assert!(read(&data, "killed"), "the stop was clean");
    let killed = folder.path().join("killed");
    assert!(killed.join("clean").exists());
    Process::serve(&killed).stop();
    let log = Command::new(BINARY).args(["export", "--data", text(&killed)]).output().unwrap();
    let log = String::from_utf8(log.stdout).unwrap();
    let starts: Vec<&str> = log.lines().filter(|line| line.contains("ledger.opened")).collect();
    let clean = |line: &&&str| line.contains("\"clean\":true");
    assert_eq!((starts.len(), starts.iter().filter(clean).count()), (2, 2), "{starts:#?}");

    Process::serve(&data).kill();
    assert!(!read(&data, "killed-unclean"), "a kill is no clean stop");
    for data in [&data, &folder.path().join("killed-unclean")] {
        assert!(!data.join("clean").exists(), "nor does reading make it one");
        assert_eq!(said(&verify(&["--data", text(data)])).0, 0);
        assert!(!data.join("clean").exists());
    }
}

#[test]
fn a_data_directory_is_exported_as_tiles_and_verifies_with_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let (data, tiles) = (folder.path().join("data"), folder.path().join("tiles"));
    init(&data);
    Process::serve(&data).stop();
    let run = |args: &[&str]| {
        let output = Command::new(BINARY).args(args).output().unwrap();
        let (code, all) = said(&output);
        assert_eq!(code, 0, "{args:?}: {all}");
        String::from_utf8(output.stdout).unwrap()
    };
    let first = run(&["export", "--data", text(&data), "--tiles", text(&tiles)]);
    assert!(first.contains("files written"), "{first}");
    Process::serve(&data).stop();
    let kept = folder.path().join("kept");
    fs::copy(tiles.join("checkpoint"), &kept).unwrap();
    run(&["export", "--data", text(&data), "--tiles", text(&tiles)]);
    let key = run(&["keys", "vkey", "--data", text(&data)]);
    let as_json = run(&["keys", "vkey", "--json", "--data", text(&data)]);
    assert_eq!(as_json, format!("{{\"vkeys\":[\"{}\"]}}\n", key.trim()));
    let args = ["--vkey", key.trim(), "--checkpoint", text(&kept)];
    for evidence in [["verify", "--tiles", text(&tiles)], ["verify", "--data", text(&data)]] {
        let all = run(&[&evidence[..], &args[..]].concat());
        assert!(all.contains("is whole"), "{all}");
        assert!(all.contains("nothing before has changed"), "{all}");
        assert!(all.contains("signed by 127.0.0.1:8080"), "{all}");
    }
    // Somebody else's key of that name: the records are as they were, and nobody vouches for them.
    let name = key.split('+').next().unwrap().parse().unwrap();
    let other = NoteSigner::new(name, &[9; 32]).verifier().to_string();
    for evidence in [["--tiles", text(&tiles)], ["--data", text(&data)]] {
        fails(&[&evidence[..], &["--vkey", &other]].concat(), 3, "sign");
    }
}

#[test]
fn no_copy_is_written_into_a_data_directory() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    init(&data);
    for name in ["", "log", "snapshots", "log/backup", "backup"] {
        let into = data.join(name);
        let mut export = Command::new(BINARY);
        export.args(["export", "--data", text(&data), "--tiles", text(&into)]);
        let (code, all) = said(&export.output().unwrap());
        assert!(code == 2 && all.contains("is in a ledger's data directory"), "{name}: {all}");
        assert!(!into.join("checkpoint").exists());
    }
    assert!(!data.join("snapshots").exists() && !data.join("backup").exists());
}

#[test]
fn a_ledger_that_nobody_signed_verifies_with_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    init(&data);
    let output = Command::new(BINARY).args(["keys", "vkey", "--data"]).arg(&data).output().unwrap();
    let own = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    let stranger = signer(9).verifier().to_string();
    for key in [&own, &stranger] {
        fails(&["--data", text(&data), "--vkey", key], 3, "for the ledger was never served");
    }
    assert_eq!(said(&verify(&["--data", text(&data)])).0, 0);
    // One with more records, and still no checkpoint.
    let mut more = Command::new(BINARY);
    let more = more.args(["administrator", "--data"]).arg(&data).output().unwrap();
    assert!(more.status.success(), "{}", said(&more).1);
    fails(&["--data", text(&data), "--vkey", &own], 3, "nothing in it is signed by the key given");
    Process::serve(&data).stop();
    assert_eq!(said(&verify(&["--data", text(&data), "--vkey", &own])).0, 0);
    let witness = Cosigner::new("witness.example".parse().unwrap(), &[5; 32]);
    let witness = witness.verifier().to_string();
    let unseen = ["--data", text(&data), "--vkey", &own, "--witness-vkey", &witness];
    fails(&unseen, 3, "is not cosigned by witness.example");
    fails(&["--data", text(&data), "--vkey", &stranger], 3, "no signature is by a known key");
}

#[test]
fn a_record_that_was_changed_in_its_directory_was_read_and_does_not_verify() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    init(&data);
    Process::serve(&data).stop();
    let records = data.join("log/records-00000000000000000000");
    let was = fs::read(&records).unwrap();
    for part in [3, 2] {
        let mut changed = was.clone();
        changed[was.len() / part] ^= 1;
        fs::write(&records, changed).unwrap();
        fails(&["--data", text(&data)], 3, "damaged at record");
    }
    fs::write(&records, &was).unwrap();
    assert_eq!(said(&verify(&["--data", text(&data)])).0, 0);
}

/// Standard output whose reader has gone away.
fn read_by_nobody(args: &[&str]) -> (i32, String) {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    said(&Command::new(BINARY).args(args).stdout(writer).output().unwrap())
}

#[test]
fn an_answer_that_nobody_reads_is_no_failure_and_a_service_that_nobody_was_told_of_is() {
    let folder = tempfile::tempdir().unwrap();
    let (data, witness) = (folder.path().join("data"), folder.path().join("witness"));
    init(&data);
    let ledger = text(&data);
    for args in [
        &["config"][..],
        &["export", "--data", ledger],
        &["keys", "vkey", "--data", ledger],
        &["verify", "--data", ledger],
        &["doctor", "--data", ledger],
        &["witness", "init", "--name", "witness.example", "--data", text(&witness)],
    ] {
        let (code, told) = read_by_nobody(args);
        assert!(code == 0 && !told.contains("error:"), "{args:?}: {code} {told}");
    }
    // What was found out is told by the exit code all the same.
    assert_eq!(read_by_nobody(&["doctor", "--data", "/nowhere"]).0, 1);
    let anywhere = ["--listen", "127.0.0.1:0"];
    let serve = ["serve", "--admin-listen", "127.0.0.1:0", "--data", ledger];
    let serve_witness = ["witness", "serve", "--data", text(&witness)];
    for args in [&serve[..], &serve_witness] {
        let (code, told) = read_by_nobody(&[args, &anywhere].concat());
        assert!(code == 1 && told.contains("so it was stopped"), "{args:?}: {code} {told}");
    }
    assert!(data.join("clean").exists());
}
