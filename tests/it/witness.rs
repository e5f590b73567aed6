//! The witness: what it cosigns, with which status it refuses, and that it never forgets.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use token_ledger::clock::ManualClock;
use token_ledger::crypto::note::{Note, NoteSignature};
use token_ledger::crypto::note_signer::{Cosigner, NoteSigner};
use token_ledger::log::leaf::{empty_root, leaf_hash};
use token_ledger::log::tree::TreeHead;
use token_ledger::log::witness::AddCheckpoint;
use token_ledger::types::time::Timestamp;
use token_ledger::witness::directory::{KnownLog, OriginId, WitnessDirectory, WitnessError};
use token_ledger::witness::judge::Witness;

use crate::support::notary::{COSIGNED_AT_S, Log, Served, make_witness};
use crate::support::process::BINARY;

const NAME: &str = "witness.example/a";

/// A witness that knows the log and has cosigned size 5.
async fn at_five(path: &std::path::Path, log: &Log) -> Served {
    make_witness(path, NAME, &[log]);
    let witness = Served::start(path);
    witness.submit(&log.request(0, 5)).await.is(200);
    witness
}

fn cosignature(body: &str) -> NoteSignature {
    body.strip_suffix('\n').unwrap().parse().unwrap()
}

#[actix_web::test]
async fn a_growing_log_is_cosigned_step_by_step() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::new("log.example", "leaf", 300);
    make_witness(&folder.path().join("w"), NAME, &[&log]);
    let witness = Served::start(&folder.path().join("w"));
    let mut old = 0;
    for new in [1, 1, 2, 7, 8, 255, 256, 257, 300] {
        witness.clock.advance_s(1);
        let request = log.request(old, new);
        let answer = witness.submit(&request).await.is(200);
        let line = cosignature(&answer.body);
        let verified = witness.verifier.verify(request.checkpoint.text(), &line).unwrap();
        let now = token_ledger::clock::Clock::now(witness.clock.as_ref());
        assert_eq!(verified.at, Some(now), "size {new}");
        // What it tells a monitor is the checkpoint with the log's signature and its own.
        let told = witness.monitor(&log.origin).await.is(200);
        let told = Note::parse(told.body.as_bytes()).unwrap();
        assert_eq!(told.text(), request.checkpoint.text());
        let both = [log.verifier().clone(), witness.verifier.clone()];
        assert_eq!(told.open(&both).unwrap().len(), 2);
        old = new;
    }
}

#[actix_web::test]
async fn every_refusal_has_its_status_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (log, forked) = (Log::new("log.example", "leaf", 20), Log::new("log.example", "fork", 20));
    let witness = at_five(&folder.path().join("w"), &log).await;
    let before = witness.monitor(&log.origin).await.body;
    let stranger = NoteSigner::new("log.example".parse().unwrap(), &[1; 32]);
    let text = log.checkpoint(8).text().to_owned();
    let by_stranger = Note::new(text.clone(), stranger.sign(&text)).unwrap();
    let mut spoiled = by_stranger.clone();
    let wrong = log.checkpoint(9).signatures()[0].clone();
    spoiled.add(wrong).unwrap();
    let empty = |root| AddCheckpoint {
        old_size: 0,
        proof: Vec::new(),
        checkpoint: log.sign(TreeHead { size: 0, root }),
    };
    let with = |change: &dyn Fn(&mut AddCheckpoint)| {
        let mut request = log.request(5, 8);
        change(&mut request);
        request
    };
    let cases = [
        ("unknown log", 404, Log::new("other.example", "leaf", 9).request(0, 5)),
        ("signed by a stranger", 403, with(&|r| r.checkpoint = by_stranger.clone())),
        ("a wrong signature", 403, with(&|r| r.checkpoint = spoiled.clone())),
        ("old beyond new", 400, with(&|r| r.old_size = 9)),
        ("old too small", 409, log.request(3, 8)),
        ("old too large", 409, log.request(6, 8)),
        ("forgotten", 409, log.request(0, 8)),
        ("an empty tree now", 409, empty(empty_root())),
        ("rollback", 400, with(&|r| r.checkpoint = log.checkpoint(4))),
        ("fork of equal size", 409, forked.request(5, 5)),
        ("fork that grew", 422, forked.request(5, 8)),
        ("no proof", 422, with(&|r| r.proof.clear())),
        ("another proof", 422, with(&|r| r.proof = log.proof(4, 8))),
        ("one hash too many", 422, with(&|r| r.proof.push(leaf_hash(b"")))),
        ("a proof for nothing", 422, {
            let proof = vec![leaf_hash(b"")];
            AddCheckpoint { old_size: 5, proof, checkpoint: log.checkpoint(5) }
        }),
    ];
    for (what, status, request) in cases {
        let answer = witness.submit(&request).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.body);
        if status == 409 {
            assert_eq!(
                (answer.header("content-type"), answer.body.as_str()),
                (SIZE, "5\n"),
                "{what}"
            );
        }
        assert_eq!(witness.monitor(&log.origin).await.body, before, "{what}");
    }
    let good = log.request(5, 8).encode().into_bytes();
    for cut in 0..good.len() {
        // A shorter body has no valid signature, or is no note at all.
        assert!([400, 403].contains(&witness.send(good[..cut].to_vec()).await.status), "{cut}");
    }
    witness.send(vec![b'a'; 100_000]).await.is(413);
    witness.send(Vec::new()).await.is(400);
    witness.send(good).await.is(200);
}

const SIZE: &str = "text/x.tlog.size";

#[actix_web::test]
async fn before_the_first_head_only_the_empty_tree_needs_its_root() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::new("log.example", "leaf", 9);
    make_witness(&folder.path().join("w"), NAME, &[&log]);
    let witness = Served::start(&folder.path().join("w"));
    witness.monitor(&log.origin).await.is(404);
    let of = |size, root, proof| AddCheckpoint {
        old_size: 0,
        proof,
        checkpoint: log.sign(TreeHead { size, root }),
    };
    assert_eq!(witness.submit(&log.request(3, 5)).await.is(409).body, "0\n");
    let proof = vec![leaf_hash(b"")];
    witness.submit(&of(5, log.head(5).root, proof)).await.is(422);
    witness.submit(&of(0, leaf_hash(b""), Vec::new())).await.is(422);
    witness.submit(&of(0, empty_root(), Vec::new())).await.is(200);
    witness.submit(&of(5, log.head(5).root, Vec::new())).await.is(200);
    assert_eq!(witness.submit(&of(0, empty_root(), Vec::new())).await.is(409).body, "5\n");
}

#[actix_web::test]
async fn the_proof_of_a_fork_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (log, forked) = (Log::new("log.example", "leaf", 9), Log::new("log.example", "fork", 9));
    let path = folder.path().join("w");
    let witness = at_five(&path, &log).await;
    let id = OriginId::of(&log.origin);
    assert!(!WitnessDirectory::look(&path).unwrap().has_fork(id));
    witness.submit(&forked.request(5, 5)).await.is(409);
    for (kept, of) in [("cosigned", &log), ("offered", &forked)] {
        let bytes = std::fs::read(path.join(format!("forks/{id}.{kept}"))).unwrap();
        let note = Note::parse(&bytes).unwrap();
        assert_eq!(note.text(), of.checkpoint(5).text());
        note.open(std::slice::from_ref(log.verifier())).unwrap();
    }
    let mut list = Command::new(BINARY);
    let listed = list.args(["witness", "list", "--json", "--data"]).arg(&path).output().unwrap();
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(
        (&listed["logs"][0]["forked"], &listed["logs"][0]["size"]),
        (&true.into(), &5.into())
    );
}

#[actix_web::test]
async fn of_many_submissions_from_one_size_exactly_one_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::new("log.example", "leaf", 64);
    let witness = at_five(&folder.path().join("w"), &log).await;
    // Each grows to another size from 5: whoever comes first, the others have to prove from there.
    let requests: Vec<_> = (6..22).map(|new| log.request(5, new)).collect();
    let mut sent = Vec::new();
    for request in requests {
        let (wire, url) = (witness.wire.clone(), format!("{}/add-checkpoint", witness.url));
        sent.push(actix_web::rt::spawn(async move {
            let call = crate::support::wire::Call::new("POST", url);
            wire.send(call.body("text/plain", request.encode())).await.status
        }));
    }
    let mut cosigned = 0;
    for answer in sent {
        match answer.await.unwrap() {
            200 => cosigned += 1,
            other => assert_eq!(other, 409),
        }
    }
    assert_eq!(cosigned, 1);
}

#[actix_web::test]
async fn what_cannot_be_remembered_is_not_cosigned() {
    let folder = tempfile::tempdir().unwrap();
    let (path, log) = (folder.path().join("w"), Log::new("log.example", "leaf", 9));
    let witness = at_five(&path, &log).await;
    let head = path.join("heads").join(OriginId::of(&log.origin).to_string());
    // The name under which the next head is written is taken by something that does not go away.
    let taken = head.with_extension("tmp");
    std::fs::create_dir(&taken).unwrap();
    let answer = witness.submit(&log.request(5, 8)).await.is(500);
    assert!(!answer.body.contains('\u{2014}'), "{}", answer.body);
    std::fs::remove_dir(&taken).unwrap();
    // Nothing happened: the same request is cosigned now.
    witness.submit(&log.request(5, 8)).await.is(200);
    // A head that is lost or damaged is not a fresh start.
    let kept = std::fs::read(&head).unwrap();
    let mut flipped = kept.clone();
    flipped[20] ^= 1;
    for damaged in [Some(&kept[..kept.len() / 2]), Some(&flipped), Some(b""), None] {
        match damaged {
            Some(bytes) => std::fs::write(&head, bytes).unwrap(),
            None => std::fs::remove_file(&head).unwrap(),
        }
        witness.submit(&log.request(0, 9)).await.is(500);
        witness.submit(&log.request(8, 9)).await.is(500);
        witness.monitor(&log.origin).await.is(500);
        let directory = WitnessDirectory::look(&path).unwrap();
        let added = directory.add_log(&log.known());
        assert_eq!(added.is_err(), damaged.is_none(), "a lost head does not come back by adding");
    }
    witness.stop().await;
    let opened = || {
        let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(1)));
        Witness::open(&path, clock).err().unwrap()
    };
    // The threads of the one that stopped may still hold it for a moment.
    let mut refused = opened();
    while matches!(refused, WitnessError::InUse { .. }) {
        actix_web::rt::task::yield_now().await;
        refused = opened();
    }
    assert!(matches!(refused, WitnessError::Head { .. }), "{refused}");
}

#[actix_web::test]
async fn a_clock_that_steps_back_does_not_date_a_larger_head_before_a_smaller_one() {
    let folder = tempfile::tempdir().unwrap();
    let log = Log::new("log.example", "leaf", 9);
    let witness = at_five(&folder.path().join("w"), &log).await;
    witness.clock.set(Timestamp::from_seconds(COSIGNED_AT_S - 3600));
    let request = log.request(5, 8);
    let line = cosignature(&witness.submit(&request).await.is(200).body);
    let verified = witness.verifier.verify(request.checkpoint.text(), &line).unwrap();
    assert_eq!(verified.at, Some(Timestamp::from_seconds(COSIGNED_AT_S)));
}

#[actix_web::test]
async fn a_log_that_changes_its_key_is_known_by_both() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w");
    let log = Log::new("log.example", "leaf", 9);
    let witness = at_five(&path, &log).await;
    let new_key = NoteSigner::new("log.example".parse().unwrap(), &[2; 32]);
    let text = log.checkpoint(8).text().to_owned();
    let by_new = Note::new(text.clone(), new_key.sign(&text)).unwrap();
    let request = AddCheckpoint { checkpoint: by_new, ..log.request(5, 8) };
    witness.submit(&request).await.is(403);
    // Beside the witness that serves.
    let keys = vec![log.verifier().clone(), new_key.verifier().clone()];
    let known = KnownLog { origin: log.origin.clone(), keys };
    WitnessDirectory::look(&path).unwrap().add_log(&known).unwrap();
    witness.submit(&request).await.is(200);
    witness.submit(&log.request(8, 9)).await.is(200);
    let directory = WitnessDirectory::look(&path).unwrap();
    let none = KnownLog { origin: log.origin.clone(), keys: Vec::new() };
    assert!(matches!(directory.add_log(&none), Err(WitnessError::LogKeys)));
    let cosigner = KnownLog { keys: vec![witness.verifier.clone()], ..none };
    assert!(matches!(directory.add_log(&cosigner), Err(WitnessError::LogKeys)));
}

#[test]
fn a_witness_is_not_made_over_another_and_not_run_twice() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w");
    let key = Cosigner::new(NAME.parse().unwrap(), &[3; 32]);
    assert!(matches!(WitnessDirectory::look(&path), Err(WitnessError::Foreign { .. })));
    let made = WitnessDirectory::create(&path, &key).unwrap();
    assert_eq!(made.key().unwrap().verifier(), key.verifier());
    assert!(matches!(WitnessDirectory::open(&path), Err(WitnessError::InUse { .. })));
    assert!(matches!(WitnessDirectory::create(&path, &key), Err(WitnessError::NotEmpty { .. })));
    drop(made);
    assert!(matches!(WitnessDirectory::create(&path, &key), Err(WitnessError::NotEmpty { .. })));
    WitnessDirectory::open(&path).unwrap();
    std::fs::write(path.join("witness.key"), "PRIVATE+KEY+nonsense").unwrap();
    let error = WitnessDirectory::look(&path).unwrap().key().err().unwrap();
    assert!(matches!(error, WitnessError::Key { .. }) && !error.to_string().contains("nonsense"));
}

/// The worked submission of the public vectors, at the published time, by the published key.
#[actix_web::test]
async fn the_worked_submission_is_cosigned_as_published() {
    let Some(vectors) = crate::vectors::vectors() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w");
    let seed = STANDARD.decode(crate::vectors::WITNESS_SKEY.rsplit_once('+').unwrap().1).unwrap();
    let key = Cosigner::new("witness".parse().unwrap(), seed[1..].try_into().unwrap());
    let origin = "example.com/log/testdata".parse().unwrap();
    let log = KnownLog { origin, keys: vec![crate::vectors::LOG_VKEY.parse().unwrap()] };
    WitnessDirectory::create(&path, &key).unwrap().add_log(&log).unwrap();
    let witness = Served::start(&path);
    witness.clock.set(crate::vectors::COSIGNED_AT);
    let first = std::fs::read_to_string(vectors.join("golden-log/checkpoint.5")).unwrap();
    let answer = witness.send(format!("old 0\n\n{first}").into_bytes()).await.is(200);
    assert_eq!(
        answer.body,
        "\u{2014} witness JLN4UQAAAABkGFDLx5+/Ptt3KCaWbfr+SJhe6uuq81tfiu/0vMapib/RiGx1GyFD0hulupga9i\
         17id1RfGUmCiXL2MnpZUpHihjhBA==\n"
    );
    let worked = std::fs::read(vectors.join("worked.add-checkpoint")).unwrap();
    let answer = witness.send(worked.clone()).await.is(200);
    let request = AddCheckpoint::parse(&worked).unwrap();
    let line = cosignature(&answer.body);
    assert!(witness.verifier.verify(request.checkpoint.text(), &line).is_some());
    assert_eq!(witness.send(worked).await.is(409).body, "15\n");
}

/// A real witness, killed without warning again and again while a log grows.
#[actix_web::test]
async fn killed_at_any_moment_a_witness_remembers_all_that_it_cosigned() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w");
    let (log, forked) =
        (Log::new("log.example", "leaf", 600), Log::new("log.example", "fork", 600));
    make_witness(&path, NAME, &[&log]);
    let wire = crate::support::wire::Wire::new("127.0.0.1", "a log");
    let acknowledged = Arc::new(AtomicU64::new(0));
    for round in 1..=6_u64 {
        let mut child = Command::new(BINARY)
            .args(["witness", "serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(&path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        let stdout = child.stdout.as_mut().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut ready).unwrap();
        let url = ready.trim_end().strip_prefix("ready witness=").unwrap().to_owned();
        let send = |request: AddCheckpoint| {
            let call = crate::support::wire::Call::new("POST", format!("{url}/add-checkpoint"));
            let (wire, call) = (wire.clone(), call.body("text/plain", request.encode()));
            async move { wire.try_send(call).await.ok() }
        };
        let told = format!("{url}/{}/checkpoint", OriginId::of(&log.origin));
        let told = wire.send(crate::support::wire::Call::new("GET", told)).await;
        let mut size =
            if round == 1 { 0 } else { told.is(200).body.lines().nth(1).unwrap().parse().unwrap() };
        let known = acknowledged.load(Ordering::SeqCst);
        assert!(known <= size, "cosigned {known}, remembered {size}");
        if 0 < size {
            assert_eq!(send(forked.request(size, size)).await.unwrap().status, 409, "a fork");
            assert_eq!(send(log.request(size - 1, size)).await.unwrap().status, 409, "a rollback");
        }
        // Killed by another thread while submissions are under way.
        let until = known + 5 * round;
        let killer = {
            let acknowledged = Arc::clone(&acknowledged);
            std::thread::spawn(move || {
                while acknowledged.load(Ordering::SeqCst) < until {
                    std::thread::yield_now();
                }
                child.kill().unwrap();
                child.wait().unwrap();
            })
        };
        while let Some(answer) = send(log.request(size, size + 1)).await {
            answer.is(200);
            size += 1;
            acknowledged.store(size, Ordering::SeqCst);
        }
        killer.join().unwrap();
    }
}
