//! The log as strangers read it over HTTP: checkpoints, tiles, bundles, proofs, receipts; a restored
//! backup; and a fence that cannot be written.

use serde_json::{Value, json};
use token_ledger::crypto::note::Note;
use token_ledger::crypto::note_key::NoteVerifier;
use token_ledger::crypto::note_signer::NoteSigner;
use token_ledger::domain::checkpoint_keys::{checkpoint_key_record, checkpoint_kid};
use token_ledger::domain::command::Asked;
use token_ledger::domain::record::Actor;
use token_ledger::log::bundle::decode_bundle;
use token_ledger::log::checkpoint::{Checkpoint, Origin};
use token_ledger::log::fence::{Fence, FenceFile};
use token_ledger::log::leaf::leaf_hash;
use token_ledger::log::proof::{verify_consistency, verify_inclusion};
use token_ledger::log::receipt::Receipt;
use token_ledger::log::tree::{TreeHead, hash_text};
use token_ledger::types::digest::LeafHash;
use token_ledger::types::id::{RequestId, Seq};

use crate::merkle::mth;
use crate::support::server::Server;
use crate::support::wire::{Answer, Call};

const ORIGIN: &str = "ledger.example/t";

fn origin() -> Origin {
    ORIGIN.parse().unwrap()
}

async fn vkeys(server: &Server) -> Vec<NoteVerifier> {
    let answer = server.stranger("/log/vkeys").await.is(200);
    answer.body.lines().map(|line| line.parse().unwrap()).collect()
}

/// A checkpoint that covers all that was acknowledged, checked.
async fn fresh(server: &Server) -> TreeHead {
    let call = Call::new("POST", server.admin("/admin/checkpoint")).bearer(&server.audit_token);
    opened(server, &server.wire.send(call).await.is(200)).await
}

async fn opened(server: &Server, answer: &Answer) -> TreeHead {
    let note = Note::parse(answer.body.as_bytes()).unwrap();
    let keys = vkeys(server).await;
    Checkpoint::open(&note, &origin(), &keys[0], &[]).unwrap().checkpoint.head
}

/// The exact records up to the newest checkpoint, and their leaf hashes.
async fn records(server: &Server, size: u64) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    while (found.len() as u64) < size {
        let (from, to) = (found.len(), size - 1);
        let page = server.audit(&format!("/audit/records?from={from}&to={to}&limit=1000")).await;
        found.extend(page.is(200).body.lines().map(|line| line.as_bytes().to_vec()));
    }
    found
}

fn hash(text: &Value) -> LeafHash {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text.as_str().unwrap()).unwrap();
    LeafHash::from_bytes(bytes.try_into().unwrap())
}

fn hashes(body: &Value) -> Vec<LeafHash> {
    body["hashes"].as_array().unwrap().iter().map(hash).collect()
}

#[actix_web::test]
async fn a_stranger_checks_checkpoint_tiles_and_proofs_with_nothing_but_the_key() {
    let server = Server::start().await;
    let first = fresh(&server).await;
    server.tokens("alice").await;
    let head = fresh(&server).await;
    assert!(first.size < head.size);
    let all = records(&server, head.size).await;
    let leaves: Vec<_> = all.iter().map(|record| leaf_hash(record)).collect();
    assert_eq!(mth(&leaves), head.root);

    let served = server.stranger("/log/checkpoint").await.is(200);
    assert_eq!(served.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(served.header("cache-control"), "public, max-age=1");
    assert!(head.size <= opened(&server, &served).await.size);

    let path = format!("/log/proof/consistency?old={}&new={}", first.size, head.size);
    let body = server.stranger(&path).await.is(200).json();
    verify_consistency(&first, &head, &hashes(&body)).unwrap();
    assert_eq!(body["new_root"], json!(head.root_text()));
    for seq in 0..head.size {
        let path = format!("/log/proof/inclusion?seq={seq}&size={}", head.size);
        let body = server.stranger(&path).await.is(200).json();
        let leaf = leaves[usize::try_from(seq).unwrap()];
        assert_eq!(body["leaf"], json!(hash_text(&leaf)));
        verify_inclusion(&head, Seq(seq), &leaf, &hashes(&body)).unwrap();
    }
    let receipt = server.stranger("/log/proof/receipt?seq=2").await.is(200);
    let receipt = Receipt::parse(receipt.body.as_bytes()).unwrap();
    let key = &vkeys(&server).await[0];
    receipt.verify(&all[2], &origin(), key, &[]).unwrap();
    assert!(receipt.verify(&all[3], &origin(), key, &[]).is_err());
}

#[actix_web::test]
async fn proofs_and_tiles_end_where_the_newest_checkpoint_ends() {
    let server = Server::start().await;
    let size = fresh(&server).await.size;
    for (path, status, error) in [
        (format!("/log/proof/inclusion?seq=0&size={}", size + 1000), 404, "not_found"),
        (format!("/log/proof/inclusion?seq={}", size + 1000), 404, "not_found"),
        (format!("/log/proof/consistency?old=0&new={}", size + 1000), 404, "not_found"),
        ("/log/proof/consistency?old=2&new=1".to_owned(), 400, "invalid_request"),
        (format!("/log/proof/receipt?seq={}", size + 1000), 404, "not_found"),
        ("/log/proof/receipt".to_owned(), 400, "invalid_request"),
        ("/log/proof/inclusion?seq=x".to_owned(), 400, "invalid_request"),
        ("/log/tile/0/000".to_owned(), 404, "not_found"),
        ("/log/tile/0/000.p/255".to_owned(), 404, "not_found"),
        ("/log/tile/0/000.p/0".to_owned(), 404, "not_found"),
        ("/log/tile/0/000.p/01".to_owned(), 404, "not_found"),
        ("/log/tile/1/000.p/1".to_owned(), 404, "not_found"),
        ("/log/tile/64/000".to_owned(), 404, "not_found"),
        ("/log/tile/0/../checkpoint".to_owned(), 404, "not_found"),
        ("/log/tile/data/000".to_owned(), 404, "not_found"),
    ] {
        server.stranger(&path).await.fails_with(status, error);
    }
    let tile = server.stranger(&format!("/log/tile/0/000.p/{size}")).await.is(200);
    assert_eq!(tile.header("content-type"), "application/octet-stream");
    assert_eq!(tile.header("cache-control"), "public, max-age=31536000, immutable");
    assert_eq!(tile.header("content-length"), (size * 32).to_string());
    // A narrower one of an older size is cut from what is there.
    let tile = server.stranger("/log/tile/0/000.p/1").await.is(200);
    assert_eq!(tile.header("content-length"), "32");
    server.wire.send(Call::new("POST", server.admin("/log/checkpoint"))).await.is(405);
    let public = server.wire.send(Call::new("GET", server.public("/t/log/checkpoint"))).await;
    public.is(404);
}

#[actix_web::test]
async fn records_are_for_auditors_unless_they_are_published() {
    let server = Server::start().await;
    let size = fresh(&server).await.size;
    let path = format!("/log/tile/entries/000.p/{size}");
    server.stranger(&path).await.is(401);
    let call = Call::new("GET", server.admin(&path)).bearer(&server.login_token);
    server.wire.send(call).await.is(403);
    let bundle = server.audit(&path).await.is(200);
    assert!(bundle.header("cache-control").starts_with("private"));
    server.audit(&path).await.is(200);
    let readings = server.audit("/audit/records?type=audit.read").await.is(200).records();
    let of_entries = readings.iter().filter(|record| record["data"]["what"] == "entries").count();
    assert_eq!(of_entries, 1, "one record stands for an hour of fetching");

    let server = Server::start_with(|raw| {
        raw.public_log = "yes".to_owned();
        raw.publish_entries = "yes".to_owned();
    })
    .await;
    let head = fresh(&server).await;
    let all = records(&server, head.size).await;
    let path = format!("/t/log/tile/entries/000.p/{}", head.size);
    let call = Call::new("GET", server.public(&path));
    let bundle = server.wire.send(call).await.is(200);
    assert!(bundle.header("cache-control").starts_with("public"));
    let width = u16::try_from(head.size).unwrap();
    assert_eq!(decode_bundle(&bundle.bytes, width).unwrap(), all);
    for path in ["/t/log/checkpoint", "/t/log/vkeys", "/t/log/proof/receipt?seq=0"] {
        server.wire.send(Call::new("GET", server.public(path))).await.is(200);
    }
}

/// The record at `seq`, and the receipt in `body` shown to be its own.
async fn check_receipt(server: &Server, seq: u64, body: &Value, kind: &str) {
    let receipt = Receipt::parse(body["receipt"].as_str().unwrap().as_bytes()).unwrap();
    let path = format!("/audit/records?from={seq}&to={seq}");
    let record = server.audit(&path).await.is(200).body;
    assert_eq!(serde_json::from_str::<Value>(&record).unwrap()["type"], kind);
    let key = &vkeys(server).await[0];
    receipt.verify(record.trim_end().as_bytes(), &origin(), key, &[]).unwrap();
}

#[actix_web::test]
async fn an_operator_takes_the_receipt_of_what_was_done() {
    let server = Server::start().await;
    let tokens = server.tokens("alice").await;
    let path = format!("/admin/grants/{}?receipt=1", tokens.grant);
    let body = server.administer("DELETE", &path, None).await.is(200).json();
    check_receipt(&server, body["seq"].as_u64().unwrap(), &body, "grant.revoked").await;

    let target = json!({ "target": { "type": "client", "id": "photos" }, "reason": "a test" });
    let body = server.administer("POST", "/admin/blacklist?receipt=1", Some(target)).await;
    let body = body.is(201).json();
    check_receipt(&server, body["seq"].as_u64().unwrap(), &body, "blacklist.added").await;
    let path = format!("/admin/blacklist/{}?receipt=1", body["id"].as_str().unwrap());
    let body = server.administer("DELETE", &path, None).await.is(200).json();
    check_receipt(&server, body["lifted"].as_u64().unwrap(), &body, "blacklist.lifted").await;
    server.administer("DELETE", "/admin/grants/x?receipt=2", None).await.is(400);
}

#[actix_web::test]
async fn a_clean_stop_leaves_a_checkpoint_over_the_record_of_the_stop() {
    let mut server = Server::start().await;
    let keys = vkeys(&server).await;
    server.stop().await;
    let fence = FenceFile::new(&server.data().join("fence"));
    let fenced = fence.newest().unwrap().unwrap();
    let cache = crate::support::server::CACHE_BYTES;
    let replayed = token_ledger::ledger::open::open_log(&server.data(), cache, 0, |_| {}).unwrap();
    assert_eq!(fenced.head, replayed.tree.head());
    assert_eq!(fenced.origin, origin());
    assert_eq!(keys.len(), 1, "the first key is in the log from the beginning");
    drop(replayed);
    server.resume().await;
    assert!(fenced.head.size < fresh(&server).await.size);
}

fn copy_tree(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy_tree(&from, &to);
        } else {
            std::fs::copy(&from, &to).unwrap();
        }
    }
}

#[actix_web::test]
async fn an_old_backup_beside_a_fence_on_another_disk_is_not_served() {
    let elsewhere = tempfile::tempdir().unwrap();
    let fence = elsewhere.path().join("fence");
    let mut server = Server::start_with(|raw| raw.fence_file = fence.display().to_string()).await;
    server.stop().await;
    let backup = elsewhere.path().join("backup");
    copy_tree(&server.data(), &backup);
    server.resume().await;
    server.tokens("alice").await;
    server.stop().await;

    let now = elsewhere.path().join("now");
    std::fs::rename(server.data(), &now).unwrap();
    copy_tree(&backup, &server.data());
    let refused = server.run().await.err().unwrap().to_string();
    assert!(refused.contains("an old backup was restored"), "{refused}");
    assert!(server.data().join("clean").exists(), "nothing was changed by the attempt");
    let refused = server.run().await.err().unwrap().to_string();
    assert!(refused.contains("an old backup was restored"), "{refused}");

    std::fs::remove_dir_all(server.data()).unwrap();
    copy_tree(&now, &server.data());
    std::fs::remove_file(&fence).unwrap();
    let refused = server.run().await.err().unwrap().to_string();
    assert!(refused.contains("is missing, though a checkpoint"), "{refused}");
}

#[actix_web::test]
async fn a_fence_that_cannot_be_written_stops_checkpoints_and_no_token() {
    let elsewhere = tempfile::tempdir().unwrap();
    let directory = elsewhere.path().join("mounted");
    std::fs::create_dir(&directory).unwrap();
    let fence = directory.join("fence").display().to_string();
    let server = Server::start_with(|raw| raw.fence_file = fence).await;
    let ready = |server: &Server| server.public("/readyz");
    let call = Call::new("GET", ready(&server));
    assert_eq!(server.wire.send(call).await.is(200).json()["checkpoints"], "signed");
    fresh(&server).await;
    std::fs::remove_dir_all(&directory).unwrap();

    let tokens = server.tokens("alice").await;
    let call = Call::new("POST", server.admin("/admin/checkpoint")).bearer(&server.audit_token);
    server.wire.send(call).await.fails_with(503, "temporarily_unavailable");
    let call = Call::new("GET", ready(&server));
    assert_eq!(server.wire.send(call).await.is(200).json()["checkpoints"], "stopped");
    let metrics = server.stranger("/metrics").await.is(200).body;
    assert!(metrics.contains("token_ledger_checkpoints_stopped 1"), "{metrics}");
    server.refreshed(&tokens).await;
    let path = format!("/admin/grants/{}?receipt=1", tokens.grant);
    let body = server.administer("DELETE", &path, None).await.is(200).json();
    assert_eq!(body["receipt"], Value::Null, "it is revoked all the same");
    server.stranger("/log/checkpoint").await.is(200);
}

async fn rotate(server: &Server, body: Value) -> Value {
    let path = "/admin/keys/checkpoint/rotate";
    server.administer("POST", path, Some(body)).await.json()
}

/// By which of the keys of all times the newest checkpoint is signed, oldest first.
async fn signed_by(server: &Server) -> Vec<bool> {
    fresh_note(server).await;
    let served = server.stranger("/log/checkpoint").await.is(200);
    let note = Note::parse(served.body.as_bytes()).unwrap();
    let opens = |key: &NoteVerifier| Checkpoint::open(&note, &origin(), key, &[]).is_ok();
    vkeys(server).await.iter().map(opens).collect()
}

async fn fresh_note(server: &Server) -> Note {
    let call = Call::new("POST", server.admin("/admin/checkpoint")).bearer(&server.audit_token);
    Note::parse(server.wire.send(call).await.is(200).body.as_bytes()).unwrap()
}

/// The records of keys, as `type:kid`.
async fn key_records(server: &Server) -> Vec<String> {
    let mut found = Vec::new();
    for kind in ["key.added", "key.retired"] {
        let path = format!("/audit/records?type={kind}");
        for record in server.audit(&path).await.is(200).records() {
            let kid = record["data"]["kid"].as_str().unwrap();
            if kid.starts_with("checkpoint-") {
                found.push(format!("{kind}:{kid}"));
            }
        }
    }
    found
}

#[actix_web::test]
async fn a_new_checkpoint_key_is_introduced_under_the_old_one_and_both_sign_for_a_while() {
    let mut server = Server::start_with(|raw| raw.checkpoint_key_overlap_s = 3600).await;
    assert_eq!(signed_by(&server).await, [true]);
    let rotated = rotate(&server, json!({})).await;
    assert_eq!(rotated["made"], json!(true));
    assert!(rotated["both_until"].is_string(), "{rotated}");
    assert_eq!(signed_by(&server).await, [true, true]);
    let again = rotate(&server, json!({})).await;
    assert_eq!(
        (again["made"].clone(), again["kid"].clone()),
        (json!(false), rotated["kid"].clone())
    );
    assert_eq!(vkeys(&server).await[1].to_string(), rotated["vkey"].as_str().unwrap());

    // The records lie under the old key, whatever comes between them and the end of the overlap.
    server.restart().await;
    assert_eq!(signed_by(&server).await, [true, true]);
    server.clock.advance_s(3599);
    server.restart().await;
    assert_eq!(signed_by(&server).await, [true, true]);
    server.clock.advance_s(2);
    server.restart().await;
    assert_eq!(signed_by(&server).await, [false, true]);
    assert_eq!(key_records(&server).await.len(), 3);
    server.restart().await;
    assert_eq!(signed_by(&server).await, [false, true], "and nothing more happens");
    let file = std::fs::read(server.data().join("keys.json")).unwrap();
    let file = token_ledger::crypto::keys::KeyFile::decode(&file).unwrap();
    assert_eq!(file.checkpoint_seeds().count(), 1, "the old private half is gone");
}

#[actix_web::test]
async fn a_compromised_checkpoint_key_vouches_for_its_successor_once_and_for_nothing_more() {
    let server = Server::start().await;
    let old = vkeys(&server).await.remove(0);
    let rotated = rotate(&server, json!({ "compromised": true })).await;
    assert_eq!(rotated["both_until"], Value::Null);
    assert_eq!(signed_by(&server).await, [false, true]);
    assert_eq!(signed_after(&server, &old, rotated["kid"].as_str().unwrap()).await, 1);
    let blacklist = json!({ "target": { "type": "key", "id": rotated["kid"] }, "reason": "x" });
    server.administer("POST", "/admin/blacklist", Some(blacklist)).await.is(400);
}

/// How many of the checkpoints that cover the record of the key `kid` are signed by `old`. The first
/// one is, or nobody would vouch for the new key.
async fn signed_after(server: &Server, old: &NoteVerifier, kid: &str) -> usize {
    let added = server.audit("/audit/records?type=key.added").await.is(200).records();
    let added = added.iter().find(|record| record["data"]["kid"] == kid).unwrap();
    let seq = added["seq"].as_u64().unwrap();
    let kept = server.running().edge.notary.checkpoints().from_size(seq + 1, 100).unwrap();
    let by_old = |note: &Note| Checkpoint::open(note, &origin(), old, &[]).is_ok();
    assert!(by_old(&kept.first().unwrap().note), "the old key did not sign its successor's record");
    kept.iter().filter(|published| by_old(&published.note)).count()
}

#[actix_web::test]
async fn a_compromised_checkpoint_key_signs_no_more_even_where_a_change_is_under_way() {
    let mut server = Server::start().await;
    let ordinary = rotate(&server, json!({})).await;
    assert_eq!(signed_by(&server).await, [true, true]);
    let rotated = rotate(&server, json!({ "compromised": true })).await;
    assert_eq!(
        (rotated["made"].clone(), rotated["both_until"].clone()),
        (json!(true), Value::Null)
    );
    assert_ne!(rotated["kid"], ordinary["kid"]);
    assert_eq!(signed_by(&server).await, [false, false, true]);
    // Nor is the answer to the next request a key that may have leaked meanwhile.
    let again = rotate(&server, json!({ "compromised": true })).await;
    assert_ne!(again["kid"], rotated["kid"]);
    server.restart().await;
    assert_eq!(signed_by(&server).await, [false, false, false, true]);
    let file = std::fs::read(server.data().join("keys.json")).unwrap();
    let file = token_ledger::crypto::keys::KeyFile::decode(&file).unwrap();
    assert_eq!(file.checkpoint_seeds().count(), 1);
}

#[actix_web::test]
async fn an_emergency_that_a_crash_cut_short_after_the_new_keys_record_is_completed_at_the_start() {
    let mut server = Server::start().await;
    let old = vkeys(&server).await.remove(0);
    let new = NoteSigner::new("ledger.example/t".parse().unwrap(), &[7; 32]);
    let command = checkpoint_key_record(new.verifier(), true);
    let request = RequestId::from_bytes([7; 8]);
    let asked = Asked { request, actor: Actor::Ledger, origin: None, command };
    assert!(server.running().ledger().submit(asked).await.unwrap().outcome.is_ok());
    server.stop().await;
    let path = server.data().join("keys.json");
    let bytes = std::fs::read(&path).unwrap();
    let mut file = token_ledger::crypto::keys::KeyFile::decode(&bytes).unwrap();
    file.add_checkpoint_seed(zeroize::Zeroizing::new([7; 32])).unwrap();
    std::fs::write(&path, &*file.encode()).unwrap();
    server.resume().await;
    assert_eq!(signed_by(&server).await, [false, true]);
    // The checkpoint of the stop.
    let kid = checkpoint_kid(new.verifier());
    assert_eq!(signed_after(&server, &old, kid.as_str()).await, 1);
    assert_eq!(key_records(&server).await.len(), 3);
    let shown = rotate(&server, json!({})).await;
    assert_eq!(shown["made"], json!(true), "nothing is under way any more");
}

#[actix_web::test]
async fn a_checkpoint_key_is_not_retired_before_it_has_signed_its_successors_record() {
    let server = Server::start_with(|raw| {
        raw.checkpoint_key_overlap_s = 0;
        raw.checkpoint_interval_ms = 60_000;
    })
    .await;
    let old = vkeys(&server).await.remove(0);
    let rotated = rotate(&server, json!({})).await;
    server.running().edge.keep_checkpoint_keys().await.unwrap();
    assert_eq!(signed_after(&server, &old, rotated["kid"].as_str().unwrap()).await, 1);
    assert_eq!(signed_by(&server).await, [false, true]);
}

#[actix_web::test]
async fn a_checkpoint_key_whose_record_a_crash_prevented_is_recorded_at_the_next_start() {
    let mut server = Server::start().await;
    server.stop().await;
    let path = server.data().join("keys.json");
    let mut file = {
        let bytes = std::fs::read(&path).unwrap();
        token_ledger::crypto::keys::KeyFile::decode(&bytes).unwrap()
    };
    file.add_checkpoint_seed(zeroize::Zeroizing::new([7; 32])).unwrap();
    std::fs::write(&path, &*file.encode()).unwrap();
    server.resume().await;
    assert_eq!(signed_by(&server).await, [true, true]);
    assert_eq!(key_records(&server).await.len(), 2);
}
