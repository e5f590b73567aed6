//! What state a directory is in: the doctor looks at files, changes none, and says what to do. And what
//! the start says when only somebody else can know.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use token_ledger::backup::doctor::examine;
use token_ledger::backup::findings::Kind;
use token_ledger::crypto::note_signer::{Cosigner, NoteSigner};
use token_ledger::witness::directory::{KnownLog, OriginId, WitnessDirectory};

use crate::copies::{files, run};
use crate::support::process::{BINARY, Process, init};

#[test]
fn the_doctor_names_what_is_wrong_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let doctor = |code| {
        let before = if data.is_dir() { files(&data) } else { Vec::new() };
        let output =
            run(Command::new(BINARY).args(["doctor", "--json", "--data"]).arg(&data), code);
        assert_eq!(if data.is_dir() { files(&data) } else { Vec::new() }, before);
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(doctor(1).contains("there is no "));
    init(&data);
    assert!(doctor(0).contains("closed cleanly after record"));
    let (marker, aside) = (data.join("token-ledger.json"), folder.path().join("aside"));
    fs::rename(&marker, &aside).unwrap();
    assert!(doctor(1).contains("an init that was interrupted"));
    fs::rename(&aside, &marker).unwrap();
    let records = data.join("log/records-00000000000000000000");
    let whole = fs::read(&records).unwrap();
    fs::write(&records, &whole[..whole.len() - 1]).unwrap();
    assert!(doctor(1).contains("the files of records end before record"));
    fs::write(&records, &whole).unwrap();
    let server = Process::serve(&data);
    let output = run(Command::new(BINARY).args(["doctor", "--json", "--data"]).arg(&data), 0);
    assert!(String::from_utf8_lossy(&output.stdout).contains("in use by another process"));
    server.kill();
    let said = doctor(0);
    assert!(said.contains("not closed cleanly"), "{said}");
    assert!(said.contains("all that was noted as acknowledged, up to record"), "{said}");
    let without = |name: &str, code: i32, says: &str| {
        let (here, aside) = (data.join(name), folder.path().join("aside"));
        fs::rename(&here, &aside).unwrap();
        let said = doctor(code);
        assert!(said.contains(says), "{name}: {said}");
        fs::rename(&aside, &here).unwrap();
    };
    without("token-ledger.json", 1, "token-ledger.json is missing");
    without("keys.json", 1, "keys.json is missing");
    without("vault.current", 1, "vault.current is missing");
    without("vault-000001", 1, "the vault vault-000001 is missing");
    without("log", 1, "the database of the log is missing");
    // The records of the last moments are in the journal alone, and serve would refuse.
    without("log/journal", 1, "was on the disk before, and the journal and the files end");
    without("reached", 0, "it cannot be told whether what was acknowledged is there");
    let with = |name: &str, bytes: &[u8], code: i32, says: &str| {
        let path = data.join(name);
        let before = fs::read(&path).ok();
        fs::write(&path, bytes).unwrap();
        let said = doctor(code);
        assert!(said.contains(says), "{name}: {said}");
        match before {
            Some(before) => fs::write(&path, before).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
    };
    with("keys.json", b"{}", 1, "cannot be used");
    with("token-ledger.json", br#"{"format":99}"#, 1, "run a newer token-ledger");
    with("clean", b"x", 1, "clean stop is damaged");
    with("log/db", b"", 1, "missing or empty");
    assert!(doctor(0).contains("the log is there: 1 files"));
    with("log/records-00000000000000009999", b"x", 1, "is in none of the files of records");
    with("log/journal", &[b'x'; 4096], 1, "acknowledged records are missing");
    with("reached", b"x", 0, "it cannot be told whether");
    with("log/snap.1.generating", b"", 0, "torn snapshot");
    with("vault.rewrite-due", b"", 0, "erased people");
    with("fence", b"x\n", 1, "fence");
    fs::create_dir_all(data.join("snapshots")).unwrap();
    with("snapshots/00000000000000000007.snapshot", b"x", 0, "a start passes over it");
    with("fence.tmp", b"", 0, "an interrupted write left");
    fs::create_dir(data.join("vault-000002")).unwrap();
    assert!(doctor(0).contains("an exchange of the vault was interrupted"));
    fs::create_dir(data.join("log.before-recovery")).unwrap();
    assert!(doctor(0).contains("never found good"));
    fs::remove_dir_all(&data).unwrap();
    fs::write(&data, b"").unwrap();
    assert!(doctor(1).contains("check who owns the directory"));
    fs::remove_file(&data).unwrap();
    fs::create_dir(&data).unwrap();
    assert!(doctor(1).contains("no ledger, no witness and no directory of tiles"));
    fs::create_dir(data.join("log")).unwrap();
    fs::write(data.join("log/checkpoint"), b"").unwrap();
    assert!(doctor(1).contains("the log of a backup is the directory log in it"));
}

#[test]
fn the_doctor_looks_at_a_fence_elsewhere_and_sees_an_old_copy_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let (data, old) = (folder.path().join("data"), folder.path().join("old"));
    let elsewhere = folder.path().join("fence");
    init(&data);
    let setting = format!("fence_file={}", elsewhere.display());
    let serve = || {
        let stderr = Stdio::null();
        Process::serve_with(&data, &["--set", &setting], stderr).stop();
    };
    serve();
    assert!(Command::new("cp").arg("-r").args([&data, &old]).status().unwrap().success());
    serve();
    let doctor = |data: &Path, fence: bool, code| {
        let mut program = Command::new(BINARY);
        program.arg("doctor").arg("--data").arg(data);
        if fence {
            program.arg("--fence").arg(&elsewhere);
        }
        String::from_utf8(run(&mut program, code).stdout).unwrap()
    };
    assert!(doctor(&data, false, 0).contains("name that file with --fence"));
    assert!(doctor(&data, true, 0).contains("records was signed last"));
    let said = doctor(&old, true, 1);
    assert!(said.contains("before what the fence remembers: it is an old copy"), "{said}");
}

#[test]
fn the_doctor_looks_at_the_directory_of_a_witness() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("witness");
    let key = Cosigner::new("witness.example".parse().unwrap(), &[2; 32]);
    let directory = WitnessDirectory::create(&path, &key).unwrap();
    let said = || {
        let found = examine(&path, None);
        assert_eq!(found.kind, Kind::Witness);
        let told: Vec<_> = found.findings.iter().map(|finding| finding.what.clone()).collect();
        (found.is_usable(), told.join("\n"))
    };
    assert!(said().1.contains("in use by another process") && said().1.contains("it knows no log"));
    let signer = NoteSigner::new("log.example".parse().unwrap(), &[1; 32]);
    let log =
        KnownLog { origin: "log.example".parse().unwrap(), keys: vec![signer.verifier().clone()] };
    directory.add_log(&log).unwrap();
    drop(directory);
    let (usable, told) = said();
    assert!(usable && told.contains("log.example: nothing cosigned yet"), "{told}");
    let head = path.join("heads").join(OriginId::of(&log.origin).to_string());
    fs::remove_file(&head).unwrap();
    let (usable, told) = said();
    assert!(!usable && told.contains("is missing or damaged"), "{told}");
}

#[test]
fn a_start_says_when_neither_fence_nor_checkpoint_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let (data, lines) = (folder.path().join("data"), folder.path().join("stderr"));
    init(&data);
    let said = || {
        let stderr = Stdio::from(fs::File::create(&lines).unwrap());
        Process::serve_with(&data, &[], stderr).stop();
        fs::read_to_string(&lines).unwrap().contains("neither a fence nor a checkpoint is left")
    };
    assert!(!said(), "nothing was signed before the first start");
    assert!(!said(), "both are there");
    fs::remove_file(data.join("fence")).unwrap();
    let engine = sled::Config::new().path(data.join("log")).segment_size(8 << 20);
    let database = engine.open().unwrap();
    assert!(database.drop_tree("checkpoints").unwrap());
    database.flush().unwrap();
    drop(database);
    assert!(said());
}
